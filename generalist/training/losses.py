"""What training minimises: the next token, and auxiliary losses that vanish at inference.

Every loss is a sum over what a batch asks, divided by how much *all* batches of an optimizer step ask (its entry of
``totals``): so the step is the same however the step's scenes are cut into batches and shared out to processes.

Shapes: B images, L positions, n image tokens, K things an image, D width, V vocabulary, C concepts,
P patches that show a thing, Q supervised queries, T tallies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from generalist.tasks import TASKS
from generalist.tokens import Vocabulary
from generalist.training.examples import NOTHING, Batch

if TYPE_CHECKING:
    from generalist.training.trainee import Trainee

LOSS_WEIGHTS = {
    "token": 2.0,
    "patch_name": 1.0,
    "patch_box": 0.5,
    "patch_offset": 4.0,
    "patch_mask": 0.2,
    "patch_depth": 2.0,
    "attention": 0.5,
}
_KINDS = ("loc", "mask", "depth", "text")
TASK_TALLIES = tuple(f"task/{name}" for name in TASKS)
TALLIES = (*_KINDS, *TASK_TALLIES, "patch_accuracy")
"""What is counted beside the losses: the unweighted loss of tokens by kind and by task, patches named right."""
_BACKGROUND_WEIGHT = 0.25

Losses = dict[str, torch.Tensor]
"""Name of ``LOSS_WEIGHTS`` -> a scalar."""


def loss_totals(batch: Batch, depth_grid: int) -> torch.Tensor:
    """How much a batch asks of each loss, in the order of ``LOSS_WEIGHTS``: float32 [losses]. Adds up over batches."""
    shown = (batch["patches"] != NOTHING).sum()
    totals = {
        "token": batch["weights"][:, 1:].sum(),
        "patch_name": _name_weights(batch).sum(),
        "patch_box": shown * 4,
        "patch_offset": shown * 4,
        "patch_mask": batch["sampled"].sum(),
        "patch_depth": _pooled_depth(batch).isfinite().sum(),
        "attention": len(attention_queries(batch, depth_grid)[0]),
    }
    numbers = [torch.as_tensor(totals[name], dtype=torch.float32) for name in LOSS_WEIGHTS]
    return torch.stack([number.to(batch["ids"].device) for number in numbers])


def named(totals: torch.Tensor) -> Losses:
    """Totals by name, fit to divide by: nothing is asked where one is 0, and the sum is 0 too."""
    return dict(zip(LOSS_WEIGHTS, torch.where(totals > 0, totals, 1.0), strict=True))


def soft_bins(values: torch.Tensor, bins: int, sigma: float) -> torch.Tensor:
    """[N] coordinates in 0-1 -> [N, bins] Gaussian over bins around each, sigma in bins."""
    centres = torch.arange(bins, device=values.device)
    weights = torch.exp(-0.5 * ((centres[None] - (values * bins - 0.5)[:, None]) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True).clamp_min(1e-9)


def token_loss(
    outputs: dict[str, torch.Tensor], batch: Batch, vocab: Vocabulary, mask_targets: torch.Tensor, sigma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the next token; soft over location bins and over mask codes that look alike.

    ``mask_targets`` [B, K, mask_length, mask_codes]. Returns the weighted sum, and [2, T - 1]: unweighted sums and
    counts of tokens by kind and by task.
    """
    following = outputs["selected"] + 1
    ids, weights, locs, tasks = (batch[k].flatten()[following] for k in ("ids", "weights", "locs", "tasks"))
    logs = functional.log_softmax(outputs["logits"].float(), dim=1)
    loss = -logs.gather(1, ids[:, None])[:, 0]
    is_loc = ~locs.isnan()
    bins = soft_bins(locs[is_loc], len(vocab.loc), sigma)
    loss = loss.masked_scatter(is_loc, -(bins * logs[is_loc][:, vocab.loc.start : vocab.loc.stop]).sum(1))
    code = batch["mask_code"].flatten()[following]
    is_mask = code != NOTHING
    image = (following // batch["ids"].shape[1])[is_mask]
    thing = batch["things"].flatten()[following][is_mask]
    soft = mask_targets[image, thing, code[is_mask]]
    loss = loss.masked_scatter(is_mask, -(soft * logs[is_mask][:, vocab.mask.start : vocab.mask.stop]).sum(1))
    is_depth = batch["depth_code"].flatten()[following] != NOTHING
    kinds = [is_loc, is_mask, is_depth, ~(is_loc | is_mask | is_depth)]
    groups = torch.stack([*kinds, *(tasks == number for number in range(len(TASKS)))]).float()
    return (loss * weights).sum(), torch.stack([(groups * loss.detach()).sum(1), groups.sum(1)])


def patch_losses(
    trainee: Trainee,
    outputs: dict[str, torch.Tensor],
    batch: Batch,
    mask_targets: torch.Tensor,
    sigma: float,
) -> tuple[Losses, torch.Tensor]:
    """What every image token should know by itself: name, box, mask codes of its thing, and depth.

    Returns sums, and [2, 1]: how many patches that show a thing are named right, and how many there are.
    """
    patches, embeddings = outputs["patches"], outputs["embeddings"]
    things = batch["patches"]
    shown = things != NOTHING
    image = torch.arange(len(things), device=things.device)[:, None].expand_as(things)[shown]
    thing = things[shown]
    inside = patches[shown]  # [P, D]
    name, right = _name_loss(trainee, patches, embeddings, batch, batch["concepts"][image, thing] + 1)

    vocab, width = trainee.vocab, patches.shape[2]
    boxes = batch["boxes"][image, thing]
    loc_table = embeddings[vocab.loc.start : vocab.loc.stop].t().to(inside.dtype)
    edges = (trainee.box_head(inside).view(-1, 4, width) @ loc_table).float().flatten(0, 1)
    box = -(soft_bins(boxes.flatten(), len(vocab.loc), sigma) * functional.log_softmax(edges, dim=1)).sum()
    wanted = (boxes - _patch_centres(things)[shown]) * 4
    offset = functional.smooth_l1_loss(trainee.offset_head(inside).float(), wanted, beta=0.05, reduction="sum")

    asked = batch["sampled"][shown]
    mask_table = embeddings[vocab.mask.start : vocab.mask.stop].t().to(inside.dtype)
    codes = (trainee.mask_head(inside[asked]).view(-1, vocab.sizes.mask_length, width) @ mask_table).float()
    mask = -(mask_targets[image[asked], thing[asked]] * functional.log_softmax(codes, dim=2)).sum((0, 2)).mean()

    depth = _pooled_depth(batch)
    error = (trainee.depth_head(patches).squeeze(-1).float().sigmoid() - depth.nan_to_num()).abs()
    losses = {
        "patch_name": name,
        "patch_box": box,
        "patch_offset": offset,
        "patch_mask": mask,
        "patch_depth": (error * depth.isfinite()).sum(),
    }
    return losses, torch.stack([right, shown.sum()])[:, None].float()


def _name_loss(
    trainee: Trainee, patches: torch.Tensor, embeddings: torch.Tensor, batch: Batch, names: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sum, and how many patches of things are named right; ``names`` [P] are the classes of these."""
    shown = batch["patches"] != NOTHING
    concept = torch.zeros_like(batch["patches"])
    concept[shown] = names
    logits = (trainee.name_head(patches) @ trainee.name_targets(embeddings).t().to(patches.dtype)).float()
    losses = functional.cross_entropy(logits.flatten(0, 1), concept.flatten(), reduction="none")
    return (losses * _name_weights(batch).flatten()).sum(), ((logits.argmax(2) == concept) & shown).sum()


def _name_weights(batch: Batch) -> torch.Tensor:
    """[B, n]; most patches show no thing, and to name these is the smaller part of the lesson."""
    return torch.where(batch["patches"] != NOTHING, 1.0, _BACKGROUND_WEIGHT)


def _patch_centres(things: torch.Tensor) -> torch.Tensor:
    """[B, n, 4] x y x y of the centres of patches, 0-1."""
    side = int(things.shape[1] ** 0.5)
    cell = torch.arange(things.shape[1], device=things.device)
    centre = torch.stack([(cell % side + 0.5) / side, (cell // side + 0.5) / side] * 2, dim=1)
    return centre.expand(len(things), -1, -1)


def _pooled_depth(batch: Batch) -> torch.Tensor:
    """[B, n], NaN where it is not known."""
    side = int(batch["patches"].shape[1] ** 0.5)
    return functional.adaptive_avg_pool2d(batch["depth"][:, None], side).flatten(1)


def attention_loss(trainee: Trainee, batch: Batch) -> torch.Tensor:
    """Minus log of the attention that the recorded heads give to the patches of what the next token speaks of.

    Sum over queries, mean over heads and layers.
    """
    recorded = trainee.take_recorded()
    row, position, wanted = attention_queries(batch, trainee.vocab.sizes.depth_grid)
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


def attention_queries(batch: Batch, depth_grid: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows [Q] and positions [Q] that are told where to look, and the patches bool [Q, n] that they should look at.

    For tokens of a thing: its patches. For depth codes: the patches under the code's cell.
    """
    following = {k: torch.cat([batch[k][:, 1:], torch.full_like(batch[k][:, :1], NOTHING)], 1)
                 for k in ("things", "depth_code")}  # fmt: skip
    predicts = torch.cat([batch["weights"][:, 1:], torch.zeros_like(batch["weights"][:, :1])], 1) > 0
    of_thing = (following["things"] != NOTHING) & predicts
    of_depth = following["depth_code"] != NOTHING
    row, position = (of_thing | of_depth).nonzero(as_tuple=True)
    wanted = batch["patches"][row] == following["things"][row, position][:, None]  # [Q, n]
    cells = following["depth_code"][row, position]
    under = _cell_patches(cells.clamp_min(0), depth_grid, int(wanted.shape[1] ** 0.5))
    wanted = torch.where((cells != NOTHING)[:, None], under, wanted)
    usable = wanted.any(1)
    return row[usable], position[usable], wanted[usable]


def _grouped_scores(query: torch.Tensor, key: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """query [Q, h, d] against key [B, h, n, d] of each query's own image; ``row`` [Q] ascending."""
    counts = torch.bincount(row, minlength=key.shape[0]).tolist()
    pieces = [torch.einsum("qhd,hnd->qhn", q, k) for q, k in zip(query.split(counts), key, strict=True)]
    return torch.cat(pieces)


def _cell_patches(cells: torch.Tensor, grid: int, side: int) -> torch.Tensor:
    """[Q] cells of a depth raster grid x grid -> bool [Q, side * side], the patches that overlap each."""
    edges = torch.arange(side, device=cells.device)
    low, high = edges / side, (edges + 1) / side

    def overlaps(k: torch.Tensor) -> torch.Tensor:
        return (low[None] < ((k + 1) / grid)[:, None]) & (high[None] > (k / grid)[:, None])

    rows, columns = overlaps(cells // grid), overlaps(cells % grid)
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
