"""LoRA of linear layers through peft: ``h = W x + scale * B A x`` (Hu et al., LoRA, 2021).

:class:`PeftAttached` serves every method whose update is a sum of such terms: each task has a few named sets of them,
which act together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer, LoraModel
from torch import nn

from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError
from generalist_adapters.attached import Attached, SpecFields, seeded
from generalist_adapters.base_weights import BaseWeights
from generalist_adapters.config import MethodConfig
from generalist_adapters.layers import linear_layers
from generalist_adapters.peft_folder import write_lora

_LONGEST_NAME = 64  # of an adapter


class Lora:
    """One low-rank update for all tasks, of every linear layer of the targets."""

    name = "lora"
    merges = True

    def attach(
        self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str], seed: int
    ) -> Attached:
        """See :class:`~generalist_adapters.methods.Method`."""
        layers = [layer.name for part in config.targets for layer in linear_layers(model, part)]
        return PeftAttached(
            model, config, tasks, seed, method=self.name, sets={"lora": (config.rank, layers)}, by_task=False
        )


class PeftAttached(Attached):
    """Low-rank updates as peft's layers inside the model.

    ``sets``: name -> rank, and the layers that it changes. The first acts always; with ``by_task`` so does the one
    with a task's own name while :meth:`set_task` has chosen that task, and every task is saved by itself.
    """

    def __init__(
        self,
        model: GeneralistForConditionalGeneration,
        config: MethodConfig,
        tasks: Sequence[str],
        seed: int,
        *,
        method: str,
        sets: Mapping[str, tuple[int, Sequence[str]]],
        by_task: bool,
    ) -> None:
        super().__init__(model, config, tasks)
        self._method, self._by_task = method, by_task
        self._ranks = {name: rank for name, (rank, _) in sets.items()}
        self._tuner = _inject(model, config, sets, seed)
        self._layers = {name: m for name, m in model.named_modules() if isinstance(m, LoraLayer)}
        self._base = BaseWeights.of_options(model, config)
        self.set_task(None)

    def parameters(self) -> dict[str, nn.Parameter]:
        inside = {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if ".lora_A." in name or ".lora_B." in name
        }
        return {**inside, **self._base.parameters}

    def set_task(self, task: str | None) -> None:
        super().set_task(task)
        active = self._active(task)
        for layer in self._layers.values():
            layer.set_adapter([name for name in active if name in layer.lora_A])
            # peft freezes what does not act; the optimizer holds the parameters of all tasks.
            for matrices in (layer.lora_A, layer.lora_B):
                matrices.requires_grad_(True)

    def _active(self, task: str | None) -> list[str]:
        first = next(iter(self._ranks))
        return [first, set_name(task)] if self._by_task and task is not None else [first]

    def check_saveable(self) -> None:
        self._base.check_none("saved as LoRA")

    def save(self, folder: str | Path, spec_fields: SpecFields) -> list[Path]:
        """One folder; with updates by task one for each, ``folder/TASK``, named ``NAME-TASK``.

        What is written is plain LoRA of one rank, which peft and vLLM load: the matrices A of a task's sets are
        stacked, the matrices B stand side by side, and what a layer lacks is zero.
        """
        self.check_saveable()
        folder = Path(folder)
        if not self._by_task:
            return [write_lora(folder, self.update(None), self._method, spec_fields, self.tasks)]
        written = []
        for task in self.tasks:
            name = f"{spec_fields['name'][: _LONGEST_NAME - len(task) - 1]}-{task}"
            fields = SpecFields(**{**spec_fields, "name": name})
            written.append(write_lora(folder / task, self.update(task), self._method, fields, (task,)))
        return written

    def update(self, task: str | None) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Layer -> A [r, in] and B [out, r] of what acts for ``task``, scaled, r the same in all layers."""
        return {name: self._stacked(layer, self._active(task)) for name, layer in self._layers.items()}

    def _stacked(self, layer: LoraLayer, active: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        down, up = [], []
        for name in active:
            if name in layer.lora_A:
                down.append(layer.lora_A.get_parameter(f"{name}.weight").detach())
                up.append(layer.lora_B.get_parameter(f"{name}.weight").detach() * layer.scaling[name])
            else:
                down.append(down[0].new_zeros(self._ranks[name], down[0].shape[1]))
                up.append(up[0].new_zeros(up[0].shape[0], self._ranks[name]))
        return torch.cat(down), torch.cat(up, dim=1)

    def detach(self) -> None:
        self._tuner.unload()
        self._base.restore()
        self._end()

    def merge(self) -> GeneralistForConditionalGeneration:
        if self._by_task and self.task is None and len(self.tasks) > 1:
            raise GeneralistError(f"no task is set, and weights can hold one; set one of {', '.join(self.tasks)}")
        if self._by_task and self.task is None:
            self.set_task(self.tasks[0])
        self._tuner.merge_and_unload()
        self._end()
        return self.model


def _inject(
    model: GeneralistForConditionalGeneration,
    config: MethodConfig,
    sets: Mapping[str, tuple[int, Sequence[str]]],
    seed: int,
) -> LoraModel:
    """Put the updates of ``sets`` into the model; B is zero, so that they change nothing."""
    configs = {
        name: LoraConfig(
            r=rank,
            lora_alpha=config.scale * rank,  # type: ignore[arg-type] # peft only divides it
            lora_dropout=config.dropout,
            target_modules=list(layers),
        )
        for name, (rank, layers) in sets.items()
    }
    (first, first_config), *others = configs.items()
    with seeded(seed):
        tuner = LoraModel(model, first_config, first)
        for name, other in others:
            tuner.peft_config[name] = other
            tuner.inject_adapter(model, name)
    return tuner


def set_name(task: str) -> str:
    """peft keeps sets as attributes, among which a task's bare name could hide one of torch's."""
    return f"task-{task}"
