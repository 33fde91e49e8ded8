"""Trust: codes that are right are believed, codes that are noise are not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from generalist.decoders import MaskCodec
from generalist.decoders.mask import MaskDecoder
from generalist.tokens import Vocabulary
from generalist.training.mask_trust import fit_checkpoint, fit_trust, what_the_box_shows


def boxes(count: int) -> torch.Tensor:
    """Crops with one random rectangle each, bool[count, 64, 64]."""
    rng = np.random.default_rng(0)
    crops = np.zeros((count, 64, 64), bool)
    for crop in crops:
        (top, bottom), (left, right) = np.sort(rng.integers(0, 65, (2, 2)), axis=1)
        crop[top : bottom + 8, left : right + 8] = True
    return torch.from_numpy(crops)


def test_right_codes_are_trusted_and_random_ones_are_not() -> None:
    crops = boxes(600)
    codec = MaskCodec.fit(crops, entries=16, components=4)
    codes = codec.encode(crops)
    assert fit_trust(codec, codes, crops)[:4].min() > 0.8
    codes[:, 2:] = torch.randint(0, 16, codes[:, 2:].shape, generator=torch.Generator().manual_seed(0))
    trust = fit_trust(codec, codes, crops)
    assert trust[:2].min() > 0.7 and trust[2:].max() < 0.3

    def wrong(predicted: bool) -> int:
        return int(((codec.decode(codes, predicted=predicted) > 0.5) != crops).sum())

    believed = wrong(predicted=True)
    codec.trust.copy_(trust)
    assert wrong(predicted=True) < believed == wrong(predicted=False)


def test_a_box_shows_what_lies_in_it() -> None:
    mask = np.zeros((100, 200), bool)
    mask[50:, 100:] = True
    assert what_the_box_shows(mask, (0.5, 0.5, 1.0, 1.0)).all()
    assert what_the_box_shows(mask, (0.0, 0.0, 1.0, 1.0)).mean() == 0.25
    assert not what_the_box_shows(mask, (0.0, 0.0, 0.4, 1.0)).any()


def test_a_model_that_hardly_draws_masks_keeps_its_codec(
    tmp_path: Path, vocab: Vocabulary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Factors from a handful of masks would be a matter of chance; with enough the codec is written again."""
    crops = boxes(200)
    decoder = MaskDecoder(vocab, MaskCodec.fit(crops, entries=16, components=4))
    codes = decoder.codec.encode(crops)
    monkeypatch.setattr(
        "generalist.training.mask_trust.Generalist.from_pretrained",
        lambda folder: SimpleNamespace(decoders={"mask": decoder}),
    )
    monkeypatch.setattr("generalist.training.mask_trust.World", lambda split, **options: options["count"])
    for drawn, written in ((0, False), (49, False), (200, True)):
        answered = (codes[:drawn], crops[:drawn]) if drawn else (torch.tensor([]), torch.tensor([]))
        monkeypatch.setattr("generalist.training.mask_trust.answers", lambda model, world, answered=answered: answered)
        fit_checkpoint(tmp_path, 300)
        said = capsys.readouterr().out
        assert (f"only {drawn} masks of 300 scenes" in said) != written
        assert (tmp_path / "mask_codec.safetensors").exists() == written
    assert decoder.codec.trust.min() < 1
