"""Concept cards: short documents, one a concept, and finding the card of what a picture shows."""

from __future__ import annotations

from generalist_datasets.records import Document
from generalist_datasets.world.ask_refer import drawn_thing
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.language import capitalised, listed, with_article
from generalist_datasets.world.question import Question, Target


def concept_card(concept: Concept) -> Document:
    """What is known of a concept, in two or three sentences; ``id`` is its name."""
    sentences = [
        f"This is the card of {with_article(concept.name)}.",
        f"It is kept in the section “{concept.category}”.",
    ]
    if concept.synonyms:
        names = listed([f"“{synonym}”" for synonym in concept.synonyms])
        sentences.append(f"One may also say {names}.")
    return Document(id=concept.name, title=capitalised(concept.name), text=" ".join(sentences))


def card(asking: Asking) -> Question | None:
    """Find the card of a thing that was marked or named; there is none of what is not in the picture."""
    if asking.negative:
        missing = asking.missing()
        return None if missing is None else asking.question("chat", asking.say("card", missing), missing.denial)
    found = drawn_thing(asking)
    if found is None:
        return None
    thing, drawn = found
    name = asking.questioner.name(asking.scene.things[thing])
    target = Target(label=name, kind="doc", document=name)
    if asking.rng.random() < 0.6:
        return asking.question("chat", asking.say("card_drawn"), target, drawn=drawn)
    noun = asking.unique(thing)
    return None if noun is None else asking.question("chat", asking.say("card", noun), target)
