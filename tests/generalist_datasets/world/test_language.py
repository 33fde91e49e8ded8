"""Articles, plurals and counting of names that are easily got wrong, and of every name there is."""

from __future__ import annotations

import re

import pytest

from generalist_datasets.world.concepts import CONCEPTS
from generalist_datasets.world.language import (
    capitalised,
    counted,
    definite,
    denial,
    is_mass,
    is_plural,
    listed,
    plural,
    units,
    with_article,
)

NAMES = [
    # name, with its article, what three of them are called
    ("dog", "a dog", "dogs"),
    ("apple", "an apple", "apples"),
    ("fox", "a fox", "foxes"),
    ("church", "a church", "churches"),
    ("cherry blossom", "a cherry blossom", "cherry blossoms"),
    ("butterfly", "a butterfly", "butterflies"),
    ("monkey", "a monkey", "monkeys"),
    ("computer mouse", "a computer mouse", "computer mice"),
    ("kitchen knife", "a kitchen knife", "kitchen knives"),
    ("maple leaf", "a maple leaf", "maple leaves"),
    ("four leaf clover", "a four leaf clover", "four leaf clovers"),
    ("elf", "an elf", "elves"),
    ("wolf", "a wolf", "wolves"),
    ("scarf", "a scarf", "scarves"),
    ("goose", "a goose", "geese"),
    ("ox", "an ox", "oxen"),
    ("sheep", "a sheep", "sheep"),
    ("jellyfish", "a jellyfish", "jellyfish"),
    ("tropical fish", "a tropical fish", "tropical fish"),
    ("octopus", "an octopus", "octopuses"),
    ("volcano", "a volcano", "volcanoes"),
    ("flamingo", "a flamingo", "flamingos"),
    ("superhero", "a superhero", "superheroes"),
    ("snowman", "a snowman", "snowmen"),
    ("old woman", "an old woman", "old women"),
    ("standing person", "a standing person", "standing people"),
    ("person in bed", "a person in bed", "people in bed"),
    ("tooth", "a tooth", "teeth"),
    ("die", "a die", "dice"),
    ("DNA helix", "a DNA helix", "DNA helices"),
    ("torus", "a torus", "tori"),
    ("disc", "a disc", "discs"),
    ("ellipsoid", "an ellipsoid", "ellipsoids"),
    ("small red metal sphere", "a small red metal sphere", "small red metal spheres"),
    ("orange cube", "an orange cube", "orange cubes"),
    ("unicorn", "a unicorn", "unicorns"),
    ("umbrella", "an umbrella", "umbrellas"),
    ("hourglass", "an hourglass", "hourglasses"),
    ("UFO", "a UFO", "UFOs"),
    ("SUV", "an SUV", "SUVs"),
    ("X-ray", "an X-ray", "X-rays"),
    ("ID card", "an ID card", "ID cards"),
    ("T-Rex", "a T-Rex", "T-Rexes"),
    ("t-shirt", "a t-shirt", "t-shirts"),
    ("yo-yo", "a yo-yo", "yo-yos"),
    ("jack-o-lantern", "a jack-o-lantern", "jack-o-lanterns"),
    ("fleur-de-lis", "a fleur-de-lis", "fleurs-de-lis"),
    ("Christmas tree", "a Christmas tree", "Christmas trees"),
    ("glass of milk", "a glass of milk", "glasses of milk"),
    ("loaf of bread", "a loaf of bread", "loaves of bread"),
    ("pair of swords", "a pair of swords", "pairs of swords"),
    ("face with heart eyes", "a face with heart eyes", "faces with heart eyes"),
    ("city at night", "a city at night", "cities at night"),
    ("sun behind cloud", "a sun behind cloud", "suns behind cloud"),
    ("bow and arrow", "a bow and arrow", "bows and arrows"),
    ("fork and knife", "a fork and knife", "forks and knives"),
    ("skull and crossbones", "a skull and crossbones", "skulls and crossbones"),
    ("plate with fork and knife", "a plate with fork and knife", "plates with fork and knife"),
    ("men's room sign", "a men's room sign", "men's room signs"),
    # plural or not counted
    ("scissors", "scissors", "pairs of scissors"),
    ("glasses", "glasses", "pairs of glasses"),
    ("grapes", "grapes", "bunches of grapes"),
    ("pancakes", "pancakes", "stacks of pancakes"),
    ("bowling pins", "bowling pins", "sets of bowling pins"),
    ("french fries", "french fries", "portions of french fries"),
    ("bacon", "bacon", "strips of bacon"),
    ("bread", "bread", "loaves of bread"),
    ("sushi", "sushi", "pieces of sushi"),
    ("ice cream", "ice cream", "portions of ice cream"),
    ("ice cream cone", "an ice cream cone", "ice cream cones"),
    # unique
    ("Tokyo Tower", "Tokyo Tower", "Tokyo Towers"),
    ("Statue of Liberty", "the Statue of Liberty", "Statues of Liberty"),
    ("Santa Claus", "Santa Claus", "Santa Clauses"),
]


@pytest.mark.parametrize(("name", "one", "several"), NAMES)
def test_one_and_several(name: str, one: str, several: str) -> None:
    assert with_article(name) == one
    assert units(name) == several
    assert counted(1, name) == one
    assert counted(3, name) == f"three {several}"


def test_plural_keeps_what_is_plural() -> None:
    assert plural("scissors") == "scissors" and plural("bacon") == "bacon" and plural("cat") == "cats"
    assert is_plural("largest scissors") and not is_plural("pair of scissors") and not is_plural("face with glasses")
    assert is_mass("french bread") and not is_mass("loaf of bread") and not is_mass("flatbread")


def test_the() -> None:
    assert [definite(name) for name in ("dog", "Tokyo Tower", "Kaaba")] == ["the dog", "Tokyo Tower", "the Kaaba"]


def test_sentences() -> None:
    assert denial("dog") == "There is no dog."
    assert denial("scissors") == "There are no scissors."
    assert denial("no entry sign") == "There is not a no entry sign."
    assert listed(["a"]) == "a" and listed(["a", "b"]) == "a and b" and listed(["a", "b", "c"]) == "a, b and c"
    assert listed([]) == "" and capitalised("an ID card") == "An ID card"


def test_every_name_of_the_world_inflects() -> None:
    """No name keeps its singular by oversight, or gets an article that its first letter forbids."""
    same = {"moose", "deer", "bison", "sheep", "squid", "shrimp", "djinn", "moai", "onigiri"}
    silent = ("unicorn", "UFO")  # begin with the sound of "you"
    for word in {word for concept in CONCEPTS for word in (concept.name, *concept.synonyms)}:
        several, one = units(word), with_article(word)
        unchanged = several == word
        assert not unchanged or word.split()[-1] in same or word.endswith("fish"), word
        assert not re.search(r"([^aeiou]ys|[xz]s|[cs]hs|mans)\b", several), word
        if one.startswith("a "):
            assert word[0].lower() not in "aeiou" or word.startswith(silent), word
        if one.startswith("an "):
            assert word[0].lower() in "aeiou" or word.startswith(("hour", "SUV", "X-ray")), word
