"""Asked for what is not there: is it denied, and is what is there not?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.trivial import WHOLE, Floors, answer, floors_of

DENIED, RECALL = "'not there' accuracy", "recall of what is there"


def _judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``absent``: what is asked for is not there; ``right``: nothing was drawn if so, and something if not.

    A reply that was cut short, left the grammar or could not be had denies nothing.
    """
    absent = bool(case.sample.meta.get("negative", not case.sample.targets))
    whole = outcome.finished and not outcome.issues and not outcome.error
    return {"absent": absent, "right": whole and not outcome.outputs if absent else bool(outcome.outputs)}


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for figure, absent in ((DENIED, True), (RECALL, False)):
        right = [one["right"] for one in kept if one["absent"] is absent]
        if right:
            figures[figure] = float(np.mean(right))
    return figures


def _counts(kept: Sequence[Any]) -> dict[str, int]:
    absent = sum(one["absent"] for one in kept)
    return {DENIED: absent, RECALL: len(kept) - absent}


def _floors(cases: Sequence[Case]) -> Floors:
    """Who always draws denies nothing; who never draws recalls nothing."""
    drawn = floors_of("always there", cases, lambda case: answer(case, "", WHOLE), _judge, _combine)
    denied = floors_of("never there", cases, lambda case: answer(case, ""), _judge, _combine)
    return {figure: floor for floors, figure in ((drawn, DENIED), (denied, RECALL)) if (floor := floors.get(figure))}


ABSENT = Measure(
    group="absent",
    judge=_judge,
    combine=_combine,
    quality=lambda kept: float(kept["right"]),
    floors=_floors,
    counts=_counts,
)
