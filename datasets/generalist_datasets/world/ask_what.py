"""Questions that are answered with a word or a few: attributes, comparisons, kinds, what is where."""

from __future__ import annotations

from generalist_datasets.world.ask_caption import contents
from generalist_datasets.world.ask_facts import complete, holds, larger
from generalist_datasets.world.ask_lexicon import ATTRIBUTES, pick
from generalist_datasets.world.ask_refer import drawn_thing
from generalist_datasets.world.ask_relations import RELATION_WORDS, known_relations, pairs
from generalist_datasets.world.ask_words import CATEGORY_ANSWERS
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.language import capitalised, with_article
from generalist_datasets.world.question import Question

SHAPE = "shape"


def what_attribute(asking: Asking) -> Question | None:
    """What colour is the cube? What shape is the red solid?"""
    attribute = pick(asking.rng, (*asking.visible_attributes, SHAPE))
    if asking.negative:
        noun = asking.missing_solid() if asking.solids else None
        told = set() if noun is None else set(noun.words.split())
        if noun is None or attribute == SHAPE or told.intersection(ATTRIBUTES[attribute]):
            return None
        return asking.question("chat", asking.say(f"what_{attribute}", noun), noun.denial)
    for thing in asking.shuffled(asking.solids):
        noun = asking.unique(thing, without=(attribute,))
        if noun is not None:
            text = asking.say(f"what_{attribute}", noun)
            return asking.question("chat", text, attribute_answer(asking, thing, attribute), about=(thing,))
    return None


def attribute_answer(asking: Asking, thing: int, attribute: str) -> str:
    """``"Red."``, ``"A cube."``"""
    solid = asking.scene.things[thing]
    if attribute == SHAPE:
        return capitalised(with_article(asking.questioner.name(solid))) + "."
    return capitalised(getattr(solid, attribute)) + "."


def which_larger(asking: Asking) -> Question | None:
    """Which is larger in the picture, the dog or the car?"""
    for subject, other in pairs(asking):
        verdict = larger(asking.scene, subject, other)
        if verdict is not None:
            wording = pick(asking.rng, ("which_larger", "which_smaller"))
            return _which(asking, wording, subject, other, first=verdict == (wording == "which_larger"))
    return None


def which_nearer(asking: Asking) -> Question | None:
    """Which is nearer, the dog or the car?"""
    for subject, other in pairs(asking):
        verdict = holds(asking.scene, "front", subject, other)
        if verdict is not None:
            wording = pick(asking.rng, ("which_nearer", "which_farther"))
            return _which(asking, wording, subject, other, first=verdict == (wording == "which_nearer"))
    return None


def _which(asking: Asking, wording: str, subject: int, other: int, *, first: bool) -> Question | None:
    one, two = asking.unique(subject), asking.unique(other)
    if one is None or two is None:
        return None
    answer = capitalised(one.the if first else two.the) + "."
    return asking.question("chat", asking.say(wording, one, other=two.the), answer, about=(subject, other))


def category(asking: Asking) -> Question | None:
    """What kind of thing is this: an animal."""
    found = drawn_thing(asking)
    if found is None:
        return None
    thing, drawn = found
    answer = category_answer(asking, thing)
    noun = asking.unique(thing)
    if answer is None or noun is None:
        return None
    if asking.rng.random() < 0.5:
        return asking.question("chat", asking.say("category_drawn"), answer, drawn=drawn, about=(thing,))
    return asking.question("chat", asking.say("category", noun), answer, about=(thing,))


def category_answer(asking: Asking, thing: int) -> str | None:
    """``"An animal."``; None where the kind has no everyday noun."""
    kind = asking.questioner.concept(asking.scene.things[thing]).category
    if kind not in CATEGORY_ANSWERS or asking.questioner.debatable(asking.scene.things[thing]):
        return None
    return capitalised(with_article(CATEGORY_ANSWERS[kind])) + "."


def what_relation(asking: Asking) -> Question | None:
    """What is left of the tree? All of it, or nothing."""
    for _, other in pairs(asking):
        reference = asking.unique(other)
        found = beside(asking, other)
        if reference is None or found is None:
            continue
        relation, things = found
        words = pick(asking.rng, RELATION_WORDS[relation])
        text = asking.say("what_relation", reference, relation=words)
        return asking.question("chat", text, contents(asking, things), about=things)
    return None


def beside(asking: Asking, other: int) -> tuple[str, tuple[int, ...]] | None:
    """A relation, and all that is in it to ``other``: nothing if something not there is asked for."""
    relation = pick(asking.rng, known_relations(asking))
    verdicts = {t: holds(asking.scene, relation, t, other) for t in asking.things if t != other}
    things = tuple(t for t, verdict in verdicts.items() if verdict)
    clear = None not in verdicts.values() and complete(asking.scene)
    return (relation, things) if clear and bool(things) != asking.negative else None
