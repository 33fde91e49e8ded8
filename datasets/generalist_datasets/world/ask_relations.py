"""Draw a thing by where it is: next to another one, between two, the largest, the second from the left."""

from __future__ import annotations

from collections.abc import Iterator

from generalist_datasets.world.ask_facts import IN_DEPTH, RELATIONS, between, complete, extreme, holds, position
from generalist_datasets.world.ask_lexicon import GENERAL, Noun, pick
from generalist_datasets.world.ask_refer import draw
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.language import ORDINALS, is_mass, is_plural, number_word, plural
from generalist_datasets.world.question import Question

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "higher up than"),
    "below": ("below", "lower down than"),
    "front": ("in front of", "closer than", "nearer to the camera than"),
    "behind": ("behind", "farther away than", "farther from the camera than"),
}
EXTREME_WORDS: dict[str, tuple[str, ...]] = {
    "largest": ("largest", "biggest"),
    "smallest": ("smallest",),
    "nearest": ("nearest", "closest"),
    "farthest": ("farthest", "most distant"),
    "leftmost": ("leftmost",),
    "rightmost": ("rightmost",),
}
_TRIES = 16


def known_relations(asking: Asking) -> list[str]:
    return [r for r in RELATIONS if asking.scene.depth is not None or r not in IN_DEPTH]


def pairs(asking: Asking) -> Iterator[tuple[int, int]]:
    """Two different things, again and again; often one of a kind that there are several of."""
    several = [t for group in asking.questioner.groups(asking.scene).values() if len(group) > 1 for t in group]
    for _ in range(_TRIES if len(asking.scene.things) > 1 else 0):
        subject = pick(asking.rng, several if several and asking.rng.random() < 0.6 else asking.things)
        other = pick(asking.rng, [t for t in asking.things if t != subject])
        yield subject, other


def by_relation(asking: Asking) -> Question | None:
    """The dog left of the tree; where it is denied there are dogs, but none of them is left of the tree."""
    for subject, other in pairs(asking):
        relation = pick(asking.rng, known_relations(asking))
        kind, reference = asking.kind(subject), asking.unique(other)
        if kind is None or reference is None or other in kind.things:
            continue
        verdicts = [holds(asking.scene, relation, thing, other) for thing in kind.things]
        if None in verdicts or any(verdicts) == asking.negative:
            continue
        chosen = tuple(t for t, verdict in zip(kind.things, verdicts, strict=True) if verdict)
        tail = f"{pick(asking.rng, RELATION_WORDS[relation])} {reference.the}"
        return draw(asking, Noun(words=kind.words, label=kind.label, things=chosen, tail=tail))
    return None


# --- one of several ------------------------------------------------------------------------------------


def _several(asking: Asking, least: int = 2) -> Iterator[Noun]:
    """Noun phrases for ``least`` or more things."""
    for thing in asking.shuffled(asking.things):
        general = asking.rng.random() < 0.2 and complete(asking.scene)
        noun = asking.everything() if general else asking.kind(thing)
        if noun is not None and len(noun.things) >= least:
            yield noun


def _draw_one(asking: Asking, words: str, noun: Noun, thing: int, tail: str = "") -> Question:
    """Draw the one of the things of ``noun`` that ``words`` single out."""
    label = asking.questioner.look(asking.scene, thing) if noun.label in GENERAL else noun.label
    return draw(asking, Noun(words=words, label=label, things=(thing,), tail=tail))


def _denied(asking: Asking, words: str, answer: str, tail: str = "") -> Question:
    """The same question about something that is not there."""
    task = pick(asking.rng, asking.tasks)
    return asking.question(task, asking.say(task, Noun(words=words, label="", tail=tail)), answer)


def by_extreme(asking: Asking) -> Question | None:
    """The largest apple, the leftmost thing."""
    return _extreme(asking, ("largest", "smallest", "leftmost", "rightmost"))


def by_distance(asking: Asking) -> Question | None:
    """The nearest or the farthest thing."""
    return None if asking.scene.depth is None else _extreme(asking, ("nearest", "farthest"))


def _extreme(asking: Asking, kinds: tuple[str, ...]) -> Question | None:
    kind = pick(asking.rng, kinds)
    words = pick(asking.rng, EXTREME_WORDS[kind])
    if asking.negative:
        missing = asking.missing()
        return None if missing is None else _denied(asking, f"{words} {missing.words}", missing.denial)
    for noun in _several(asking):
        thing = extreme(asking.scene, kind, noun.things)
        if thing is not None:
            return _draw_one(asking, f"{words} {noun.words}", noun, thing)
    return None


def by_position(asking: Asking) -> Question | None:
    """The second dog from the left; where it is denied there are too few of them."""
    side = pick(asking.rng, ("left", "right"))
    if not complete(asking.scene):
        return None
    for noun in _several(asking, least=1 if asking.negative else 2):
        number = len(noun.things)
        if is_plural(noun.words) or is_mass(noun.words):
            continue
        if asking.negative and number < len(ORDINALS):
            words = f"{ORDINALS[pick(asking.rng, range(number, min(number + 2, len(ORDINALS))))]} {noun.words}"
            few = f"is only one {noun.words}" if number == 1 else f"are only {number_word(number)} {plural(noun.words)}"
            return _denied(asking, words, f"There {few}.", f"from the {side}")
        place = pick(asking.rng, range(1, number)) if number > 1 else 0
        thing = position(asking.scene, noun.things, place if side == "left" else number - 1 - place)
        if thing is not None and not asking.negative:
            return _draw_one(asking, f"{ORDINALS[place]} {noun.words}", noun, thing, f"from the {side}")
    return None


def by_both_sides(asking: Asking) -> Question | None:
    """The thing between the dog and the tree."""
    for first, second in pairs(asking) if complete(asking.scene) else ():
        others = [t for t in asking.things if t not in (first, second)]
        verdicts = [between(asking.scene, thing, first, second) for thing in others]
        number = verdicts.count(True)
        if None in verdicts or number != (0 if asking.negative else 1):
            continue
        one, two = asking.unique(first), asking.unique(second)
        if one is None or two is None:
            continue
        noun, tail = asking.everything(), f"between {one.the} and {two.the}"
        if asking.negative:
            return _denied(asking, noun.words, f"There is nothing {tail}.", tail)
        return _draw_one(asking, noun.words, noun, others[verdicts.index(True)], tail)
    return None
