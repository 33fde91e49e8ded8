"""What a run learns from, and how long and how fast it does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from generalist_adapters.finetune.augment import Augmentation
from generalist_adapters.finetune.pictures import Picture
from generalist_adapters.finetune.replay import Replay

_WARMUP = 20
_LAST_RATE = 0.02
_WATCHES = 10
"""How often a run is watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast. ``replay``: the share of the images that are scenes of the base's world."""

    steps: int
    batch_size: int
    learning_rate: float
    replay: float
    seed: int
    precision: str
    augmentation: Augmentation = field(default_factory=Augmentation)

    def rate(self, step: int) -> float:
        """The learning rate of a step: a warm-up, then half a cosine down to 2 %."""
        warm = min(1.0, (step + 1) / min(_WARMUP, self.steps))
        return (
            self.learning_rate
            * warm
            * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * step / self.steps)) / 2)
        )

    @property
    def replayed(self) -> int:
        """Scenes a batch."""
        return round(self.replay * self.batch_size)

    @property
    def watch_every(self) -> int:
        """Steps."""
        return max(1, self.steps // _WATCHES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What is learnt from. ``classes``: names that may be asked for though they are not there."""

    pictures: Sequence[Picture]
    classes: tuple[str, ...]
    tasks: tuple[str, ...]
    replay: Replay | None
