from __future__ import annotations

import math

import numpy as np
import pytest

from generalist.evaluation.measures.calibration import always_sure, calibration, expected_calibration_error


def test_of_what_is_half_sure_half_is_right() -> None:
    assert expected_calibration_error([0.5] * 4, [True, False, True, False]) == 0
    assert expected_calibration_error([0.9] * 4, [True, False, True, False]) == pytest.approx(0.4)


def test_gaps_count_within_bins_and_by_the_size_of_the_bin() -> None:
    # Over all, score and accuracy agree; bin by bin they do not: |0.2 - 1| for two, |0.8 - 0.5| for two.
    scores, right = [0.2, 0.2, 0.8, 0.8], [True, True, True, False]
    assert expected_calibration_error(scores, right, bins=2) == pytest.approx((2 * 0.8 + 2 * 0.3) / 4)
    assert expected_calibration_error(scores, right, bins=1) == pytest.approx(abs(0.5 - 0.75))


def test_bins_are_closed_above() -> None:
    assert expected_calibration_error([0.5, 0.4], [True, False], bins=2) == pytest.approx(abs(0.9 - 1) / 2)
    assert expected_calibration_error([0.0, 1.0], [False, True]) == 0


def test_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    scores, right = rng.random(500), rng.random(500) < 0.6
    error = 0.0
    for low in np.arange(15) / 15:
        chosen = (scores > low) & (scores <= low + 1 / 15)
        error += chosen.mean() * abs(right[chosen].mean() - scores[chosen].mean())
    assert expected_calibration_error(list(scores), list(right)) == pytest.approx(error)


def test_without_scores_there_is_no_error() -> None:
    assert math.isnan(expected_calibration_error([], []))
    assert calibration("ECE", [{"scores": [], "right": []}]) == {} == always_sure("ECE", [{"scores": [], "right": []}])


def test_the_floor_is_to_be_always_sure() -> None:
    kept = [{"scores": [0.5, 0.5], "right": [True, False]}, {"scores": [0.5, 0.5], "right": [False, True]}]
    assert calibration("ECE", kept) == {"ECE": 0.0}
    assert always_sure("ECE", kept) == {"ECE": ("every score 1", 0.5)}
