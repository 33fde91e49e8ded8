"""Figures of held-out pictures: of the base, of the adapter, and of a small network trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from generalist.engine.transformers_engine import TransformersEngine
from generalist.evaluation.cases import Case, Figure, Result, Suite
from generalist.evaluation.compare import Row, compare
from generalist.evaluation.measures import MEASURES
from generalist.evaluation.report import finite
from generalist.evaluation.run import LATENCY, Progress, ask_cases, run_suite
from generalist.evaluation.suites.folder import cases_of
from generalist.model import Checkpoint
from generalist.pipeline import Generalist, Line
from generalist_adapters.finetune.baseline import Baseline
from generalist_adapters.methods import Attached
from generalist_datasets.records import Record

_BATCH = 16

Results = dict[str, Result]
"""By task: what is measured on the questions of a task, for which an adapter may have weights of its own."""


def _ignore(done: int, total: int | None) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exam:
    """Held-out pictures and the tasks that are asked about them, in the words of ``generalist eval``; made by
    :meth:`of`. No tasks: there is nothing to ask."""

    name: str
    records: Sequence[Record]
    tasks: Sequence[str]

    @classmethod
    def of(cls, name: str, records: Sequence[Record], tasks: Sequence[str]) -> Exam:
        """An exam in those of ``tasks`` that the records ask something of. Reads every picture, so that one that
        cannot be read is an error before anything is trained (:class:`GeneralistError`)."""
        there = {case.sample.task for case in cases_of(records)}
        return cls(name=name, records=records, tasks=tuple(task for task in tasks if task in there))

    def cases(self, task: str | None = None, limit: int | None = None) -> Iterator[Case]:
        """The questions of a task, or of all, about the first ``limit`` pictures."""
        wanted = self.tasks if task is None else (task,)
        return (case for case in cases_of(self.records[:limit]) if case.sample.task in wanted)

    def suite(self, task: str, answers: Callable[[Case], bool] = lambda case: True) -> Suite:
        """The questions of a task that somebody can answer at all."""
        return Suite(
            name=f"{self.name}/{task}",
            summary=f"{task}, held-out pictures",
            cases=lambda limit: (case for case in self.cases(task, limit) if answers(case)),
        )


def take(
    exam: Exam,
    checkpoint: Checkpoint,
    line: Line,
    attached: Attached | None = None,
    *,
    progress: Progress = _ignore,
    cache: Path | None = None,
) -> Results:
    """Ask the model as it stands, with the adapter that is in it. Leaves the model in evaluation mode.

    ``cache``: where answers are kept to go on from; for the base alone, as it knows nothing of adapters.
    """
    results: Results = {}
    for task in exam.tasks:
        results[task] = run_suite(
            _answering(task, checkpoint, line, attached),
            exam.suite(task),
            folder=checkpoint.folder,
            batch_size=_BATCH,
            progress=progress,
            cache=cache and cache.with_stem(f"{cache.stem}-{task}"),
        )
    return results


def take_baseline(exam: Exam, baseline: Baseline, progress: Progress = _ignore) -> Results:
    """The same questions for the small network, as far as it understands them."""
    results: Results = {}
    for task in exam.tasks:
        if any(baseline.can_answer(case) for case in exam.cases(task)):
            # It answers as a model does, and has no engine.
            model = cast(Generalist, baseline)
            results[task] = run_suite(model, exam.suite(task, baseline.can_answer), engine="-", progress=progress)
    return results


def quality(exam: Exam, checkpoint: Checkpoint, line: Line, attached: Attached) -> float:
    """One number in 0-1 for a look at a few pictures: the mean over groups of the mean quality of the answers."""
    found: dict[str, list[float]] = {}
    for task in exam.tasks:
        cases = list(exam.cases(task))
        model = _answering(task, checkpoint, line, attached)
        for start in range(0, len(cases), _BATCH):
            batch = cases[start : start + _BATCH]
            for case, outcome in zip(batch, ask_cases(model, batch), strict=True):
                measure = MEASURES[case.group]
                found.setdefault(case.group, []).append(measure.quality(measure.judge(case, outcome)))
    return float(np.mean([np.mean(values) for values in found.values()]))


def _answering(task: str, checkpoint: Checkpoint, line: Line, attached: Attached | None) -> Generalist:
    """The model as it answers questions of a task."""
    engine, name = new_engine(checkpoint), None
    if attached is not None:
        attached.set_task(task)
        name = attached.serve_in(engine)
    return Generalist(engine, line, adapter=name)


def new_engine(checkpoint: Checkpoint) -> TransformersEngine:
    """A new one every time: what an engine remembers belongs to the weights that it has seen."""
    return TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)


# --- figures ----------------------------------------------------------------------------------------------


def figures(results: Results) -> dict[str, Figure]:
    """``"detect/AP50"`` -> its figure; seconds are left out."""
    return {
        f"{group}/{figure.name}": figure
        for result in results.values()
        for group, found in result.figures.items()
        if group != LATENCY
        for figure in found
    }


def differences(a: Results, b: Results) -> dict[str, Row]:
    """Figure name -> what b has more than a, over the same questions."""
    rows: dict[str, Row] = {}
    for task, result in a.items():
        if task in b and dict(result.groups) == dict(b[task].groups):
            for group, found in compare(result, b[task]).rows.items():
                rows |= {f"{group}/{row.a.name}": row for row in found if group != LATENCY}
    return rows


def to_json(states: dict[str, Results]) -> dict[str, Any]:
    """``{"before": {measure: value}, "after": ..., "from_scratch": ...}``, their intervals, floors and differences."""
    named = {state: figures(results) for state, results in states.items()}
    every = {name: figure for found in named.values() for name, figure in found.items()}
    changes = {
        f"after - {state}": differences(results, states["after"])
        for state, results in states.items()
        if state != "after"
    }
    return {
        **{state: {name: finite(f.value) for name, f in found.items()} for state, found in named.items()},
        "intervals": {
            state: {name: [finite(f.low), finite(f.high)] for name, f in found.items()}
            for state, found in named.items()
        },
        "differences": {
            title: {name: _difference(row) for name, row in rows.items()} for title, rows in changes.items()
        },
        "floors": {
            n: {"value": finite(f.floor), "what": f.floor_name} for n, f in every.items() if f.floor is not None
        },
        "questions": {name: figure.count for name, figure in every.items()},
        "lower_is_better": [name for name, figure in every.items() if not figure.higher_is_better],
    }


def _difference(row: Row) -> dict[str, Any]:
    change = row.difference
    if change is None:
        return {"value": None, "low": None, "high": None, "verdict": ""}
    return {
        "value": finite(change.value),
        "low": finite(change.low),
        "high": finite(change.high),
        "verdict": row.verdict,
    }
