"""Codecs small enough to make in milliseconds, and a checkpoint folder that holds them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from generalist.decoders import DepthCodec, MaskCodec
from generalist.tokens import Vocabulary


def ellipses(count: int, seed: int) -> Tensor:
    """Tilted ellipses that touch the edges about as tight crops do, bool[count, 64, 64]."""
    generator = torch.Generator().manual_seed(seed)
    axis = (torch.arange(64) + 0.5) / 32 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    tilt, power = (torch.rand(2, count, 1, 1, generator=generator) * torch.tensor([1.6, 3.0]).view(2, 1, 1, 1)).unbind()
    tilt = tilt - 0.8
    return (x - tilt * y).abs() ** (1 + power) + y.abs() ** (1 + power) < 1


@pytest.fixture(scope="session")
def mask_codec() -> MaskCodec:
    """16 codes x 16 entries, of 600 ellipses."""
    return MaskCodec.fit(ellipses(600, seed=0), codes=16, entries=16, components=4)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, vocab: Vocabulary, mask_codec: MaskCodec) -> Path:
    """A folder with both codecs, of the sizes of ``vocab``."""
    folder = tmp_path_factory.mktemp("checkpoint")
    mask_codec.save(folder / "mask_codec.safetensors")
    DepthCodec(vocab.sizes.depth_grid, vocab.sizes.depth_codes).save(folder / "depth_codec.safetensors")
    return folder
