"""Where runs begin."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generalist.decoders import MaskCodec
from generalist.model import (
    GeneralistConfig,
    GeneralistForConditionalGeneration,
    GeneralistProcessor,
    save_checkpoint,
)
from generalist.pipeline import resolve_model
from generalist.tokens import Vocabulary
from generalist.training.start import Beginning, begin, check_beginning
from generalist.types import GeneralistError


def test_a_run_has_a_beginning() -> None:
    with pytest.raises(GeneralistError, match=r"give --codecs, .* or --start, .* or both"):
        check_beginning("", None)


def test_a_checkpoint_goes_on_with_other_codecs(tmp_path: Path) -> None:
    vocab = begin("nano", None).vocab
    crops = torch.rand(200, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    made = MaskCodec.fit(crops, codes=vocab.sizes.mask_length, entries=vocab.sizes.mask_codes, components=2)
    made.save(tmp_path / "mask_codec.safetensors")
    shutil.copy(resolve_model("nano") / "depth_codec.safetensors", tmp_path)
    check_beginning("nano", tmp_path)
    beginning = begin("nano", tmp_path)
    assert beginning.trained and torch.equal(beginning.masks.codebooks, made.codebooks)


def test_a_new_tokenizer_is_for_a_checkpoint() -> None:
    with pytest.raises(GeneralistError, match="--new-tokenizer is for --start"):
        check_beginning("", Path("codecs"), new_tokenizer=True)


def test_codecs_must_be_there(tmp_path: Path, new_beginning: Callable[[], Beginning]) -> None:
    with pytest.raises(GeneralistError, match=r"has no mask_codec.safetensors and no depth_codec.safetensors"):
        check_beginning("", tmp_path / "missing")
    new_beginning().masks.save(tmp_path / "mask_codec.safetensors")
    with pytest.raises(GeneralistError, match=r"has no depth_codec.safetensors"):
        check_beginning("", tmp_path)
    new_beginning().depths.save(tmp_path / "depth_codec.safetensors")
    check_beginning("", tmp_path)


def test_a_checkpoint_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="missing"):
        check_beginning(str(tmp_path / "missing"), None)


def test_another_kind_of_model_is_refused_as_a_beginning(
    tmp_path: Path, vocab: Vocabulary, new_beginning: Callable[[], Beginning]
) -> None:
    like = new_beginning().model.config
    vision = like.vision_config.to_dict() | {"stem": "patch"}
    other = GeneralistConfig.for_vocabulary(vocab, vision_config=vision, text_config=like.text_config.to_dict())
    processor = GeneralistProcessor.for_model(other, vocab)
    save_checkpoint(tmp_path / "other", GeneralistForConditionalGeneration(other), processor, vocab)
    with pytest.raises(GeneralistError, match="--start goes on from models like nano"):
        begin(str(tmp_path / "other"), None)
