"""Conversations of two to four turns about one picture, whose later questions lean on the earlier ones.

A conversation is a row of steps. What "it", "they" or "And the cat?" refer to is the last step's ``focus`` and
``mode``; the last step is the question, the ones before it are its history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from generalist_datasets.world.ask_caption import contents
from generalist_datasets.world.ask_facts import complete, extreme
from generalist_datasets.world.ask_lexicon import ATTRIBUTES, SOLID, Noun, fits, phrase, pick, shuffled
from generalist_datasets.world.ask_numbers import NO, VALUE_WORDS, YES
from generalist_datasets.world.ask_refer import DRAWS, by_concept, drawn_answer, drawn_thing, separated
from generalist_datasets.world.ask_relations import EXTREME_WORDS, RELATION_WORDS
from generalist_datasets.world.ask_what import attribute_answer, beside, category_answer
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.language import capitalised, is_mass, is_plural, is_proper, with_article
from generalist_datasets.world.question import Answer, Drawn, Question, Target, Turn

_DRAWING = ("box", "segment", "point")
_WORDINGS = {"box": "where", "segment": "segment", "point": "point"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A turn of a conversation.

    ``mode`` says how it asked, ``focus`` which things it was about and ``label`` what they are called.
    """

    mode: str
    task: str
    text: str
    answer: Answer
    focus: tuple[int, ...] = ()
    label: str = ""
    drawn: tuple[Drawn, ...] = ()


def dialogue(asking: Asking) -> Question | None:
    """An opening and one to three follow-ups; only the last one is denied, where that is asked for."""
    steps = [step for make in shuffled(asking.rng, _OPENINGS)[:2] if (step := make(asking))][:1]
    wanted = 2 + int(asking.rng.integers(3))
    while steps and len(steps) < wanted:
        last = asking.negative and len(steps) == wanted - 1
        step = _follow(asking.but(negative=last), steps)
        if step is None:
            break
        steps.append(step)
    if len(steps) < (wanted if asking.negative else 2):
        return None
    history = tuple(Turn(text=s.text, answer=s.answer, drawn=s.drawn) for s in steps[:-1])
    final = steps[-1]
    return asking.question(final.task, final.text, *final.answer, history=history, about=final.focus)


def _follow(asking: Asking, steps: list[Step]) -> Step | None:
    said = {step.text for step in steps}
    for make in shuffled(asking.rng, _FOLLOW_UPS):
        step = make(asking, steps)
        if step is not None and step.text not in said:
            return step
    return None


# --- openings ------------------------------------------------------------------------------------------


def _open_kind(asking: Asking) -> Noun | None:
    return asking.kind(pick(asking.rng, asking.things)) if asking.things else None


def _ask_where(asking: Asking) -> Step | None:
    noun, task = _open_kind(asking), pick(asking.rng, _DRAWING)
    if noun is None:
        return None
    text = asking.say(task, noun, many=len(noun.things) > 1)
    return Step(mode=task, task=task, text=text, answer=drawn_answer(noun, DRAWS[task]), focus=noun.things,
                label=noun.label)  # fmt: skip


def _ask_exists(asking: Asking) -> Step | None:
    noun = _open_kind(asking)
    if noun is None or is_proper(noun.words):
        return None
    return Step(mode="exists", task="chat", text=asking.say("exists", noun), answer=(YES,), focus=noun.things,
                label=noun.label)  # fmt: skip


def _ask_count(asking: Asking) -> Step | None:
    noun = _open_kind(asking)
    if noun is None or not complete(asking.scene):
        return None
    return Step(mode="count", task="count", text=asking.say("count", noun), answer=(str(len(noun.things)),),
                focus=noun.things, label=noun.label)  # fmt: skip


def _ask_drawn(asking: Asking) -> Step | None:
    found = drawn_thing(asking)
    if found is None:
        return None
    thing, drawn = found
    look = asking.questioner.look(asking.scene, thing)
    return Step(mode="named", task="chat", text=asking.say("describe_region"), drawn=drawn,
                answer=(capitalised(with_article(look)) + ".",), focus=(thing,), label=look)  # fmt: skip


def _ask_caption(asking: Asking) -> Step | None:
    if len(asking.things) < 2:
        return None
    answer = (contents(asking, asking.things),)
    return Step(mode="all", task="caption", text=asking.say("caption"), answer=answer, focus=tuple(asking.things))


_OPENINGS: tuple[Callable[[Asking], Step | None], ...] = (_ask_where, _ask_exists, _ask_count, _ask_drawn, _ask_caption)


# --- follow-ups: what "it" and "they" are ---------------------------------------------------------------


def _it(last: Step) -> int | None:
    """The one thing that "it" means."""
    return last.focus[0] if len(last.focus) == 1 and not is_plural(last.label) else None


def _draw_them(asking: Asking, steps: list[Step]) -> Step | None:
    """Where is it? Segment them."""
    last = steps[-1]
    tasks = [task for task in _DRAWING if all(step.mode != task for step in steps)]
    if asking.negative or not last.focus or not tasks:
        return None
    task = pick(asking.rng, tasks)
    text = asking.say(f"{_WORDINGS[task]}_{'they' if _it(last) is None else 'it'}")
    if last.mode == "all":
        answer = separated(by_concept(asking, last.focus, DRAWS[task]))
    else:
        answer = (Target(label=last.label, kind=DRAWS[task], things=last.focus),)
    return Step(mode="all" if last.mode == "all" else task, task=task, text=text, answer=answer, focus=last.focus,
                label=last.label)  # fmt: skip


