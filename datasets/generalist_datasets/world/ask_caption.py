"""Sentences about the picture: captions, captions whose phrases draw what they name, what was marked."""

from __future__ import annotations

from collections.abc import Iterable

from generalist.types import Kind
from generalist_datasets.world.ask_facts import extreme, holds, visible_surfaces
from generalist_datasets.world.ask_lexicon import ATTRIBUTES, pick
from generalist_datasets.world.ask_refer import drawn_thing
from generalist_datasets.world.ask_relations import RELATION_WORDS, known_relations, pairs
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.language import capitalised, counted, is_plural, listed, units, with_article
from generalist_datasets.world.question import Question, Target

_BRIEF = tuple(a for a in ATTRIBUTES if a != "colour")
_MOST_MASKS = 4


def mentions(asking: Asking, things: Iterable[int], *, full: bool = False) -> dict[str, tuple[int, ...]]:
    """What to call things ("dog", "red cube") -> those called so, in the order in which they appear from the left."""
    found: dict[str, tuple[int, ...]] = {}
    for thing in sorted(things):
        if full:
            words = asking.questioner.look(asking.scene, thing)
        else:
            words = asking.questioner.describe(asking.scene.things[thing], without=_BRIEF)
        found[words] = (*found.get(words, ()), thing)
    return found


def contents(asking: Asking, things: Iterable[int], *, full: bool = False) -> str:
    """``"A dog, two trees and a red cube."``, ``"Nothing."``"""
    parts = [counted(len(group), words) for words, group in mentions(asking, things, full=full).items()]
    return capitalised(listed(parts) or "nothing") + "."


def caption(asking: Asking) -> Question:
    """Name what is there and how often, from left to right."""
    return asking.question("caption", asking.say("caption"), contents(asking, asking.things), about=asking.things)


def caption_detail(asking: Asking) -> Question | None:
    """What everything looks like, what it stands before, and what is nearest."""
    if not asking.things:
        return None
    sentences = [contents(asking, asking.things, full=True)]
    surfaces = visible_surfaces(asking.scene)
    if surfaces:
        sentences.append(capitalised(listed([f"the {surface}" for surface in surfaces])) + " can be seen.")
    nearest = None if asking.scene.depth is None else extreme(asking.scene, "nearest", tuple(asking.things))
    noun = None if nearest is None else asking.unique(nearest)
    if noun is not None:
        sentences.append(f"{capitalised(noun.the)} {'are' if is_plural(noun.words) else 'is'} nearest.")
    return asking.question("caption", asking.say("caption_detail"), " ".join(sentences))


def describe_region(asking: Asking) -> Question | None:
    """Name what the user marked."""
    found = drawn_thing(asking)
    if found is None:
        return None
    thing, drawn = found
    answer = capitalised(with_article(asking.questioner.look(asking.scene, thing))) + "."
    return asking.question("chat", asking.say("describe_region"), answer, drawn=drawn, about=(thing,))


# --- phrases that draw ---------------------------------------------------------------------------------


def grounded_caption(asking: Asking) -> Question | None:
    """``"There is a <dog> left of a <tree>. There are also two <apples>."``"""
    if not asking.things:
        return None
    masks = "segment" in asking.tasks and len(asking.things) <= _MOST_MASKS and asking.rng.random() < 0.5
    kind: Kind = "mask" if masks else "box"
    answer: list[str | Target] = []
    used: set[int] = set()
    for subject, other in pairs(asking):
        relation = pick(asking.rng, known_relations(asking))
        alike = len(mentions(asking, (subject, other))) == 1  # "a dog left of a dog"
        if (
            len(used) < 4
            and not used & {subject, other}
            and not alike
            and holds(asking.scene, relation, subject, other)
        ):
            used |= {subject, other}
            words = pick(asking.rng, RELATION_WORDS[relation])
            answer += [*_there(asking, (subject,), kind, "There"), f" {words} "]
            answer += [*_phrases(asking, (other,), kind), ". "]
    rest = [t for t in asking.things if t not in used]
    if rest:
        answer += [*_there(asking, rest, kind, "There", also=bool(used)), "."]
    else:
        answer[-1] = "."
    return asking.question("chat", asking.say(f"grounded_caption_{kind}"), *_joined(answer))


def _there(asking: Asking, things: Iterable[int], kind: Kind, start: str, *, also: bool = False) -> list[str | Target]:
    phrases = _phrases(asking, things, kind)
    first = next(piece for piece in phrases if isinstance(piece, Target))
    many = len(first.things) > 1 or is_plural(first.label)
    return [f"{start} {'are' if many else 'is'} {'also ' if also else ''}", *phrases]


def _phrases(asking: Asking, things: Iterable[int], kind: Kind) -> list[str | Target]:
    """``a <dog>, two <trees> and a <red cube>``."""
    groups = mentions(asking, things)
    pieces: list[str | Target] = []
    for place, (words, group) in enumerate(groups.items()):
        text = counted(len(group), words)
        label = words if len(group) == 1 else units(words)
        joint = "" if place == 0 else " and " if place == len(groups) - 1 else ", "
        pieces += [joint + text.removesuffix(label), Target(label=label, kind=kind, things=group)]
    return pieces


def _joined(answer: list[str | Target]) -> list[str | Target]:
    """Neighbouring pieces of text as one."""
    pieces: list[str | Target] = []
    for piece in answer:
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        elif piece:
            pieces.append(piece)
    return pieces
