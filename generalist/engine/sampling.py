"""Choosing the next token of every row among those that its grammar allows.

Shapes: R rows, V tokens of the vocabulary, W = ceil(V / 32) words of bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from xgrammar import apply_token_bitmask_inplace

from generalist.types import Likeliest, Sampling


def mask_logits(logits: Tensor, allowed: Tensor, vocabulary_size: int) -> Tensor:
    """``logits`` [R, V or more] as float32[R, 32 W], -inf where the bit of ``allowed`` int32[R, W] is 0."""
    # As wide as the bits: where the vocabulary ends within a word of them, xgrammar's kernel for
    # the CPU writes behind it, that is into the next row or out of the tensor.
    masked = torch.full((len(logits), 32 * allowed.shape[1]), -math.inf, device=logits.device)
    masked[:, :vocabulary_size] = logits[:, :vocabulary_size]
    apply_token_bitmask_inplace(masked, allowed.to(logits.device))
    return masked


def keep_only(row: Tensor, ids: Tensor, end: int) -> None:
    """Set the logits ``row`` [V] to -inf but for ``ids``; the end token alone when those are all -inf, or none.

    In place, and without waiting for a GPU.
    """
    kept = row[ids]
    row.fill_(-math.inf)
    row[ids] = kept
    row[end] = torch.where(kept.isneginf().all(), 0, row[end])


def choose(
    logits: Tensor, sampling: Sampling, draws: list[float], among: Tensor | None = None
) -> tuple[list[int], list[float]]:
    """The next token of every row, and its log-probability.

    ``logits`` float32[R, 32 W] hold -inf where a token is not allowed; ``among``, of the same shape, holds it also
    where one is not to be chosen. ``draws`` are R numbers in [0, 1) (none are needed when greedy). The
    log-probabilities are the model's own over what is allowed, whatever ``among`` and the temperature, ``top_k`` and
    ``top_p`` were.
    """
    among = logits if among is None else among
    ids = among.argmax(-1) if sampling.temperature == 0 else _draw(among, sampling, draws)
    logprobs = logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]
    return ids.tolist(), logprobs.tolist()


def likeliest(logits: Tensor, count: int) -> list[Likeliest]:
    """The ``count`` likeliest tokens of each row of ``logits`` float32[R, V], without those that are not allowed."""
    logprobs, ids = logits.log_softmax(-1).topk(min(count, logits.shape[-1]), dim=-1)
    rows = zip(ids.tolist(), logprobs.tolist(), strict=True)
    return [tuple(pair for pair in zip(*row, strict=True) if pair[1] > -math.inf) for row in rows]


def _draw(logits: Tensor, sampling: Sampling, draws: list[float]) -> Tensor:
    """Inverse transform sampling, int64[R]: one number a row, so the draw is the same on every device."""
    # Subtracting the maximum first keeps a temperature next to zero from overflowing.
    peak = logits.amax(-1, keepdim=True)
    probs = ((logits - peak).double() / sampling.temperature).softmax(-1)
    order: Tensor | None = None
    if sampling.top_k or sampling.top_p < 1:
        probs, order = probs.sort(dim=-1, descending=True, stable=True)
        if sampling.top_k:
            probs[:, sampling.top_k :] = 0
        before = probs.cumsum(-1) - probs
        probs = probs.masked_fill(before >= sampling.top_p * probs.sum(-1, keepdim=True), 0)
    total = probs.cumsum(-1)
    # The draws have 24 bits and the sum has 53: the product stays below the sum, so that
    # ``right=True`` never lands on a token of probability zero.
    at = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None] * total[:, -1:]
    found = torch.searchsorted(total, at, right=True).clamp(max=logits.shape[-1] - 1)
    return (found if order is None else order.gather(-1, found))[:, 0]
