"""Questions made from sentences."""

from __future__ import annotations

import re

import numpy as np
import pytest

from generalist.documents.learning.material import Material
from generalist.documents.learning.pairs import LEAST_WORDS, Pair, Pairs
from generalist.documents.learning.questions import KINDS, make_question
from generalist.types import GeneralistError


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_is_made_of_words_of_its_text(kind: str, material: Material) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        number = int(rng.integers(len(material.sentences)))
        question = make_question(rng, material, number, kind)
        document = material.sentences[number].document
        there = words(material.titles[document])
        there |= {word for k in material.of_document[document] for word in words(material.sentences[k].text)}
        telling = [word for word in words(question) if len(word) > 5 or word[0].isdigit()]
        # Endings may be lost, and there are the words that ask.
        asking = "percentage number people which"
        assert all(any(one.startswith(word) for one in there | words(asking)) for word in telling), question


def test_what_is_asked_for_is_not_in_the_question(material: Material) -> None:
    number = material.of_document[0][0]  # The fox came to Oslo in 1900.
    asked = [make_question(np.random.default_rng(seed), material, number, "cloze") for seed in range(200)]
    when = [question for question in asked if re.match(r"When|What year|In what year", question)]
    where = [question for question in asked if question.startswith("Where")]
    assert when and where and len(set(asked)) > 20
    assert not any("1900" in question for question in when)
    assert not any("Oslo" in question for question in where)
    assert all(question.endswith("?") for question in asked)


def test_a_pronoun_may_become_what_the_document_is_about(material: Material) -> None:
    number = material.of_document[1][1]  # It was seen ...
    asked = [make_question(np.random.default_rng(seed), material, number, "cloze") for seed in range(50)]
    assert any("The hen" in question for question in asked)


def test_a_step_depends_on_the_seed_alone(material: Material) -> None:
    first, again, other = Pairs(material, 3), Pairs(material, 3), Pairs(material, 4)
    drawn = [pair for pair, _ in first.step(7, 8)]
    assert drawn == [pair for pair, _ in again.step(7, 8)]
    assert drawn != [pair for pair, _ in other.step(7, 8)]
    assert drawn != [pair for pair, _ in first.step(8, 8)]


def test_nothing_is_made_of_held_out_sentences(material: Material) -> None:
    pairs = Pairs(material, 0)
    held = {pair.sentence for pair in pairs.held}
    assert held and [pair.sentence for pair in pairs.short] == [pair.sentence for pair in pairs.held]
    drawn = [pair.sentence for step in range(20) for pair, _ in pairs.step(step, 8)]
    assert held.isdisjoint(drawn)
    assert all(len(material.sentences[k].text.split()) >= LEAST_WORDS for k in drawn)
    assert set(drawn) == {k for k, one in enumerate(material.sentences) if len(one.text.split()) >= LEAST_WORDS} - held


def test_written_questions_are_half_of_what_is_learnt(material: Material) -> None:
    number = Pairs(material, 0).step(0, 1)[0][0].sentence
    pairs = Pairs(material, 0, [Pair(question="written", sentence=number)])
    drawn = [pair.question for step in range(50) for pair, _ in pairs.step(step, 8)]
    assert 0.4 < drawn.count("written") / len(drawn) < 0.6


def test_too_little_to_learn_from_is_said(material: Material) -> None:
    first = tuple(one for one in material.sentences if one.document == 0)
    less = Material(
        ids=material.ids, titles=material.titles, title_tokens=material.title_tokens, sentences=first,
        counts=material.counts,
    )  # fmt: skip
    with pytest.raises(GeneralistError, match="fewer than two documents"):
        Pairs(less, 0)
