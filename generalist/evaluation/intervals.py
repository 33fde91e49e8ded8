"""How far figures would move with other cases: the bootstrap (Efron 1979, "Bootstrap methods").

Cases are drawn again with replacement, as many as there are, and the figures computed anew; the middle 95 % of
what comes out is the interval. Draws depend on the seed and the number of cases alone, so an interval is the same
in every run, and two models can be compared on the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from generalist.types import GeneralistError

Combine = Callable[[Sequence[object]], Mapping[str, float]]
"""What is kept of cases -> figures by name; see ``cases.Measure``."""

RESAMPLES = 200
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``value`` = b - a; ``low`` and ``high`` bound its 95 % interval, None when there is one case only."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def bootstrap(
    kept: Sequence[object], combine: Combine, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Figure name -> (low, high), its 95 % percentile interval over cases.

    A resample in which a figure is undefined (NaN or missing) does not count for it. One case has no interval.
    """
    drawn: dict[str, list[float]] = {}
    for chosen in _resamples(len(kept), resamples, seed):
        for name, value in combine([kept[i] for i in chosen]).items():
            if math.isfinite(value):
                drawn.setdefault(name, []).append(value)
    return {name: _interval(values) for name, values in drawn.items()}


def paired(
    kept_a: Sequence[object],
    kept_b: Sequence[object],
    combine: Combine,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Figure name -> the difference b - a, with its interval over resamples that choose the same cases for both.

    ``kept_a`` and ``kept_b``: of the same cases, in the same order; :class:`GeneralistError` when they are not as
    many. Figures that are undefined for either are left out.
    """
    if len(kept_a) != len(kept_b):
        raise GeneralistError(f"{len(kept_a)} cases cannot be paired with {len(kept_b)}; compare the same cases")
    if not kept_a:
        return {}
    drawn: dict[str, list[float]] = {}
    for chosen in _resamples(len(kept_a), resamples, seed):
        changes = _subtract(combine([kept_a[i] for i in chosen]), combine([kept_b[i] for i in chosen]))
        for name, value in changes.items():
            drawn.setdefault(name, []).append(value)
    found: dict[str, Difference] = {}
    for name, value in _subtract(combine(kept_a), combine(kept_b)).items():
        low, high = _interval(drawn[name]) if name in drawn else (None, None)
        found[name] = Difference(value=value, low=low, high=high)
    return found


def _resamples(count: int, resamples: int, seed: int) -> Iterator[list[int]]:
    """Numbers of cases drawn with replacement; none from a single case, whose spread is unknown."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples if count > 1 else 0):
        yield rng.integers(count, size=count).tolist()


def _subtract(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    changes = {name: b[name] - value for name, value in a.items() if name in b}
    return {name: value for name, value in changes.items() if math.isfinite(value)}


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, _ENDS)
    return float(low), float(high)
