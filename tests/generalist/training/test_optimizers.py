"""Two optimizers as one."""

from __future__ import annotations

import copy

import torch
from torch import nn

from generalist.training.optimizers import MODULES, MuonAndAdamW, module_of

NAMES = {
    "model.model.vision_tower.blocks.0.fc1.weight": "vision",
    "model.model.vision_tower.position_embedding": "vision",
    "model.model.projector.fc1.weight": "projector",
    "name_head.weight": "projector",
    "model.model.language_model.layers.1.mlp.up_proj.weight": "language",
    "model.model.language_model.norm.weight": "language",
    "token_embedding": "embeddings",
    "loc_projection.weight": "embeddings",
    "output.weight": "embeddings",
    "background": "heads",
    "mask_head.bias": "heads",
}


def test_every_parameter_has_a_module() -> None:
    assert {name: module_of(name) for name in NAMES} == NAMES
    assert set(NAMES.values()) == set(MODULES)


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {name: (4, 4) if name.endswith("weight") and "norm" not in name else (4,) for name in NAMES}
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def learn(optimizer: MuonAndAdamW, weights: dict[str, nn.Parameter], steps: range) -> None:
    for step in steps:
        for k, weight in enumerate(weights.values()):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(100 * step + k))
        optimizer.step()
        optimizer.zero_grad()


def test_it_does_what_the_two_do() -> None:
    ours, theirs = parameters(), parameters()
    learn(MuonAndAdamW(ours.items(), 0.01), ours, range(3))
    blocks = [p for n, p in theirs.items() if "blocks" in n or "layers" in n]
    others = [p for n, p in theirs.items() if not ("blocks" in n or "layers" in n)]
    two = [
        torch.optim.Muon(blocks, lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.01, betas=(0.9, 0.98), weight_decay=0.02),
    ]
    for step in range(3):
        for k, weight in enumerate(theirs.values()):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(100 * step + k))
        for optimizer in two:
            optimizer.step()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name])


def test_a_frozen_parameter_stays_and_rates_are_by_module() -> None:
    weights = parameters()
    weights["token_embedding"].requires_grad_(False)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    optimizer = MuonAndAdamW(weights.items(), 0.01)
    for group in optimizer.param_groups:
        group["lr"] = 0.01 if group["module"] == "vision" else 0.0
    learn(optimizer, weights, range(2))
    assert {name for name in NAMES if not torch.equal(weights[name], before[name])} == {
        name for name, module in NAMES.items() if module == "vision"
    }


def test_its_state_can_be_kept() -> None:
    whole, parts = parameters(), parameters()
    learn(MuonAndAdamW(whole.items(), 0.01), whole, range(6))
    first = MuonAndAdamW(parts.items(), 0.01)
    learn(first, parts, range(3))
    second = MuonAndAdamW(parts.items(), 0.5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    learn(second, parts, range(3, 6))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
