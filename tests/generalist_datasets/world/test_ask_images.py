"""Comparing two scenes: what came, went, moved, and how many more there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from generalist_datasets.world.ask import COMPARE, Questioner, compare
from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.question import Question, Target, answer_text
from generalist_datasets.world.scene import REMNANT, Scene

from .phrase_reader import Reader, counted_in, looks, middle

LOOKS = ("colour", "texture", "material")


@pytest.fixture(scope="module")
def questioner(asked_concepts: tuple[Concept, ...]) -> Questioner:
    return Questioner(concepts=asked_concepts)


def check(question: Question, before: Reader, now: Reader) -> str:
    """Which kind of comparison it is; asserts that the answer is true."""
    text, answer = question.text, answer_text(question.answer)
    looked = [looks(reader, range(len(reader.scene.things)), LOOKS) for reader in (before, now)]
    came, went = looked[1] - looked[0], looked[0] - looked[1]
    if re.search(
        "new|added|increase|only in the second|fewer|removed|missing|only in the first|gone|more|decrease", text
    ):
        assert not any((reader.scene.surfaces == REMNANT).any() for reader in (before, now))
    if re.search("how many", text, re.IGNORECASE):
        counts = [len(reader.every(text)[0]) for reader in (before, now)]
        sign = 1 if re.search("more|added|increase", text) else -1
        assert question.answer == (str(sign * (counts[1] - counts[0])),) and counts[0] != counts[1]
        return "how many"
    if re.search("missing|removed|only in the first|gone", text):
        assert counted_in(answer, now) == went and question.negative == (not went)
        return "removed"
    if re.search("new|added|only in the second", text):
        targets = [piece for piece in question.answer if isinstance(piece, Target)]
        assert Counter({target.label: len(target.things) for target in targets}) == came
        assert all(looks(now, target.things, LOOKS).keys() == {target.label} for target in targets)
        assert question.negative == (not came)
        return "added"
    things = [reader.every(text)[0] for reader in (before, now)]
    (first,), (second,) = things
    shift = middle(now.scene, second) - middle(before.scene, first)
    if re.search("now|find|end up", text, re.IGNORECASE) and "another place" not in text:
        assert question.answer[0].things == (second,)  # type: ignore[union-attr]
        return "now"
    if "left" in text or "way" in text:
        assert abs(shift[0]) > 0.08 and answer == ("To the right." if shift[0] > 0 else "To the left.")
        return "where"
    assert max(abs(shift)) > 0.08 if answer == "Yes." else max(abs(shift)) < 0.03
    return "moved"


def mirrored(scene: Scene) -> Scene:
    """The same things, seen in a mirror."""
    count = len(scene.things)
    order = np.array([0, *range(count, 0, -1)], np.uint8)
    things = [replace(t, xyxy=(1 - t.xyxy[2], t.xyxy[1], 1 - t.xyxy[0], t.xyxy[3])) for t in reversed(scene.things)]
    return replace(
        scene,
        instances=order[scene.instances[:, ::-1]],
        surfaces=scene.surfaces[:, ::-1],
        depth=None if scene.depth is None else scene.depth[:, ::-1],
        things=tuple(things),
    )


def test_what_differs_is_told_truly(questioner: Questioner, hand_made: tuple[Scene, ...]) -> None:
    kinds: Counter[str] = Counter()
    mirrors = [(scene, mirrored(scene)) for scene in hand_made]
    still = [(scene, scene) for scene in hand_made]
    for number, (first, second) in enumerate([*pairwise(hand_made), *mirrors, *still]):
        question = compare(np.random.default_rng(number), questioner, first, second)
        if question is None:
            continue
        assert question.ability == COMPARE and question.earlier is first
        try:
            kinds[check(question, Reader(first, questioner.concepts), Reader(second, questioner.concepts))] += 1
        except (AssertionError, ValueError) as error:
            raise AssertionError((number, question.text, question.answer)) from error
    assert kinds.keys() == {"how many", "removed", "added", "now", "where", "moved"}
    assert min(kinds.values()) >= 10


def ask_all(questioner: Questioner, first: Scene, second: Scene) -> dict[str, tuple[object, ...]]:
    questions = [compare(np.random.default_rng(seed), questioner, first, second) for seed in range(80)]
    return {question.text: question.answer for question in questions if question}


def test_what_was_added_is_drawn_in_the_second(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    answers = ask_all(questioner, row_of("dog"), row_of("dog", "cat"))
    assert answers["What is new in the second image?"] == (Target(label="cat", kind="box", things=(1,)),)
    assert answers["What is missing from the second image?"] == ("Nothing.",)
    assert answers["How many more cats are in the second image?"] == ("1",)
    assert answers["Did the dog move?"] == ("No.",)


def test_what_was_removed_is_named(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    answers = ask_all(questioner, row_of("dog", "cat", "cat"), row_of("dog"))
    assert answers["What is missing from the second image?"] == ("Two cats.",)
    assert answers["What is new in the second image?"] == ("Nothing is new.",)
    assert answers["How many fewer cats are in the second image?"] == ("2",)


def test_what_something_came_before_did_not_move(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    """Half of the dog is covered: its middle is elsewhere, the dog is not."""
    scene = row_of("dog", "cat")
    bare = np.where(scene.instances == 1, 0, scene.instances).astype(np.uint8)
    wide, half = bare.copy(), bare.copy()
    wide[60:90, 2:42] = half[60:90, 22:42] = 1
    answers = ask_all(questioner, _with_dog(scene, wide), _with_dog(scene, half))
    assert answers and not any("dog" in text and "move" in text for text in answers)


def _with_dog(scene: Scene, instances: np.ndarray) -> Scene:
    """Its first thing is where ``instances`` says."""
    rows, columns = np.nonzero(instances == 1)
    height, width = instances.shape
    xyxy = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    return replace(scene, instances=instances, things=(replace(scene.things[0], xyxy=xyxy), *scene.things[1:]))


def test_which_of_two_is_new_is_not_asked(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    answers = ask_all(questioner, row_of("dog"), row_of("dog", "dog"))
    assert not any("new" in text or "only in the second" in text for text in answers)


def test_the_same_state_compares_alike(questioner: Questioner, row_of: Callable[..., Scene]) -> None:
    first, second = row_of("dog", "red cube"), row_of("cat", "red cube")
    one, two = (compare(np.random.default_rng(5), questioner, first, second) for _ in range(2))
    assert one is not None and two is not None and (one.text, one.answer) == (two.text, two.answer)
