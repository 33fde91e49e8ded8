"""Vectors of texts from a base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from generalist.documents import dense as module
from generalist.documents.bases import load_base
from generalist.documents.dense import Encoder, pieces_of
from generalist.documents.network import load_network, save_update, trained, with_update
from generalist.model import Checkpoint
from generalist.types import GeneralistError

TEXTS = ["The dog is asleep.", "A", "Where is the red mug? On a sofa, the cat said."]


@pytest.fixture(scope="module")
def encoder(llama: Path) -> Encoder:
    return Encoder(load_network(load_base(llama), "cpu"))


def test_a_vector_is_the_mean_over_tokens_that_see_each_other(encoder: Encoder, llama: Path) -> None:
    plain = LlamaForCausalLM.from_pretrained(llama).model
    ids = torch.tensor([load_base(llama).tokenizer.encode(TEXTS[0]).ids])
    seen = torch.zeros(1, 1, ids.shape[1], ids.shape[1])  # additive: everything is seen
    with torch.inference_mode():
        states = plain(ids, attention_mask=seen).last_hidden_state[0]
    expected = states.mean(0) / states.mean(0).norm()
    (found,) = encoder.embed(TEXTS[:1])
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
    with torch.inference_mode():
        causal = plain(ids).last_hidden_state[0].mean(0)
    assert abs(found @ (causal / causal.norm()).numpy()) < 0.999


def test_company_changes_nothing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    together = encoder.embed(TEXTS)
    assert together.shape == (3, encoder.dimensions) and together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    assert encoder.embed(TEXTS) == pytest.approx(together, abs=1e-5)
    assert encoder.embed([]).shape == (0, encoder.dimensions)


def test_a_checkpoint_of_ours_embeds_as_well(tiny_checkpoint: Checkpoint) -> None:
    encoder = Encoder(load_network(load_base(tiny_checkpoint.folder), "cpu"))
    found = encoder.embed(["the dog", "the dog", "a </doc> map"])
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert abs(float(found[0] @ found[2])) < 0.9999


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the text is empty"), ("word " * 400, "use at most 512"), ("a\ud800", "not valid Unicode")],
)
def test_mistakes_are_said_in_one_line(text: str, message: str, encoder: Encoder) -> None:
    with pytest.raises(GeneralistError, match=message):
        encoder.embed(["fine", text])


def test_long_documents_have_several_pieces(encoder: Encoder, llama: Path) -> None:
    tokenizer = load_base(llama).tokenizer
    sentences = [f"The dog {number} is asleep on a sofa." for number in range(60)]
    pieces = pieces_of("The dog", " ".join(sentences), tokenizer)
    title = tokenizer.encode("The dog").ids
    assert len(pieces) > 2
    assert all(piece[: len(title)] == title and len(piece) <= module.PIECE for piece in pieces)
    written = "".join(tokenizer.decode(piece[len(title) :]) for piece in pieces)
    assert written.split() == " ".join(sentences).split()
    assert max(map(len, pieces_of("", "x" * 5000, tokenizer, 100))) <= 100  # one word without an end
    assert pieces_of("", "", tokenizer) == [[]]
    rows = list(encoder.embed_documents([("The dog", " ".join(sentences)), ("", ""), ("A", "cat")]))
    assert [len(one) for one in rows] == [len(pieces), 1, 1]
    assert not rows[1].any()


def test_an_update_changes_the_vectors_and_is_the_same_when_it_is_read(llama: Path, tmp_path: Path) -> None:
    base = load_base(llama)
    network = with_update(load_network(base, "cpu"), rank=2, seed=0)
    plain = Encoder(load_network(base, "cpu")).embed(TEXTS)
    assert Encoder(network).embed(TEXTS) == pytest.approx(plain, abs=1e-6)
    with torch.no_grad():
        for one in trained(network).values():
            one.add_(0.1)
    save_update(network, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    learnt = Encoder.load(base, tmp_path, "cpu").embed(TEXTS)
    assert learnt == pytest.approx(Encoder(network).embed(TEXTS), abs=1e-4)
    assert np.abs(learnt - plain).max() > 0.01


def test_an_update_of_another_model_is_refused(llama: Path, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    network = with_update(load_network(load_base(tiny_checkpoint.folder), "cpu"), rank=2, seed=0)
    save_update(network, tmp_path)
    with pytest.raises(GeneralistError, match="cannot use this adapter"):
        Encoder.load(load_base(llama), tmp_path, "cpu")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(GeneralistError, match="cannot use this adapter"):
        Encoder.load(load_base(tiny_checkpoint.folder), tmp_path, "cpu")
