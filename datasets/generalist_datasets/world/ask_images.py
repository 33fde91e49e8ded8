"""Comparing two pictures: what came, what went, what moved, how many more there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from generalist_datasets.world.ask_facts import CENTRE_MARGIN, centre, complete
from generalist_datasets.world.ask_lexicon import ATTRIBUTES, PLAIN, Noun, Questioner, fits, shuffled
from generalist_datasets.world.ask_numbers import NO, YES
from generalist_datasets.world.ask_refer import DRAWS, drawn_answer, separated
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.language import capitalised, counted, listed
from generalist_datasets.world.question import Question, Target
from generalist_datasets.world.scene import Scene

COMPARE = "compare"
"""The ability of questions about two pictures."""

_NEGATIVES = 0.4
"""How often one says so when nothing came, went or moved, where something else can be asked."""
_STILL = 0.02
"""How far a thing's middle may be from where it was, in picture sides, when one says that it did not move."""
_MOVED_FIRST = 0.7
"""How often a question is about a thing that moved rather than any, where some did: most stay where they are."""


def compare(rng: np.random.Generator, questioner: Questioner, first: Scene, second: Scene) -> Question | None:
    """A question about what differs between two scenes; things of the answer are those of the second."""
    asking = Asking(rng=rng, questioner=questioner, scene=second, ability=COMPARE)
    whole = complete(first) and complete(second)
    spare = None
    for make in shuffled(rng, (*_OF_ONE, *(_OF_ALL if whole else ()))):
        question = make(asking, first)
        if question is not None and question.negative and rng.random() >= _NEGATIVES:
            spare = question
        elif question is not None:
            return replace(question, earlier=first)
    return None if spare is None else replace(spare, earlier=first)


def _called(asking: Asking, scene: Scene) -> dict[str, tuple[int, ...]]:
    """Description -> the things that have it; without sizes, which not every picture tells."""
    found: dict[str, tuple[int, ...]] = {}
    for index, thing in enumerate(scene.things):
        words = asking.questioner.describe(thing, without=("size",))
        found[words] = (*found.get(words, ()), index)
    return found


def _added(asking: Asking, first: Scene) -> Question | None:
    """Draw what only the second picture has."""
    before, now = _called(asking, first), _called(asking, asking.scene)
    if any(0 < len(before.get(words, ())) < len(things) for words, things in now.items()):
        return None  # which one of them is new?
    task = "segment" if asking.rng.random() < 0.5 else "box"
    new = [Target(label=words, kind=DRAWS[task], things=things) for words, things in now.items() if words not in before]
    asking = asking.but(negative=not new)
    return asking.question(task, asking.say(f"added_{task}"), *(separated(new) or ("Nothing is new.",)))


def _removed(asking: Asking, first: Scene) -> Question | None:
    """Name what the second picture lacks."""
    before, now = _called(asking, first), _called(asking, asking.scene)
    fewer = {words: len(things) - len(now.get(words, ())) for words, things in before.items()}
    gone = [counted(number, words) for words, number in fewer.items() if number > 0]
    asking = asking.but(negative=not gone)
    return asking.question("chat", asking.say("removed"), capitalised(listed(gone) or "nothing") + ".")


def _in_both(asking: Asking, first: Scene) -> tuple[Noun, tuple[float, float]] | None:
    """A thing that each picture has one of, and how far its middle moved; often one that clearly did, if any."""
    found: list[tuple[Noun, tuple[float, float]]] = []
    before, now = _called(asking, first), _called(asking, asking.scene)
    for words in shuffled(asking.rng, [w for w in now if len(now[w]) == 1 == len(before.get(w, ()))]):
        old, new = before[words][0], now[words][0]
        if _alone(asking, first, old) and _alone(asking, asking.scene, new):
            (x1, y1), (x2, y2) = centre(first, old), centre(asking.scene, new)
            shift = (x2 - x1, y2 - y1)
            if max(map(abs, shift)) > _STILL and _nested(first.mask(old), asking.scene.mask(new)):
                continue
            found.append((Noun(words=words, label=words, things=(new,)), shift))
    if asking.rng.random() < _MOVED_FIRST:
        found.sort(key=lambda entry: max(map(abs, entry[1])) < CENTRE_MARGIN)
    return found[0] if found else None


def _nested(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one mask hardly leaves the other: something came before a thing that stayed, or went away."""
    return bool(np.count_nonzero(one & other) > 0.9 * min(np.count_nonzero(one), np.count_nonzero(other)))


def _alone(asking: Asking, scene: Scene, thing: int) -> bool:
    """Whether its description can mean nothing else there: "the red cube" might mean a striped one, too."""
    things = asking.questioner.meaning(scene, asking.questioner.name(scene.things[thing]))
    said = {a: getattr(scene.things[thing], a) for a in ATTRIBUTES if a != "size"}
    said = {attribute: value for attribute, value in said.items() if value not in ("", PLAIN)}
    return things is not None and all(t == thing or fits(scene.things[t], said) is False for t in things)


def _moved(asking: Asking, first: Scene) -> Question | None:
    """Did the dog move?"""
    found = _in_both(asking, first)
    if found is None or _STILL < max(map(abs, found[1])) < CENTRE_MARGIN:
        return None
    noun, shift = found
    asking = asking.but(negative=max(map(abs, shift)) <= _STILL)
    return asking.question("chat", asking.say("moved", noun), NO if asking.negative else YES)


def _moved_where(asking: Asking, first: Scene) -> Question | None:
    """Which way did the dog move?"""
    found = _in_both(asking, first)
    if found is None or abs(found[1][0]) < max(CENTRE_MARGIN, 2 * abs(found[1][1])):
        return None
    noun, shift = found
    return asking.question("chat", asking.say("moved_where", noun), "To the left." if shift[0] < 0 else "To the right.")


def _now(asking: Asking, first: Scene) -> Question | None:
    """Where is the dog now?"""
    found = _in_both(asking, first)
    return (
        None if found is None else asking.question("box", asking.say("now", found[0]), *drawn_answer(found[0], "box"))
    )


def _how_many_more(asking: Asking, first: Scene) -> Question | None:
    """How many more dogs are there?"""
    groups = [asking.questioner.groups(scene) for scene in (first, asking.scene)]
    for number in shuffled(asking.rng, {**groups[0], **groups[1]}):
        name = asking.questioner.concepts[number].name
        clear = all(asking.questioner.meaning(scene, name) is not None for scene in (first, asking.scene))
        more = len(groups[1].get(number, ())) - len(groups[0].get(number, ()))
        if clear and more:
            text = asking.say("how_many_more" if more > 0 else "how_many_fewer", Noun(words=name, label=name))
            return asking.question("count", text, str(abs(more)))
    return None


_OF_ONE: tuple[Callable[[Asking, Scene], Question | None], ...] = (_moved, _moved_where, _now)
_OF_ALL: tuple[Callable[[Asking, Scene], Question | None], ...] = (_added, _removed, _how_many_more)
