"""Every answer to every kind of question, checked by a reader of its own: it knows English names and pixels only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from generalist_datasets.world.ask import ABILITIES, Questioner, ask
from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.question import Question, Target, answer_text
from generalist_datasets.world.scene import REMNANT, SURFACES, Scene

from .phrase_reader import KINDS, PHRASE, RELATIONS, VALUES, Reader, any_of, counted_in, full, looks, related

# --- what the answer to a question of an ability must be ------------------------------------------------

KIND_OF_TASK = {"box": "box", "detect": "box", "point": "point", "segment": "mask"}
DENIED = re.compile(r"There (is|are) (no|nothing|only) ?.*\.")


def check_drawn(reader: Reader, question: Question) -> None:
    (meant, *_) = reader.every(question.text)
    if question.negative:
        assert not meant and DENIED.fullmatch(answer_text(question.answer))
        assert all(isinstance(piece, str) for piece in question.answer)
        return
    (target,) = question.answer
    assert isinstance(target, Target) and target.kind == KIND_OF_TASK[question.task]
    assert target.things == tuple(sorted(meant)) and meant
    look = [reader.scene.things[t] for t in meant]
    assert all(getattr(thing, VALUES[w]) == w for thing in look for w in target.label.split() if w in VALUES)
    noun = re.sub(rf"^(({any_of(VALUES)}) )*", "", target.label)
    assert noun == "solid" or {reader.name(t) for t in meant} == {noun}


def check_groups(reader: Reader, question: Question) -> None:
    wanted = set(range(len(reader.scene.things)))
    if question.ability == "detect_category":
        (wanted, *_) = reader.every(question.text)
    targets = [piece for piece in question.answer if isinstance(piece, Target)]
    drawn = [t for target in targets for t in target.things]
    assert sorted(drawn) == sorted(wanted) and (bool(wanted) is not question.negative or not reader.scene.things)
    for target in (target for target in targets if not target.surface):
        assert {reader.name(t) for t in target.things} == {target.label} and list(target.things) == sorted(
            target.things
        )
    visible = [name for name in SURFACES if reader.scene.surface_mask(name).any()]
    if question.ability == "semantic":
        assert [t.surface for t in targets if t.surface] == visible and "photo" not in visible
        covered = sum(int(reader.scene.surface_mask(t.surface).sum()) for t in targets if t.surface)
        assert covered == int((reader.scene.instances == 0).sum() - (reader.scene.surfaces == REMNANT).sum())


def check_surface(reader: Reader, question: Question) -> None:
    (name,) = {n for n in SURFACES if n in question.text.replace("ground", "floor")}
    assert bool(reader.scene.surface_mask(name).any()) is not question.negative
    assert not reader.scene.surface_mask("photo").any()
    assert question.negative or question.answer == (Target(label=name, kind="mask", surface=name),)


def check_count(reader: Reader, question: Question) -> None:
    (meant, *_) = reader.every(question.text)
    assert question.answer == (str(len(meant)),) and question.negative == (not meant)
    assert not (reader.scene.surfaces == REMNANT).any()


def yes(question: Question) -> bool:
    assert question.answer in (("Yes.",), ("No.",)) and question.negative == (question.answer == ("No.",))
    return not question.negative


def check_exists(reader: Reader, question: Question) -> None:
    (meant, *_) = reader.every(question.text)
    assert yes(question) == (bool(meant) if not question.drawn else question.drawn[0].thing in meant)


def check_is_attribute(reader: Reader, question: Question) -> None:
    text = question.text.replace("made of ", "")
    phrase = next(PHRASE.finditer(text))
    thing = reader.scene.things[reader.one(text, phrase.start())]
    (value,) = (word for word in re.findall(r"\w+", text[phrase.end() :]) if word in VALUES)
    assert yes(question) == (getattr(thing, VALUES[value]) == value)
    assert value != "glossy" or thing.material != "metal"
    assert VALUES[value] not in [VALUES[word] for word in phrase["values"].split()], "the question tells the answer"


def check_is_relation(reader: Reader, question: Question) -> None:
    first, second = PHRASE.finditer(question.text)
    a, b = reader.one(question.text, first.start()), reader.one(question.text, second.start())
    (words,) = re.findall(
        rf"(?:is | ){{1,2}}({any_of(RELATIONS)}) (?:the )?$", question.text[first.end() : second.start()]
    )
    assert yes(question) == related(reader.scene, RELATIONS[words], a, b)


ATTRIBUTES = {"colour": "colour", "color": "colour", "finish": "material", "pattern": "texture", "patterned": "texture",
              "size": "size", "big": "size", "surface": "material", "small or large": "size", "shape": "shape",
              "matte, glossy or metal": "material", "plain, striped": "texture"}  # fmt: skip


def asked_attribute(text: str) -> str:
    (attribute,) = {value for words, value in ATTRIBUTES.items() if words in text}
    return attribute


def check_same(reader: Reader, question: Question) -> None:
    a, b = (reader.scene.things[reader.one(question.text, m.start())] for m in PHRASE.finditer(question.text))
    attribute = asked_attribute(question.text)
    assert yes(question) == (getattr(a, attribute) == getattr(b, attribute))


def check_more(reader: Reader, question: Question) -> None:
    first, second = reader.every(question.text)
    assert first and second and yes(question) == (len(first) > len(second))


def check_what_attribute(reader: Reader, question: Question) -> None:
    attribute = asked_attribute(question.text)
    (meant,) = reader.every(question.text)
    if question.negative:
        assert not meant and DENIED.fullmatch(answer_text(question.answer))
        return
    (thing,) = meant
    value = f"a {reader.name(thing)}" if attribute == "shape" else getattr(reader.scene.things[thing], attribute)
    assert answer_text(question.answer).lower() == f"{value}."


def check_which(reader: Reader, question: Question) -> None:
    a, b = (reader.one(question.text, m.start()) for m in PHRASE.finditer(question.text))
    if question.ability == "which_larger":
        sizes = [int(reader.scene.mask(t).sum()) for t in (a, b)]
        smaller = re.search("smaller|less", question.text)
        assert max(sizes) > 1.3 * min(sizes)
        right = (a, b)[sizes.index(min(sizes) if smaller else max(sizes))]
    else:
        a_is_nearer = related(reader.scene, "front", a, b)
        right = (a, b)[a_is_nearer == bool(re.search("farther|distant", question.text))]
    answer = answer_text(question.answer)
    assert (
        reader.one(answer[0].lower() + answer[1:] if answer[:3] == "The" else answer, 4 * (answer[:3] == "The"))
        == right
    )


def check_category(reader: Reader, question: Question) -> None:
    (thing,) = {question.drawn[0].thing} if question.drawn else reader.every(question.text)[0]
    right = {"animal": "An animal.", "vehicle": "A vehicle.", "plant": "A plant.", "food": "Food."}
    assert answer_text(question.answer) == right[KINDS[reader.name(thing)]]


def check_what_relation(reader: Reader, question: Question) -> None:
    (match,) = re.finditer(rf"({any_of(RELATIONS)}) (?:the )?", question.text)
    other = reader.one(question.text, match.end())
    others = [t for t in range(len(reader.scene.things)) if t != other]
    right = [t for t in others if related(reader.scene, RELATIONS[match[1]], t, other)]
    assert question.negative == (not right) == (question.answer == ("Nothing.",))
    assert counted_in(answer_text(question.answer), reader) == looks(reader, right, ("colour",))


def check_caption(reader: Reader, question: Question) -> None:
    first, *rest = answer_text(question.answer).split(". ")
    attributes = ("colour",) if question.ability == "caption" else full(reader)
    assert counted_in(first, reader) == looks(reader, range(len(reader.scene.things)), attributes)
    for sentence in rest:
        named = [name for name in SURFACES if name in sentence]
        if "can be seen" in sentence:
            assert named == [n for n in SURFACES if reader.scene.surface_mask(n).any()]
        else:
            phrase = PHRASE.search(sentence)
            assert phrase and "nearest" in sentence
            distances = [thing.distance for thing in reader.scene.things]
            assert distances[reader.one(sentence, phrase.start())] == min(distances)


def check_grounded_caption(reader: Reader, question: Question) -> None:
    targets = [piece for piece in question.answer if isinstance(piece, Target)]
    assert sorted(t for target in targets for t in target.things) == list(range(len(reader.scene.things)))
    for target in targets:
        assert (
            counted_in(f"{len(target.things)} {target.label}", reader).keys()
            == looks(reader, target.things, ("colour",)).keys()
        )
    for left, words, right in zip(question.answer, question.answer[1:], question.answer[2:], strict=False):
        if isinstance(words, str) and (match := re.match(rf" ({any_of(RELATIONS)}) ", words)):
            assert isinstance(left, Target) and isinstance(right, Target)
            assert related(reader.scene, RELATIONS[match[1]], left.things[0], right.things[0])


def check_region(reader: Reader, question: Question) -> None:
    (drawn,) = question.drawn
    if question.ability == "describe_region":
        assert counted_in(answer_text(question.answer), reader) == looks(reader, [drawn.thing], full(reader))
        return
    (target,) = question.answer
    assert isinstance(target, Target) and target.things == (drawn.thing,)
    assert target.kind == KIND_OF_TASK[question.task] and looks(reader, [drawn.thing], full(reader)) == {
        target.label: 1
    }


def check_except(reader: Reader, question: Question) -> None:
    drawn, beside = question.drawn
    (target,) = question.answer
    assert isinstance(target, Target) and target.things == (drawn.thing,) and not drawn.excludes
    assert target.kind == KIND_OF_TASK[question.task]
    assert looks(reader, [drawn.thing], full(reader)) == {target.label: 1}
    assert beside.kind == "point" and beside.excludes and beside.thing != drawn.thing
    if drawn.kind == "point":
        assert drawn.beside is None
        return
    assert drawn.kind == "box" and drawn.beside == beside.thing
    corners = np.array([reader.scene.things[k].xyxy for k in (drawn.thing, beside.thing)])
    (x1, y1), (x2, y2) = corners[:, :2].min(0), corners[:, 2:].max(0)
    for number, thing in enumerate(reader.scene.things):
        x, y = (thing.xyxy[0] + thing.xyxy[2]) / 2, (thing.xyxy[1] + thing.xyxy[3]) / 2
        within = x1 <= x <= x2 and y1 <= y <= y2
        assert within == (number in (drawn.thing, beside.thing)), "the box could mean a third thing"


def check_depth(reader: Reader, question: Question) -> None:
    assert reader.scene.depth is not None and question.answer == (Target(label="scene", kind="depth"),)


def check_card(reader: Reader, question: Question) -> None:
    if question.negative:
        assert reader.every(question.text) == [set()] and DENIED.fullmatch(answer_text(question.answer))
        return
    (thing,) = {question.drawn[0].thing} if question.drawn else reader.every(question.text)[0]
    name = reader.name(thing)
    assert question.answer == (Target(label=name, kind="doc", document=name),)


CHECKS: dict[str, Callable[[Reader, Question], None]] = {
    **dict.fromkeys(("segment", "box", "point", "detect", "attribute", "relation", "extreme", "nearest", "position",
                     "between"), check_drawn),
    **dict.fromkeys(("detect_all", "segment_all", "detect_category", "semantic"), check_groups),
    "surface": check_surface, "depth": check_depth,
    **dict.fromkeys(("segment_drawn", "describe_region"), check_region),
    "segment_except": check_except,
    **dict.fromkeys(("count", "count_attribute", "count_category"), check_count),
    **dict.fromkeys(("exists", "is_this"), check_exists),
    "is_attribute": check_is_attribute, "is_relation": check_is_relation, "same": check_same, "more": check_more,
    "what_attribute": check_what_attribute, **dict.fromkeys(("which_larger", "which_nearer"), check_which),
    "category": check_category, "what_relation": check_what_relation,
    **dict.fromkeys(("caption", "caption_detail"), check_caption), "grounded_caption": check_grounded_caption,
    "card": check_card,
}  # fmt: skip


@pytest.fixture(scope="module")
def questioner(asked_concepts: tuple[Concept, ...]) -> Questioner:
    return Questioner(concepts=asked_concepts)


@pytest.mark.parametrize("ability", CHECKS)
def test_answers_are_true(ability: str, questioner: Questioner, hand_made: tuple[Scene, ...]) -> None:
    asked = Counter[bool]()
    for number, scene in enumerate(hand_made):
        for negative in (False, True):
            question = ask(np.random.default_rng([number, negative]), questioner, scene, ability, negative)
            if question is None:
                continue
            assert (question.ability, question.negative) == (ability, negative) or not scene.things
            try:
                CHECKS[ability](Reader(scene, questioner.concepts), question)
            except (AssertionError, ValueError) as error:
                raise AssertionError(f"scene {number}: {question.text!r} -> {question.answer!r}") from error
            asked[negative] += 1
    assert asked[False] >= 5 and (asked[True] >= 5) == bool(ABILITIES[ability].negatives), asked
