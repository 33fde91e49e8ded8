"""What can be chosen about a method of adapting, checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from generalist.adapter_spec import MAX_RANK
from generalist.types import GeneralistError

PARTS: dict[str, str] = {
    "vision": "model.vision_tower",
    "projector": "model.projector",
    "language": "model.language_model",
}
"""Parts of the model that can be adapted -> where they are in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodConfig:
    """The options of all methods; a method reads those that concern it.

    ``rank``: of ``lora``. ``shared_rank``, ``task_rank``: of ``mtlora``. ``scale``: what a low-rank update is
    multiplied by (PEFT's ``lora_alpha / r``). ``dropout``: of what enters an update, 0-1. ``targets``: names of
    ``PARTS``. ``patch_merging``: whether ``mtlora`` also adapts the layers between stages (MTLoRA+).
    ``side_width``: channels of the finest stage of ``side``.

    ``train_norms``, ``train_embeddings``: also train the targets' own norms, or their embeddings (token, patch,
    position; position bias). These are no low-rank updates: such an adapter cannot be saved as LoRA, only merged.

    Raises :class:`GeneralistError` for a value that makes no sense.
    """

    rank: int = 16
    shared_rank: int = 16
    task_rank: int = 4
    scale: float = 2.0
    dropout: float = 0.05
    targets: tuple[str, ...] = tuple(PARTS)
    patch_merging: bool = True
    side_width: int = 32
    train_norms: bool = False
    train_embeddings: bool = False

    def __post_init__(self) -> None:
        for name in ("rank", "shared_rank", "task_rank"):
            _check_whole(name, getattr(self, name), 1, MAX_RANK)
        if (together := self.shared_rank + self.task_rank) > MAX_RANK:  # a task is saved as one LoRA
            raise GeneralistError(f"shared_rank and task_rank are {together} together; use {MAX_RANK} at most")
        _check_whole("side_width", self.side_width, 8, 1024)
        if self.side_width % 8:
            raise GeneralistError(f"side_width is {self.side_width}; use a multiple of 8")
        if not (isinstance(self.scale, int | float) and math.isfinite(self.scale) and self.scale > 0):
            raise GeneralistError(f"scale is {self.scale!r}; use a number above 0")
        if not (isinstance(self.dropout, int | float) and 0 <= self.dropout < 1):
            raise GeneralistError(f"dropout is {self.dropout!r}; use 0 or more, below 1")
        if isinstance(self.targets, str) or not self.targets or len(set(self.targets)) < len(self.targets):
            raise GeneralistError(f"targets is {self.targets!r}; use one or more of {', '.join(PARTS)}, each once")
        for target in self.targets:
            if target not in PARTS:
                raise GeneralistError(f"targets holds {target!r}; use {', '.join(PARTS)}")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise GeneralistError(f"{name} is {value!r}; use a whole number from {low} to {high}")
