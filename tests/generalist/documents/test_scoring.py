"""From n-grams to documents, with numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest

from generalist.documents import Collection
from generalist.documents.beam import Search, Written
from generalist.documents.scoring import NEWNESS, rank, weight_of
from generalist.index.segment import PASSAGE, SENTENCE


def written(collection: Collection, text: str, logprob: float) -> Written:
    automaton = collection.automaton()
    tokens = tuple(collection.tokenizer.encode(text, add_special_tokens=False).ids)
    state = automaton.find(tokens)
    assert automaton.count(state) > 0
    return Written(tokens=tokens, logprob=logprob, state=state)


def test_an_ngram_says_as_much_as_it_is_likelier_than_by_chance() -> None:
    chance = (1 + 5) / (1000 + 5)
    odds = math.log(0.5 / 0.5) - math.log(chance / (1 - chance))
    assert weight_of(math.log(0.5), 1, 1000) == pytest.approx(odds**2)
    assert weight_of(math.log(chance), 1, 1000) == pytest.approx(0, abs=1e-9)
    assert weight_of(-50.0, 1, 1000) == 0
    assert weight_of(-1.0, 500, 1000) < weight_of(-1.0, 5, 1000)
    assert math.isfinite(weight_of(0.0, 1, 1000))


def test_documents_are_ranked_by_what_they_hold(small: Collection) -> None:
    search = Search((written(small, " asleep", -0.1), written(small, " map", -0.1), written(small, " mask", -0.2)))
    first, second = rank(search, small, small.automaton())
    assert [small.id_of(one.place) for one in (first, second)] == ["cat", "dog"]
    total = small.index.tokens
    assert first.score == pytest.approx(weight_of(-0.1, 2, total) + weight_of(-0.2, 1, total))
    assert second.score == pytest.approx(weight_of(-0.1, 1, total))
    spans = [small.span(first.place, begin, end) for begin, end, _ in first.evidence]
    text = small.text(first.place)
    assert {text[span[0] : span[1]] for span in spans if span} == {"mask", "map"}


def test_overlapping_ngrams_count_once_and_known_tokens_less(small: Collection) -> None:
    long, short = written(small, " The map", -0.1), written(small, " map", -0.2)
    total = small.index.tokens
    (alone,) = rank(Search((long,)), small, small.automaton())
    (both,) = rank(Search((long, short)), small, small.automaton())
    again = weight_of(-0.2, 2, total) * (1 - NEWNESS)  # the other place of " map", whose tokens were counted
    assert alone.score == pytest.approx(weight_of(-0.1, 1, total))
    assert both.score == pytest.approx(alone.score + again)


def test_passages_and_sentences_can_be_ranked(small: Collection) -> None:
    search = Search((written(small, " mug", -0.1), written(small, " sofa", -0.2)))
    found = {mark: rank(search, small, small.automaton(), mark=mark) for mark in (PASSAGE, SENTENCE)}
    assert [small.text(one.place) for one in found[PASSAGE]] == [
        "Where is the mug?",
        "The dog is asleep on a sofa. A sofa is red.",
    ]
    assert [small.text(one.place) for one in found[SENTENCE]] == [
        "Where is the mug?",
        "The dog is asleep on a sofa.",
        "A sofa is red.",
    ]


def test_a_title_speaks_for_its_document(small: Collection) -> None:
    search = Search((written(small, "Ünder", -0.1),))
    for mark in (PASSAGE, SENTENCE):
        (found,) = rank(search, small, small.automaton(), mark=mark)
        assert found.place == small.place("é")
        ((begin, end, _),) = found.evidence
        assert small.span(found.place, begin, end) is None


def test_what_says_nothing_finds_nothing(small: Collection) -> None:
    assert rank(Search((written(small, " map", -60.0),)), small, small.automaton()) == []
    assert rank(Search(()), small, small.automaton()) == []
