"""Where to look: the attention of a few heads, taught to find what the next token speaks of.

Shapes: B images, n image tokens, K things an image, Q supervised queries, d width of a head.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch.nn import functional

from generalist.tokens import Vocabulary
from generalist.training.examples import NOTHING, Batch

_EXTREME_SHARE = 0.05
"""How much of a depth map's range counts as its end."""


class Recorder(Protocol):
    """A model whose attention has been recorded."""

    @property
    def vocab(self) -> Vocabulary: ...

    def take_recorded(self) -> list[tuple[torch.Tensor, torch.Tensor]]: ...


def attention_loss(trainee: Recorder, batch: Batch, boxes: torch.Tensor | None = None) -> torch.Tensor:
    """Minus log of the attention that the recorded heads give to the patches of what the next token speaks of.

    Sum over queries, mean over heads and layers. ``boxes``: see :func:`attention_queries`.
    """
    recorded = trainee.take_recorded()
    row, position, wanted = attention_queries(batch, trainee.vocab.sizes.depth_grid, boxes)
    loss = torch.zeros((), device=wanted.device)
    if len(row) == 0:
        return loss
    first = int((batch["ids"][0] == trainee.vocab.image).nonzero()[0, 0])
    for queries, keys in recorded:
        # Mass within the image: the text part of the attention is the model's own affair.
        query = queries[row, :, position].float()  # [Q, heads, d]
        key = keys[:, :, first : first + wanted.shape[1]].float()  # [B, heads, n, d]
        scores = _grouped_scores(query, key, row) / query.shape[-1] ** 0.5  # [Q, heads, n]
        hit = scores.masked_fill(~wanted[:, None], -1e9).logsumexp(-1) - scores.logsumexp(-1)
        loss = loss - hit.mean(1).sum()
    return loss / len(recorded)


def attention_queries(
    batch: Batch, depth_grid: int, boxes: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows [Q] and positions [Q] that are told where to look, and the patches bool [Q, n] that they should look at.

    For tokens that speak of things: their patches; for mask codes, where ``boxes`` [B, K, 4] of regions are given, the
    patches under the code's cell of the box. For depth codes: the patches under the code's cell; for the two
    ends of a depth map's range: the nearest patches, and the farthest.
    """
    fills = {"about": 0, "depth_code": NOTHING, "mask_code": NOTHING, "things": NOTHING}
    following = {
        name: torch.cat([batch[name][:, 1:], torch.full_like(batch[name][:, :1], fill)], 1)
        for name, fill in fills.items()
    }
    predicts = torch.cat([batch["weights"][:, 1:], torch.zeros_like(batch["weights"][:, :1])], 1) > 0
    of_thing = (following["about"] != 0) & predicts
    of_depth = following["depth_code"] != NOTHING
    begins = functional.pad(following["depth_code"], (0, 2), value=NOTHING) == 0
    of_nearest, of_farthest = begins[:, 2:], begins[:, 1:-1]  # both ends come before the codes
    row, position = (of_thing | of_depth | of_nearest | of_farthest).nonzero(as_tuple=True)
    patches = batch["patches"][row]
    wanted = (following["about"][row, position][:, None] >> patches.clamp_min(0) & 1).bool() & (patches != NOTHING)
    cells = following["depth_code"][row, position]
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0], device=cells.device).expand(len(cells), 4)
    under = _box_patches(whole, cells.clamp_min(0), depth_grid, wanted.shape[1])
    wanted = torch.where((cells != NOTHING)[:, None], under, wanted)
    if boxes is not None:
        grid = max(1, math.isqrt(int(batch["mask_code"].max()) + 1))
        code, thing = (following[k][row, position] for k in ("mask_code", "things"))
        in_box = _box_patches(boxes[row, thing.clamp_min(0)], code.clamp_min(0), grid, wanted.shape[1])
        wanted = torch.where((code != NOTHING)[:, None], in_box, wanted)
    is_far = of_farthest[row, position]
    ends = of_nearest[row, position] | is_far
    wanted[ends] = _extreme_patches(pooled_depth(batch)[row[ends]], is_far[ends])
    usable = wanted.any(1)
    return row[usable], position[usable], wanted[usable]


def _box_patches(boxes: torch.Tensor, cells: torch.Tensor, grid: int, patches: int) -> torch.Tensor:
    """Cells [Q] of a raster grid x grid over boxes [Q, 4] -> bool [Q, patches], the patches that overlap each."""
    side = math.isqrt(patches)
    edges = torch.arange(side, device=cells.device)
    low, high = edges / side, (edges + 1) / side

    def overlaps(start: torch.Tensor, end: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        step = (end - start) / grid
        return (low[None] < (start + (k + 1) * step)[:, None]) & (high[None] > (start + k * step)[:, None])

    rows = overlaps(boxes[:, 1], boxes[:, 3], cells // grid)
    columns = overlaps(boxes[:, 0], boxes[:, 2], cells % grid)
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)


def _extreme_patches(depth: torch.Tensor, is_far: torch.Tensor) -> torch.Tensor:
    """Depths [Q, n] -> bool [Q, n], those that are close to the least, or to the greatest where ``is_far`` [Q]."""
    signed = torch.where(is_far[:, None], depth, -depth)
    return signed >= signed.amax(1, keepdim=True) - _EXTREME_SHARE


def _grouped_scores(query: torch.Tensor, key: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """query [Q, h, d] against key [B, h, n, d] of each query's own image; ``row`` [Q] ascending."""
    counts = torch.bincount(row, minlength=key.shape[0]).tolist()
    pieces = [torch.einsum("qhd,hnd->qhn", q, k) for q, k in zip(query.split(counts), key, strict=True)]
    return torch.cat(pieces)


def pooled_depth(batch: Batch) -> torch.Tensor:
    """[B, n], NaN where it is not known."""
    side = int(batch["patches"].shape[1] ** 0.5)
    return functional.adaptive_avg_pool2d(batch["depth"][:, None], side).flatten(1)
