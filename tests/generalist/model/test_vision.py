from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from generalist.model import GeneralistVisionConfig, GeneralistVisionModel
from generalist.model.configuration import as_config
from generalist.model.modeling import vision_tokens, vision_tower_from_config
from generalist.model.projector import merge_neighbours
from generalist.model.vision import (
    MBCONV_CHANNELS,
    MBConvFeatures,
    PatchStem,
    fourier_positions,
    mbconv_state_dict_from_efficientnet_lite0,
)
from generalist.types import GeneralistError

# EfficientNet-Lite0 up to stride 16, once more and independently: (stride, kernel, expand, in, out)
LITE0 = [
    *((1, 3, 1, 32, 16), (2, 3, 6, 16, 24), (1, 3, 6, 24, 24), (2, 5, 6, 24, 40), (1, 5, 6, 40, 40)),
    *((2, 3, 6, 40, 80), (1, 3, 6, 80, 80), (1, 3, 6, 80, 80), (1, 5, 6, 80, 112), (1, 5, 6, 112, 112)),
    (1, 5, 6, 112, 112),
]


@pytest.fixture(scope="module")
def lite0() -> dict[str, torch.Tensor]:
    """Random weights under the names of an EfficientNet-Lite0, batch norms included."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def add(conv: str, norm: str, out: int, inner: int, kernel: int) -> None:
        state[f"{conv}.weight"] = torch.randn(out, inner, kernel, kernel, generator=generator) / kernel / inner**0.5
        state[f"{norm}.weight"] = torch.rand(out, generator=generator) + 0.5
        state[f"{norm}.bias"] = torch.randn(out, generator=generator)
        state[f"{norm}.running_mean"] = torch.randn(out, generator=generator)
        state[f"{norm}.running_var"] = torch.rand(out, generator=generator) + 0.1

    add("_conv_stem", "_bn0", 32, 3, 3)
    for i, (_, kernel, expand, channels_in, out) in enumerate(LITE0):
        name, inner = f"_blocks.{i}", channels_in * expand
        if expand > 1:
            add(f"{name}._expand_conv", f"{name}._bn0", inner, channels_in, 1)
        add(f"{name}._depthwise_conv", f"{name}._bn1", inner, 1, kernel)
        add(f"{name}._project_conv", f"{name}._bn2", out, inner, 1)
    return state


def unfolded(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Convolutions and batch norms one after the other."""

    def step(x: torch.Tensor, conv: str, norm: str, stride: int = 1, depthwise: bool = False) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)  # TensorFlow's "same"
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        x = functional.conv2d(x, weight, stride=stride, groups=len(weight) if depthwise else 1)
        mean, var, gamma, beta = (state[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, gamma, beta, eps=1e-3)

    x = step(x, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
    maps = {}
    for i, (stride, _, expand, channels_in, out) in enumerate(LITE0):
        name, y = f"_blocks.{i}", x
        if expand > 1:
            y = step(y, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
        y = step(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True).clamp(0, 6)
        y = step(y, f"{name}._project_conv", f"{name}._bn2")
        x = x + y if stride == 1 and channels_in == out else y
        maps[x.shape[-1]] = x  # the last map of every size
    coarse, fine = sorted(maps)[:2]
    return torch.cat([functional.pixel_unshuffle(maps[fine], 2), maps[coarse]], dim=1)


def test_folded_weights_give_what_batch_norms_give(lite0: dict[str, torch.Tensor]) -> None:
    features = MBConvFeatures()
    features.load_state_dict(mbconv_state_dict_from_efficientnet_lite0(lite0), strict=True)
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out, expected = features(pixels), unfolded(lite0, pixels)
    assert out.shape == (2, MBCONV_CHANNELS, 6, 6) == (2, 272, 6, 6)
    torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)
    assert out.std() > 0.5


def test_folding_needs_every_tensor(lite0: dict[str, torch.Tensor]) -> None:
    incomplete = {name: tensor for name, tensor in lite0.items() if name != "_blocks.7._bn1.running_var"}
    with pytest.raises(GeneralistError, match=r"no tensor '_blocks\.7\._bn1\.running_var'"):
        mbconv_state_dict_from_efficientnet_lite0(incomplete)


@pytest.mark.parametrize("stem", ["mbconv", "patch"])
def test_stem_halves_and_tower_agree(stem: str) -> None:
    config = GeneralistVisionConfig(stem=stem, image_size=64, hidden_size=32, num_hidden_layers=1)
    tower = GeneralistVisionModel(config).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole = tower(pixels).last_hidden_state
        halves = tower.encode(tower.stem.embed(tower.stem.extract(pixels)))
    assert whole.shape == (2, 16, 32)
    torch.testing.assert_close(whole, halves)


def test_tokens_are_row_major() -> None:
    stem = PatchStem(GeneralistVisionConfig(stem="patch", image_size=64))
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[:, :, 16:32, 48:64] = 1  # second row, fourth column
    lit = stem.extract(pixels)[0].abs().sum(1).nonzero().flatten()
    assert lit.tolist() == [1 * 4 + 3]


def test_merging_takes_squares_row_major() -> None:
    numbered = torch.arange(24.0).view(1, 24, 1)  # 4 rows of 6
    merged = merge_neighbours(numbered, (4, 6), 2)
    assert merged[0].tolist() == [
        *([0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]),
        *([12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]),
    ]


def test_location_can_be_read_from_the_position_embedding() -> None:
    config = GeneralistVisionConfig(image_size=384)  # 24 x 24 cells
    torch.manual_seed(0)
    embedding = fourier_positions(config)
    centres = (torch.arange(24) + 0.5) / 24
    x, y = centres.repeat(24), centres.repeat_interleave(24)
    seen = torch.rand(576) < 0.7
    inputs = torch.cat([embedding, torch.ones(576, 1)], dim=1)
    for target in (x, y):
        ridge = inputs[seen].T @ inputs[seen] + 1e-3 * torch.eye(inputs.shape[1])
        weights = torch.linalg.solve(ridge, inputs[seen].T @ target[seen])
        error = (inputs[~seen] @ weights - target[~seen]).abs()
        assert error.mean() < 0.25 / 24  # a quarter of a cell, where it never looked


@pytest.mark.parametrize(
    ("tower", "in_front"),
    [
        ({"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 16}, 0),
        ({"model_type": "clip_vision_model", "image_size": 32, "patch_size": 16}, 1),
        ({"model_type": "dinov2", "image_size": 28, "patch_size": 14, "mlp_ratio": 2}, 1),
        ({"model_type": "dinov2_with_registers", "image_size": 28, "patch_size": 14, "num_register_tokens": 3}, 4),
    ],
)
def test_tokens_in_front_of_the_grid_are_dropped(tower: dict[str, Any], in_front: int) -> None:
    config = as_config({"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, **tower}, {}, "vision")
    model = vision_tower_from_config(config).eval()
    pixels = torch.randn(2, 3, config.image_size, config.image_size)
    with torch.no_grad():
        states = model(pixels).last_hidden_state
        tokens = vision_tokens(model, pixels)
    assert states.shape[1] == in_front + 4
    assert torch.equal(tokens, states[:, in_front:])


def test_a_convolutional_map_is_read_row_major() -> None:
    tower = {"model_type": "convnext", "image_size": 64, "depths": [1] * 4, "hidden_sizes": [4, 4, 8, 16]}
    model = vision_tower_from_config(as_config(tower, {}, "vision")).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        feature_map = model(pixels).last_hidden_state  # [1, 16, 2, 2]
        tokens = vision_tokens(model, pixels)
    assert torch.equal(tokens[0, 1], feature_map[0, :, 0, 1])


def test_a_tower_with_another_grid_than_it_says_is_refused() -> None:
    tower = {"model_type": "dinov2", "image_size": 42, "patch_size": 14, "hidden_size": 16, "num_hidden_layers": 1}
    model = vision_tower_from_config(as_config({**tower, "num_attention_heads": 2}, {}, "vision")).eval()
    with pytest.raises(GeneralistError, match="the dinov2 tower gives 26 tokens where its configuration says 3 x 3"):
        vision_tokens(model, torch.randn(1, 3, 70, 70))
