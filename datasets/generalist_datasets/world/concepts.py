"""The named things of the composed world: what sprites show, and solids.

``concepts.txt`` lists the former. Names are everyday English, chosen so that every two are told apart by eye at
50 pixels: pictographs that look alike, or that one word means, are pictures of one concept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

SOLIDS: tuple[str, ...] = ("sphere", "cube", "cylinder", "cone", "torus", "pyramid", "capsule", "disc", "ellipsoid")
"""Names of the shapes that are not sprites but rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """A named thing.

    ``category`` is the kind of thing that it is; ``synonyms`` name exactly the same and no other concept.
    ``implies`` are names of concepts that it also is or shows: a poodle is a dog, a cyclist rides a bicycle.
    So nobody may be told that there is no dog beside a poodle. ``pictographs`` are Unicode strings; none for solids.
    """

    name: str
    category: str
    synonyms: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    pictographs: tuple[str, ...] = ()


def _listed(text: str) -> Iterator[tuple[Concept, bool]]:
    """Concepts of ``concepts.txt`` in order, and whether each is held out."""
    category = ""
    for line in text.splitlines():
        if line.startswith("["):
            category = line.strip("[]")
        elif line and not line.startswith("#"):
            name, synonyms, implies, pictographs = line.split("; ")
            concept = Concept(
                name=name.removeprefix("*"),
                category=category,
                synonyms=_names(synonyms),
                implies=_names(implies),
                pictographs=tuple(pictographs.split()),
            )
            yield concept, name.startswith("*")


def _names(field: str) -> tuple[str, ...]:
    return tuple(field.split(", ")) if field else ()


_SPRITES = tuple(_listed((files(__package__) / "concepts.txt").read_text(encoding="utf-8")))

CONCEPTS: tuple[Concept, ...] = (
    *(concept for concept, _ in _SPRITES),
    *(Concept(name=name, category="solid") for name in SOLIDS),
)
"""Every concept, solids last; the position is the concept's number."""

NUMBER: dict[str, int] = {concept.name: number for number, concept in enumerate(CONCEPTS)}
"""Name -> number."""

HELD_OUT: frozenset[int] = frozenset(number for number, (_, held_out) in enumerate(_SPRITES) if held_out)
"""Numbers of the concepts that are never trained on."""
