"""The training loop: AdamW on an update of low rank, the best state kept, and the run's state on disk.

What a step learns from depends on the seed and the number of the step alone, so an interrupted run that goes on ends in
the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Protocol

from generalist.documents.network import Network, trained
from generalist.interruptions import Interrupted
from generalist.types import GeneralistError

if TYPE_CHECKING:
    import torch

LOOKS = 20
"""How often a run looks at the held-out questions."""
PATIENCE = 4
"""In its second half a run ends when so many looks in a row brought nothing better."""
_WARM = 0.05
_LAST_RATE = 0.1
"""Of the highest learning rate, at the end."""
_LONGEST_GRADIENT = 1.0
_TIMED = 3
"""Steps that are timed, behind one that is not."""


class Objective(Protocol):
    """What is learnt. Both are to be called under :func:`autocast`."""

    def loss(self, step: int) -> torch.Tensor:
        """Of the examples of a step."""
        ...

    def look(self) -> float:
        """How well held-out questions go; more is better, nan where there are none. Keeps no gradients."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """``learning_rate``: the highest; it rises, and falls along a cosine."""

    steps: int
    learning_rate: float

    def rate(self, step: int) -> float:
        warm = max(1, round(_WARM * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        fallen = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))
        return self.learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * fallen)

    @property
    def every(self) -> int:
        """Steps between two looks."""
        return max(1, self.steps // LOOKS)


class Fit:
    """An update under way. ``history``: (step, quality) of every look."""

    def __init__(self, network: Network, objective: Objective, schedule: Schedule) -> None:
        import torch

        self.network, self.objective, self.schedule = network, objective, schedule
        self.parameters = trained(network)
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=schedule.learning_rate, weight_decay=0.01)
        self.step = 0
        self.best = self._weights()
        self.history: list[tuple[int, float]] = []

    def run(
        self,
        state: Path,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        notice: Callable[[int, float], object] = lambda step, loss: None,
    ) -> None:
        """Learn to the end, from where ``state`` stands if it is there; then the best weights are in the network.

        ``notice`` is told of every step and its loss. Raises :class:`Interrupted`, with the state saved, and
        :class:`GeneralistError` when a step is not finite.
        """
        if state.exists():
            self._restore(state)
        while not self.ended:
            if interrupted():
                self._save(state)
                raise Interrupted(f"interrupted after step {self.step} of {self.schedule.steps}; what is done is saved")
            notice(self.step + 1, self._learn())
            if self.step % self.schedule.every == 0 or self.step == self.schedule.steps:
                self._look()
                self._save(state)
        self._put(self.best)

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or nothing has become better for long."""
        found = [quality for _, quality in self.history]
        since = len(found) - 1 - found.index(max(found)) if found and not math.isnan(found[0]) else 0
        return self.step >= self.schedule.steps or (2 * self.step > self.schedule.steps and since >= PATIENCE)

    def _learn(self) -> float:
        import torch

        self.network.model.train()
        with autocast(self.network):
            loss = self.objective.loss(self.step)
        loss.backward()
        value = float(loss.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), _LONGEST_GRADIENT))
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise GeneralistError(
                f"step {self.step} is not finite (loss {value:.4g}, gradient {norm:.4g}); use a lower --learning-rate"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return value

    def _look(self) -> None:
        self.network.model.eval()
        with autocast(self.network):
            quality = self.objective.look()
        if not self.history or math.isnan(quality) or quality > max(value for _, value in self.history):
            self.best = self._weights()
        self.history.append((self.step, quality))

    # --- state ---

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: one.detach().clone() for name, one in self.parameters.items()}

    def _put(self, weights: dict[str, Any]) -> None:
        import torch

        self.network.model.eval()
        with torch.no_grad():
            for name, one in self.parameters.items():
                one.copy_(weights[name])

    def _save(self, path: Path) -> None:
        """The file is whole or not there."""
        import torch

        beside = path.with_name(f"{path.name}.part")
        content = {
            "step": self.step,
            "weights": self._weights(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        torch.save(content, beside)
        beside.replace(path)

    def _restore(self, path: Path) -> None:
        import torch

        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            self._put(content["weights"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.step, self.best, self.history = content["step"], content["best"], content["history"]
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            raise GeneralistError(
                f"{path}: cannot go on from this state; remove {path.parent} to begin anew"
            ) from error


def seconds_a_step(network: Network, objective: Objective) -> float:
    """How long a step takes on this machine now; nothing is learnt."""
    import torch

    network.model.train()
    began = 0.0
    for step in range(_TIMED + 1):
        if step == 1:
            began = time.perf_counter()
        with autocast(network):
            loss = objective.loss(step)
        torch.autograd.backward(loss)
    for one in trained(network).values():
        one.grad = None
    return max((time.perf_counter() - began) / _TIMED, 1e-3)


def autocast(network: Network) -> AbstractContextManager[Any]:
    """bfloat16 where the frozen weights are."""
    import torch

    model = network.model
    half = next(model.parameters()).dtype == torch.bfloat16
    return torch.autocast(model.device.type, torch.bfloat16, enabled=half)
