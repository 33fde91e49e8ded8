"""What changes in the course of a run: the learning rate, and how sharp the targets of locations are."""

from __future__ import annotations

import math

from generalist.training.recipe import Recipe

_SIGMA = (6.0, 1.5)
_SIGMA_UNTIL = 0.2
_LAST_RATE = 0.02


def rate_factor(step: int, recipe: Recipe) -> float:
    """The learning rate of a step, as a part of the highest: warm-up, held, then a fall to 2 %.

    The fall is a straight line, or half a cosine (Loshchilov and Hutter 2017, "SGDR").
    """
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    fallen = max(0.0, (step / recipe.steps - recipe.hold) / (1 - recipe.hold))
    if recipe.schedule == "linear":
        return warm * max(_LAST_RATE, 1 - fallen)
    return warm * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * fallen)) / 2)


def location_sigma(step: int, recipe: Recipe) -> float:
    """Spread of location targets in bins: wide at first, so that every bin near the truth is rewarded."""
    first, last = _SIGMA
    if recipe.start:
        return last
    return max(last, first - (first - last) * step / (_SIGMA_UNTIL * recipe.steps))
