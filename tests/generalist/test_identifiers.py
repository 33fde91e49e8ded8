from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generalist.identifiers import Automaton, IdentifierTrie, check_vocabulary, load_identifiers
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

NAMES = ["oak", "oak tree", "oak trees", "elm", "a long name of a street", "Ähre"]


@pytest.fixture
def trie(vocab: Vocabulary) -> IdentifierTrie:
    return IdentifierTrie.build([vocab.encode_text(name) for name in NAMES], vocab)


def written(automaton: Automaton, ids: list[int]) -> bool:
    """Whether every token is allowed where it stands."""
    state = automaton.start()
    for token in ids:
        allowed = automaton.allowed(state)
        if allowed is not None and token not in allowed:
            return False
        state = automaton.advance(state, token)
    return True


def every_identifier(trie: IdentifierTrie) -> set[tuple[int, ...]]:
    """All that can be written between <doc> and </doc>."""
    found, begun = set(), [((), trie.advance(trie.start(), trie.open))]
    while begun:
        ids, state = begun.pop()
        allowed = trie.allowed(state)
        assert allowed is not None
        for token in allowed.tolist():
            if token == trie.close:
                found.add(ids)
            else:
                begun.append(((*ids, token), trie.advance(state, token)))
    return found


def test_exactly_the_identifiers_can_be_written(trie: IdentifierTrie, vocab: Vocabulary) -> None:
    assert every_identifier(trie) == {tuple(vocab.encode_text(name)) for name in NAMES}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=30))
def test_any_set_of_sequences_is_kept(vocab: Vocabulary, rows: list[list[int]]) -> None:
    text = [i for i in range(vocab.size) if vocab.is_text(i)][:6]
    rows = [[text[i] for i in row] for row in rows]
    assert every_identifier(IdentifierTrie.build(rows, vocab)) == {tuple(row) for row in rows}


def test_outside_everything_is_allowed(trie: IdentifierTrie, vocab: Vocabulary) -> None:
    name = vocab.encode_text("oak tree")
    around = [*vocab.encode_text("any words"), trie.open, *name, trie.close, *vocab.encode_text("more words")]
    assert written(trie, [*around, trie.open, *name, trie.close])
    assert not written(trie, [*around, trie.open, *vocab.encode_text("ash"), trie.close])
    assert not written(trie, [trie.open, trie.close])
    assert not written(trie, [trie.open, *name, vocab.eos])


def test_after_a_token_against_the_rules_nothing_is_allowed(trie: IdentifierTrie) -> None:
    state = trie.advance(trie.advance(trie.start(), trie.open), trie.open)
    for token in (trie.open, trie.close, -5, 10**9):
        state = trie.advance(state, token)
        allowed = trie.allowed(state)
        assert allowed is not None
        assert not len(allowed)


def test_a_file_says_the_same_and_is_not_copied(trie: IdentifierTrie, tmp_path: Path) -> None:
    trie.save(tmp_path / "names")
    read = load_identifiers(tmp_path / "names")
    assert every_identifier(read) == every_identifier(trie)
    assert (read.open, read.close, read.vocab_hash) == (trie.open, trie.close, trie.vocab_hash)
    assert not read.tokens.flags.owndata
    assert not read.tokens.flags.writeable
    assert load_identifiers(str(tmp_path / "names")) is read


def test_a_file_written_anew_is_read_anew(trie: IdentifierTrie, vocab: Vocabulary, tmp_path: Path) -> None:
    trie.save(tmp_path / "names")
    load_identifiers(tmp_path / "names")
    IdentifierTrie.build([vocab.encode_text("ash")], vocab).save(tmp_path / "names")
    assert every_identifier(load_identifiers(tmp_path / "names")) == {tuple(vocab.encode_text("ash"))}


def test_no_file_that_is_cut_or_altered_is_taken_for_a_good_one(trie: IdentifierTrie, tmp_path: Path) -> None:
    trie.save(tmp_path / "names")
    content = (tmp_path / "names").read_bytes()
    other = content.replace(b"identifiers-1", b"identifiers-9")
    cases = [b"", b"short", content[:100], content[:-8], b"\xff" * 200, other]
    for case in cases:
        (tmp_path / "bad").write_bytes(case)
        with pytest.raises(GeneralistError, match="not a file of identifiers"):
            load_identifiers(tmp_path / "bad")
    random = np.random.default_rng(0)
    for _ in range(200):  # whatever a flipped byte does, a reader stays inside the arrays or refuses
        altered = bytearray(content)
        altered[random.integers(len(altered))] ^= 1 << random.integers(8)
        (tmp_path / "bad").write_bytes(altered)
        try:
            read = IdentifierTrie.load(tmp_path / "bad")
        except GeneralistError:
            continue
        for state in range(len(read.first) - 1):
            read.allowed(state)
            read.advance(state, 7)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, "\0"):
        with pytest.raises(GeneralistError, match="cannot read the identifiers"):
            load_identifiers(path)


def test_what_is_no_identifier(vocab: Vocabulary) -> None:
    good = vocab.encode_text("oak")
    for rows, message in (
        ([], "0 identifiers"),
        ([good, []], "identifier 1 has no tokens"),
        ([good, [vocab.eos]], "identifier 1 holds <eos>"),
        ([[*good, vocab.size]], f"identifier 0 holds id {vocab.size}"),
        ([[-1]], "identifier 0 holds id -1"),
    ):
        with pytest.raises(GeneralistError, match=message):
            IdentifierTrie.build(rows, vocab)


def test_another_vocabulary_is_refused(trie: IdentifierTrie, vocab: Vocabulary) -> None:
    from dataclasses import replace

    check_vocabulary(trie, vocab, "names")
    with pytest.raises(GeneralistError, match="names: its identifiers are in vocabulary 0123"):
        check_vocabulary(replace(trie, vocab_hash="0123"), vocab, "names")
