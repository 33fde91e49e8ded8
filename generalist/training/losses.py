"""What training minimises: the next token, and auxiliary losses that vanish at inference.

Shapes: B images, L positions, n image tokens, K things an image, D width, V vocabulary, C concepts,
P patches that show a thing, Q supervised queries.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from generalist.tokens import Vocabulary
from generalist.training.packing import NOTHING, Batch
from generalist.training.trainee import INJECTION, RECORDED_LAYERS, Trainee


def soft_bins(values: torch.Tensor, bins: int, sigma: float) -> torch.Tensor:
    """[N] coordinates in 0-1 -> [N, bins] Gaussian over bins around each, sigma in bins."""
    centres = torch.arange(bins, device=values.device)
    weights = torch.exp(-0.5 * ((centres[None] - (values * bins - 0.5)[:, None]) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True).clamp_min(1e-9)


def token_loss(
    outputs: dict[str, torch.Tensor], batch: Batch, vocab: Vocabulary, mask_targets: torch.Tensor, sigma: float
) -> dict[str, torch.Tensor]:
    """Cross-entropy of the next token; soft over location bins and over mask codes that look alike.

    ``mask_targets`` [B, K, mask_length, mask_codes]. Returns the weighted mean as ``token`` and means by kind.
    """
    following = outputs["selected"] + 1
    ids, weights, locs = (batch[k].flatten()[following] for k in ("ids", "weights", "locs"))
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
    kinds = {"loc": is_loc, "mask": is_mask, "depth": is_depth, "text": ~(is_loc | is_mask | is_depth)}
    means = {kind: loss[where].mean().detach() for kind, where in kinds.items() if bool(where.any())}
    return {"token": (loss * weights).sum() / weights.sum(), **means}


def patch_losses(
    trainee: Trainee, outputs: dict[str, torch.Tensor], batch: Batch, mask_targets: torch.Tensor, sigma: float
) -> dict[str, torch.Tensor]:
    """What every image token should know by itself: name, box, mask codes of its thing, and depth."""
    patches, embeddings = outputs["patches"], outputs["embeddings"]
    count, tokens, width = patches.shape
    things = batch["patches"]
    shown = things != NOTHING
    image = torch.arange(count, device=things.device)[:, None].expand_as(things)[shown]
    thing = things[shown]
    inside = patches[shown]  # [P, D]
    concept = torch.zeros_like(things)
    concept[shown] = batch["concepts"][image, thing] + 1
    names = trainee.name_vectors(embeddings) * INJECTION
    logits = (trainee.name_head(patches) @ names.t().to(patches.dtype)).float().flatten(0, 1)
    weight = torch.where(shown, 1.0, 0.25).flatten()
    name = (functional.cross_entropy(logits, concept.flatten(), reduction="none") * weight).sum() / weight.sum()
    right = (logits.argmax(1) == concept.flatten())[shown.flatten()].float().mean()

    vocab = trainee.vocab
    boxes = batch["boxes"][image, thing]
    loc_table = embeddings[vocab.loc.start : vocab.loc.stop].t().to(inside.dtype)
    edges = (trainee.box_head(inside).view(-1, 4, width) @ loc_table).float().flatten(0, 1)
    bins = soft_bins(boxes.flatten(), len(vocab.loc), sigma)
    box = -(bins * functional.log_softmax(edges, dim=1)).sum(1).mean()
    side = int(tokens**0.5)
    cell = torch.arange(tokens, device=things.device).expand_as(things)[shown]
    centre = torch.stack([(cell % side + 0.5) / side, (cell // side + 0.5) / side] * 2, dim=1)
    offset = functional.smooth_l1_loss(trainee.offset_head(inside).float(), (boxes - centre) * 4, beta=0.05)

    sample = torch.randperm(len(image), device=things.device)[:256]
    mask_table = embeddings[vocab.mask.start : vocab.mask.stop].t().to(inside.dtype)
    codes = (trainee.mask_head(inside[sample]).view(-1, vocab.sizes.mask_length, width) @ mask_table).float()
    mask = -(mask_targets[image[sample], thing[sample]] * functional.log_softmax(codes, dim=2)).sum(2).mean()

    depth = functional.adaptive_avg_pool2d(batch["depth"][:, None], side).flatten(1)
    known = ~depth.isnan()
    error = (trainee.depth_head(patches).squeeze(-1).float().sigmoid() - depth.nan_to_num()).abs()
    depth_loss = (error * known).sum() / known.sum().clamp_min(1)
    return {
        "patch_name": name,
        "patch_box": box,
        "patch_offset": offset,
        "patch_mask": mask,
        "patch_depth": depth_loss,
        "patch_accuracy": right.detach(),
    }


def attention_loss(trainee: Trainee, batch: Batch) -> torch.Tensor:
    """Minus log of the attention that the recorded heads give to the patches of what the next token speaks of.

    For tokens of a thing: its patches. For depth codes: the patches under the code's cell.
    """
    ids = batch["ids"]
    following = {k: torch.cat([batch[k][:, 1:], torch.full_like(batch[k][:, :1], NOTHING)], 1)
                 for k in ("things", "depth_code")}  # fmt: skip
    predicts = torch.cat([batch["weights"][:, 1:], torch.zeros_like(batch["weights"][:, :1])], 1) > 0
    of_thing = (following["things"] != NOTHING) & predicts
    of_depth = following["depth_code"] != NOTHING
    row, position = (of_thing | of_depth).nonzero(as_tuple=True)
    if len(row) == 0:
        return ids.new_zeros((), dtype=torch.float32)
    wanted = batch["patches"][row] == following["things"][row, position][:, None]  # [Q, n]
    cells = following["depth_code"][row, position]
    wanted = torch.where((cells != NOTHING)[:, None], _cell_patches(trainee, cells.clamp_min(0)), wanted)
    usable = wanted.any(1)
    row, position, wanted = row[usable], position[usable], wanted[usable]
    first = int((ids[0] == trainee.vocab.image).nonzero()[0, 0])
    tokens = batch["patches"].shape[1]
    loss = torch.zeros((), device=ids.device)
    for queries, keys in trainee.recorded():
        # Mass within the image: the text part of the attention is the model's own affair.
        query = queries[row, :, position].float()  # [Q, heads, d]
        key = keys[:, :, first : first + tokens].float()  # [B, heads, n, d]
        scores = _grouped_scores(query, key, row) / query.shape[-1] ** 0.5  # [Q, heads, n]
        hit = scores.masked_fill(~wanted[:, None], -1e9).logsumexp(-1) - scores.logsumexp(-1)
        loss = loss - hit.mean()
    return loss / len(RECORDED_LAYERS)


def _grouped_scores(query: torch.Tensor, key: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """query [Q, h, d] against key [B, h, n, d] of each query's own image; ``row`` [Q] ascending."""
    counts = torch.bincount(row, minlength=key.shape[0]).tolist()
    pieces = [torch.einsum("qhd,hnd->qhn", q, k) for q, k in zip(query.split(counts), key, strict=True)]
    return torch.cat(pieces)


def _cell_patches(trainee: Trainee, cells: torch.Tensor) -> torch.Tensor:
    """[Q] cells of the depth raster -> bool [Q, n], the patches that overlap each."""
    grid = trainee.vocab.sizes.depth_grid
    side = int(trainee.model.config.num_image_tokens**0.5)
    edges = torch.arange(side, device=cells.device)
    low, high = edges / side, (edges + 1) / side

    def overlaps(k: torch.Tensor) -> torch.Tensor:
        return (low[None] < ((k + 1) / grid)[:, None]) & (high[None] > (k / grid)[:, None])

    rows, columns = overlaps(cells // grid), overlaps(cells % grid)
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
