"""Intervals over cases: what they cover, what they leave out, and that they are the same every time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from generalist.evaluation.intervals import bootstrap, paired
from generalist.types import GeneralistError


def mean(kept: Sequence[Any]) -> Mapping[str, float]:
    return {"mean": float(np.mean(kept))}


def test_an_interval_is_that_of_the_normal_theory() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400).tolist()
    low, high = bootstrap(values, mean, resamples=1000)["mean"]
    margin = 1.96 * np.std(values) / math.sqrt(len(values))
    assert low == pytest.approx(np.mean(values) - margin, abs=0.03)
    assert high == pytest.approx(np.mean(values) + margin, abs=0.03)


def test_the_same_seed_draws_the_same_cases() -> None:
    values = list(range(30))
    assert bootstrap(values, mean) == bootstrap(values, mean)
    assert bootstrap(values, mean, seed=1) != bootstrap(values, mean)


def test_resamples_in_which_a_figure_is_undefined_do_not_count() -> None:
    def share_of_large(kept: Sequence[Any]) -> dict[str, float]:
        large = [k for k in kept if k > 0]
        return {
            "share": float(np.mean(large)) if large else math.nan,
            "never": math.nan,
            **({"some": 2.0} if large else {}),
        }

    found = bootstrap([0, 0, 0, 1], share_of_large)
    assert found == {"share": (1.0, 1.0), "some": (2.0, 2.0)}


@pytest.mark.parametrize("kept", [[], [3.0]])
def test_fewer_than_two_cases_have_no_interval(kept: list[float]) -> None:
    assert bootstrap(kept, mean) == {}


def test_a_paired_difference_is_far_narrower_than_the_spread_of_the_cases() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(0, 10, 100)
    b = a + 0.5 + rng.normal(0, 0.1, 100)
    found = paired(a.tolist(), b.tolist(), mean)["mean"]
    assert found.value == pytest.approx(0.5, abs=0.05)
    assert found.low is not None and found.high is not None and 0.4 < found.low < found.value < found.high < 0.6
    assert found.is_clear
    assert not paired(a.tolist(), rng.permutation(a).tolist(), mean)["mean"].is_clear


def test_a_model_does_not_differ_from_itself() -> None:
    found = paired([1.0, 2.0, 5.0], [1.0, 2.0, 5.0], mean)["mean"]
    assert (found.value, found.low, found.high, found.is_clear) == (0.0, 0.0, 0.0, False)


def test_one_pair_has_a_difference_without_an_interval() -> None:
    found = paired([1.0], [3.0], mean)["mean"]
    assert (found.value, found.low, found.high, found.is_clear) == (2.0, None, None, False)


def test_a_figure_that_is_undefined_for_one_of_the_two_is_left_out() -> None:
    def defined_above_zero(kept: Sequence[Any]) -> dict[str, float]:
        return {"mean": float(np.mean(kept)), "log": math.log(np.mean(kept)) if np.mean(kept) > 0 else math.nan}

    assert set(paired([-1.0, -2.0], [1.0, 2.0], defined_above_zero)) == {"mean"}
    assert paired([], [], mean) == {}


def test_different_numbers_of_cases_cannot_be_paired() -> None:
    with pytest.raises(GeneralistError, match="2 cases cannot be paired with 1"):
        paired([1.0, 2.0], [1.0], mean)
