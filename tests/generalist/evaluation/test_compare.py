"""Two results side by side."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from generalist.evaluation.cases import Figure
from generalist.evaluation.compare import compare, table, to_json
from generalist.types import GeneralistError

from .results import MEASURES, result
from .test_report import rendered


def test_a_clear_difference_is_marked_and_an_unclear_one_is_not() -> None:
    a, b = result("old", (0.0, 0.1, 0.2)), result("new", (0.9, 1.0, 1.0))
    comparison = compare(a, b, MEASURES)
    (row,) = comparison.rows["box"]
    assert row.difference is not None and row.difference.value == pytest.approx(2.6 / 3)
    assert row.verdict == "better"
    assert compare(b, a, MEASURES).rows["box"][0].verdict == "worse"
    (single,) = comparison.rows["count"]
    assert single.difference is not None and single.difference.low is None and single.verdict == ""


def test_less_is_better_where_it_is() -> None:
    a, b = result(boxes=(0.0, 0.1, 0.2)), result(boxes=(0.9, 1.0, 1.0))
    a, b = (
        replace(one, figures={"box": tuple(replace(f, higher_is_better=False) for f in one.figures["box"])})
        for one in (a, b)
    )
    assert compare(a, b, MEASURES).rows["box"][0].verdict == "worse"


def test_the_table_says_which_model_is_which() -> None:
    shown = rendered(table(compare(result("old", (0.0, 0.1, 0.2)), result("new", (0.9, 1.0, 1.0)), MEASURES)))
    assert "toy: A is old, B is new, 4 questions" in shown
    (line,) = (line.split() for line in shown.splitlines() if "better" in line.split())
    assert line[:4] == ["accuracy", "0.100", "0.967", "+0.867"] and line[-1] == "better"


def test_the_json_has_both_figures_and_the_difference() -> None:
    content = to_json(compare(result("old", (0.0, 0.1, 0.2)), result("new", (0.9, 1.0, 1.0)), MEASURES))
    assert json.loads(json.dumps(content)) == content
    (entry,) = content["figures"]["box"]
    assert entry["difference"] == pytest.approx(0.866667) and entry["verdict"] == "better"
    assert entry["a"]["value"] == pytest.approx(0.1) and 0 < entry["low"] <= entry["high"]


def test_a_figure_of_one_result_only_is_left_out() -> None:
    a, b = result(), result()
    extra = replace(b, figures={**b.figures, "box": (*b.figures["box"], replace(b.figures["box"][0], name="new"))})
    assert [row.a.name for row in compare(extra, a, MEASURES).rows["box"]] == ["accuracy"]
    assert [row.a.name for row in compare(a, extra, MEASURES).rows["box"]] == ["accuracy"]


def test_a_figure_that_is_not_of_judged_cases_has_a_difference_without_an_interval() -> None:
    speed = {"latency": (Figure(name="box, seconds", value=0.5, count=3, higher_is_better=False),)}
    slow = {"latency": (Figure(name="box, seconds", value=2.0, count=3, higher_is_better=False),)}
    a, b = (replace(result(), figures={**result().figures, **figures}) for figures in (speed, slow))
    (row,) = compare(a, b, MEASURES).rows["latency"]
    assert row.difference is not None and (row.difference.value, row.difference.low) == (1.5, None)
    assert row.verdict == ""


def test_an_undefined_figure_has_no_difference() -> None:
    undefined = result(figures={"box": (Figure(name="accuracy", value=math.nan, count=3),)}, boxes=(math.nan,) * 3)
    (row,) = compare(undefined, result(), MEASURES).rows["box"]
    assert row.difference is None and row.verdict == ""
    assert "–" in rendered(table(compare(undefined, result(), MEASURES)))


def test_results_on_different_questions_are_refused_in_one_line() -> None:
    with pytest.raises(GeneralistError, match="'toy' and on 'other' cannot be compared"):
        compare(result(), result(suite="other"), MEASURES)
    with pytest.raises(GeneralistError, match=r"different cases \(4 and 5, such as 'box-3' in only one\)"):
        compare(result(), result(boxes=(1, 1, 1, 1)), MEASURES)
