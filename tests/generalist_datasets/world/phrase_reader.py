"""Reads English noun phrases about a scene, from a list of words and from pixels: it shares no code with what asks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.scene import Scene

NOUNS = {
    "dog": "dog", "dogs": "dog", "hound": "dog", "hounds": "dog", "poodle": "poodle", "poodles": "poodle",
    "cat": "cat", "cats": "cat", "goose": "goose", "geese": "goose", "unicorn": "unicorn", "unicorns": "unicorn",
    "car": "car", "cars": "car", "automobile": "car", "automobiles": "car", "knife": "knife", "knives": "knife",
    "old knife": "old knife", "old knives": "old knife", "tree": "tree", "trees": "tree", "scissors": "scissors",
    "pair of scissors": "scissors", "pairs of scissors": "scissors", "bacon": "bacon", "strips of bacon": "bacon",
    "Tokyo Tower": "Tokyo Tower", "Tokyo Towers": "Tokyo Tower", "cup of tea": "cup of tea", "teacup": "cup of tea",
    "cups of tea": "cup of tea", "teacups": "cup of tea", "sphere": "sphere", "spheres": "sphere", "cube": "cube",
    "cubes": "cube", "cone": "cone", "cones": "cone", "solid": "", "solids": "", "thing": "*", "things": "*",
    "object": "*", "objects": "*", "animal": "+animal", "animals": "+animal", "vehicle": "+vehicle",
    "vehicles": "+vehicle", "musical instrument": "+none", "musical instruments": "+none", "person": "+none",
    "people": "+none",
}  # fmt: skip
KINDS = {"dog": "animal", "poodle": "animal", "cat": "animal", "goose": "animal", "unicorn": "animal",
         "car": "vehicle", "tree": "plant", "bacon": "food"}  # fmt: skip
VALUES = {
    **dict.fromkeys(("small", "large"), "size"), **dict.fromkeys(("plain", "striped", "checked", "spotted"), "texture"),
    **dict.fromkeys(("matte", "glossy", "metal"), "material"),
    **dict.fromkeys(("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "white", "grey",
                     "black"), "colour"),
}  # fmt: skip
RELATIONS = {
    "left of": "left", "to the left of": "left", "on the left of": "left", "right of": "right",
    "to the right of": "right", "on the right of": "right", "above": "above", "higher up than": "above",
    "below": "below", "lower down than": "below", "in front of": "front", "closer than": "front",
    "nearer to the camera than": "front", "behind": "behind", "farther away than": "behind",
    "farther from the camera than": "behind",
}  # fmt: skip
EXTREMES = {"largest": "large", "biggest": "large", "smallest": "small", "nearest": "near", "closest": "near",
            "farthest": "far", "most distant": "far", "leftmost": "left", "rightmost": "right"}  # fmt: skip
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def any_of(words: object) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))  # type: ignore[call-overload]


PHRASE = re.compile(
    rf"\b(?:(?P<which>{any_of([*EXTREMES, *ORDINALS])}) )?(?P<values>(?:(?:{any_of(VALUES)}) )*)"
    rf"(?P<noun>{any_of(NOUNS)})\b"
)
TAIL = re.compile(rf" (?:(?P<relation>{any_of(RELATIONS)}) (?:the )?|from the (?P<side>left|right)|between (?:the )?)")


def middle(scene: Scene, thing: int) -> np.ndarray:
    x1, y1, x2, y2 = scene.things[thing].xyxy
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2])


def related(scene: Scene, relation: str, a: int, b: int) -> bool:
    """Whether it holds, clearly; asserts that it is clear."""
    if relation in ("right", "below", "behind"):
        return related(scene, {"right": "left", "below": "above", "behind": "front"}[relation], b, a)
    if relation == "front":
        assert scene.depth is not None, "depth is not known"
        near, far = (float(scene.depth[scene.mask(t)].min()) for t in (a, b))
        assert max(near, far) > 1.15 * min(near, far)
        return near < far
    difference = (middle(scene, b) - middle(scene, a))[int(relation == "above")]
    assert abs(difference) > 0.08
    return bool(difference > 0)


@dataclass(frozen=True)
class Reader:
    """What noun phrases of a text mean in a scene."""

    scene: Scene
    concepts: tuple[Concept, ...]

    def name(self, thing: int) -> str:
        return self.concepts[self.scene.things[thing].concept].name

    def every(self, text: str) -> list[set[int]]:
        """The meaning of each noun phrase, from left to right; of the first with its tail."""
        found = [match for match in PHRASE.finditer(text) if self._is_phrase(text, match)]
        return [self.means(text, match) for match in found]

    def _is_phrase(self, text: str, match: re.Match[str]) -> bool:
        return NOUNS[match["noun"]] != "*" or not re.search(
            r"(kind of|sort of|this|every|all) $", text[: match.start()]
        )

    def means(self, text: str, match: re.Match[str]) -> set[int]:
        assert not self._hides(NOUNS[match["noun"]]), match["noun"]
        things = {t for t in range(len(self.scene.things)) if self._fits(t, match)}
        tail = TAIL.match(text, match.end())
        if tail and tail["relation"]:
            other = self.one(text, tail.end())
            things = {t for t in things if related(self.scene, RELATIONS[tail["relation"]], t, other)}
        elif tail and not tail["side"]:
            first = PHRASE.match(text, tail.end())
            assert first
            second = re.compile(" and (?:the )?").match(text, first.end())
            assert second
            a, b = self.one(text, tail.end()), self.one(text, second.end())
            things = {t for t in things - {a, b} if self._amid(t, a, b)}
        if match["which"]:
            things = self._single(things, match["which"], tail["side"] if tail else "")
        return things

    def one(self, text: str, start: int = 0) -> int:
        """The only thing that the phrase at ``start`` means."""
        match = PHRASE.match(text, start)
        assert match, text[start:]
        assert not self._hides(NOUNS[match["noun"]]), match["noun"]
        (thing,) = {t for t in range(len(self.scene.things)) if self._fits(t, match)}
        return thing

    def _hides(self, noun: str) -> bool:
        """Whether something could be called so that is too hidden to be one of the things."""
        names = [self.concepts[number].name for number in self.scene.hidden]
        also = {"dog": ("poodle",), "knife": ("old knife",), "": ("sphere", "cube", "cone")}.get(noun, ())
        return any(
            noun in ("*", name) or name in also or (noun.startswith("+") and KINDS.get(name) == noun[1:])
            for name in names
        )

    def _fits(self, thing: int, match: re.Match[str]) -> bool:
        noun, look = NOUNS[match["noun"]], self.scene.things[thing]
        if noun == "dog":
            assert self.name(thing) != "poodle", "a poodle is a dog"
        if noun == "knife":
            assert self.name(thing) != "old knife", "an old knife is a knife"
        right = noun == "*" or (noun.startswith("+") and KINDS.get(self.name(thing)) == noun[1:])
        right = right or (not noun and bool(look.colour)) or self.name(thing) == noun
        values = match["values"].split()
        assert not (values and noun == "*" and right and not look.colour), "whether a pictograph is red is unknown"
        if "glossy" in values and right:
            assert look.material != "metal" or any(getattr(look, VALUES[v]) != v for v in values if v != "glossy")
        if {"small", "large"} & set(values):
            assert self.scene.depth is not None, "sizes are not known"
        return right and all(getattr(look, VALUES[value]) == value for value in values)

    def _single(self, things: set[int], which: str, side: str) -> set[int]:
        if which in ORDINALS:
            row = sorted(things, key=lambda t: middle(self.scene, t)[0], reverse=side == "right")
            return set(row[ORDINALS.index(which) : ORDINALS.index(which) + 1])
        if not things:
            return set()
        keys: dict[str, Callable[[int], float]] = {
            "large": lambda t: -float(self.scene.mask(t).sum()), "small": lambda t: float(self.scene.mask(t).sum()),
            "near": lambda t: self.scene.things[t].distance, "far": lambda t: -self.scene.things[t].distance,
            "left": lambda t: middle(self.scene, t)[0], "right": lambda t: -middle(self.scene, t)[0],
        }  # fmt: skip
        key = keys[EXTREMES[which]]
        best, *others = sorted(things, key=key)
        for other in others:
            a, b = abs(key(best)), abs(key(other))
            apart = abs(a - b) > 0.08 if EXTREMES[which] in ("left", "right") else max(a, b) > min(a, b) * (
                1.15 if EXTREMES[which] in ("near", "far") else 1.3
            )  # fmt: skip
            assert apart
        return {best}

    def _amid(self, thing: int, a: int, b: int) -> bool:
        start, span = middle(self.scene, a), middle(self.scene, b) - middle(self.scene, a)
        along = float((middle(self.scene, thing) - start) @ span / (span @ span))
        aside = float(np.linalg.norm(middle(self.scene, thing) - start - along * span) / np.linalg.norm(span))
        inside = 0.2 < along < 0.8 and aside < 0.25
        assert inside or not 0 < along < 1 or aside > 0.45
        return inside


def counted_in(text: str, reader: Reader) -> Counter[str]:
    """What a list in words holds: description -> how many."""
    numbers = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
    found: Counter[str] = Counter()
    for match in PHRASE.finditer(text[0].lower() + text[1:] if not text.startswith("Tokyo") else text):
        before = text[: match.start()].split()[-1:] or [""]
        found[match["values"] + NOUNS[match["noun"]]] += numbers.get(before[0].lower(), 1)
    return found


def looks(reader: Reader, things: object, attributes: tuple[str, ...]) -> Counter[str]:
    def look(thing: int) -> str:
        values = [getattr(reader.scene.things[thing], a) for a in attributes]
        return "".join(f"{value} " for value in values if value not in ("", "plain")) + reader.name(thing)

    return Counter(map(look, things))  # type: ignore[call-overload]


def full(reader: Reader) -> tuple[str, ...]:
    return ("size", "colour", "texture", "material")[reader.scene.depth is None :]
