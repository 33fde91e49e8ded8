"""The automaton of an index: exactly what the collection holds can be written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generalist.index import Segment, TextAutomaton
from generalist.index.automaton import DEAD, OUTSIDE

from .conftest import D, P, S, segment

OPEN, CLOSE = 8, 9
DOCUMENTS = [[D, 1, 2, P, 3, 4, S, 5, 1], [D, 1, P, 3, 1, 2], [D, P, 6]]


def automaton(*segments: Segment, what: str = "ngrams") -> TextAutomaton:
    return TextAutomaton(segments, vocab_hash="h", open=OPEN, close=CLOSE, what=what)  # type: ignore[arg-type]


def identifiers(found: TextAutomaton, longest: int = 9) -> set[tuple[int, ...]]:
    """All that may be written between <doc> and </doc>."""
    done, begun = set(), [((), found.advance(found.start(), OPEN))]
    while begun:
        tokens, state = begun.pop()
        allowed = found.allowed(state)
        assert allowed is not None and (allowed[1:] > allowed[:-1]).all()
        for token in allowed.tolist():
            if token == CLOSE:
                done.add(tokens)
                assert found.advance(state, token) == OUTSIDE
            elif len(tokens) < longest:
                begun.append(((*tokens, token), found.advance(state, token)))
    return done


def ngrams(documents: Sequence[Sequence[int]]) -> set[tuple[int, ...]]:
    """Those of all stretches between marks."""
    found = set()
    for document in documents:
        for mark, stretch in itertools.groupby(document, lambda token: token >= D):
            text = [] if mark else list(stretch)
            found |= {tuple(text[a:b]) for a in range(len(text)) for b in range(a + 1, len(text) + 1)}
    return found


def test_ngrams_are_those_of_sentences_and_titles() -> None:
    assert identifiers(automaton(segment(DOCUMENTS))) == ngrams(DOCUMENTS)


def test_titles_are_written_whole_and_none_is_empty() -> None:
    assert identifiers(automaton(segment(DOCUMENTS), what="titles")) == {(1, 2), (1,)}


texts = st.lists(st.integers(0, 4), max_size=5).map(lambda text: [D, *text[:2], P, *text])


@settings(max_examples=25, deadline=None)
@given(st.lists(texts, min_size=2, max_size=5), st.integers(1, 4))
def test_segments_do_not_show(documents: list[list[int]], cut: int) -> None:
    cut = min(cut, len(documents) - 1)
    whole, parts = automaton(segment(documents)), automaton(segment(documents[:cut]), segment(documents[cut:]))
    assert identifiers(parts) == identifiers(whole) == ngrams(documents)
    for text in ngrams(documents):
        assert parts.count(parts.find(text)) == whole.count(whole.find(text)) > 0


def test_counts_and_places_are_those_of_the_text() -> None:
    found = automaton(segment(DOCUMENTS))
    assert found.count(found.find([1, 2])) == 2
    assert found.count(found.root) == sum(map(len, DOCUMENTS))
    assert found.find([2, 3]) == DEAD  # across a mark
    assert found.find([7]) == DEAD


def test_outside_everything_goes_and_after_a_wrong_token_nothing() -> None:
    found = automaton(segment(DOCUMENTS))
    assert found.allowed(found.start()) is None
    assert found.advance(found.start(), 5) == OUTSIDE
    state = found.advance(found.start(), OPEN)
    for token in (CLOSE, OPEN, D, P, S, -7, 10**9):  # an empty identifier, a second <doc>, marks, no tokens at all
        wrong = found.advance(state, token)
        allowed = found.allowed(wrong)
        assert wrong == DEAD and allowed is not None and not len(allowed)
        assert found.advance(wrong, 3) == DEAD


def test_a_state_means_the_same_to_another_automaton_of_the_same_text() -> None:
    one, other = automaton(segment(DOCUMENTS)), automaton(segment(DOCUMENTS))
    assert one.find([3, 4]) == other.find([3, 4])
    with pytest.raises(OverflowError):
        other.ranges(2 ** (32 * 9))
