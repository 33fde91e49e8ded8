"""A moving average of the weights: often better than the last ones, and less a matter of chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Exponential moving average of parameters (Polyak and Juditsky 1992), of this process's part of each.

    The first averages look back on a few steps only: decay (1 + n) / (10 + n) in step n, until that is ``decay``.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float) -> None:
        self.decay, self.count = decay, 0
        self.parameters = list(parameters)
        self.averages = [p.clone() for p in self._current()]

    def update(self) -> None:
        """Behind a step of the optimizer."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        get_ema_multi_avg_fn(decay)(self.averages, self._current(), self.count)
        self.count += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the parameters are their averages."""
        kept = [p.clone() for p in self._current()]
        torch._foreach_copy_(self._current(), self.averages)
        try:
            yield
        finally:
            torch._foreach_copy_(self._current(), kept)

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self.averages, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        torch._foreach_copy_(self.averages, state["averages"])

    def _current(self) -> list[torch.Tensor]:
        return [local(p.detach()) for p in self.parameters]


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What of a tensor is here: all of it, or this process's shard under FSDP."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
