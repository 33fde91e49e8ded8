"""Where runs begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generalist.model import (
    GeneralistConfig,
    GeneralistForConditionalGeneration,
    GeneralistProcessor,
    save_checkpoint,
)
from generalist.tokens import Vocabulary
from generalist.training.start import Beginning, begin, check_beginning
from generalist.types import GeneralistError


@pytest.mark.parametrize(("start", "codecs"), [("", None), ("nano", Path("codecs"))])
def test_a_run_has_one_beginning(start: str, codecs: Path | None) -> None:
    with pytest.raises(GeneralistError, match=r"give either --codecs, .* or --start"):
        check_beginning(start, codecs)


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
