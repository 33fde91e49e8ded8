"""Counting, and questions that are answered with yes or no."""

from __future__ import annotations

from generalist_datasets.world.ask_facts import complete, holds
from generalist_datasets.world.ask_lexicon import ATTRIBUTES, PLAIN, Noun, fits, pick
from generalist_datasets.world.ask_refer import drawn_thing, pick_category
from generalist_datasets.world.ask_relations import RELATION_WORDS, known_relations, pairs
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.language import is_proper
from generalist_datasets.world.question import Question

YES, NO = "Yes.", "No."

VALUE_WORDS: dict[str, str] = {"metal": "made of metal"}
"""How a value is said after "is", where it is not an adjective."""
ATTRIBUTE_WORDS: dict[str, str] = {"size": "size", "colour": "colour", "texture": "pattern", "material": "finish"}


def count(asking: Asking) -> Question | None:
    """How many there are of a kind."""
    return _counted(asking, asking.missing() if asking.negative else _of_a_kind(asking))


def _counted(asking: Asking, noun: Noun | None) -> Question | None:
    if noun is None or not complete(asking.scene):
        return None
    return asking.question("count", asking.say("count", noun), str(len(noun.things)), about=noun.things)


def _of_a_kind(asking: Asking) -> Noun | None:
    """Often a kind that there are several of: ones are easy to guess."""
    groups = asking.questioner.groups(asking.scene)
    several = [concept for concept, things in groups.items() if len(things) > 1]
    chosen = several if several and asking.rng.random() < 0.5 else list(groups)
    return asking.questioner.named(asking.rng, asking.scene, pick(asking.rng, chosen)) if chosen else None


def count_attribute(asking: Asking) -> Question | None:
    """How many red things, how many striped cubes."""
    if asking.negative:
        return _counted(asking, asking.missing_solid() if asking.solids else None)
    nouns = [noun for thing in asking.shuffled(asking.solids) if (noun := asking.described(thing))]
    several = [noun for noun in nouns if len(noun.things) > 1]
    return _counted(asking, pick(asking.rng, several or nouns)) if nouns else None


def count_category(asking: Asking) -> Question | None:
    """How many animals, whatever their kind."""
    return _counted(asking, pick_category(asking))


def _said(asking: Asking, text: str, *about: int) -> Question:
    return asking.question("chat", text, NO if asking.negative else YES, about=about)


def exists(asking: Asking) -> Question | None:
    """Is there a dog?"""
    if asking.negative:
        noun = asking.missing()
    else:
        noun = asking.kind(pick(asking.rng, asking.things)) if asking.things else None
    if noun is None:
        return None
    return _said(asking, asking.say("exists_named" if is_proper(noun.words) else "exists", noun), *noun.things)


def is_this(asking: Asking) -> Question | None:
    """Is what I marked a dog?"""
    found = drawn_thing(asking)
    if found is None:
        return None
    thing, drawn = found
    noun = asking.kind(thing)
    if asking.negative:
        others = [n for t in asking.things if (n := asking.kind(t)) and thing not in n.things]
        noun = pick(asking.rng, others) if others and asking.rng.random() < 0.5 else asking.missing()
    if noun is None:
        return None
    answer = NO if asking.negative else YES
    return asking.question("chat", asking.say("is_this", noun), answer, drawn=drawn, about=(thing,))


def is_attribute(asking: Asking) -> Question | None:
    """Is the cube red?"""
    for thing in asking.shuffled(asking.solids):
        attribute = pick(asking.rng, asking.visible_attributes)
        values = [v for v in ATTRIBUTES[attribute] if v != PLAIN]
        right = [v for v in values if fits(asking.scene.things[thing], {attribute: v}) is not asking.negative]
        right = [v for v in right if fits(asking.scene.things[thing], {attribute: v}) is not None]
        noun = asking.unique(thing, without=(attribute,))
        if right and noun is not None:
            value = pick(asking.rng, right)
            return _said(asking, asking.say("is_attribute", noun, value=VALUE_WORDS.get(value, value)), thing)
    return None


def is_relation(asking: Asking) -> Question | None:
    """Is the dog left of the tree? Where it is not, it is on the other side."""
    for subject, other in pairs(asking):
        relation = pick(asking.rng, known_relations(asking))
        noun, reference = asking.unique(subject), asking.unique(other)
        if noun and reference and holds(asking.scene, relation, subject, other) is (not asking.negative):
            words = pick(asking.rng, RELATION_WORDS[relation])
            return _said(asking, asking.say("is_relation", noun, relation=words, other=reference.the), subject, other)
    return None


def same(asking: Asking) -> Question | None:
    """Do the cube and the sphere have the same colour?"""
    for subject, other in pairs(asking):
        attribute = pick(asking.rng, asking.visible_attributes)
        one, two = asking.scene.things[subject], asking.scene.things[other]
        if not (one.colour and two.colour) or (getattr(one, attribute) == getattr(two, attribute)) is asking.negative:
            continue
        noun, reference = asking.unique(subject, (attribute,)), asking.unique(other, (attribute,))
        if noun and reference:
            words = ATTRIBUTE_WORDS[attribute]
            return _said(asking, asking.say("same", noun, other=reference.the, attribute=words), subject, other)
    return None


def more(asking: Asking) -> Question | None:
    """Are there more dogs than cats?"""
    for subject, other in pairs(asking) if complete(asking.scene) else ():
        noun, reference = asking.named(subject), asking.named(other)
        if noun is None or reference is None or noun.label == reference.label:
            continue
        if (len(noun.things) > len(reference.things)) is not asking.negative:
            text = asking.say("more", noun, others=reference.slots()["units"])
            return _said(asking, text, *noun.things, *reference.things)
    return None
