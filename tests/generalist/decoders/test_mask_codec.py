from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generalist.decoders import MaskCodec
from generalist.tokens import VocabularySizes
from generalist.types import GeneralistError

from .conftest import ellipses

SIZES = VocabularySizes(mask_codes=16)


def iou(codec: MaskCodec, crops: Tensor, sweeps: int = 0) -> float:
    made = codec.decode(codec.encode(crops, sweeps)) > 0.5
    return float(((made & crops).sum((1, 2)) / (made | crops).sum((1, 2))).mean())


def test_shapes_that_were_not_fitted_come_back(mask_codec: MaskCodec) -> None:
    unseen = ellipses(100, seed=1)
    mean_shape = (mask_codec.mean.view(64, 64) > 0.5).expand_as(unseen)
    floor = float(((mean_shape & unseen).sum((1, 2)) / (mean_shape | unseen).sum((1, 2))).mean())
    assert iou(mask_codec, unseen) > 0.95 > floor + 0.1


def test_codes_have_the_contract_s_shape_and_range(mask_codec: MaskCodec) -> None:
    codes = mask_codec.encode(ellipses(5, seed=2).float())
    assert codes.shape == (5, 16) and codes.dtype == torch.long
    assert codes.min() >= 0 and codes.max() < 16
    assert mask_codec.decode(codes).shape == (5, 64, 64)


def test_no_crops_at_all(mask_codec: MaskCodec) -> None:
    nothing = torch.zeros(0, 64, 64, dtype=torch.bool)
    assert mask_codec.encode(nothing).shape == mask_codec.encode(nothing, sweeps=1).shape == (0, 16)
    assert mask_codec.decode(mask_codec.encode(nothing)).shape == (0, 64, 64)


def test_sweeps_leave_fewer_wrong_pixels_in_every_crop(mask_codec: MaskCodec) -> None:
    unseen = ellipses(70, seed=3)

    def wrong(sweeps: int) -> Tensor:
        return ((mask_codec.decode(mask_codec.encode(unseen, sweeps)) > 0.5) != unseen).sum((1, 2))

    assert (wrong(2) <= wrong(0)).all()
    assert wrong(2).sum() < 0.95 * wrong(0).sum()


def test_the_same_seed_fits_the_same_codec(mask_codec: MaskCodec) -> None:
    again = MaskCodec.fit(ellipses(600, seed=0), codes=16, entries=16, components=4)
    other = MaskCodec.fit(ellipses(600, seed=0), codes=16, entries=16, components=4, seed=1)
    assert torch.equal(again.codebooks, mask_codec.codebooks) and torch.equal(again.basis, mask_codec.basis)
    assert not torch.equal(other.codebooks, mask_codec.codebooks)


def test_every_code_draws_one_cell(mask_codec: MaskCodec) -> None:
    codes = mask_codec.encode(ellipses(20, seed=1))
    before = mask_codec.decode(codes)
    drawn = set()
    for cell in range(16):
        other = codes.clone()
        other[:, cell] = (other[:, cell] + 1) % 16
        changed = (mask_codec.decode(other) != before).any(0).view(4, 16, 4, 16).any(3).any(1)
        drawn |= {(row * 4 + column, cell) for row, column in changed.nonzero().tolist()}
    assert drawn <= {(cell, cell) for cell in range(16)}
    assert len(drawn) >= 12  # the middle of an ellipse is always full


def test_soft_targets_peak_at_the_code_and_sharpen_with_low_temperature(mask_codec: MaskCodec) -> None:
    crops = ellipses(20, seed=4)
    soft, sharp = (mask_codec.soft_targets(crops, temperature=t) for t in (1.0, 0.01))
    assert soft.shape == (20, 16, 16)
    assert torch.allclose(soft.sum(2), torch.ones(20, 16))
    assert torch.equal(soft.argmax(2), mask_codec.encode(crops))
    assert soft.max(2).values.mean() < 0.6 < sharp.max(2).values.mean()


def test_wrong_shares_are_those_of_the_pixels_that_a_code_draws(mask_codec: MaskCodec) -> None:
    crops = ellipses(12, seed=5)
    shares, codes, cell = mask_codec.wrong_shares(crops), mask_codec.encode(crops), 5
    assert shares.shape == (12, 16, 16)
    drawn = []
    for entry in range(16):
        codes[:, cell] = entry
        drawn.append(mask_codec.decode(codes))
    own = (torch.stack(drawn) != drawn[0]).any(0).any(0)
    assert 0 < own.sum() <= 256
    for entry, drawing in enumerate(drawn):
        wrong = ((drawing > 0.5) != crops)[:, own].float().mean(1)
        assert torch.allclose(shares[:, cell, entry], wrong, atol=1e-6)


def test_a_file_gives_the_same_codec_and_others_may_read_it(mask_codec: MaskCodec, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "mask_codec.safetensors"
    mask_codec.save(path)
    loaded = MaskCodec.load(path, SIZES)
    for name, tensor in mask_codec.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_interrupted_save_leaves_the_former_file(
    mask_codec: MaskCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask_codec.safetensors"
    mask_codec.save(path)
    former = path.read_bytes()

    def interrupt(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mask_codec.save(path)
    assert path.read_bytes() == former and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, "mean is missing"),
        ({"codebooks": None}, "codebooks is missing"),
        ({"extra": torch.zeros(1)}, "extra does not belong"),
        ({"basis": torch.zeros(4096, 3)}, r"basis is \[4096, 3\], not \[4096, 64\]"),
        ({"codebooks": torch.zeros(16, 16)}, r"codebooks is \[16, 16\]"),
        ({"codebooks": torch.zeros(15, 16, 64)}, r"codebooks is \[15, 16, 64\], not \[16, 16, 64\]"),
        ({"mean": torch.full((4096,), torch.nan)}, "mean holds values that are not finite"),
    ],
)
def test_an_altered_file_is_refused(
    mask_codec: MaskCodec, tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    path = tmp_path / "mask_codec.safetensors"
    mask_codec.save(path)
    save_file({name: t for name, t in {**load_file(path), **change}.items() if t is not None}, path)
    with pytest.raises(GeneralistError, match=message):
        MaskCodec.load(path, SIZES)


def test_a_file_for_another_vocabulary_is_refused(mask_codec: MaskCodec, tmp_path: Path) -> None:
    path = tmp_path / "mask_codec.safetensors"
    mask_codec.save(path)
    with pytest.raises(GeneralistError, match=r"codebooks is \[16, 16, 64\], not \[16, 128, 64\]"):
        MaskCodec.load(path, VocabularySizes(mask_codes=128))


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all", b"\xff" * 64])
def test_a_missing_or_damaged_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mask_codec.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GeneralistError) as error:
        MaskCodec.load(path, SIZES)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("crops", [torch.zeros(500, 32, 32), torch.zeros(15, 64, 64), torch.zeros(500, 4096)])
def test_fitting_refuses_what_cannot_be_fitted(crops: Tensor) -> None:
    with pytest.raises(GeneralistError, match=r"mask crops are \[\d+, .*; give \[N, 64, 64\] with N >= 16"):
        MaskCodec.fit(crops, entries=16, components=4)


@pytest.mark.parametrize("codes", [8, 9, 0])
def test_cells_share_a_crop_out_evenly(codes: int) -> None:
    with pytest.raises(GeneralistError, match=f"a mask cannot have {codes} codes"):
        MaskCodec.fit(ellipses(30, seed=0), codes=codes, entries=16)
