"""What a vision tower computes on its way, as maps from coarse to fine.

Shapes: I images of 3 x H x W pixels, D channels of a level, r x c its cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError

_FINEST = 4
"""Pixels along a cell of the finest level."""
_ENOUGH_FOR_TWO = 4
"""Blocks of one resolution from which the one in the middle is read as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The output of a block of the tower: its ``name`` there, its ``channels`` and its grid."""

    name: str
    channels: int
    rows: int
    columns: int


class Pyramid:
    """Reads the maps of a model's tower. The model is not changed.

    A level is what the last block of a list of blocks gives at a resolution, and that in the middle of a long list: of
    a plain ViT two maps, of a hierarchical tower or a convolutional stem one a stage.
    """

    def __init__(self, model: GeneralistForConditionalGeneration) -> None:
        self._tower: Any = model.model.vision_tower
        merge = model.config.projector_merge
        self._grid = (model.config.grid[0] * merge, model.config.grid[1] * merge)
        self.image_hw: tuple[int, int] = model.config.image_hw
        self.levels = self._choose()

    @property
    def device(self) -> torch.device:
        """Where the model is, and what is read."""
        device: torch.device = self._tower.device
        return device

    @torch.no_grad()
    def read(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """The levels of [I, 3, H, W]: float32 [I, D, r, c] each, on the model's device."""
        with self._listening([level.name for level in self.levels]) as heard:
            self._tower(pixel_values.to(self._tower.device, self._tower.dtype))
        return [self._map(heard[level.name]).float() for level in self.levels]

    def _choose(self) -> tuple[Level, ...]:
        lists = {name: module for name, module in self._tower.named_modules() if isinstance(module, nn.ModuleList)}
        names = [f"{name}.{place}" for name, items in lists.items() for place in range(len(items))]
        with torch.no_grad(), self._listening(names) as heard:
            self._tower(torch.zeros(1, 3, *self.image_hw, device=self._tower.device, dtype=self._tower.dtype))
        groups: dict[tuple[str, int], list[Level]] = defaultdict(list)
        for name in names:
            if (output := heard.get(name)) is not None and self._is_map(output):
                _, channels, rows, columns = self._map(output).shape
                if rows * _FINEST <= self.image_hw[0]:
                    level = Level(name=name, channels=channels, rows=rows, columns=columns)
                    groups[name.rpartition(".")[0], rows].append(level)
        chosen = [level for levels in groups.values() for level in _of_list(levels)]
        if not chosen:
            raise GeneralistError(f"the {self._tower.config.model_type} tower has no maps that can be read; use lora")
        return tuple(sorted(chosen, key=lambda level: level.rows))

    def _is_map(self, output: torch.Tensor) -> bool:
        rows, columns = self._grid
        if output.ndim == 4:
            return output.shape[2] >= rows and output.shape[3] >= columns
        return output.ndim == 3 and output.shape[1] >= rows * columns

    def _map(self, output: torch.Tensor) -> torch.Tensor:
        return output if output.ndim == 4 else as_map(output, self._grid)

    @contextmanager
    def _listening(self, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
        """What the modules of these names give while the tower runs, in what is yielded."""
        heard: dict[str, torch.Tensor] = {}
        handles = [self._tower.get_submodule(n).register_forward_hook(partial(_keep, heard, n)) for n in names]
        try:
            yield heard
        finally:
            for handle in handles:
                handle.remove()


def as_map(states: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Tokens [I, N, D] of a block -> [I, D, r, c], its own grid, a multiple of the last one in a hierarchical tower.

    Tokens in front of the grid (class, registers) are dropped.
    """
    cells = grid[0] * grid[1]
    scale = max(1, int((states.shape[1] / cells) ** 0.5))
    rows, columns = grid[0] * scale, grid[1] * scale
    return states[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))


def _of_list(levels: Sequence[Level]) -> Sequence[Level]:
    middle = levels[(len(levels) - 1) // 2]
    return [middle, levels[-1]] if len(levels) >= _ENOUGH_FOR_TWO else [levels[-1]]


def _keep(heard: dict[str, torch.Tensor], name: str, module: nn.Module, inputs: object, output: Any) -> None:
    state = output if isinstance(output, torch.Tensor) else output[0]
    if isinstance(state, torch.Tensor):
        heard[name] = state.detach()
