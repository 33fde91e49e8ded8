"""Whether scores can be believed: of what a model is 80 % sure of, 80 % should be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 15


def expected_calibration_error(scores: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks"), 0-1.

    The mean, over what was scored, of the gap between score and accuracy within ``bins`` bins of equal width, each
    closed above. ``scores`` in 0-1; nan without any.
    """
    if not len(scores):
        return float("nan")
    sure, correct = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    bin_of = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=sure - correct, minlength=bins)).sum() / len(sure))


def calibration(figure: str, kept: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The error over the ``scores`` and ``right`` of cases, as a figure; none where nothing was drawn."""
    scores, right = _all(kept, "scores"), _all(kept, "right")
    return {figure: expected_calibration_error(scores, right)} if scores else {}


def always_sure(figure: str, kept: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, float]]:
    """The floor of :func:`calibration`: the same drawings with a score of 1 each."""
    right = _all(kept, "right")
    error = expected_calibration_error([1.0] * len(right), right)
    return {figure: ("every score 1", error)} if right else {}


def _all(kept: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [value for one in kept for value in one[key]]
