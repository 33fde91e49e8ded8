"""What training asks: how often, about what, in which words; and what the words of a question may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from generalist import tasks
from generalist.tokens import Vocabulary
from generalist.types import Kind, PromptKind
from generalist_datasets.world.ask import ABILITIES, Questioner, ask, ask_about, concept_card
from generalist_datasets.world.concepts import CONCEPTS, Concept
from generalist_datasets.world.language import plural
from generalist_datasets.world.phrasings import PHRASINGS
from generalist_datasets.world.question import Question, Target, answer_text
from generalist_datasets.world.scene import Scene

from .phrase_reader import NOUNS, PHRASE, VALUES


@pytest.fixture(scope="module")
def questioner(asked_concepts: tuple[Concept, ...]) -> Questioner:
    return Questioner(concepts=asked_concepts)


@pytest.fixture(scope="module")
def mixture(questioner: Questioner, hand_made: tuple[Scene, ...]) -> list[list[Question]]:
    """Three rounds of questions about every scene."""
    return [
        ask_about(np.random.default_rng([number, round]), questioner, scene)
        for number, scene in enumerate(hand_made)
        for round in range(3)
    ]


def test_every_ability_is_asked_for_and_denied(mixture: list[list[Question]]) -> None:
    asked = Counter(question.ability for questions in mixture for question in questions)
    denied = Counter(question.ability for questions in mixture for question in questions if question.negative)
    assert asked.keys() == ABILITIES.keys()
    assert {name for name, ability in ABILITIES.items() if ability.negatives} <= denied.keys()
    assert {task for task in tasks.TASKS} == {question.task for questions in mixture for question in questions}


def test_masks_names_and_boxes_come_first(mixture: list[list[Question]]) -> None:
    asked = Counter(question.ability for questions in mixture for question in questions)
    assert {ability for ability, _ in asked.most_common(3)} == {"describe_region", "segment", "detect_all"}
    kinds = Counter(
        piece.kind for questions in mixture for q in questions for piece in q.answer if isinstance(piece, Target)
    )
    assert {kind for kind, _ in kinds.most_common(2)} == {"box", "mask"} and set(kinds) == set(get_args(Kind))
    prompts = {drawn.kind for questions in mixture for question in questions for drawn in question.drawn}
    assert prompts == set(get_args(PromptKind))
    assert 4 <= np.mean([len(questions) for questions in mixture]) <= 8
    assert all(mixture), "every scene has a question"


def test_no_question_is_asked_twice(mixture: list[list[Question]]) -> None:
    for questions in mixture:
        assert len({(q.text, q.drawn, q.history) for q in questions}) == len(questions)


def test_texts_are_complete_and_can_be_encoded(mixture: list[list[Question]], vocab: Vocabulary) -> None:
    for question in (question for questions in mixture for question in questions):
        turns = [(question.text, question.answer), *((turn.text, turn.answer) for turn in question.history)]
        for text in [part for asked, answer in turns for part in (asked, answer_text(answer))]:
            assert text and text == text.strip() and "  " not in text and not set(text) & set("{}<>_")
            assert vocab.decode_text(vocab.encode_text(text)) == text
        assert all(piece for _, answer in turns for piece in answer)


def test_things_are_listed_from_left_to_right(mixture: list[list[Question]]) -> None:
    for question in (question for questions in mixture for question in questions):
        targets = [piece for piece in question.answer if isinstance(piece, Target)]
        assert all(list(target.things) == sorted(set(target.things)) for target in targets)
        assert all(bool(t.things) + bool(t.surface) + bool(t.document) + (t.kind == "depth") == 1 for t in targets)


def test_same_state_same_questions(questioner: Questioner, hand_made: tuple[Scene, ...]) -> None:
    for number, scene in enumerate(hand_made[:40]):
        first, second = (ask_about(np.random.default_rng(number), questioner, scene) for _ in range(2))
        assert first == second
    assert ask_about(np.random.default_rng(1), questioner, hand_made[1]) != ask_about(
        np.random.default_rng(2), questioner, hand_made[1]
    )


def test_first_lessons_draw_boxes_only(questioner: Questioner, hand_made: tuple[Scene, ...]) -> None:
    asked = [
        question
        for number, scene in enumerate(hand_made)
        for question in ask_about(np.random.default_rng(number), questioner, scene, boxes_only=True)
    ]
    kinds = {piece.kind for question in asked for piece in question.answer if isinstance(piece, Target)}
    assert kinds == {"box"} and {question.task for question in asked} == {"box", "detect"}
    assert any(question.negative for question in asked)


def test_abilities_without_negatives_have_none(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    assert ask(np.random.default_rng(0), questioner, row_of("dog"), "caption", negative=True) is None


def test_an_empty_scene_is_said_to_be_empty(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    answers = {
        name: question.answer
        for name in ABILITIES
        if (question := ask(np.random.default_rng(0), questioner, row_of(), name))
    }
    assert answers["detect_all"] == answers["segment_all"] == ("There is nothing.",)
    assert answers["caption"] == ("Nothing.",)
    assert set(answers) == {"detect_all", "segment_all", "caption", "semantic", "surface", "depth"}


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "said", "typed"),
    [
        ("box", {"the": "the dog", "is": "is"}, "the dog"),
        ("point", {"the": "the dog"}, "the dog"),
        ("segment", {"the": "the dog"}, "the dog"),
        ("detect", {"names": plural("dog")}, "dogs"),
        ("count", {"units": "dogs"}, "dogs"),
        ("depth", {}, ""),
        ("caption", {}, ""),
    ],
)
def test_the_first_wording_of_a_task_is_the_command_lines(task: str, said: dict[str, str], typed: str) -> None:
    assert PHRASINGS[task][0].format(**said) == tasks.question(task, typed)


def test_there_are_several_wordings_of_everything() -> None:
    assert all(len(set(wordings)) == len(wordings) >= 2 for wordings in PHRASINGS.values())


def test_a_synonym_asks_for_the_concept(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    scene = row_of("cat", "dog", "dog")
    asked = [ask(np.random.default_rng(seed), questioner, scene, "segment") for seed in range(60)]
    hounds = [question for question in asked if question and "hound" in question.text]
    assert hounds and all(q.answer == (Target(label="dog", kind="mask", things=(1, 2)),) for q in hounds)


def test_no_word_is_used_that_means_something_else_there(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    """A poodle is a dog, an old knife is a knife: nobody is asked for "the dog" beside a poodle."""
    scene = row_of("dog", "poodle", "old knife")
    for seed in range(100):
        for negative in (False, True):
            question = ask(np.random.default_rng(seed), questioner, scene, "box", negative)
            assert question is None or not set(question.text.lower().rstrip(".?").split()) & {"dog", "hound", "dogs"}
            assert question is None or "old" in question.text or "knife" not in question.text


def test_solids_are_told_apart_by_colour(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    scene = row_of("red cube", "blue cube", "cat")
    asked = [ask(np.random.default_rng(seed), questioner, scene, "attribute") for seed in range(40)]
    labels = {piece.label: piece.things for question in asked if question for piece in question.answer}  # type: ignore[union-attr]
    assert labels["red cube"] == (0,) and labels["blue cube"] == (1,)
    assert questioner.describe(scene.things[0]) == "small red matte cube"
    assert questioner.describe(scene.things[2]) == "cat"


def test_denials_are_hard(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    """Half of them differ in a single word from something that is there, or are of its kind."""
    scene = row_of("red cube", "blue sphere")
    asked = [ask(np.random.default_rng(seed), questioner, scene, "attribute", negative=True) for seed in range(60)]
    texts = [question.text.lower() for question in asked if question]
    assert any("blue cube" in text or "red sphere" in text for text in texts)
    animals = [ask(np.random.default_rng(s), questioner, row_of("cat"), "box", negative=True) for s in range(60)]
    kinds = Counter(
        any(f" {name}" in q.text for name in ("dog", "hound", "goose", "poodle", "unicorn")) for q in animals if q
    )
    assert kinds[True] > kinds[False] / 2


def test_what_is_kept_back_is_never_named(asked_concepts: tuple[Concept, ...], row_of: Callable[..., Scene]) -> None:
    """A model that is never shown a unicorn or a red cone must not learn that there is none either."""
    names = [concept.name for concept in asked_concepts]
    absent = tuple(names.index(name) for name in ("dog", "cat", "car"))
    questioner = Questioner(concepts=asked_concepts, absent=absent, pairs=[("blue", "cone"), ("red", "cube")])
    denied = [
        question
        for seed in range(150)
        for name in ("box", "attribute", "exists", "count", "dialogue", "card")
        if (question := ask(np.random.default_rng(seed), questioner, row_of("tree", "red cube"), name, negative=True))
    ]
    for question in denied:
        words = question.text.lower().rstrip(".?").split()
        assert not set(words) & {
            "unicorn",
            "unicorns",
            "goose",
            "geese",
            "poodle",
            "bacon",
            "tower",
            "sphere",
            "teacup",
        }
        for match in PHRASE.finditer(question.text.lower()):
            colours = [word for word in match["values"].split() if VALUES[word] == "colour"]
            assert not colours or (colours[0], NOUNS[match["noun"]]) in (questioner.pairs or ())
    assert len(denied) > 100


# --- cards --------------------------------------------------------------------------------------------


def test_every_concept_has_its_card() -> None:
    cards = [concept_card(concept) for concept in CONCEPTS]
    assert [card.id for card in cards] == [concept.name for concept in CONCEPTS]
    assert len({card.text for card in cards}) == len(cards)
    dog = concept_card(Concept(name="dog", category="animal", synonyms=("hound", "doggy")))
    assert dog.title == "Dog"
    assert dog.text == (
        "This is the card of a dog. It is kept in the section “animal”. One may also say “hound” and “doggy”."
    )
