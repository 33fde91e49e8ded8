"""One step of a run: read batches, move the weights, say what was learnt. The same on one process and on many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from generalist.training import agvm
from generalist.training.averaging import WeightAverage
from generalist.training.batches import CodeFiller
from generalist.training.examples import Batch
from generalist.training.losses import LOSS_WEIGHTS, TALLIES, loss_totals
from generalist.training.optimizers import MODULES, MuonAndAdamW
from generalist.training.recipe import Recipe
from generalist.training.schedule import location_sigma, rate_factor
from generalist.training.trainee import Trainee
from generalist.types import GeneralistError

_LONGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What one step was like, of all processes together.

    ``losses`` [losses] in the order of ``LOSS_WEIGHTS``; ``tallies`` [2, T] sums and counts of ``TALLIES``; both on
    the CPU. ``wishes``: how many processes wish for each of the things that :meth:`Learner.learn` was told.
    """

    losses: torch.Tensor
    tallies: torch.Tensor
    gradient_norm: float
    learning_rate: float
    factors: dict[str, float] = field(default_factory=dict)
    wishes: tuple[bool, ...] = ()


class Learner:
    """The model that is trained, spread over the processes as accelerate's configuration says."""

    def __init__(self, accelerator: Accelerator, recipe: Recipe, trainee: Trainee, filler: CodeFiller) -> None:
        self.accelerator, self.recipe = accelerator, recipe
        self.vocab = trainee.vocab
        self.filler = filler.to(accelerator.device).requires_grad_(False).eval()
        optimizer = MuonAndAdamW(trainee.named_parameters(), recipe.learning_rate)
        self.trainee, self.optimizer = accelerator.prepare(trainee, optimizer)
        trained = [p for p in self.trainee.parameters() if p.requires_grad]
        self.average = WeightAverage(trained, recipe.ema_decay) if recipe.ema else None
        self.factors = agvm.RateFactors(MODULES) if recipe.agvm else None

    def learn(self, step: int, batches: Sequence[Batch], wishes: Sequence[bool] = ()) -> Report:
        """Step number ``step``, counted from 0, from this process's batches; every process calls it.

        Raises :class:`GeneralistError`, before the weights move, when a loss or the gradient is not finite.
        """
        accelerator = self.accelerator
        # So that a resumed run draws the same numbers.
        torch.manual_seed((self.recipe.seed * 1_000_003 + step) * accelerator.num_processes + accelerator.process_index)
        batches = [{k: v.to(accelerator.device) for k, v in batch.items()} for batch in batches]
        measures = self._measures(step)
        results, first_half = self._backward(step, batches, halve=measures)
        second_half = self._second_half(first_half) if measures else {}
        parts = [torch.stack([r[name].flatten() for r in results]).sum(0) for name in ("losses", "tallies")]
        told = torch.tensor([float(wish) for wish in wishes], device=accelerator.device)
        numbers = accelerator.reduce(torch.cat([*parts, told]), "sum").cpu()
        losses, tallies, said = numbers.split([len(LOSS_WEIGHTS), 2 * len(TALLIES), len(told)])
        norm = float(accelerator.clip_grad_norm_(self.trainee.parameters(), _LONGEST_GRADIENT))
        if not (losses.isfinite().all() and math.isfinite(norm)):
            self._stop(step, losses, norm, batches, results)
        if self.factors is not None and measures:
            self.factors.update(first_half, second_half)
        rate = self.recipe.learning_rate * rate_factor(step, self.recipe)
        self._move(rate)
        return Report(
            losses=losses,
            tallies=tallies.view(2, -1),
            gradient_norm=norm,
            learning_rate=rate,
            factors=dict(self.factors.factors) if self.factors else {},
            wishes=tuple(bool(number) for number in said),
        )

    def _backward(
        self, step: int, batches: Sequence[Batch], *, halve: bool
    ) -> tuple[list[dict[str, torch.Tensor]], dict[str, list[torch.Tensor]]]:
        """Gradients of all batches; what the model says of each, and with ``halve`` the gradients of the first half."""
        accelerator = self.accelerator
        asked = torch.stack([loss_totals(batch, self.vocab.sizes.depth_grid) for batch in batches])
        totals = accelerator.reduce(asked.sum(0), "sum")
        sigma = location_sigma(step, self.recipe)
        results: list[dict[str, torch.Tensor]] = []
        first_half: dict[str, list[torch.Tensor]] = {}
        for number, batch in enumerate(batches, start=1):
            # Halves are those of the batches of all processes, or where each has only one, the processes themselves.
            joins = len(batches) > 1 if halve else number == len(batches)
            with nullcontext() if joins else accelerator.no_sync(self.trainee):
                result = self.trainee(batch, self.filler(batch), sigma, totals)
                # The wrappers take the mean of the processes; the totals are those of all.
                accelerator.backward(result["loss"] * accelerator.num_processes)
            results.append({name: result[name] for name in ("losses", "tallies")})
            if halve and number == len(batches) // 2:
                first_half = {m: [g.clone() for g in gradients] for m, gradients in self._gradients().items()}
        return results, first_half

    def _measures(self, step: int) -> bool:
        """Whether the noise of the gradients is estimated in this step."""
        return self.factors is not None and step >= self.recipe.warmup_steps and step % agvm.INTERVAL == 0

    def _second_half(self, first_half: dict[str, list[torch.Tensor]]) -> dict[str, list[torch.Tensor]]:
        """The rest of the gradients. Fills ``first_half`` from half of the processes where each had one batch only."""
        accelerator, gradients = self.accelerator, self._gradients()
        if not first_half:
            is_first = accelerator.process_index < accelerator.num_processes // 2
            for module, own in gradients.items():
                first_half[module] = accelerator.reduce([g * is_first for g in own], "mean")
                for mine, everyones in zip(own, accelerator.reduce(own, "mean"), strict=True):
                    mine.copy_(everyones)
        return {m: [g - f for g, f in zip(gradients[m], first_half[m], strict=True)] for m in gradients}

    def _gradients(self) -> dict[str, list[torch.Tensor]]:
        gradients: dict[str, list[torch.Tensor]] = {module: [] for module in MODULES}
        for group in self.optimizer.param_groups:
            gradients[group["module"]] += [p.grad for p in group["params"]]
        return gradients

    def _move(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * (self.factors.factors[group["module"]] if self.factors else 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()

    def _stop(
        self, step: int, losses: torch.Tensor, norm: float, batches: Sequence[Batch], results: list[dict[str, Any]]
    ) -> None:
        guilty = [b for b, r in zip(batches, results, strict=True) if not r["losses"].isfinite().all()]
        own = guilty if not losses.isfinite().all() else batches  # only the gradient is broken: any may be the cause
        scenes = gather_object(["/".join(map(str, numbers)) for b in own for numbers in b["scenes"].tolist()])
        said = ", ".join(f"{name} {float(loss):.4g}" for name, loss in zip(LOSS_WEIGHTS, losses, strict=True))
        raise GeneralistError(
            f"step {step} is not finite (losses: {said}; gradient {norm:.4g}) and was not taken; the last saved state "
            "is whole. Use a lower --learning-rate in another --out, or look at its scenes, here by the numbers that "
            f"compose them (seed/chunk/number/look): {' '.join(scenes)}"
        )
