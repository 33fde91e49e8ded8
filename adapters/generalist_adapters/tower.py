"""Reading what a vision tower computes on its way."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError
from generalist_adapters.layers import stages


class TowerReader:
    """Pixels and states of all blocks of a model's tower, from one run of the tower to the next."""

    def __init__(self, model: GeneralistForConditionalGeneration) -> None:
        self._tower: Any = model.model.vision_tower
        self._image_hw = model.config.image_hw
        self._blocks = [self._tower.get_submodule(name) for stage in stages(self._tower) for name in stage]
        if not self._blocks:
            raise GeneralistError(f"the {self._tower.config.model_type} tower has no blocks that can be read; use lora")
        self._pixels: torch.Tensor | None = None
        self._states: list[torch.Tensor] = []

    def hooks(self) -> list[RemovableHandle]:
        """Installed, to be removed by the caller."""
        return [
            self._tower.register_forward_pre_hook(self._start, with_kwargs=True),
            *(block.register_forward_hook(self._keep) for block in self._blocks),
        ]

    def widths(self) -> list[int]:
        """Width of the states of each block."""
        return [state.shape[-1] for state in self.read(torch.zeros(1, 3, *self._image_hw))]

    @torch.no_grad()
    def read(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """Run the tower on [I, 3, H, W]; the states [I, tokens, width] of all blocks."""
        hooks = self.hooks()
        try:
            self._tower(pixel_values.to(self._tower.device, self._tower.dtype))
            return self.take()[1]
        finally:
            for hook in hooks:
                hook.remove()

    def take(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What was kept of the last run, which is forgotten."""
        pixels, states = self._pixels, self._states
        self._pixels, self._states = None, []
        if pixels is None or len(states) != len(self._blocks):
            raise GeneralistError("the tower did not run as a whole; call the model with pixel_values")
        return pixels, states

    def _start(self, tower: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._pixels, self._states = inputs[0] if inputs else named["pixel_values"], []

    def _keep(self, block: nn.Module, inputs: object, output: Any) -> None:
        state = output if isinstance(output, torch.Tensor) else output[0]
        state = state.detach()
        self._states.append(state.flatten(2).transpose(1, 2) if state.ndim == 4 else state)  # a convolutional map
