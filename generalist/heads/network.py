"""The network of a visual head: boxes around their centres and classes of pixels, from a tower's maps and the pixels.

A feature pyramid (Lin et al. 2017) over maps of several depths, joined with a few convolutions over the pixels
themselves for what the tower does not see. At a quarter of the resolution it says where centres of things are, a map a
class (Zhou et al. 2019, "Objects as Points"), and in every cell how far the sides of the box around it are (Tian et al.
2019, FCOS); at half the resolution the class of every pixel.

Shapes: I images of H x W pixels, h x w = H/4 x W/4, B classes of boxes, M classes of masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypedDict

import torch
from torch import nn
from torch.nn import functional

from generalist.heads.pyramid import Level

_WIDTH = 64
_HALF, _QUARTER = 24, 48
_RARE = -3.0
"""Log-odds that a centre is somewhere, before anything is learnt."""
_FARTHEST = 5.0
"""Logarithm of how much longer than usual a side may be."""


class Maps(TypedDict):
    """What a head says of images.

    ``heat`` [I, B, h, w]: log-odds that a centre is there. ``sides`` [I, 4, h, w]: how far the left, top, right and
    bottom side of the box are from the middle of the cell, in 0-1 of the image. ``pixels`` [I, 1 + M, H/2, W/2]:
    log-odds of classes, the first for what has none.
    """

    heat: torch.Tensor
    sides: torch.Tensor
    pixels: torch.Tensor | None


class HeadNetwork(nn.Module):
    """``levels``: those that :meth:`forward` gets, from coarse to fine."""

    def __init__(self, levels: Sequence[Level], boxes: int, masks: int) -> None:
        super().__init__()
        self.levels, self.masks = tuple(levels), masks
        for k, level in enumerate(self.levels):
            self.register_buffer(f"mean_{k}", torch.zeros(level.channels, 1, 1))
            self.register_buffer(f"deviation_{k}", torch.ones(level.channels, 1, 1))
        self.register_buffer("usual", torch.full((4,), 0.1))
        widths = [sum(self.levels[k].channels for k in part) for part in self._parts()]
        self.lateral = nn.ModuleList(nn.Conv2d(width, _WIDTH, 1) for width in widths)
        self.smooth = nn.ModuleList(_block(_WIDTH, _WIDTH) for _ in widths)
        self.halved = _block(3, _HALF, 2)
        self.quartered = nn.Sequential(_block(_HALF, _QUARTER, 2), _block(_QUARTER, _QUARTER))
        self.join = _block(_WIDTH + _QUARTER, _WIDTH)
        self.heat = nn.Sequential(_block(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, max(boxes, 1), 1))
        self.sides = nn.Sequential(_block(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, 4, 1))
        self.pixels = nn.Sequential(_block(_WIDTH + _HALF, _QUARTER), nn.Conv2d(_QUARTER, 1 + masks, 1))
        for branch in (self.heat, self.sides, self.pixels):
            nn.init.zeros_(branch[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(branch[-1].bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def standardise(self, levels: Sequence[torch.Tensor], usual: torch.Tensor) -> None:
        """Take what maps [I, D, r, c] are usually like, and the ``usual`` distances [4] of sides, from examples."""
        for k, one in enumerate(levels):
            self.get_buffer(f"mean_{k}").copy_(one.mean((0, 2, 3))[:, None, None])
            self.get_buffer(f"deviation_{k}").copy_(one.std((0, 2, 3)).clamp_min(1e-4)[:, None, None])
        self.get_buffer("usual").copy_(usual)

    def forward(self, levels: Sequence[torch.Tensor], pixel_values: torch.Tensor) -> Maps:
        """``levels``: [I, D, r, c] each, ``pixel_values`` [I, 3, H, W]."""
        half = self.halved(pixel_values)
        quarter = self.quartered(half)
        x = self.join(torch.cat([_resized(self._descend(levels), quarter), quarter], dim=1))
        pixels = self.pixels(torch.cat([_resized(x, half), half], dim=1)) if self.masks else None
        usual = self.get_buffer("usual")[:, None, None]
        sides = usual * self.sides(x).clamp(-_FARTHEST, _FARTHEST).exp()
        return {"heat": self.heat(x) + _RARE, "sides": sides, "pixels": pixels}

    def _descend(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """From coarse to fine: [I, E, r, c] of the finest level."""
        x: torch.Tensor | None = None
        for part, lateral, smooth in zip(self._parts(), self.lateral, self.smooth, strict=True):
            y = lateral(torch.cat([self._standard(levels[k], k) for k in part], dim=1))
            x = smooth(y if x is None else y + _resized(x, y))
        assert x is not None
        return x

    def _standard(self, level: torch.Tensor, k: int) -> torch.Tensor:
        return (level - self.get_buffer(f"mean_{k}")) / self.get_buffer(f"deviation_{k}")

    def _parts(self) -> list[list[int]]:
        """Numbers of the levels that share a grid."""
        return [list(part) for _, part in groupby(range(len(self.levels)), key=lambda k: self.levels[k].rows)]


def _block(channels: int, wider: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, wider), nn.SiLU())


def _resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
