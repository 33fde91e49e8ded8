"""What does not fit is one line that names it, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, BertConfig, BertLMHeadModel, PreTrainedTokenizerFast, ResNetConfig

from generalist.composing import ComposeOptions, compose
from generalist.types import GeneralistError

from .conftest import Composed
from .tiny_parents import make_tokenizer, save_language, save_tower

Refused = Callable[..., str]


@pytest.fixture
def refused(one_composed: Composed, tmp_path: Path) -> Refused:
    """The one line that comes of options that do not fit; nothing is written."""
    fitting = ComposeOptions(
        vision=str(one_composed.vision), llm=str(one_composed.llm), out=tmp_path / "out" / "base", locs=64
    )

    def check(**changes: object) -> str:
        (tmp_path / "out").mkdir(exist_ok=True)
        with pytest.raises(GeneralistError) as caught:
            compose(replace(fitting, **changes))  # type: ignore[arg-type]
        assert list((tmp_path / "out").iterdir()) == []
        message = str(caught.value)
        assert "\n" not in message
        return message

    return check


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder", "", "two words", "a\0b"])
def test_no_such_parent(refused: Refused, name: str) -> None:
    assert "hf download" in refused(llm=name)
    assert "hf download" in refused(vision=name)


def test_parents_that_are_swapped(refused: Refused, one_composed: Composed) -> None:
    assert "not a causal language model" in refused(llm=str(one_composed.vision))
    assert "without image_size or patch_size" in refused(vision=str(one_composed.llm))


def test_a_tower_whose_grid_cannot_be_known(refused: Refused, tmp_path: Path) -> None:
    AutoModel.from_config(ResNetConfig(hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8)).save_pretrained(tmp_path)
    assert "without image_size or patch_size" in refused(vision=str(tmp_path))


def test_a_tower_without_its_normalisation(refused: Refused, tmp_path: Path) -> None:
    tower = save_tower(tmp_path / "tower", "dinov2")
    (tower / "preprocessor_config.json").write_text('{"image_mean": [0.5]}')
    assert "image_mean and image_std" in refused(vision=str(tower))
    (tower / "preprocessor_config.json").unlink()
    assert "image_mean and image_std" in refused(vision=str(tower))


def test_a_model_that_reads_ahead(refused: Refused, tmp_path: Path) -> None:
    tokenizer = make_tokenizer("llama")
    narrow = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertLMHeadModel(BertConfig(vocab_size=len(tokenizer), **narrow)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "--llm" in refused(llm=str(tmp_path))


def test_logits_that_are_changed_behind_the_head(refused: Refused, tmp_path: Path) -> None:
    llm = save_language(tmp_path / "llm", "gemma2", final_logit_softcapping=30.0)
    assert "softcapping" in refused(llm=str(llm))


def test_weights_that_are_not_safetensors(refused: Refused, one_composed: Composed, tmp_path: Path) -> None:
    llm = tmp_path / "llm"
    shutil.copytree(one_composed.llm, llm)
    (llm / "model.safetensors").rename(llm / "pytorch_model.bin")
    assert "cannot load the model" in refused(llm=str(llm))


def test_damaged_files(refused: Refused, one_composed: Composed, tmp_path: Path) -> None:
    for file, said in (
        ("config.json", "config.json"),
        ("model.safetensors", "cannot load the model"),
        ("tokenizer.json", "tokenizer"),
    ):
        llm = tmp_path / file
        shutil.copytree(one_composed.llm, llm)
        (llm / file).write_bytes(b"{]")
        assert said in refused(llm=str(llm))


def test_tokenizers_that_do_not_write_text_back(refused: Refused, one_composed: Composed, tmp_path: Path) -> None:
    llm = tmp_path / "llm"
    shutil.copytree(one_composed.llm, llm)
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "box": 1, "(": 2, ")": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(llm)
    assert "works on bytes" in refused(llm=str(llm))


def test_a_tokenizer_that_writes_text_with_a_name_of_ours(
    refused: Refused, one_composed: Composed, tmp_path: Path
) -> None:
    llm = tmp_path / "llm"
    shutil.copytree(one_composed.llm, llm)
    tokenizer = make_tokenizer("llama")
    tokenizer.add_tokens(["<doc>"])
    tokenizer.save_pretrained(llm)
    assert "'<doc>'" in refused(llm=str(llm))


def test_a_tokenizer_with_more_tokens_than_the_model(refused: Refused, one_composed: Composed, tmp_path: Path) -> None:
    llm = tmp_path / "llm"
    shutil.copytree(one_composed.llm, llm)
    tokenizer = make_tokenizer("llama")
    tokenizer.add_tokens(["one more"])
    tokenizer.save_pretrained(llm)
    assert "embeddings and its tokenizer" in refused(llm=str(llm))


def test_sizes_that_do_not_fit(refused: Refused) -> None:
    assert "locs is 0" in refused(locs=0)
    assert "projector_merge is 3" in refused(merge=3)


def test_a_template_that_is_no_template(refused: Refused, one_composed: Composed, tmp_path: Path) -> None:
    llm = tmp_path / "llm"
    shutil.copytree(one_composed.llm, llm)
    (llm / "chat_template.jinja").write_text("{% for message in %}")
    assert "chat template" in refused(llm=str(llm))


def test_an_out_that_exists(one_composed: Composed) -> None:
    before = json.loads((one_composed.out / "vocabulary.json").read_text())
    with pytest.raises(GeneralistError, match="exists; name a new folder"):
        compose(ComposeOptions(vision="nano", llm=str(one_composed.llm), out=one_composed.out))
    assert json.loads((one_composed.out / "vocabulary.json").read_text()) == before