def _the_one(asking: Asking, steps: list[Step]) -> Step | None:
    """Segment the largest one."""
    last = steps[-1]
    kinds = [k for k in EXTREME_WORDS if asking.scene.depth is not None or k not in ("nearest", "farthest")]
    kind, task = pick(asking.rng, kinds), pick(asking.rng, _DRAWING)
    thing = extreme(asking.scene, kind, last.focus)
    if asking.negative or thing is None or is_plural(last.label) or is_mass(last.label):
        return None
    label = last.label or asking.questioner.look(asking.scene, thing)
    text = asking.say(f"the_one_{task}", tail=pick(asking.rng, EXTREME_WORDS[kind]))
    answer = (Target(label=label, kind=DRAWS[task], things=(thing,)),)
    return Step(mode=task, task=task, text=text, answer=answer, focus=(thing,), label=label)


def _beside_it(asking: Asking, steps: list[Step]) -> Step | None:
    """What is left of it?"""
    it = _it(steps[-1])
    found = None if it is None else beside(asking, it)
    if found is None:
        return None
    relation, things = found
    text = asking.say("relation_it", relation=pick(asking.rng, RELATION_WORDS[relation]))
    # Nobody could tell which of the two "it" would be next.
    return Step(mode="beside", task="chat", text=text, answer=(contents(asking, things),))


def _attribute_of_it(asking: Asking, steps: list[Step]) -> Step | None:
    """What colour is it?"""
    last, it = steps[-1], _it(steps[-1])
    attribute = pick(asking.rng, ("colour", "material"))
    value = "" if it is None or asking.negative else getattr(asking.scene.things[it], attribute)
    if it is None or not value or any(value in step.label.split() for step in steps):
        return None
    answer = (attribute_answer(asking, it, attribute),)
    return Step(mode="attribute", task="chat", text=asking.say(f"{attribute}_it"), answer=answer, focus=last.focus,
                label=last.label)  # fmt: skip


def _category_of_it(asking: Asking, steps: list[Step]) -> Step | None:
    """What kind of thing is it?"""
    last, it = steps[-1], _it(steps[-1])
    answer = None if it is None else category_answer(asking, it)
    if asking.negative or answer is None:
        return None
    return Step(mode="category", task="chat", text=asking.say("what_about_it"), answer=(answer,), focus=last.focus,
                label=last.label)  # fmt: skip


def _how_many_are(asking: Asking, steps: list[Step]) -> Step | None:
    """How many of them are red?"""
    last = steps[-1]
    solids = [t for t in last.focus if asking.scene.things[t].colour]
    if len(last.focus) < 2 or len(solids) < len(last.focus) or last.mode == "exists" or not complete(asking.scene):
        return None
    attribute = pick(asking.rng, ("colour", "material"))
    there = [getattr(asking.scene.things[t], attribute) for t in solids]
    value = pick(asking.rng, ATTRIBUTES[attribute] if asking.negative else there)
    verdicts = [fits(asking.scene.things[t], {attribute: value}) for t in solids]
    if None in verdicts or any(verdicts) == asking.negative:
        return None
    focus = tuple(t for t, verdict in zip(solids, verdicts, strict=True) if verdict)
    label = phrase({attribute: value}, SOLID if " " in last.label else last.label or SOLID)
    text = asking.say("how_many_are", value=VALUE_WORDS.get(value, value))
    return Step(mode="of them", task="count", text=text, answer=(str(len(focus)),), focus=focus, label=label)


def _how_many_kind(asking: Asking, steps: list[Step]) -> Step | None:
    """How many of them are dogs?"""
    noun = asking.missing() if asking.negative else _open_kind(asking)
    if noun is None or steps[-1].mode != "all" or not complete(asking.scene):
        return None
    text = asking.say("how_many_are", value=noun.slots()["units"])
    return Step(mode="of them", task="count", text=text, answer=(str(len(noun.things)),), focus=noun.things,
                label=noun.label)  # fmt: skip


def _others_like_it(asking: Asking, steps: list[Step]) -> Step | None:
    """How many more like it are there?"""
    it = _it(steps[-1])
    noun = None if it is None or asking.scene.things[it].colour else asking.named(it)
    if noun is None or (len(noun.things) == 1) is not asking.negative or not complete(asking.scene):
        return None
    answer = (str(len(noun.things) - 1),)
    return Step(mode="beside", task="count", text=asking.say("others_like_it"), answer=answer)


# --- follow-ups: the same question again ------------------------------------------------------------------


def _and_another(asking: Asking, steps: list[Step]) -> Step | None:
    """And the cat?"""
    last = steps[-1]
    noun = asking.missing() if asking.negative else _open_kind(asking)
    if noun is None or noun.label == last.label or set(noun.things) & {t for step in steps for t in step.focus}:
        return None
    if last.mode in _DRAWING:
        text = asking.say("and_the", noun, many=len(noun.things) > 1)
        answer = drawn_answer(noun, DRAWS[last.mode])
    elif last.mode == "exists":
        text, answer = asking.say("and_a", noun), (YES if noun.things else NO,)
    elif last.mode == "count":
        text, answer = asking.say("and_units", noun), (str(len(noun.things)),)
    else:
        return None
    return Step(mode=last.mode, task=last.task, text=text, answer=answer, focus=noun.things, label=noun.label)


_FOLLOW_UPS: tuple[Callable[[Asking, list[Step]], Step | None], ...] = (
    _draw_them, _the_one, _beside_it, _attribute_of_it, _category_of_it, _how_many_are, _how_many_kind,
    _others_like_it, _and_another, _and_another,
)  # fmt: skip
