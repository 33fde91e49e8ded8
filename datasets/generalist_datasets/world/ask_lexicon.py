"""What the things of a scene are called: sprites by name or synonym, solids by what they look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from generalist_datasets.world import language
from generalist_datasets.world.ask_words import AWKWARD, DOUBTFUL, LIKE, LOOSELY, PARTS, SCENERY, WEARERS, WORN
from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.phrasings import noun_slots
from generalist_datasets.world.scene import Scene, Thing
from generalist_datasets.world.solids import COLOURS, MATERIALS, TEXTURES

SOLID = "solid"
"""The category of the concepts that are solids; also what a solid of any shape is called."""
GENERAL = ("thing", "object")
"""What anything is called."""
PLAIN = "plain"
"""The texture that goes without saying."""
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "size": ("small", "large"),
    "colour": tuple(COLOURS),
    "texture": tuple(TEXTURES),
    "material": tuple(MATERIALS),
}
"""What solids have, in the order in which English puts the adjectives, and the values."""

_DISPUTED = frozenset({
    ("metal", "glossy"), ("grey", "black"), ("black", "grey"), ("grey", "white"), ("white", "grey"),
    ("orange", "brown"), ("brown", "orange"),
})  # fmt: skip
"""What a solid is, and what it might be called as well: in the shade white is grey, and orange is brown."""
_SYNONYM_SHARE = 0.25
_NONE: frozenset[int] = frozenset()

T = TypeVar("T")


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def shuffled(rng: np.random.Generator, choices: Iterable[T]) -> list[T]:
    found = list(choices)
    return [found[int(k)] for k in rng.permutation(len(found))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A noun phrase and the things of a scene that it means.

    ``words`` are the user's, ``label`` what answers call it; ``tail`` follows ("left of the tree").
    """

    words: str
    label: str
    things: tuple[int, ...] = ()
    tail: str = ""

    def slots(self, *, many: bool = False) -> dict[str, str]:
        """What the phrase puts into a wording; ``many`` for "the dogs"."""
        forms = (self.words, language.plural(self.words), language.units(self.words))
        slots = noun_slots(*forms, many=many)
        if self.tail:
            slots |= {key: f"{slots[key]} {self.tail}" for key in ("the", "name", "names", "units", "a")}
        return slots

    @property
    def the(self) -> str:
        return self.slots()["the"]

    @property
    def denial(self) -> str:
        """``"There is no dog left of the tree."``"""
        return language.denial(self.words)[:-1] + (f" {self.tail}." if self.tail else ".")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Questioner:
    """Asks about scenes whose concept numbers index ``concepts``.

    ``absent`` numbers the concepts, and ``pairs`` lists the (colour, shape) of solids, that questions may name
    though they are not there; None for all. What is kept back from a model belongs to neither: it would learn
    to deny it.
    """

    concepts: tuple[Concept, ...]
    absent: tuple[int, ...] | None = None
    pairs: Sequence[tuple[str, str]] | None = None
    lacking: dict[str, tuple[int, ...]] = field(init=False, repr=False)
    lacking_pairs: tuple[tuple[str, str], ...] = field(init=False, repr=False)
    _sure: dict[str, frozenset[int]] = field(init=False, repr=False)
    _unsure: dict[str, frozenset[int]] = field(init=False, repr=False)
    _doubtful: dict[str, frozenset[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sure, unsure = _lexicon(self.concepts)
        pairs = self.pairs
        if pairs is None:
            pairs = [(colour, c.name) for colour in COLOURS for c in self.concepts if c.category == SOLID]
        # The derived fields of a frozen dataclass: absent concepts by category, and what words may mean.
        object.__setattr__(self, "lacking", self._may_lack())
        object.__setattr__(self, "lacking_pairs", tuple(pairs))
        object.__setattr__(self, "_sure", sure)
        object.__setattr__(self, "_unsure", unsure)
        object.__setattr__(self, "_doubtful", {category: _doubtful(self.concepts, category) for category in DOUBTFUL})

    def _may_lack(self) -> dict[str, tuple[int, ...]]:
        """By category, and all under "": the concepts that may be named though they are not there."""
        found: dict[str, list[int]] = {}
        for number in range(len(self.concepts)) if self.absent is None else self.absent:
            concept = self.concepts[number]
            if concept.category != SOLID:
                found.setdefault(concept.category, []).append(number)
        found[""] = [number for numbers in found.values() for number in numbers]
        return {category: tuple(numbers) for category, numbers in found.items()}

    def concept(self, thing: Thing) -> Concept:
        return self.concepts[thing.concept]

    def name(self, thing: Thing) -> str:
        return self.concepts[thing.concept].name

    def describe(self, thing: Thing, *, without: Sequence[str] = ()) -> str:
        """``"dog"``; a solid by all but the attributes ``without``: ``"small red metal sphere"``."""
        return phrase({a: getattr(thing, a) for a in ATTRIBUTES if a not in without}, self.name(thing))

    def look(self, scene: Scene, thing: int) -> str:
        """The description of a thing, as far as its picture tells: sizes need a scene whose depth is known."""
        return self.describe(scene.things[thing], without=() if scene.depth is not None else ("size",))

    def groups(self, scene: Scene) -> dict[int, tuple[int, ...]]:
        """Concept -> its things, in the order in which concepts first appear from the left."""
        groups: dict[int, tuple[int, ...]] = {}
        for index, thing in enumerate(scene.things):
            groups[thing.concept] = (*groups.get(thing.concept, ()), index)
        return groups

    def meaning(self, scene: Scene, word: str) -> tuple[int, ...] | None:
        """The things that a noun means; None where something else there could be called so as well."""
        present = [thing.concept for thing in scene.things]
        sure, unsure = self._sure.get(word, _NONE), self._unsure.get(word, _NONE)
        if not unsure.isdisjoint(present) or not (sure | unsure).isdisjoint(scene.hidden):
            return None
        if scene.pictured and any(self.concepts[number].name in SCENERY for number in sure):
            return None  # the photograph may show it, too
        return tuple(k for k, concept in enumerate(present) if concept in sure)

    def doubtful(self, scene: Scene, category: str) -> bool:
        """Whether something belongs to a category in some people's opinion only, shows what does, or is hidden."""
        hidden = any(self.concepts[number].category == category for number in scene.hidden)
        present = (*(thing.concept for thing in scene.things), *scene.hidden)
        return hidden or not self._doubtful[category].isdisjoint(present)

    def debatable(self, thing: Thing) -> bool:
        """Whether people might disagree about a thing's category."""
        return any(self.name(thing) in names for names in DOUBTFUL.values())

    def words(self, rng: np.random.Generator, number: int) -> str:
        """A concept's name or, now and then, a synonym."""
        concept = self.concepts[number]
        synonyms = [word for word in concept.synonyms if word not in AWKWARD]
        return pick(rng, synonyms) if synonyms and rng.random() < _SYNONYM_SHARE else concept.name

    def named(self, rng: np.random.Generator, scene: Scene, number: int) -> Noun | None:
        """All things of a concept, by its name or a synonym; None where neither is clear."""
        label = self.concepts[number].name
        wanted = tuple(k for k, thing in enumerate(scene.things) if thing.concept == number)
        for words in (self.words(rng, number), label):
            if self.meaning(scene, words) == wanted:
                return Noun(words=words, label=label, things=wanted)
        return None


def phrase(attributes: Mapping[str, str], noun: str) -> str:
    """Adjectives before a noun, in the order of ``ATTRIBUTES``."""
    said = [attributes.get(a, "") for a in ATTRIBUTES]
    return " ".join([*(value for value in said if value not in ("", PLAIN)), noun])


def fits(thing: Thing, attributes: Mapping[str, str]) -> bool | None:
    """Whether a solid has all attributes; None where people may disagree."""
    verdicts = [
        None if (getattr(thing, a), value) in _DISPUTED else getattr(thing, a) == value
        for a, value in attributes.items()
    ]
    return False if False in verdicts else None if None in verdicts else True


def _lexicon(concepts: Sequence[Concept]) -> tuple[dict[str, frozenset[int]], dict[str, frozenset[int]]]:
    """Word -> the concepts that it means, and those that it might mean as well ("tree": fir tree; "bird": owl)."""
    sure: dict[str, set[int]] = {}
    unsure: dict[str, set[int]] = {}
    by_category: dict[str, set[int]] = {}
    for number, concept in enumerate(concepts):
        by_category.setdefault(concept.category, set()).add(number)
        unsure.setdefault(concept.category, set()).add(number)
        for words in (concept.name, *concept.synonyms):
            sure.setdefault(words, set()).add(number)
            for part in _parts(words):
                unsure.setdefault(part, set()).add(number)
    numbers = {concept.name: number for number, concept in enumerate(concepts)}
    for number, concept in enumerate(concepts):
        loose = {numbers[name] for name in LOOSELY.get(concept.name, ()) if name in numbers}
        shown_by = (*PARTS.get(concept.name, ()), *(WEARERS if concept.category == WORN else ()))
        loose = loose.union(*(by_category.get(category, ()) for category in shown_by))
        for words in (concept.name, *concept.synonyms):
            unsure.setdefault(words, set()).update(loose)
        for implied in (concepts[numbers[name]] for name in concept.implies if name in numbers):
            for words in (implied.name, *implied.synonyms):
                unsure.setdefault(words, set()).add(number)
    meant = {words: frozenset(found) for words, found in sure.items()}
    return meant, {words: frozenset(found) - meant.get(words, _NONE) for words, found in unsure.items()}


def _parts(words: str) -> Iterable[str]:
    """``"red apple"`` might be called "apple", a ``"glass of milk"`` "glass"."""
    parts = words.split()
    for start in range(1, len(parts)):
        yield " ".join(parts[start:])
        if parts[start] in ("of", "and", "with", "in", "on"):
            yield " ".join(parts[:start])


def _doubtful(concepts: Sequence[Concept], category: str) -> frozenset[int]:
    """Concepts of which people might disagree whether they are, or show, a thing of the category."""
    kinds = {concept.name: concept.category for concept in concepts}
    return frozenset(
        number
        for number, concept in enumerate(concepts)
        if concept.name in DOUBTFUL[category]
        or concept.category in LIKE.get(category, ())
        or (concept.category != category and category in [kinds.get(name) for name in concept.implies])
    )
