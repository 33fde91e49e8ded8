"""Two models on the same questions, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from generalist.evaluation.cases import Figure, Measure, Result
from generalist.evaluation.intervals import RESAMPLES, Difference, paired
from generalist.evaluation.report import LEGEND, figure_json, figure_name, finite, interval, number, plain
from generalist.types import GeneralistError


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure of both models. ``difference`` = b - a, None where that is undefined."""

    a: Figure
    b: Figure
    difference: Difference | None

    @property
    def verdict(self) -> str:
        """ "better" or "worse", said of b, when the interval of the difference excludes 0; else empty."""
        if self.difference is None or not self.difference.is_clear:
            return ""
        rises = self.difference.low is not None and self.difference.low > 0
        return "better" if rises == self.a.higher_is_better else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Rows by group, of models a and b on ``questions`` questions of a suite."""

    suite: str
    a: str
    b: str
    questions: int
    rows: Mapping[str, tuple[Row, ...]]


def compare(
    a: Result, b: Result, measures: Mapping[str, Measure] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Put figures side by side; differences get intervals over resamples of the same cases for both.

    ``measures``: by group, by default all there are; figures that none of them makes get a difference without an
    interval. Raises :class:`GeneralistError` when the results are not of
    the same suite and cases.
    """
    _check_same(a, b)
    if measures is None:
        from generalist.evaluation.measures import MEASURES

        measures = MEASURES
    rows: dict[str, tuple[Row, ...]] = {}
    for group in a.figures:
        changes: dict[str, Difference] = {}
        if group in measures:  # speed, say, is not judged case by case
            ids = [case for case, own in a.groups.items() if own == group]
            kept_a, kept_b = ([result.kept[case] for case in ids] for result in (a, b))
            changes = paired(kept_a, kept_b, measures[group].combine, resamples=resamples, seed=seed)
        others = {figure.name: figure for figure in b.figures.get(group, ())}
        rows[group] = tuple(
            Row(
                a=figure,
                b=others[figure.name],
                difference=changes.get(figure.name) or _plain_difference(figure, others[figure.name]),
            )
            for figure in a.figures[group]
            if figure.name in others
        )
    return Comparison(suite=a.suite, a=a.model, b=b.model, questions=len(a.groups), rows=rows)


def _plain_difference(a: Figure, b: Figure) -> Difference | None:
    value = b.value - a.value
    return Difference(value=value) if math.isfinite(value) else None


def _check_same(a: Result, b: Result) -> None:
    if a.suite != b.suite:
        raise GeneralistError(f"results on {a.suite!r} and on {b.suite!r} cannot be compared; use one suite for both")
    if dict(a.groups) == dict(b.groups):
        return
    only = [case for one, other in ((a, b), (b, a)) for case in one.groups if case not in other.groups]
    example = f", such as {only[0]!r} in only one" if only else ""
    raise GeneralistError(
        f"{a.suite}: the results are of different cases ({len(a.groups)} and {len(b.groups)}{example}); "
        "use the same limit and the same data for both"
    )


def table(comparison: Comparison) -> RenderableType:
    """Both models' figures, their difference, and a word where it is clear."""
    shown = Table(box=None, header_style="dim", pad_edge=False)
    shown.add_column("figure")
    for column in ("A", "B", "B - A", "95 % interval"):
        shown.add_column(column, justify="right")
    shown.add_column("B is")
    for group, rows in comparison.rows.items():
        shown.add_row(plain(group, "bold"))
        for row in rows:
            change = row.difference
            cells = (
                f"  {figure_name(row.a)}",
                number(row.a.value),
                number(row.b.value),
                "–" if change is None else f"{change.value:+.3f}",
                "–" if change is None else interval(change.low, change.high),
                row.verdict,
            )
            shown.add_row(*map(plain, cells))
    return Group(
        plain(
            f"{comparison.suite}: A is {comparison.a}, B is {comparison.b}, {comparison.questions:,} questions", "bold"
        ),
        shown,
        plain(
            f"{LEGEND}; better, worse: the 95 % interval of the difference, over the same cases for both, excludes 0",
            "dim",
        ),
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison under stable keys."""
    return {
        "suite": comparison.suite,
        "a": comparison.a,
        "b": comparison.b,
        "questions": comparison.questions,
        "figures": {group: [_row_json(row) for row in rows] for group, rows in comparison.rows.items()},
    }


def _row_json(row: Row) -> dict[str, Any]:
    change = row.difference
    return {
        "name": row.a.name,
        "a": figure_json(row.a),
        "b": figure_json(row.b),
        "difference": None if change is None else finite(change.value),
        "low": None if change is None else finite(change.low),
        "high": None if change is None else finite(change.high),
        "verdict": row.verdict,
    }
