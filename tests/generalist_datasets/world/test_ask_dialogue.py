"""Conversations: every turn is followed by a reader that keeps in mind what "it", "they" and "And the cat?" mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from generalist_datasets.world.ask import Questioner, ask
from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.question import Answer, Question, Target, Turn, answer_text
from generalist_datasets.world.scene import Scene

from .phrase_reader import EXTREMES, KINDS, RELATIONS, VALUES, Reader, any_of, counted_in, full, looks, related

PRONOUN = re.compile(r"\b(it|its|they|them|their|those|every one)\b|^where\??$", re.IGNORECASE)
AGAIN = re.compile(r"^(and|or|what about)\b(?! how many (of|are\b)| what | its | their | how many are)", re.IGNORECASE)


class Listener:
    """Follows a conversation and checks every answer."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.focus: set[int] = set()
        self.before: Answer = ()

    def hear(self, turn: Turn) -> None:
        text = turn.text
        (one_of,) = re.findall(rf"the ({any_of(EXTREMES)}) one", text) or [""]
        if turn.drawn:
            self.focus = {turn.drawn[0].thing}
            assert counted_in(answer_text(turn.answer), self.reader) == looks(
                self.reader, self.focus, full(self.reader)
            )
        elif one_of:
            self._drawn(turn.answer, self.reader._single(self.focus, one_of, ""))
        elif re.search("how many (of (them|those) )?are ", text, re.IGNORECASE):
            self._how_many(text, turn.answer)
        elif re.search("more like it|others of its kind", text):
            (thing,) = self.focus
            same = [t for t in range(len(self.reader.scene.things)) if self.reader.name(t) == self.reader.name(thing)]
            assert turn.answer == (str(len(same) - 1),)
            self.focus = set()
        elif PRONOUN.search(text.rstrip(".?")):
            self._about_it(text, turn.answer)
        elif AGAIN.match(text):
            self._again(text, turn.answer)
        else:
            self._opening(text, turn.answer)
        self.before = turn.answer

    def _drawn(self, answer: Answer, wanted: set[int]) -> None:
        targets = [piece for piece in answer if isinstance(piece, Target)]
        assert {t for target in targets for t in target.things} == wanted and len({t.kind for t in targets}) == 1
        self.focus = wanted

    def _how_many(self, text: str, answer: Answer) -> None:
        assert len(self.focus) > 1
        said = re.split(r" are (?:made of )?", text.rstrip("?"))[-1]
        if said in VALUES:
            things = self.reader.scene.things
            assert all(things[t].colour for t in self.focus)
            self.focus = {t for t in self.focus if getattr(things[t], VALUES[said]) == said}
        else:
            (self.focus,) = self.reader.every(said)
        assert answer == (str(len(self.focus)),)

    def _about_it(self, text: str, answer: Answer) -> None:
        single = re.search(r"\b(it|its)\b", text, re.IGNORECASE)
        assert not single or len(self.focus) == 1, "who is it?"
        relation = re.search(rf"({any_of(RELATIONS)}) it\b", text)
        if relation:
            (it,) = self.focus
            others = [t for t in range(len(self.reader.scene.things)) if t != it]
            right = [t for t in others if related(self.reader.scene, RELATIONS[relation[1]], t, it)]
            assert counted_in(answer_text(answer), self.reader) == looks(self.reader, right, ("colour",))
            self.focus = set()
        elif re.search("thing is it", text):
            (it,) = self.focus
            kind = KINDS[self.reader.name(it)]
            assert answer_text(answer).lower().split()[-1] == f"{kind}."
        elif re.search("colour|finish|glossy", text):
            (it,) = self.focus
            attribute = "colour" if "colour" in text else "material"
            assert answer_text(answer).lower() == f"{getattr(self.reader.scene.things[it], attribute)}."
        else:
            self._drawn(answer, self.focus)

    def _again(self, text: str, answer: Answer) -> None:
        (meant, *_) = self.reader.every(text)
        if self.before in (("Yes.",), ("No.",)):
            assert answer == (("Yes.",) if meant else ("No.",))
        elif re.fullmatch(r"\d", answer_text(self.before)):
            assert answer == (str(len(meant)),)
        elif meant:
            assert isinstance(answer[0], Target) and isinstance(self.before[0], Target)
            assert answer[0].kind == self.before[0].kind
            self._drawn(answer, meant)
        else:
            assert answer_text(answer).startswith(("There is no ", "There are no "))
        self.focus = meant

    def _opening(self, text: str, answer: Answer) -> None:
        assert self.before == ()
        everything = set(range(len(self.reader.scene.things)))
        if re.search(
            "describe the image|what is in the image|caption|what do you see|picture show", text, re.IGNORECASE
        ):
            assert counted_in(answer_text(answer), self.reader) == looks(self.reader, everything, ("colour",))
            self.focus = everything
            return
        (self.focus,) = self.reader.every(text)
        if isinstance(answer[0], Target):
            self._drawn(answer, self.focus)
        else:
            assert answer in (("Yes.",), (str(len(self.focus)),)) and self.focus


@pytest.fixture(scope="module")
def conversations(asked_concepts: tuple[Concept, ...], hand_made: tuple[Scene, ...]) -> list[tuple[Scene, Question]]:
    questioner = Questioner(concepts=asked_concepts)
    return [
        (scene, question)
        for number, scene in enumerate(hand_made)
        for negative in (False, True)
        for round in range(3)
        if (question := ask(np.random.default_rng([number, round]), questioner, scene, "dialogue", negative))
    ]


def test_every_turn_is_answered_truly(
    conversations: list[tuple[Scene, Question]], asked_concepts: tuple[Concept, ...]
) -> None:
    for scene, question in conversations:
        listener = Listener(Reader(scene, asked_concepts))
        final = Turn(text=question.text, answer=question.answer, drawn=question.drawn)
        try:
            for turn in (*question.history, final):
                listener.hear(turn)
        except (AssertionError, ValueError, KeyError) as error:
            raise AssertionError([turn.text for turn in question.history] + [question.text, question.answer]) from error
        if question.negative:
            assert answer_text(question.answer).startswith(("No", "0", "There is no ", "There are no "))


def test_conversations_have_two_to_four_turns_of_many_kinds(conversations: list[tuple[Scene, Question]]) -> None:
    lengths = Counter(len(question.history) + 1 for _, question in conversations)
    assert set(lengths) == {2, 3, 4}
    assert {question.task for _, question in conversations} >= {"chat", "count", "box", "segment", "point"}
    assert {question.negative for _, question in conversations} == {True, False}
    texts = " ".join(question.text.lower() for _, question in conversations)
    for words in ("them", "it", "what colour", "how many of them are", "one", "and the", "what kind", "left of it"):
        assert words in texts


def test_only_the_last_turn_is_denied(conversations: list[tuple[Scene, Question]]) -> None:
    for _, question in conversations:
        for turn in question.history:
            assert not answer_text(turn.answer).startswith(("No", "There "))


def test_the_pronoun_stands_for_what_was_just_shown(
    row_of: Callable[..., Scene], asked_concepts: tuple[Concept, ...]
) -> None:
    questioner = Questioner(concepts=asked_concepts)
    asked = [ask(np.random.default_rng(s), questioner, row_of("dog", "cat"), "dialogue") for s in range(80)]
    (found, *_) = (q for q in asked if q and len(q.history) == 1 and q.text == "Segment it." and not q.history[0].drawn)
    (things,) = (piece.things for piece in found.answer if isinstance(piece, Target))
    named = {"dog": (0,), "hound": (0,), "cat": (1,)}
    assert things in [where for name, where in named.items() if name in found.history[0].text]
