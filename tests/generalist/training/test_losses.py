"""The loss of tokens: what greedy decoding writes once the loss is as low as it can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from generalist.tokens import Vocabulary
from generalist.training.examples import NOTHING, Batch
from generalist.training.losses import token_loss

LIKELY = torch.tensor([0.4, 0.3, 0.3])
"""Of three codes that may be right; the likeliest is unlike the other two."""
COSTS = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.1], [1.0, 0.1, 0.0]])
"""Of writing one (column) where another (row) is right."""


def batch_of(vocab: Vocabulary, kind: str) -> Batch:
    """One token of a mask or a depth map in each of three sequences, in each of which another code is right."""
    codes = torch.arange(3)
    block = vocab.mask if kind == "mask" else vocab.depth
    nothing = torch.full((3, 2), NOTHING)
    first = torch.tensor([[NOTHING, 0]] * 3)
    costs = torch.ones(3, 1, 1, len(vocab.mask))
    costs[:, 0, 0, :3] = COSTS
    unlike = torch.ones(len(vocab.depth), len(vocab.depth))
    unlike[:3, :3] = COSTS
    return {
        "ids": torch.stack([torch.zeros(3, dtype=torch.long), block.start + codes], dim=1),
        "weights": torch.stack([torch.zeros(3), LIKELY], dim=1),
        "locs": torch.full((3, 2), np.nan),
        "tasks": nothing,
        "things": first,
        "mask_code": first if kind == "mask" else nothing,
        "depth_code": first if kind == "depth" else nothing,
        "mask_costs": costs,
        "depth_costs": unlike,
    }


@pytest.mark.parametrize("kind", ["mask", "depth"])
def test_the_code_that_costs_least_is_written_though_another_is_likelier(vocab: Vocabulary, kind: str) -> None:
    batch = batch_of(vocab, kind)
    block = vocab.mask if kind == "mask" else vocab.depth
    targets = torch.zeros(3, 1, 1, len(vocab.mask))
    targets[torch.arange(3), 0, 0, torch.arange(3)] = 1
    logits = torch.zeros(vocab.size, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        outputs = {"selected": torch.tensor([0, 2, 4]), "logits": logits.expand(3, -1)}
        loss, tallies = token_loss(outputs, batch, vocab, targets, sigma=1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = int(logits.argmax()) - block.start
    assert written in (1, 2)
    # What is reported is the cross-entropy alone.
    right = logits.detach().log_softmax(0)[block.start : block.start + 3]
    assert float(tallies[0].max()) == pytest.approx(-float(right.sum()), rel=0.05)
