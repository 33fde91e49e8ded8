"""Asking about a scene: noun phrases for one thing, a kind of thing, a solid, and for what is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from generalist_datasets.world.ask_lexicon import (
    ATTRIBUTES,
    GENERAL,
    PLAIN,
    SOLID,
    Noun,
    Questioner,
    fits,
    phrase,
    pick,
)
from generalist_datasets.world.ask_lexicon import shuffled as in_any_order
from generalist_datasets.world.phrasings import say
from generalist_datasets.world.question import Drawn, Question, Target, Turn
from generalist_datasets.world.scene import Scene

_TRIES = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asking:
    """One try to ask for an ability: what it is about, and the phrases for it.

    ``negative``: about something that is not there, or that is not so. ``tasks``: how things may be drawn, where
    a question leaves the choice.
    """

    rng: np.random.Generator
    questioner: Questioner
    scene: Scene
    ability: str
    negative: bool = False
    tasks: tuple[str, ...] = ("segment", "segment", "segment", "box", "point")

    def but(self, *, negative: bool) -> Asking:
        return replace(self, negative=negative)

    def boxes_only(self) -> Asking:
        return replace(self, tasks=("box",))

    def say(self, wording: str, noun: Noun | None = None, *, many: bool = False, **slots: str) -> str:
        """A wording of ``phrasings.PHRASINGS`` with a noun and other words in it."""
        return say(self.rng, wording, {**(noun.slots(many=many) if noun else {}), **slots})

    def question(
        self,
        task: str,
        text: str,
        *answer: str | Target,
        drawn: tuple[Drawn, ...] = (),
        history: tuple[Turn, ...] = (),
        about: Iterable[int] = (),
    ) -> Question:
        return Question(
            task=task, ability=self.ability, text=text, answer=answer, drawn=drawn, history=history,
            negative=self.negative, about=tuple(about),
        )  # fmt: skip

    @property
    def things(self) -> range:
        return range(len(self.scene.things))

    def shuffled(self, things: Iterable[int]) -> list[int]:
        return in_any_order(self.rng, things)

    @property
    def solids(self) -> tuple[int, ...]:
        return tuple(k for k, thing in enumerate(self.scene.things) if thing.colour)

    @property
    def visible_attributes(self) -> tuple[str, ...]:
        """Sizes are in metres, which can be told only in a scene of known depth."""
        return tuple(a for a in ATTRIBUTES if a != "size" or self.scene.depth is not None)

    def attributes(self, thing: int, without: Sequence[str] = ()) -> dict[str, str]:
        """What can be said of a solid; that it is plain goes without saying."""
        found = {a: str(getattr(self.scene.things[thing], a)) for a in self.visible_attributes if a not in without}
        return {a: value for a, value in found.items() if value != PLAIN}

    def unique(self, thing: int, without: Sequence[str] = ()) -> Noun | None:
        """A noun phrase that means this thing alone; None where there is none. ``without``: see :meth:`described`."""
        if self.scene.things[thing].colour:
            return self.described(thing, unique=True, without=without)
        noun = self.named(thing)
        return noun if noun is not None and len(noun.things) == 1 else None

    def kind(self, thing: int) -> Noun | None:
        """A noun phrase that means this thing and, maybe, others."""
        if self.scene.things[thing].colour and self.rng.random() < 0.5:
            return self.described(thing)
        return self.named(thing)

    def named(self, thing: int) -> Noun | None:
        return self.questioner.named(self.rng, self.scene, self.scene.things[thing].concept)

    def everything(self) -> Noun:
        word = pick(self.rng, GENERAL)
        return Noun(words=word, label=word, things=tuple(range(len(self.scene.things))))

    # --- solids by attributes ---

    def described(self, thing: int, *, unique: bool = False, without: Sequence[str] = ()) -> Noun | None:
        """A solid by some of its attributes, with everything else that fits: "red cube", "large striped torus".

        ``unique``: only that solid fits. ``without``: attributes that are not told, "shape" among them.
        """
        head = self._head(thing, without)
        if head is None:
            return None
        fewest = 0 if unique and head.label != SOLID else 1
        for said in self._subsets(self.attributes(thing, without), fewest):
            verdicts = {k: fits(self.scene.things[k], said) for k in head.things}
            things = tuple(k for k, verdict in verdicts.items() if verdict)
            if None not in verdicts.values() and (not unique or len(things) == 1):
                return Noun(words=phrase(said, head.words), label=phrase(said, head.label), things=things)
        return None

    def _head(self, thing: int, without: Sequence[str]) -> Noun | None:
        if "shape" in without or self.rng.random() < 0.15:
            return self.any_solid()
        return self.named(thing)

    def any_solid(self) -> Noun | None:
        """Pictographs have colours too: where there are some, only "solid" is clear; nothing is where solids hide."""
        if any(self.questioner.concepts[number].category == SOLID for number in self.scene.hidden):
            return None
        alone = len(self.solids) == len(self.scene.things) and not self.scene.hidden
        words = pick(self.rng, (SOLID, *GENERAL)) if alone else SOLID
        return Noun(words=words, label=SOLID, things=self.solids)

    def _subsets(self, attributes: Mapping[str, str], fewest: int) -> Iterator[dict[str, str]]:
        """Parts of a description: first those with as many words as chance has it, then the shorter and longer."""
        sizes = range(fewest, len(attributes) + 1)
        for size in in_any_order(self.rng, sizes):
            for names in in_any_order(self.rng, combinations(attributes, size)):
                yield {name: attributes[name] for name in names}

    # --- what is not there ---

    def missing(self) -> Noun | None:
        """Something that is clearly not in the scene; half the time much like something that is."""
        alike = bool(self.scene.things) and self.rng.random() < 0.5
        model = pick(self.rng, self.scene.things) if alike else None
        if self.questioner.lacking_pairs and (model.colour if model else self.rng.random() < 0.1):
            return self.missing_solid()
        lacking = self.questioner.lacking
        category = self.questioner.concept(model).category if model else ""
        numbers = lacking.get(category) or lacking[""]
        for _ in range(_TRIES if numbers else 0):
            number = pick(self.rng, numbers)
            words = self.questioner.words(self.rng, number)
            label = self.questioner.concepts[number].name
            if self.questioner.meaning(self.scene, words) == ():
                return Noun(words=words, label=label)
        return None

    def missing_solid(self) -> Noun | None:
        """A description that no solid fits, though some solid has all but one word of it, if there are solids."""
        pairs = self.questioner.lacking_pairs
        for _ in range(_TRIES if pairs else 0):
            colour, shape = pick(self.rng, pairs)
            said = {"colour": colour}
            if self.solids:
                said, shape = self._altered(pick(self.rng, self.solids), colour, shape)
            things = self.questioner.meaning(self.scene, shape)
            known = "colour" not in said or (said["colour"], shape) in pairs
            if things is not None and known and all(fits(self.scene.things[k], said) is False for k in things):
                words = phrase(said, shape)
                return Noun(words=words, label=words)
        return None

    def _altered(self, thing: int, colour: str, shape: str) -> tuple[dict[str, str], str]:
        """Part of a solid's description, with one attribute or the shape replaced."""
        said = next(self._subsets(self.attributes(thing), 1))
        changed = pick(self.rng, (*said, "shape"))
        if changed == "shape":
            return said, shape
        values = [value for value in ATTRIBUTES[changed] if value != PLAIN]
        said[changed] = colour if changed == "colour" else pick(self.rng, values)
        return said, self.questioner.name(self.scene.things[thing])
