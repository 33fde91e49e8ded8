"""What decides the outcome of a training run, and the schedules that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

BATCHES_A_CHUNK = 8
_SIGMA = (6.0, 1.5)
_SIGMA_UNTIL = 0.2
_DECAY_FROM = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a run gives."""

    images: int
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    warmup_steps: int = 60
    seed: int = 0
    soft_masks: float = 0.1
    looks: int = 0
    """Further scenes in every batch that only the vision tower sees: they teach it names, boxes and depth at a
    fraction of the cost of a scene with questions."""
    start: str = ""
    """The checkpoint that is gone on from; from nothing when empty."""

    @property
    def chunks(self) -> int:
        """Scenes are composed in chunks of several batches, sorted by length to save padding."""
        return max(1, self.images // (self.batch_size * BATCHES_A_CHUNK))

    @property
    def steps(self) -> int:
        return self.chunks * BATCHES_A_CHUNK


def rate_factor(step: int, recipe: Recipe) -> float:
    """Warm-up, constant, then linear decay over the last part of the run."""
    progress = step / recipe.steps
    return min(1.0, (step + 1) / recipe.warmup_steps) * max(0.02, min(1.0, (1 - progress) / (1 - _DECAY_FROM)))


def location_sigma(step: int, recipe: Recipe) -> float:
    """Spread of location targets in bins: wide at first, so that every bin near the truth is rewarded."""
    first, last = _SIGMA
    if recipe.start:
        return last
    return max(last, first - (first - last) * step / (_SIGMA_UNTIL * recipe.steps))
