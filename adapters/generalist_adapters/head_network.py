"""A dense decoder that labels an image by what is alike in labelled ones (after Kim et al., Chameleon, 2024).

1. *Matching*: every patch of the query attends over all patches of the support, by features of several depths of the
   vision tower; what it finds is the support patches' labels, one channel at a time with the same weights, so any
   number of channels can be asked for.
2. *Copy*: the support labels averaged by that attention are a first answer.
3. *Decode*: the found labels, embedded, and the query's own features and pixels correct it at the labels' resolution.

Shapes: Q query images, S support images, n cells of the grid R x C, L levels, D_l their widths, K channels, E width,
P labels along a cell, U = P * P.
S * n patches are looked up by m of the query at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

LABELS_A_CELL = 8
_WIDTH = 64
_HEADS = 4
_CELLS_AT_ONCE = 256  # of the query, against the memory of attention
_PIXELS, _REFINED = 16, 32
_CERTAIN = 0.02  # how sure a copied label may be at most, from either end
_SHARPNESS = 3.0  # log of what similarities in -1..1 are multiplied by, at the start


class HeadNetwork(nn.Module):
    """``widths``: D_l. ``grid``: R, C."""

    def __init__(self, widths: Sequence[int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        unit = LABELS_A_CELL**2
        self.alike = nn.ModuleList(nn.Linear(width, _WIDTH, bias=False) for width in widths)
        for layer in self.alike:
            nn.init.orthogonal_(layer.get_parameter("weight"))  # similarities stay nearly what they are
        self.sharpness = nn.Parameter(torch.full((len(widths), _HEADS), _SHARPNESS))
        self.mix = nn.Parameter(torch.zeros(len(widths), _HEADS))
        self.label = nn.Linear(unit, _WIDTH)
        self.feature = nn.Linear(sum(widths), _WIDTH)
        self.fc1, self.fc2 = nn.Linear(3 * _WIDTH, 2 * _WIDTH), nn.Linear(2 * _WIDTH, unit * _PIXELS // 4)
        self.pixels = nn.Conv2d(3, _PIXELS, 3, padding=1)
        self.refine = nn.Conv2d(_PIXELS + _PIXELS // 4 + 1, _REFINED, 3, padding=1)
        self.out = nn.Conv2d(_REFINED, 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.get_parameter("bias"))

    def forward(
        self,
        query: Sequence[torch.Tensor],
        support: Sequence[torch.Tensor],
        labels: torch.Tensor,
        known: torch.Tensor,
        pixels: torch.Tensor,
        binary: torch.Tensor,
    ) -> torch.Tensor:
        """[Q, K, R * P, C * P]: logits of binary channels, values of the others.

        ``query`` [Q, n, D_l] and ``support`` [S, n, D_l] of each level; ``labels`` [K, S, n, U], ``known`` the share
        of each cell's labels that are, [K, S, n]; ``pixels`` [Q, 3, R * P, C * P]; ``binary`` bool [K]: which
        channels are probabilities.
        """
        copied = self._match(query, support, labels, known)
        found = self.label(copied)  # [Q, K, n, E]
        first = self._unfold(copied, 1)  # [Q * K, 1, h, w]
        is_logit = binary.repeat(len(pixels))[:, None, None, None]
        first = torch.where(is_logit, torch.logit(first.clamp(_CERTAIN, 1 - _CERTAIN)), first)
        own = self.feature(torch.cat([normal(level) for level in query], dim=-1))  # [Q, n, E]
        own = own[:, None].expand(-1, len(binary), -1, -1)
        tokens = torch.cat([found, own, found * own], dim=-1)
        coarse = self._unfold(self.fc2(functional.gelu(self.fc1(tokens))), _PIXELS // 4)
        fine = functional.gelu(self.pixels(pixels)).repeat_interleave(len(binary), dim=0)
        refined = functional.gelu(self.refine(torch.cat([first, coarse, fine], dim=1)))
        return (first + self.out(refined)).unflatten(0, (len(pixels), len(binary)))[:, :, 0]

    def _match(
        self,
        query: Sequence[torch.Tensor],
        support: Sequence[torch.Tensor],
        labels: torch.Tensor,
        known: torch.Tensor,
    ) -> torch.Tensor:
        """The labels found for every patch of the query, averaged over what was looked at: [Q, K, n, U]."""
        keys = self._directions(support)
        seen = known.flatten(1) > 0  # [K, S * n]
        found = []
        for part in zip(*(level.split(_CELLS_AT_ONCE, dim=1) for level in self._directions(query)), strict=True):
            cosines = [
                torch.einsum("qnhd,smhd->qhnsm", one, other).flatten(3) * sharp.exp()[:, None, None]
                for one, other, sharp in zip(part, keys, self.sharpness, strict=True)
            ]
            found.append(self._average(torch.cat(cosines, dim=1), labels.flatten(1, 2), seen))
        return torch.cat(found, dim=2)

    def _average(self, logits: torch.Tensor, labels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """``logits`` [Q, levels * heads, m, S * n], ``labels`` [K, S * n, U], ``seen`` [K, S * n] -> [Q, K, m, U]."""
        mix = self.mix.flatten().softmax(0)
        if bool(seen.all()):  # all channels look at the same
            attention = torch.einsum("h,qhms->qms", mix, logits.softmax(-1))
            return torch.einsum("qms,ksu->qkmu", attention, labels)
        averages = []
        for one, row in zip(labels, seen, strict=True):
            attention = torch.einsum("h,qhms->qms", mix, logits[..., row].softmax(-1))
            averages.append(attention @ one[row])  # zeros where nothing is known
        return torch.stack(averages, dim=1)

    def _directions(self, levels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Features as unit vectors for each head: [I, n, heads, E / heads] of each level."""
        return [
            functional.normalize(layer(normal(level)).unflatten(-1, (_HEADS, -1)), dim=-1)
            for layer, level in zip(self.alike, levels, strict=True)
        ]

    def _unfold(self, cells: torch.Tensor, channels: int) -> torch.Tensor:
        """[Q, K, n, channels * U] -> [Q * K, channels, R * P, C * P]."""
        maps = cells.flatten(0, 1).transpose(1, 2).unflatten(2, self.grid)
        assert maps.shape[1] == channels * LABELS_A_CELL**2
        return functional.pixel_shuffle(maps, LABELS_A_CELL)


def normal(level: torch.Tensor) -> torch.Tensor:
    """Features of zero mean and unit variance."""
    return functional.layer_norm(level, level.shape[-1:])


def fold(maps: torch.Tensor) -> torch.Tensor:
    """[..., R * P, C * P] -> [..., n, U], the labels of each cell."""
    flat = functional.pixel_unshuffle(maps.flatten(0, -3).unsqueeze(1), LABELS_A_CELL)
    return flat.flatten(2).transpose(1, 2).unflatten(0, maps.shape[:-2])
