"""What decides the outcome of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from generalist.types import GeneralistError

BATCHES_A_CHUNK = 8

Shape = Literal["cosine", "linear"]
Precision = Literal["bf16", "no"]

_SHORTEST_AVERAGE = 20
"""The moving average of the weights looks back on at most one part in so many of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a run gives.

    A *batch* is what one process reads at once; an optimizer step learns from ``accumulate`` batches of each of
    ``processes``. Scenes are composed in chunks of several batches, sorted by length to save padding; process r
    learns from the chunks r, r + processes, r + 2 processes ..., so their number belongs to the run.
    """

    images: int
    batch_size: int = 16
    accumulate: int = 1
    processes: int = 1
    learning_rate: float = 1.5e-3
    schedule: Shape = "cosine"
    hold: float = 0.4
    """The share of the run before the learning rate falls, warm-up included."""
    warmup_steps: int = 60
    ema: float = 0.999
    """Decay of the moving average of the weights, which is what is exported; 0 for none. See :attr:`ema_decay`."""
    agvm: bool = False
    """Scale the learning rate of every module by the noise of its gradients (:mod:`generalist.training.agvm`)."""
    precision: Precision = "bf16"
    seed: int = 0
    soft_masks: float = 0.1
    looks: int = 0
    """Further scenes in every batch that only the vision tower sees: they teach it names, boxes and depth at a
    fraction of the cost of a scene with questions."""
    start: str = ""
    """The checkpoint that is gone on from; from nothing when empty."""
    new_tokenizer: bool = False
    """Go on with a tokenizer for today's names; see :mod:`generalist.training.retokenize`."""

    @property
    def chunks(self) -> int:
        """Of all processes together; each gets the same number."""
        of_each = self.images // (self.batch_size * BATCHES_A_CHUNK * self.processes)
        return of_each * self.processes

    @property
    def steps(self) -> int:
        """Steps of the optimizer; what is left over after the last whole one is not learnt from."""
        return self.chunks // self.processes * BATCHES_A_CHUNK // self.accumulate

    @property
    def images_a_step(self) -> int:
        return self.batch_size * self.accumulate * self.processes

    @property
    def ema_decay(self) -> float:
        """``ema``, or less in a short run: an average over most of a run would hold what it began with."""
        return max(0.0, min(self.ema, 1 - _SHORTEST_AVERAGE / self.steps))


def check_recipe(recipe: Recipe) -> None:
    """Raises :class:`GeneralistError` when a run of this recipe makes no sense; names the options of the program."""
    whole = {"--batch-size": (recipe.batch_size, 1), "--accumulate": (recipe.accumulate, 1), "--seed": (recipe.seed, 0),
             "--looks": (recipe.looks, 0), "--warmup-steps": (recipe.warmup_steps, 0)}  # fmt: skip
    for option, (number, least) in whole.items():
        if number < least:
            raise GeneralistError(f"{option} is {number}; use {least} or more")
    if not 0 < recipe.learning_rate < math.inf:
        raise GeneralistError(f"--learning-rate is {recipe.learning_rate}; use a number above 0, such as 0.0015")
    for option, share in (("--hold", recipe.hold), ("--ema", recipe.ema)):
        if not 0 <= share < 1:
            raise GeneralistError(f"{option} is {share}; use 0 or more, and less than 1")
    for option, word, kinds in (("--schedule", recipe.schedule, Shape), ("--precision", recipe.precision, Precision)):
        if word not in get_args(kinds):
            raise GeneralistError(f"{option} is {word!r}; use {' or '.join(get_args(kinds))}")
    # Every process needs a chunk, and enough of them for one step.
    chunks = -(-recipe.accumulate // BATCHES_A_CHUNK)
    least = recipe.batch_size * BATCHES_A_CHUNK * recipe.processes * chunks
    if recipe.images < least:
        raise GeneralistError(
            f"--images is {recipe.images}; scenes are composed {BATCHES_A_CHUNK} batches at a time, so use {least} or "
            "more, or a smaller --batch-size"
        )
    if recipe.agvm and recipe.accumulate * recipe.processes == 1:
        raise GeneralistError("--agvm compares the halves of a batch; add --accumulate 2 or more, or start processes")
