"""What training minimises: the next token, and auxiliary losses that vanish at inference.

Every loss is a sum over what a batch asks, divided by how much *all* batches of an optimizer step ask (its entry of
``totals``): so the step is the same however the step's scenes are cut into batches and shared out to processes.

Shapes: B images, L positions, n image tokens, K things an image, D width, V vocabulary, C concepts,
P patches that show a thing, T tallies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from generalist.tasks import TASKS
from generalist.tokens import Vocabulary
from generalist.training.attention import attention_queries, pooled_depth
from generalist.training.examples import NOTHING, Batch
from generalist.training.image_arrays import ATTRIBUTE_SIZES

if TYPE_CHECKING:
    from generalist.training.trainee import Trainee

LOSS_WEIGHTS = {
    "token": 2.0,
    "patch_name": 1.0,
    "patch_box": 0.5,
    "patch_offset": 4.0,
    "patch_mask": 0.2,
    "patch_shape": 2.0,
    "patch_depth": 2.0,
    "patch_distance": 4.0,
    "patch_attribute": 0.3,
    "attention": 0.5,
}
_KINDS = ("loc", "mask", "depth", "text")
TASK_TALLIES = tuple(f"task/{name}" for name in TASKS)
TALLIES = (*_KINDS, *TASK_TALLIES, "patch_accuracy")
"""What is counted beside the losses: the unweighted loss of tokens by kind and by task, patches named right."""
_BACKGROUND_WEIGHT = 0.25
_RISK = 20.0
"""Weight of what mask and depth codes are expected to cost."""

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
        "patch_shape": shown * batch["shapes"].shape[2],
        "patch_depth": pooled_depth(batch).isfinite().sum(),
        "patch_distance": pooled_depth(batch).isfinite().sum(),
        "patch_attribute": (_shown_attributes(batch) != NOTHING).sum(),
        "attention": len(attention_queries(batch, depth_grid, batch["boxes"])[0]),
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

    Mask and depth codes are also charged what they are expected to cost (minimum risk training, Shen et al. 2016):
    where many codes are likely, the likeliest may be an odd one out, and greedy decoding should write the one that
    is wrong by the least whichever is right. ``mask_targets`` [B, K, mask_length, mask_codes]. Returns the weighted
    sum, and [2, T - 1]: unweighted sums of cross-entropies and counts of tokens by kind and by task.
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
    mask_logs = logs[is_mask][:, vocab.mask.start : vocab.mask.stop]
    loss = loss.masked_scatter(is_mask, -(soft * mask_logs).sum(1))
    is_depth = batch["depth_code"].flatten()[following] != NOTHING
    depth_logs = logs[is_depth][:, vocab.depth.start : vocab.depth.stop]
    depth_costs = batch["depth_costs"][ids[is_depth] - vocab.depth.start]
    cost = torch.zeros_like(loss)
    cost = cost.masked_scatter(is_mask, (batch["mask_costs"][image, thing, code[is_mask]] * mask_logs.exp()).sum(1))
    cost = cost.masked_scatter(is_depth, (depth_costs * depth_logs.exp()).sum(1))
    kinds = [is_loc, is_mask, is_depth, ~(is_loc | is_mask | is_depth)]
    groups = torch.stack([*kinds, *(tasks == number for number in range(len(TASKS)))]).float()
    return ((loss + _RISK * cost) * weights).sum(), torch.stack([(groups * loss.detach()).sum(1), groups.sum(1)])


def patch_losses(
    trainee: Trainee,
    outputs: dict[str, torch.Tensor],
    batch: Batch,
    mask_targets: torch.Tensor,
    sigma: float,
) -> tuple[Losses, torch.Tensor]:
    """What every image token should know by itself: name, box, outline, mask codes and attributes of its thing, depth.

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
    shape = functional.binary_cross_entropy_with_logits(
        trainee.shape_head(inside).float(), batch["shapes"][shown].float(), reduction="sum"
    )

    depth = pooled_depth(batch)
    known = depth.isfinite()
    guessed, placed = trainee.depth_head(patches).float().sigmoid().unbind(-1)
    nearest, farthest = batch["range"].nan_to_num().unsqueeze(1).unbind(2)
    distance = nearest + depth.nan_to_num() * (farthest - nearest)
    said = trainee.attribute_head(inside)
    attributes = sum(
        functional.cross_entropy(logits.float(), wanted, ignore_index=NOTHING, reduction="sum")
        for logits, wanted in zip(said.split(ATTRIBUTE_SIZES, 1), _shown_attributes(batch).unbind(1), strict=True)
    )
    losses = {
        "patch_name": name,
        "patch_box": box,
        "patch_offset": offset,
        "patch_mask": mask,
        "patch_shape": shape,
        "patch_depth": ((guessed - depth.nan_to_num()).abs() * known).sum(),
        "patch_distance": ((placed - distance).abs() * known).sum(),
        "patch_attribute": torch.as_tensor(attributes),
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


def _shown_attributes(batch: Batch) -> torch.Tensor:
    """[P, attributes] of the things that patches show, -1 where a thing has none of the kind."""
    shown = batch["patches"] != NOTHING
    image = torch.arange(len(shown), device=shown.device)[:, None].expand_as(shown)[shown]
    return batch["attributes"][image, batch["patches"][shown]]
