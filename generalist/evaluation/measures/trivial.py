"""Answers that need no model, whose figures are the floors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from generalist.evaluation.cases import Case, Outcome
from generalist.evaluation.measures.geometry import name
from generalist.types import Box, Grounded, Output, Sample
from generalist_datasets.world.masks import to_mask

WHOLE = Box(xyxy=(0.0, 0.0, 1.0, 1.0))
"""The whole picture."""

Floors = dict[str, tuple[str, float]]
Value = TypeVar("Value", bound=Hashable)


def answer(case: Case, text: str = "", *outputs: Output, label: str = "") -> Outcome:
    """An answer to a case."""
    grounded = (Grounded(label=label, span=(0, 0), image=0, ref=k, output=output) for k, output in enumerate(outputs))
    return Outcome(case=case.id, text=text, outputs=tuple(grounded))


def floors_of(
    title: str,
    cases: Sequence[Case],
    outcome: Callable[[Case], Outcome],
    judge: Callable[[Case, Outcome], Any],
    combine: Callable[[Sequence[Any]], Mapping[str, float]],
) -> Floors:
    """The figures of an answerer called ``title`` on ``cases``."""
    figures = combine([judge(case, outcome(case)) for case in cases]) if cases else {}
    return {figure: (title, value) for figure, value in figures.items()}


def commonest(values: Iterable[Value], default: Value) -> Value:
    """The value that is there most often, the first of several; ``default`` where there is none."""
    found = Counter(values).most_common(1)
    return found[0][0] if found else default


def commonest_label(samples: Iterable[Sample], default: str = "") -> str:
    """The label that most targets have."""
    return commonest((name(target.label) for sample in samples for target in sample.targets), default)


def whole_mask(shape: tuple[int, int]) -> Output:
    """A mask of all H x W pixels."""
    return to_mask(np.ones(shape, np.bool_))
