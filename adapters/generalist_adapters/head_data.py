"""What a visual head works on: its channels, images as it sees them, the labelled images that it looks things up in.

Shapes: I images, S of them labelled, n cells of the grid R x C, D_l width of level l, K channels, P labels along a
cell, U = P * P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch.nn import functional

from generalist.heads.pyramid import as_map
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist_adapters.head_network import LABELS_A_CELL
from generalist_adapters.side_network import blocks_of_stages
from generalist_adapters.tower import TowerReader

_MOST_CELLS = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """What a head gives, K channels: ``binary`` bool [K] for probabilities; labels = values * ``scale`` + ``shift``."""

    names: tuple[str, ...]
    binary: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of_labels(cls, names: Sequence[str], maps: Sequence[torch.Tensor]) -> Channels:
        """From labels [K, h, w] with NaN where nothing is known; the values have zero mean and unit variance."""
        rows = []
        for channel in range(len(names)):
            values = torch.cat([one[channel].flatten() for one in maps])
            values = values[values.isfinite()]
            if bool(((values == 0) | (values == 1)).all()):
                rows.append((1.0, 0.0, 1.0))
            else:
                rows.append((0.0, float(values.mean()), max(float(values.std(correction=0)), 1e-6)))
        binary, shift, scale = torch.tensor(rows).unbind(1)
        return cls(names=tuple(names), binary=binary > 0, shift=shift, scale=scale)

    def values(self, labels: torch.Tensor) -> torch.Tensor:
        """[K, h, w] -> the same, as the network has them."""
        return (labels - self.shift[:, None, None]) / self.scale[:, None, None]

    def labels(self, answer: torch.Tensor) -> torch.Tensor:
        """What the network gives [K, h, w] -> probabilities and labels."""
        values = answer * self.scale[:, None, None] + self.shift[:, None, None]
        return torch.where(self.binary[:, None, None], answer.sigmoid(), values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Support:
    """Labelled images as a head looks them up, S of them.

    ``levels`` float [S, n, D_l] each; ``labels`` float [K, S, n, U], where nothing is known the cell's mean or 0;
    ``known`` [K, S, n], the share of each cell's labels that are; ``pixels`` [S, 3, R * P, C * P].
    """

    levels: list[torch.Tensor]
    labels: torch.Tensor
    known: torch.Tensor
    pixels: torch.Tensor


class Eyes:
    """What a head sees of an image: states of the tower at four depths (fewer in a short tower), and pixels.

    All levels come on one grid: the finest of the tower's with at most 1024 cells.
    """

    def __init__(self, model: GeneralistForConditionalGeneration, processor: GeneralistProcessor) -> None:
        self._reader, self._images = TowerReader(model), processor.image_processor
        rows, columns = model.config.grid
        self._last = (rows * model.config.projector_merge, columns * model.config.projector_merge)
        states = self._reader.read(torch.zeros(1, 3, *model.config.image_hw))
        self._picked = sorted({reads[-1] for reads in blocks_of_stages(len(states))})
        maps = [as_map(states[k], self._last) for k in self._picked]
        self.widths = [one.shape[1] for one in maps]
        sizes = [(one.shape[2], one.shape[3]) for one in maps]
        self.grid = max((hw for hw in sizes if hw[0] * hw[1] <= _MOST_CELLS), default=self._last)

    @property
    def label_hw(self) -> tuple[int, int]:
        """Height and width of labels as a head has them: R * P, C * P."""
        return self.grid[0] * LABELS_A_CELL, self.grid[1] * LABELS_A_CELL

    def see(self, images: Sequence[Image.Image]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Levels [I, n, D_l], and pixels [I, 3, R * P, C * P]."""
        levels: list[list[torch.Tensor]] = [[] for _ in self._picked]
        pixels = []
        for image in images:  # one at a time: the memory of one
            values = self._images([image])["pixel_values"]
            states = self._reader.read(values)
            for level, k in zip(levels, self._picked, strict=True):
                resized = functional.interpolate(as_map(states[k].float(), self._last), self.grid, mode="bilinear")
                level.append(resized.flatten(2).transpose(1, 2))
            pixels.append(functional.interpolate(values, self.label_hw, mode="bilinear", antialias=True))
        return [torch.cat(level).cpu() for level in levels], torch.cat(pixels)
