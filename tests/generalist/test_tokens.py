"""The vocabulary: one meaning an id, text that stays text, a hash that tells two apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from generalist.tokens import MAX_REFS, STRUCTURE, Vocabulary, VocabularySizes
from generalist.types import GeneralistError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def test_every_block_has_its_own_ids(vocab: Vocabulary) -> None:
    blocks = [*vocab.ref, *vocab.loc, *vocab.mask, *vocab.depth, *vocab.structure.values()]
    assert len(set(blocks)) == len(blocks) == MAX_REFS + 64 + 16 + 32 + len(STRUCTURE)
    assert set(blocks) == set(vocab.special_ids)
    assert vocab.name(vocab.loc[3]) == "<loc_0003>"
    assert vocab.name(vocab.ref[63]) == "[63]"


def test_typed_token_names_are_characters(vocab: Vocabulary) -> None:
    typed = "go to <loc_0001> [0] <eos></Unit>"
    written = vocab.encode_text(typed)
    assert all(vocab.is_text(i) for i in written)
    assert vocab.decode_text(written) == typed


@given(text=TEXT)
def test_text_comes_back(vocab: Vocabulary, text: str) -> None:
    written = vocab.encode_text(text)
    assert vocab.decode_text(written) == text
    assert b"".join(vocab.text_bytes(i) or b"?" for i in written) == text.encode()


def test_text_bytes_of_what_is_no_text_are_none(vocab: Vocabulary) -> None:
    assert [vocab.text_bytes(i) for i in (-1, vocab.size, 10**30, vocab.eos, vocab.loc[0])] == [None] * 5
    assert vocab.text_bytes(vocab.encode_text("é")[0]) == "é".encode()[:1]


def test_any_integer_has_a_name(vocab: Vocabulary) -> None:
    assert vocab.name(-7) == "id -7"
    assert vocab.name(vocab.size) == f"id {vocab.size}"


def test_lone_surrogate_is_the_callers_mistake(vocab: Vocabulary) -> None:
    with pytest.raises(GeneralistError, match=r"'\\ud800'"):
        vocab.encode_text("a \ud800")


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 0), (0.5, 32), (1.0, 63), (1 / 64, 1), (0.0155, 0), (-3.0, 0), (9.0, 63)]
)
def test_coordinates_are_binned_downwards(vocab: Vocabulary, value: float, expected: int) -> None:
    assert vocab.loc_bin(value) == expected


def test_the_centre_of_a_bin_is_in_that_bin(vocab: Vocabulary) -> None:
    assert [vocab.loc_bin(vocab.loc_value(b)) for b in range(64)] == list(range(64))
    assert vocab.loc_value(0) == 0.5 / 64


def test_saved_vocabulary_is_the_same(vocab: Vocabulary, tmp_path: Path) -> None:
    vocab.save(tmp_path)
    loaded = Vocabulary.load(tmp_path)
    assert (loaded.hash, loaded.sizes, loaded.size) == (vocab.hash, vocab.sizes, vocab.size)
    assert loaded.encode_text("a <loc_0001> dog") == vocab.encode_text("a <loc_0001> dog")


def test_altered_vocabulary_is_refused(vocab: Vocabulary, tmp_path: Path) -> None:
    vocab.save(tmp_path)
    content = json.loads((tmp_path / "vocabulary.json").read_text())
    (tmp_path / "vocabulary.json").write_text(json.dumps({**content, "locs": 32}))
    with pytest.raises(GeneralistError, match="hash"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"locs": 64}', '{"hash": "0", "colour": 3}'])
def test_unreadable_vocabulary_is_refused(vocab: Vocabulary, tmp_path: Path, content: str | None) -> None:
    vocab.save(tmp_path)
    if content is None:
        (tmp_path / "tokenizer.json").unlink()
    else:
        (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(GeneralistError, match="cannot read the vocabulary"):
        Vocabulary.load(tmp_path)


def test_the_hash_depends_on_the_sizes(vocab: Vocabulary) -> None:
    tokenizer = Tokenizer.from_str(vocab.tokenizer.to_str())
    assert Vocabulary(tokenizer, vocab.sizes).hash == vocab.hash
    assert Vocabulary(tokenizer, VocabularySizes(locs=63, mask_codes=16, depth_codes=32)).hash != vocab.hash


def test_tokenizer_without_our_tokens_is_refused() -> None:
    with pytest.raises(GeneralistError, match=r"no token '<pad>'; make it with Vocabulary.extend"):
        Vocabulary(Tokenizer(models.BPE()), VocabularySizes())


def test_tokenizer_that_cannot_write_a_parenthesis_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(GeneralistError, match=r"splits '\(' into 0 tokens"):
        Vocabulary.extend(tokenizer, VocabularySizes(locs=4))


@pytest.mark.parametrize("value", [0, -1, 2.5, "8"])
def test_sizes_are_whole_numbers(value: int) -> None:
    with pytest.raises(GeneralistError, match="vocabulary size depth_grid is"):
        VocabularySizes(depth_grid=value)
