"""Where a training run stands, whatever is trained: its optimizer, its best state, and how it goes on.

What a step learns from depends on the seed and the number of the step alone, so that an interrupted run that goes on
ends in the same adapter, bit for bit, as one that was never interrupted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from generalist.training.averaging import WeightAverage
from generalist.training.run import Interrupted, give_memory_back
from generalist.types import GeneralistError
from generalist_adapters.attached import Attached
from generalist_adapters.finetune.schedule import Material, Schedule

_LONGEST_GRADIENT = 1.0
_AVERAGE = 0.98
_NEARLY = 0.02
"""Scores of a few pictures are chance within this much: of states as good, the last is kept."""
_PATIENCE = 5
"""In the second half a run ends early when so many looks in a row brought no better score. The base's score does not
count: whatever is new is first learnt at the cost of the rest."""
_TRIM_EVERY = 10
"""Steps."""


class Standing(ABC):
    """A run of AdamW over what ``attached`` trains; what a step learns from is the subclass's business."""

    def __init__(self, attached: Attached, material: Material, schedule: Schedule) -> None:
        self.attached, self.material, self.schedule = attached, material, schedule
        self.parameters = list(attached.parameters().values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=schedule.learning_rate, betas=(0.9, 0.98),
                                           weight_decay=0.01)  # fmt: skip
        # An average over most of a short run would hold what it began with.
        self.average = WeightAverage(self.parameters, max(0.0, min(_AVERAGE, 1 - 10 / schedule.steps)))
        self.step = 0
        self.best: dict[str, Any] = {"score": -math.inf, "step": 0, "state": attached.state_dict()}
        self.highest = -math.inf
        self.losses: list[float] = []
        """Of the steps since the last look."""
        self.history: list[dict[str, float]] = []

    @abstractmethod
    def descend(self) -> float:
        """The loss of this step, with its gradients in the parameters."""

    @abstractmethod
    def describe(self) -> Iterator[str]:
        """Lines that say what is trained, and on what."""

    def learn(self) -> float:
        """One step; its loss. Raises :class:`GeneralistError` when it is not finite, before the weights move."""
        torch.manual_seed(self.schedule.seed * 1_000_003 + self.step)  # so that a resumed run drops the same units
        value = self.descend()
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, _LONGEST_GRADIENT))
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise GeneralistError(
                f"step {self.step} is not finite (loss {value:.4g}, gradient {norm:.4g}); use a lower --learning-rate"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()
        self.step += 1
        self.losses.append(value)
        if self.step % _TRIM_EVERY == 0:
            give_memory_back()
        return value

    def picture(self, place: int) -> int:
        """The number of the picture that is learnt from in a place of the run: a new order every time round."""
        count = len(self.material.pictures)
        lap, number = divmod(place, count)
        return int(np.random.default_rng([self.schedule.seed, lap]).permutation(count)[number])

    # --- where it stands ---

    def look(self, score: float | None) -> None:
        """Note how good the averaged weights are (None: nobody looked), and keep them if they are as good as any."""
        entry: dict[str, float] = {"step": self.step}
        if self.losses:
            entry |= {"loss": round(float(np.mean(self.losses)), 6), "rate": self.schedule.rate(self.step)}
            self.losses.clear()
        self.history.append(entry if score is None else {**entry, "score": round(score, 6)})
        if score is None or score >= self.highest - _NEARLY:
            self.best = {"score": score, "step": self.step, "state": self.attached.state_dict()}
        if score is not None:
            self.highest = max(self.highest, score)

    @property
    def ended(self) -> bool:
        scores = [entry["score"] for entry in self.history[1:] if "score" in entry]
        since = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
        late = 2 * self.step > self.schedule.steps
        return self.step >= self.schedule.steps or (late and since >= _PATIENCE)

    def save(self, path: Path) -> None:
        """Everything that :meth:`restore` goes on from; the file is whole or not there."""
        beside = path.with_name(f"{path.name}.part")
        torch.save(
            {
                "step": self.step,
                "trained": self.attached.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict(),
                "best": self.best,
                "highest": self.highest,
                "losses": self.losses,
                "history": self.history,
            },
            beside,
        )
        beside.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.attached.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        for name in ("step", "best", "highest", "losses", "history"):
            setattr(self, name, state[name])


def fit(
    trainer: Standing,
    path: Path,
    watch: Callable[[], float] | None,
    *,
    interrupted: Callable[[], bool] = lambda: False,
    notice: Callable[[Standing, float], object] = lambda trainer, loss: None,
) -> None:
    """Train to the end, from wherever the run stands, and leave the best state in the adapter.

    Args:
        trainer: the run.
        path: where its state is kept, and gone on from if it is there.
        watch: how good the adapter is on pictures that are not learnt from; the last state is kept without it.
        interrupted: asked behind every step; then the state is saved and :class:`Interrupted` raised.
        notice: told of every step and its loss.
    """
    if path.exists():
        trainer.restore(path)
    else:
        trainer.look(None if watch is None else watch())
    while not trainer.ended:
        notice(trainer, trainer.learn())
        if trainer.step % trainer.schedule.watch_every == 0 or trainer.step == trainer.schedule.steps:
            with trainer.average.in_place():
                trainer.look(None if watch is None else watch())
            trainer.save(path)
        if interrupted() and not trainer.ended:
            trainer.save(path)
            raise Interrupted(f"interrupted after step {trainer.step} of {trainer.schedule.steps}; the state is saved")
    trainer.attached.load_state_dict(trainer.best["state"])
    trainer.attached.set_task(None)
