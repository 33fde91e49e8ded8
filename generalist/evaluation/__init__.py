"""How good a model is: suites of labelled cases, measures with floors and intervals, reports."""
