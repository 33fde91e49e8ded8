"""Questions: the answer is exact, and speaks of what the scene holds."""

from __future__ import annotations

import numpy as np
import pytest

from generalist_datasets.questions import Question, Questioner, Target, ask_about, plural, say, with_article
from generalist_datasets.scenes import Assets, Scene, Thing

ROW = np.random.default_rng(0)


def scene_of(*concepts: int) -> Scene:
    """Things in a row from left to right; pixels do not matter here."""
    things = tuple(Thing(concept=c, xyxy=(k / 8, 0.2, k / 8 + 0.1, 0.4), distance=2.0) for k, c in enumerate(concepts))
    blank = np.zeros((8, 8), np.uint8)
    return Scene(image=np.zeros((8, 8, 3), np.uint8), instances=blank, depth=blank + np.float32(1), things=things)


@pytest.fixture
def questioner(assets: Assets) -> Questioner:
    return Questioner(names=assets.names)


def test_every_thing_of_the_concept_is_drawn(questioner: Questioner) -> None:
    question = questioner.refer(ROW, scene_of(1, 0, 1), 1, "segment")
    assert question.answer == (Target(label="green square", kind="mask", things=(0, 2)),)


def test_what_is_not_there_is_denied(questioner: Questioner) -> None:
    assert questioner.refer(ROW, scene_of(0), 2, "box").answer == ("There is no blue ring.",)
    assert questioner.exists(ROW, scene_of(0), 2).answer == ("No.",)
    assert questioner.count(ROW, scene_of(0), 2).answer == ("0",)


def test_counts_and_existence(questioner: Questioner) -> None:
    assert questioner.count(ROW, scene_of(0, 2, 2), 2).answer == ("2",)
    assert questioner.exists(ROW, scene_of(0, 2, 2), 2).answer == ("Yes.",)


def test_everything_is_grouped_by_concept(questioner: Questioner) -> None:
    answer = questioner.everything(ROW, scene_of(1, 0, 1)).answer
    assert answer == (
        Target(label="green square", kind="box", things=(0, 2)),
        ", ",
        Target(label="red disc", kind="box", things=(1,)),
    )
    assert questioner.everything(ROW, scene_of()).answer == ("There is nothing.",)


def test_captions_count_and_inflect(questioner: Questioner) -> None:
    assert questioner.caption(ROW, scene_of(1, 0, 1)).answer == ("Two green squares and a red disc.",)
    assert questioner.caption(ROW, scene_of()).answer == ("Nothing.",)


def test_a_drawn_thing_is_named_or_cut_out(questioner: Questioner) -> None:
    named = questioner.identify(ROW, scene_of(0, 3), 1, "box")
    assert (named.answer, named.drawn[0].thing, named.drawn[0].kind) == (("A yellow bar.",), 1, "box")
    cut = questioner.segment_drawn(ROW, scene_of(0, 3), 1, "scribble")
    assert cut.answer == (Target(label="yellow bar", kind="mask", things=(1,)),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dog", "dogs"),
        ("box", "boxes"),
        ("cherry", "cherries"),
        ("key", "keys"),
        ("mouse", "mice"),
        ("computer mouse", "computer mice"),
        ("glass of milk", "glasses of milk"),
        ("jellyfish", "jellyfish"),
        ("torch", "torches"),
        ("volcano", "volcanoes"),
        ("scissors", "scissors"),
    ],
)
def test_plurals(name: str, expected: str) -> None:
    assert plural(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("apple", "an apple"), ("dog", "a dog"), ("unicorn", "a unicorn"), ("jeans", "jeans")]
)
def test_articles(name: str, expected: str) -> None:
    assert with_article(name) == expected


def test_phrasings_hold_the_name() -> None:
    rng = np.random.default_rng(1)
    said = {say(rng, "box", "red disc") for _ in range(100)}
    assert len(said) > 8 and all("red disc" in text for text in said)


def _targets(question: Question) -> list[Target]:
    return [piece for piece in question.answer if isinstance(piece, Target)]


def test_a_mixture_is_true_of_its_scene(questioner: Questioner) -> None:
    rng, scene = np.random.default_rng(2), scene_of(1, 0, 1, 3)
    questions = [q for _ in range(50) for q in ask_about(rng, questioner, scene)]
    assert {q.task for q in questions} == {"segment", "box", "point", "detect", "count", "chat", "caption", "depth"}
    for question in questions:
        for target in _targets(question):
            assert all(questioner.names[scene.things[t].concept] == target.label for t in target.things)


def test_first_lessons_draw_boxes_only(questioner: Questioner) -> None:
    rng, scene = np.random.default_rng(3), scene_of(1, 0)
    questions = [q for _ in range(30) for q in ask_about(rng, questioner, scene, boxes_only=True)]
    assert {target.kind for q in questions for target in _targets(q)} == {"box"}
