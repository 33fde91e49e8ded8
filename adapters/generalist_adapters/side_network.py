"""A small network beside a frozen vision tower (Lin et al., Hierarchical Side-Tuning for Vision Transformers, 2023).

Four side stages look at the pixels at strides 4, 8, 16 and 32 (of a tower whose tokens are 16 pixels apart). Each is a
few blocks; a block reads one block of the tower through a linear *bridge*:

1. cross-attention of the side tokens to two: a learnt *meta token* and the mean of the tower's tokens;
2. the tower's tokens, resized to the stage's grid, are added;
3. an MLP.

The stages' outputs form a pyramid, which is folded onto the tower's grid and joined to its last tokens by one linear
layer that starts at zero. Nothing flows back into the tower.

Shapes: I images, H x W pixels, R x C grid of the tower's tokens, D their width, d width of a side stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from generalist.heads.pyramid import as_map

_SCALES = (4, 2, 1)  # cells of the first three stages along a cell of the tower; the last has one for two
_WIDTHS = (8, 12, 16, 18)  # eighths of the first stage's width, as 32 / 48 / 64 / 72 in the paper
_HEADS = 2
_STEM = 4  # pixels along a cell of the first stage
_MLP_RATIO = 2


def blocks_of_stages(depth: int) -> list[range]:
    """Which of a tower's ``depth`` blocks each of the four stages reads; at least one, so a short tower's twice."""
    stages = len(_WIDTHS)
    return [range(k * depth // stages, max(k * depth // stages + 1, (k + 1) * depth // stages)) for k in range(stages)]


class SideNetwork(nn.Module):
    """Pixels and the tower's states -> what is added to the tower's last tokens, zero at the start.

    ``grid``: R, C. ``depth_widths``: width of the states of each of the tower's blocks. ``width_out``: D.
    ``width``: d of the first stage, a multiple of 8.
    """

    def __init__(self, grid: tuple[int, int], depth_widths: Sequence[int], width_out: int, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.reads = blocks_of_stages(len(depth_widths))
        widths = [width * eighths // 8 for eighths in _WIDTHS]
        self.stem = nn.Conv2d(3, widths[0], _STEM, stride=_STEM)
        self.shrink = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(SideBlock(dim, depth_widths[number]) for number in numbers)
            for dim, numbers in zip(widths, self.reads, strict=True)
        )
        folded = sum(dim * scale**2 for dim, scale in zip(widths, (*_SCALES, 1), strict=True))
        self.norm = nn.LayerNorm(folded)
        self.join = nn.Linear(folded, width_out)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, pixel_values: torch.Tensor, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """``pixel_values`` [I, 3, H, W], ``states`` [I, tokens, width] of each block -> [I, R * C, D]."""
        return self.join(self.norm(self._fold(self.pyramid(pixel_values, states))))

    def pyramid(self, pixel_values: torch.Tensor, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Outputs of the stages, fine to coarse: [I, d, r, c] with 4, 2, 1, half a cell along one of the tower's."""
        rows, columns = (side * _SCALES[0] * _STEM for side in self.grid)
        if pixel_values.shape[-2:] != (rows, columns):
            pixel_values = functional.interpolate(pixel_values, (rows, columns), mode="bilinear", antialias=True)
        x = self.stem(pixel_values)
        levels = []
        for number, (stage, reads) in enumerate(zip(self.stages, self.reads, strict=True)):
            if number:
                x = self.shrink[number - 1](x)
            for block, read in zip(stage, reads, strict=True):  # type: ignore[call-overload]
                x = block(x, as_map(states[read], self.grid))
            levels.append(x)
        return levels

    def _fold(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """The levels on the tower's grid, nothing averaged away: [I, R * C, all channels]."""
        maps = [functional.pixel_unshuffle(level, scale) for level, scale in zip(levels, _SCALES, strict=False)]
        maps.append(functional.interpolate(levels[-1], self.grid, mode="bilinear"))
        return torch.cat(maps, dim=1).flatten(2).transpose(1, 2)


class SideBlock(nn.Module):
    """Reads the map of one of the tower's blocks [I, D, r, c] into side tokens [I, d, h, w]."""

    def __init__(self, dim: int, width_in: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(width_in)
        self.bridge = nn.Linear(width_in, dim)
        self.meta = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, _MLP_RATIO * dim), nn.Linear(_MLP_RATIO * dim, dim)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        size = x.shape[-2:]
        read = self.bridge(self.norm_in(state.movedim(1, -1)))  # [I, r, c, d]
        two = torch.cat([self.meta.expand(len(x), -1, -1), read.mean((1, 2)).unsqueeze(1)], dim=1)  # [I, 2, d]
        resized = functional.interpolate(read.movedim(-1, 1), size, mode="bilinear")  # [I, d, h, w]
        tokens = x.flatten(2).transpose(1, 2)  # [I, h * w, d]
        tokens = tokens + self._attend(self.norm1(tokens), two) + resized.flatten(2).transpose(1, 2)
        tokens = tokens + self.fc2(functional.gelu(self.fc1(self.norm2(tokens))))
        return tokens.transpose(1, 2).unflatten(2, size)

    def _attend(self, tokens: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part.unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for part in (self.query(tokens), *self.key_value(two).chunk(2, dim=-1))
        )
        found = functional.scaled_dot_product_attention(query, key, value)  # [I, heads, h * w, d / heads]
        return self.out(found.transpose(1, 2).flatten(2))
