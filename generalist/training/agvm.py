"""AGVM: learning rates by module, so that all modules of a model meet the same gradient noise in large batches.

Xue, Liang, Song, Zong, Chen, Liu and Luo 2022, "Large-batch Optimization for Dense Visual Predictions" (NeurIPS):
backbone and heads of a dense predictor see gradients of different variance, the more so the larger the batch, and one
rate for all lets the noisier ones fall behind or diverge. Every few steps the variance of each module's gradient is
estimated from two halves of the batch as 1 - cos(first, second), and its learning rate becomes

    rate * sqrt(variance of the anchor / variance of the module)

where the anchor is the vision tower. Interval, momentum and bounds are those of the authors' code
(github.com/Sense-X/AGVM); as there, the factors start when the warm-up of the learning rate is over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor

ANCHOR = "vision"
INTERVAL = 5
_MOMENTUM = 0.97
_BOUNDS = (0.5, 10.0)
_LEAST = 1e-6

Gradients = Mapping[str, Sequence[torch.Tensor]]
"""Module -> its gradients, all of one half of a batch."""


def gradient_variance(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> float:
    """1 - cosine of the gradients that two halves of a batch give one module: 0 where they agree, 2 at most.

    Lists of tensors of equal shapes; shards of processes are put together. 1 where a gradient is 0 throughout.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True)]
    products = torch.stack([_whole((x * y).sum()) for a, b in pairs for x, y in ((a, b), (a, a), (b, b))])
    product, first_square, second_square = products.double().view(-1, 3).sum(0).tolist()
    length = math.sqrt(first_square * second_square)
    return 1 - product / length if length > 0 else 1.0


def rate_factors(variances: Mapping[str, float], anchor: str = ANCHOR) -> dict[str, float]:
    """Module -> square root of the anchor's variance over its own; the ratio is kept within 0.5 to 10."""
    low, high = _BOUNDS
    return {
        module: math.sqrt(min(high, max(low, (variances[anchor] + _LEAST) / (variance + _LEAST))))
        for module, variance in variances.items()
    }


class RateFactors:
    """The factors of a run, which follow the estimates slowly."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.factors = dict.fromkeys(modules, 1.0)

    def update(self, first: Gradients, second: Gradients) -> None:
        """Take in the gradients of the two halves of one batch."""
        found = rate_factors({module: gradient_variance(first[module], second[module]) for module in self.factors})
        for module, factor in found.items():
            self.factors[module] = _MOMENTUM * self.factors[module] + (1 - _MOMENTUM) * factor

    def state_dict(self) -> dict[str, Any]:
        return {"factors": dict(self.factors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factors = dict(state["factors"])


def _whole(number: torch.Tensor) -> torch.Tensor:
    return number.full_tensor() if isinstance(number, DTensor) else number
