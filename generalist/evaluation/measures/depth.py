"""Depth: how far every pixel is from where it is said to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.trivial import Floors, answer, floors_of
from generalist.types import DepthMap, Grounded

ABS_REL, RMSE, D1 = "depth AbsRel", "depth RMSE m", "depth d1"

_FARTHEST = 1e4
"""Metres. What is said to be farther is taken to be there, so that sums stay finite."""
_RATIO = 1.25
_GRID = (96, 96)
"""(W, H) at which depth images of several sizes are averaged."""


def _judge(case: Case, outcome: Outcome) -> dict[str, float]:
    """``abs_rel``, ``rmse`` (metres) and ``d1`` over the pixels whose depth is known; empty where none is.

    No depth drawn counts as 0 everywhere: AbsRel 1, d1 0. A map of another size is stretched; one in relative
    units is first scaled so that its median is the truth's (Eigen et al. 2014 and after), which no map in metres is.
    """
    truth = _first_map(case.sample.targets)
    if truth is None:
        return {}
    true = _known_metres(truth)
    known = ~np.isnan(true)
    if not known.any():
        return {}
    said, true = _said(outcome, true)[known], true[known]
    ratio = np.maximum(said / true, true / np.maximum(said, 1e-9))
    return {
        "abs_rel": float(np.mean(np.abs(said - true) / true)),
        "rmse": float(np.sqrt(np.mean((said - true) ** 2))),
        "d1": float(np.mean(ratio < _RATIO)),
    }


def _first_map(outputs: Sequence[Grounded]) -> DepthMap | None:
    """The first depth map that is one."""
    maps = (item.output for item in outputs if isinstance(item.output, DepthMap))
    return next((found for found in maps if found.values.ndim == 2 and found.values.size), None)


def _known_metres(truth: DepthMap) -> np.ndarray:
    """float64 [H, W], NaN where nothing is known."""
    values = truth.values.astype(np.float64)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _said(outcome: Outcome, true: np.ndarray) -> np.ndarray:
    """float64 of the truth's shape; 0 where nothing was said, or no distance."""
    found = _first_map(outcome.outputs)
    if found is None:
        return np.zeros(true.shape)
    said = np.nan_to_num(found.values.astype(np.float64), nan=0.0, posinf=_FARTHEST, neginf=0.0)
    said = _stretched(np.clip(said, 0.0, _FARTHEST), true.shape[::-1])
    if found.unit == "relative":
        median = float(np.median(said[~np.isnan(true)]))
        said = said * (float(np.nanmedian(true)) / median) if median > 0 else said
    return said


def _stretched(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """float64 at ``size`` (W, H), bilinear."""
    if values.shape[::-1] == tuple(size):
        return values
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((size[0], size[1]), Image.Resampling.BILINEAR), np.float64)


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    """Means over cases, each over its pixels first."""
    known = [one for one in kept if one]
    names = {ABS_REL: "abs_rel", RMSE: "rmse", D1: "d1"}
    return {figure: float(np.mean([one[key] for one in known])) for figure, key in names.items()} if known else {}


def _floors(cases: Sequence[Case]) -> Floors:
    """One map for all: the mean logarithm of depth at each place of these very cases, which favours the floor."""
    mean = _mean_image([truth for case in cases if (truth := _first_map(case.sample.targets))])
    if mean is None:
        return {}
    return floors_of("mean depth image", cases, lambda case: answer(case, "", mean), _judge, _combine)


def _mean_image(maps: Sequence[DepthMap]) -> DepthMap | None:
    total, weight = np.zeros(_GRID[::-1]), np.zeros(_GRID[::-1])
    for one in maps:
        true = _known_metres(one)
        known = ~np.isnan(true)
        total += _stretched(np.where(known, np.log(np.where(known, true, 1.0)), 0.0), _GRID)
        weight += _stretched(known.astype(np.float64), _GRID)
    if not weight.any():
        return None
    everywhere = total.sum() / weight.sum()
    mean = np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), everywhere)
    return DepthMap(values=np.exp(mean).astype(np.float32))


DEPTH = Measure(
    group="depth",
    judge=_judge,
    combine=_combine,
    quality=lambda kept: float(kept["d1"]) if kept else 1.0,
    floors=_floors,
    lower_is_better=frozenset({ABS_REL, RMSE}),
)
