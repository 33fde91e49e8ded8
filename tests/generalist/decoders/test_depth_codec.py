from __future__ import annotations

from pathlib import Path

import pytest
import torch

from generalist.decoders import DepthCodec
from generalist.tokens import VocabularySizes
from generalist.types import GeneralistError


@pytest.mark.parametrize("grid", [8, 12])
def test_a_map_becomes_one_code_a_cell_and_a_map_again(grid: int) -> None:
    codec = DepthCodec(grid, entries=32).eval()
    with torch.no_grad():
        codes = codec.encode(torch.rand(3, 96, 96, dtype=torch.float16))
        maps = codec.decode(codes)
    assert codes.shape == (3, grid * grid) and codes.dtype == torch.long
    assert codes.min() >= 0 and codes.max() < 32
    assert maps.shape == (3, 96, 96) and maps.dtype == torch.float32
    assert maps.min() >= 0 and maps.max() <= 1


def test_codes_are_in_reading_order() -> None:
    codec = DepthCodec(8, entries=32).eval()
    with torch.no_grad():
        same = torch.zeros(1, 64, dtype=torch.long)
        changed = same.clone()
        changed[0, 7] = 5  # the last cell of the first row
        difference = (codec.render(codec.codebook[changed[0]]) - codec.render(codec.codebook[same[0]]))[0].abs()
    assert difference[:24, 72:].mean() > 10 * difference[72:, :24].mean()


def test_codes_that_say_the_same_have_no_distance() -> None:
    codec = DepthCodec(8, entries=6)
    codec.codebook[4] = codec.codebook[1]
    distances = codec.entry_distances()
    assert torch.allclose(distances, distances.T, atol=1e-5)
    assert float(distances.mean()) == pytest.approx(1)
    same = distances < 1e-5
    assert same[1, 4] and same.diagonal().all() and int(same.sum()) == 8


def test_no_maps_at_all() -> None:
    codec = DepthCodec(8, entries=32).eval()
    with torch.no_grad():
        codes = codec.encode(torch.zeros(0, 96, 96))
        assert codes.shape == (0, 64)
        assert codec.decode(codes).shape == (0, 96, 96)


def test_a_grid_that_does_not_divide_the_map_is_refused() -> None:
    with pytest.raises(GeneralistError, match="depth grid is 7; use a divisor of 48"):
        DepthCodec(7)


def test_a_file_gives_the_same_codec(tmp_path: Path) -> None:
    path = tmp_path / "depth_codec.safetensors"
    codec = DepthCodec(8, entries=32).half().float().eval()
    codec.save(path)
    loaded = DepthCodec.load(path, VocabularySizes(depth_codes=32))
    u = torch.rand(2, 96, 96)
    with torch.no_grad():
        assert torch.equal(codec.encode(u), loaded.encode(u))
        assert torch.equal(codec.decode(codec.encode(u)), loaded.decode(loaded.encode(u)))


@pytest.mark.parametrize("sizes", [VocabularySizes(depth_codes=64), VocabularySizes(depth_codes=32, depth_grid=12)])
def test_a_file_for_another_vocabulary_is_refused(tmp_path: Path, sizes: VocabularySizes) -> None:
    path = tmp_path / "depth_codec.safetensors"
    DepthCodec(8, entries=32).save(path)
    with pytest.raises(GeneralistError, match=r"codebook is \[32, 16\], not|weight is \[.*\], not"):
        DepthCodec.load(path, sizes)
