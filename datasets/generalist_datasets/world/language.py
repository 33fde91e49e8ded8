"""Just enough English to speak of named things: articles, plurals, numbers, lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_PLURALS = frozenset({
    "blueberries", "bowling pins", "cherries", "chopsticks", "french fries", "glasses", "gloves", "goggles",
    "grapes", "headphones", "jeans", "maracas", "pancakes", "scissors", "shorts", "socks", "sunglasses",
})  # fmt: skip
"""Names that are plural though one thing is meant."""

_MASS = frozenset({
    "bacon", "bread", "broccoli", "butter", "cheese", "coral", "corn", "dynamite", "food", "garlic", "ginger",
    "ice cream", "lettuce", "meat on the bone", "popcorn", "shrimp tempura", "soft serve", "spaghetti", "sushi",
})  # fmt: skip
"""Names of what is not counted."""

_UNITS = {
    "pair": frozenset({
        "cherries", "chopsticks", "glasses", "gloves", "goggles", "headphones", "jeans", "maracas", "scissors",
        "shorts", "socks", "sunglasses",
    }),
    "bunch": frozenset({"blueberries", "grapes"}),
    "ear": frozenset({"corn"}),
    "head": frozenset({"broccoli", "garlic", "lettuce"}),
    "loaf": frozenset({"bread"}),
    "portion": frozenset({"french fries", "ice cream", "popcorn", "soft serve", "spaghetti"}),
    "set": frozenset({"bowling pins"}),
    "stack": frozenset({"pancakes"}),
    "stick": frozenset({"butter", "dynamite"}),
    "strip": frozenset({"bacon"}),
}  # fmt: skip
"""What plural and uncountable names are counted in; the others in pieces."""

_PROPER = {"Father Christmas": "", "Kaaba": "the ", "Santa Claus": "", "Statue of Liberty": "the ", "Tokyo Tower": ""}
"""Names of something unique, and the article that they take."""

_IRREGULAR = {
    "chilli": "chillies", "die": "dice", "elf": "elves", "fleur-de-lis": "fleurs-de-lis",
    "foot": "feet", "goose": "geese", "helix": "helices", "knife": "knives", "leaf": "leaves", "loaf": "loaves",
    "mouse": "mice", "ox": "oxen", "person": "people", "scarf": "scarves", "tooth": "teeth",
    "torus": "tori", "wolf": "wolves",
}  # fmt: skip
_SAME = frozenset({
    "bison", "crossbones", "deer", "djinn", "moai", "moose", "onigiri", "sheep", "shrimp", "squid",
})  # fmt: skip
_WITH_ES = frozenset({"mango", "mosquito", "potato", "superhero", "tomato", "tornado", "volcano"})

_CONSONANT_SOUNDS = ("ufo", "uni")
_VOWEL_SOUNDS = ("hour", "suv", "x-ray")
_REMEMBERED = 16_384
_JOINTS = re.compile(" (?:of|in|with|on|at|over|behind|made|wearing|sticking) ")
"""What the noun stands before."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@lru_cache(maxsize=_REMEMBERED)
def is_plural(name: str) -> bool:
    """Whether a name takes "are": ``"scissors"``, ``"largest scissors"``; not ``"pair of scissors"``."""
    return _ends_in(name, _PLURALS)


@lru_cache(maxsize=_REMEMBERED)
def is_mass(name: str) -> bool:
    """Whether a name is not counted: ``"bacon"``."""
    return _ends_in(name, _MASS)


def is_proper(name: str) -> bool:
    """Whether a name is that of something unique: ``"Tokyo Tower"``."""
    return name in _PROPER


def _ends_in(name: str, names: frozenset[str]) -> bool:
    if name in names or _JOINTS.search(name):
        return name in names
    parts = name.split(" ")
    return any(" ".join(parts[start:]) in names for start in range(1, len(parts)))


def definite(name: str) -> str:
    """``"the dog"``, ``"the Statue of Liberty"``, ``"Tokyo Tower"``."""
    return f"{_PROPER.get(name, 'the ')}{name}"


def with_article(name: str) -> str:
    """``"an apple"``, ``"a unicorn"``; plurals, what is not counted and unique things take no "a"."""
    if is_proper(name):
        return definite(name)
    if is_plural(name) or is_mass(name):
        return name
    start = name.lower()
    vowel = start.startswith(_VOWEL_SOUNDS) or (start[0] in "aeiou" and not start.startswith(_CONSONANT_SOUNDS))
    return f"{'an' if vowel else 'a'} {name}"


@lru_cache(maxsize=_REMEMBERED)
def plural(name: str) -> str:
    """The plural of a name: of its last word, or of the one before an "of" or "with" (``"glasses of milk"``)."""
    if is_plural(name) or is_mass(name):
        return name
    joint = _JOINTS.search(name)
    if joint:
        return plural(name[: joint.start()]) + name[joint.start() :]
    if " and " in name:
        return " and ".join(plural(part) for part in name.split(" and "))
    head, space, last = name.rpartition(" ")
    return f"{head}{space}{_plural_word(last)}"


def _plural_word(word: str) -> str:
    before, hyphen, last = word.rpartition("-")
    if word in _IRREGULAR or last in _IRREGULAR:
        return _IRREGULAR.get(word) or f"{before}{hyphen}{_IRREGULAR[last]}"
    if last in _SAME or last.endswith("fish"):
        return word
    if last.endswith("man"):
        return f"{word[:-2]}en"
    if last.endswith(("s", "x", "z", "ch", "sh")) or last in _WITH_ES:
        return f"{word}es"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


def units(name: str) -> str:
    """The plural that can be counted: ``"dogs"``, ``"pairs of scissors"``, ``"pieces of bacon"``."""
    if not is_plural(name) and not is_mass(name):
        return plural(name)
    unit = next((unit for unit, names in _UNITS.items() if _ends_in(name, names)), "piece")
    return f"{plural(unit)} of {name}"


def number_word(number: int) -> str:
    """``"no"``, ``"one"`` ... ``"eight"``."""
    return _NUMBERS[number]


def counted(number: int, name: str) -> str:
    """``"a dog"``, ``"two dogs"``, ``"three pairs of scissors"``; ``number`` is 1 to 8."""
    return with_article(name) if number == 1 else f"{number_word(number)} {units(name)}"


def capitalised(text: str) -> str:
    """With a capital first letter; the others as they are."""
    return text[:1].upper() + text[1:]


def listed(parts: Sequence[str]) -> str:
    """``"a, b and c"``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def denial(name: str) -> str:
    """``"There is no dog."``, ``"There are no scissors."``, ``"There is not a no entry sign."``"""
    if name.startswith("no "):
        return f"There is not a {name}."
    return f"There {'are' if is_plural(name) else 'is'} no {name}."
