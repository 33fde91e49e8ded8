"""The values that an evaluation is made of.

Stages: a suite yields cases -> the runner asks the model and keeps an outcome for each -> measures turn cases
and outcomes into figures -> a report shows figures beside their floors, and the worst cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from generalist.types import Grounded, ParseIssue, Sample


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A labelled question. ``group`` names what is measured on it: an entry of ``measures.MEASURES``."""

    id: str
    group: str
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a model answered: its clean text, what it drew, and how its reply left the grammar.

    ``finished``: it ended by itself, before the limit of tokens. ``error``: the question could not be asked at
    all (one line); then nothing was drawn. ``seconds``: of this case's share of its batch.
    """

    case: str
    text: str
    outputs: tuple[Grounded, ...] = ()
    issues: tuple[ParseIssue, ...] = ()
    finished: bool = True
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured number. ``low`` and ``high`` bound its 95 % bootstrap interval over cases.

    ``floor``: what a trivial answer reaches on the same cases, and ``floor_name`` which one ("mean depth image").
    """

    name: str
    value: float
    count: int
    higher_is_better: bool = True
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    floor_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """Figures of a group of cases.

    ``judge(case, outcome)`` -> what is kept of one case, plain numbers or arrays under names that
    ``combine(kept)`` knows; ``combine`` turns those of many cases (also resampled ones) into numbers by figure
    name, and must take any non-empty selection; a figure that this says nothing about is left out.
    ``quality(kept)`` orders cases for the list of the worst, in 0-1. ``floors(cases)`` -> figure name -> (name of
    the trivial answer, its value); ``own_floors(kept)``: those that start from the model's own answers, such as
    the ellipse in its box. ``counts(kept)``: on how many cases a figure rests, where that is not all of them.
    ``lower_is_better`` names figures such as AbsRel.
    """

    group: str
    judge: Callable[[Case, Outcome], Any]
    combine: Callable[[Sequence[Any]], dict[str, float]]
    quality: Callable[[Any], float]
    floors: Callable[[Sequence[Case]], dict[str, tuple[str, float]]] = field(default=lambda cases: {})
    own_floors: Callable[[Sequence[Any]], dict[str, tuple[str, float]]] = field(default=lambda kept: {})
    counts: Callable[[Sequence[Any]], dict[str, int]] = field(default=lambda kept: {})
    lower_is_better: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named set of cases. ``cases(limit)`` yields them in a fixed order, ``limit`` scenes or pictures at most."""

    name: str
    summary: str
    cases: Callable[[int | None], Iterator[Case]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """One model on one suite: ``figures`` by group; by case id, in the order of the cases, ``groups`` (the case's
    group), ``kept`` and ``outcomes``."""

    suite: str
    model: str
    engine: str
    figures: Mapping[str, tuple[Figure, ...]]
    groups: Mapping[str, str]
    kept: Mapping[str, object]
    outcomes: Mapping[str, Outcome]
    seconds: float
