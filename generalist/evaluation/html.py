"""A result as one HTML file that needs nothing else: figures with their floors and intervals, the worst cases."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from generalist.evaluation.cases import Case, Figure, Measure, Result
from generalist.evaluation.pictures import Shown, show_case, worst_cases
from generalist.evaluation.report import answer_note, floor_note, interval, number, to_json, write_whole

Fetch: TypeAlias = Callable[[Collection[str]], Mapping[str, Case]]
"""Case ids -> those cases with their pictures; see :func:`~generalist.evaluation.pictures.pick_cases`."""

WORST = 6
"""Cases a group shows."""

_MEANINGS = {
    "box": "boxing the thing asked for",
    "mask": "segmenting the thing asked for",
    "point": "pointing to the thing asked for",
    "detect": "boxing everything",
    "absent": "noticing that the thing asked for is not there",
    "count": "counting",
    "choice": "yes or no, attributes, comparisons",
    "region_name": "naming what the user drew on",
    "region_mask": "segmenting what the user drew on",
    "region_except": "segmenting one of two things, the other one excluded by a point",
    "depth": "the distance of every pixel",
    "semantic": "a mask for every kind of thing",
    "panoptic": "a mask for every thing",
    "caption": "describing the picture",
    "dialogue": "the last answer of a conversation",
    "latency": "median seconds of a question: its share of a batch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A figure as a bar: ends of what is drawn in 0-100, and the same in words."""

    value: float
    low: float | None
    high: float | None
    floor: float | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """The cells of a figure."""

    name: str
    lower_is_better: bool
    value: str
    interval: str
    floor: str
    count: int
    bar: Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A group of figures and its worst cases; none where the figures are not ``judged`` case by case."""

    group: str
    meaning: str
    judged: bool
    rows: tuple[FigureRow, ...]
    worst: tuple[Shown, ...]


def to_html(
    result: Result,
    fetch: Fetch,
    *,
    measures: Mapping[str, Measure] | None = None,
    command: str = "",
    worst: int = WORST,
) -> str:
    """The page. Every word of the model and of the data is escaped by the template.

    ``fetch`` is called once, with the ids of the cases to show; those it does not know are left out. ``measures``:
    by group, by default all there are. ``command`` is what reproduces the result.
    """
    if measures is None:
        from generalist.evaluation.measures import MEASURES

        measures = MEASURES
    ranked = worst_cases(result, measures, worst)
    cases = fetch([case for group in ranked.values() for case, _ in group])
    judged = set(result.groups.values())
    sections = [
        Section(
            group=group,
            meaning=_MEANINGS.get(group, ""),
            judged=group in judged,
            rows=tuple(map(_row, figures)),
            worst=tuple(
                show_case(cases[case], result.outcomes[case], quality)
                for case, quality in ranked[group]
                if case in cases
            ),
        )
        for group, figures in result.figures.items()
    ]
    facts = to_json(result, command=command)
    page = _templates().get_template("page.html")
    return page.render(result=result, facts=facts, answers=answer_note(result), sections=sections)


def write_html(
    result: Result,
    path: str | os.PathLike[str],
    fetch: Fetch,
    *,
    measures: Mapping[str, Measure] | None = None,
    command: str = "",
    worst: int = WORST,
) -> None:
    """Write :func:`to_html` to ``path``; :class:`GeneralistError` when it cannot be written."""
    write_whole(Path(path), to_html(result, fetch, measures=measures, command=command, worst=worst))


def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _row(figure: Figure) -> FigureRow:
    return FigureRow(
        name=figure.name,
        lower_is_better=not figure.higher_is_better,
        value=number(figure.value),
        interval=interval(figure.low, figure.high),
        floor=floor_note(figure),
        count=figure.count,
        bar=_bar(figure),
    )


def _bar(figure: Figure) -> Bar:
    """Shares from 0 to 1 fill the scale; anything larger gets a scale of its own."""
    ends = [end for end in (figure.value, figure.low, figure.high, figure.floor) if end is not None]
    top = max((end for end in ends if math.isfinite(end)), default=1.0)
    scale = 100 if top <= 1 else 100 / (1.1 * top)

    def at(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else round(min(max(value * scale, 0), 100), 2)

    words = [f"{figure.name} {number(figure.value)}"]
    words += [] if figure.low is None else [f"95 % interval {interval(figure.low, figure.high)}"]
    words += [] if figure.floor is None else [f"floor {floor_note(figure)}"]
    value = at(figure.value)
    return Bar(
        value=0.0 if value is None else value,
        low=at(figure.low),
        high=at(figure.high),
        floor=at(figure.floor),
        words=", ".join(words),
    )
