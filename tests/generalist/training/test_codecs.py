from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from generalist.decoders import DepthCodec, MaskCodec
from generalist.tokens import VocabularySizes
from generalist.training import codecs
from generalist.types import GeneralistError


def ramps(count: int, seed: int) -> Tensor:
    """Planes that rise at random angles, float[count, 96, 96] in 0-1."""
    angles = torch.rand(count, 1, 1, generator=torch.Generator().manual_seed(seed)) * 6.2832
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")
    slope = x * angles.cos() + y * angles.sin()
    low, high = slope.amin((1, 2), keepdim=True), slope.amax((1, 2), keepdim=True)
    return (slope - low) / (high - low)


def discs(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    power = rng.uniform(0.5, 4, (count, 1, 1))
    return (np.abs(x) ** power + np.abs(y) ** power * rng.uniform(1, 3, (count, 1, 1))) < 1


# --- fitting ---


def test_fitting_depth_learns_the_maps() -> None:
    maps, unseen = ramps(48, seed=0).half(), ramps(8, seed=1)
    fitted = codecs.fit_depth(maps, entries=24, steps=40, batch=4)
    ranges = torch.tensor([[1.0, 10.0]] * 8)
    flat = (unseen - 0.5).abs() * np.log(10) < np.log(1.25)
    assert codecs.depth_d1(fitted, unseen, ranges) > float(flat.float().mean()) + 0.05


def test_the_same_seed_fits_the_same_depth_codec() -> None:
    maps = ramps(16, seed=0)
    first, again, other = (codecs.fit_depth(maps, entries=8, steps=8, batch=2, seed=s).codebook for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_d1_counts_pixels_within_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = DepthCodec()
    monkeypatch.setattr(codec, "encode", lambda u: u)
    monkeypatch.setattr(codec, "decode", torch.zeros_like)
    maps = torch.zeros(1, 96, 96)
    maps[:, :24] = 0.09  # 10 ** 0.09 = 1.23: within
    maps[:, 24:48] = 0.11  # 10 ** 0.11 = 1.29: outside
    assert codecs.depth_d1(codec, maps, torch.tensor([[1.0, 10.0]])) == pytest.approx(0.75)


def test_a_dead_entry_is_replaced_by_a_cell() -> None:
    cells = torch.cat([torch.zeros(50, 2), torch.ones(50, 2)])
    generator = torch.Generator().manual_seed(0)
    entries = torch.zeros(4, 2)
    book = codecs.MovingCodebook(entries, cells + 0.01 * torch.randn(100, 2, generator=generator), generator)
    entries[3] = book.sums[3] = 100.0
    for _ in range(300):
        book.update(cells, torch.tensor([0] * 50 + [1] * 50))
    assert entries.max() <= 1.1


# --- reading ---


def test_crops_are_read_packed_and_plain(tmp_path: Path) -> None:
    crops = discs(10, seed=0)
    np.savez(tmp_path / "plain.npz", crops=crops.astype(np.uint8))
    np.savez(tmp_path / "packed.npz", crops=np.packbits(crops.reshape(10, -1), axis=1))
    for name in ("plain.npz", "packed.npz"):
        assert np.array_equal(codecs.read_crops(tmp_path / name).numpy(), crops)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read 'depths'"),
        ({"crops": np.zeros(3)}, "cannot read 'depths'"),
        ({"depths": np.zeros((2, 64, 64), np.float32)}, r"depths are torch.float32 \[2, 64, 64\]"),
        ({"depths": np.zeros((0, 96, 96), np.float32)}, r"\[0, 96, 96\]"),
        ({"depths": np.zeros((2, 96, 96), np.uint8)}, r"torch.uint8"),
        ({"depths": np.full((2, 96, 96), 3.0)}, "go from 3.0 to 3.0; normalise"),
        ({"depths": np.full((2, 96, 96), np.nan)}, "go from nan to nan; normalise"),
    ],
)
def test_a_file_without_usable_maps_is_refused(
    tmp_path: Path, content: dict[str, np.ndarray] | None, message: str
) -> None:
    path = tmp_path / "data.npz"
    if content is not None:
        np.savez(path, **content)  # type: ignore[arg-type]
    with pytest.raises(GeneralistError, match=message):
        codecs.read_maps(path)


# --- commands ---


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["codecs", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        codecs.main()
    return int(end.value.code or 0)


def test_the_mask_command_writes_a_codec_and_measures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 0), ("b", 1), ("unseen", 2)):
        np.savez(tmp_path / f"{name}.npz", crops=discs(150 if seed < 2 else 20, seed))
    files = (tmp_path / "a.npz", tmp_path / "b.npz", "--out", tmp_path / "out", "--test", tmp_path / "unseen.npz")
    assert run(monkeypatch, "mask", *files) == 0
    codec = MaskCodec.load(tmp_path / "out" / "mask_codec.safetensors", VocabularySizes())
    unseen = codecs.read_crops(tmp_path / "unseen.npz")
    assert codecs.mask_iou(codec, unseen) > 0.9
    assert f"IoU {codecs.mask_iou(codec, unseen):.4f}" in capsys.readouterr().out.replace("\n", " ")


def test_the_depth_command_writes_a_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "maps.npz", depths=ramps(8, seed=0).numpy())
    monkeypatch.setattr(codecs, "fit_depth", lambda maps, steps, seed: DepthCodec())
    assert run(monkeypatch, "depth", tmp_path / "maps.npz", "--out", tmp_path / "out") == 0
    DepthCodec.load(tmp_path / "out" / "depth_codec.safetensors", VocabularySizes())


def test_a_missing_file_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "mask", tmp_path / "none.npz", "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert "none.npz: cannot read 'crops'" in error and error.count("\n") == 1
