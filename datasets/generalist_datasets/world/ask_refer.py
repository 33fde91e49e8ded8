"""Draw what a phrase means: by name, by attribute, by category, everything, surfaces, depth, what was marked."""

from __future__ import annotations

import numpy as np

from generalist.types import Kind, PromptKind
from generalist_datasets.world.ask_facts import visible_surfaces
from generalist_datasets.world.ask_lexicon import Noun, pick, shuffled
from generalist_datasets.world.ask_words import CATEGORY_NOUNS, SURFACE_WORDS
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.drawing import XYXY, around
from generalist_datasets.world.language import denial
from generalist_datasets.world.question import Answer, Drawn, Question, Target
from generalist_datasets.world.scene import SURFACES, Scene

DRAWS: dict[str, Kind] = {"box": "box", "detect": "box", "point": "point", "segment": "mask"}
"""What the tasks draw that draw things."""
SCENE_LABEL = "scene"

_BOXED_SHARE = 0.25
"""How often a drawn thing is to be boxed and not segmented."""
_POINTED_SHARE = 0.4
"""How often a point, not a box around both, tells which of two things is meant."""
_PROMPTS: tuple[PromptKind, ...] = ("box", "point", "mask", "scribble")


def draw(asking: Asking, noun: Noun, task: str = "") -> Question:
    """Draw all that a noun phrase means, or say that it is not there."""
    task = task or pick(asking.rng, asking.tasks)
    number = len(noun.things)
    many = number > 1 and (bool(noun.tail) or asking.rng.random() < 0.5)
    text = asking.say(task, noun, many=many or (number == 0 and not noun.tail and asking.rng.random() < 0.15))
    return asking.question(task, text, *drawn_answer(noun, DRAWS[task]))


def drawn_answer(noun: Noun, kind: Kind) -> Answer:
    return (Target(label=noun.label, kind=kind, things=noun.things),) if noun.things else (noun.denial,)


def by_name(asking: Asking) -> Question | None:
    """Every thing of one concept; the ability is the task."""
    noun = asking.missing() if asking.negative else _present(asking)
    return None if noun is None else draw(asking, noun, asking.ability if asking.ability in DRAWS else "")


def _present(asking: Asking) -> Noun | None:
    for number in asking.shuffled(asking.questioner.groups(asking.scene)):
        noun = asking.questioner.named(asking.rng, asking.scene, number)
        if noun is not None:
            return noun
    return None


def by_attribute(asking: Asking) -> Question | None:
    """Solids by what they look like: "the red metal sphere", "the striped cubes"."""
    if not asking.solids:
        return None
    noun = asking.missing_solid() if asking.negative else asking.described(pick(asking.rng, asking.solids))
    return None if noun is None else draw(asking, noun)


# --- several kinds at once ---------------------------------------------------------------------------


def separated(targets: list[Target]) -> Answer:
    answer: list[str | Target] = []
    for target in targets:
        answer += [", ", target] if answer else [target]
    return tuple(answer)


def by_concept(asking: Asking, things: tuple[int, ...], kind: Kind) -> list[Target]:
    """One target a concept, in the order in which they appear from the left."""
    names = asking.questioner.concepts
    groups = asking.questioner.groups(asking.scene)
    chosen = {concept: tuple(t for t in group if t in things) for concept, group in groups.items()}
    return [Target(label=names[c].name, kind=kind, things=group) for c, group in chosen.items() if group]


def everything(asking: Asking) -> Question:
    """Draw every thing, grouped by concept."""
    task = "detect" if asking.ability == "detect_all" else "segment"
    targets = by_concept(asking, tuple(asking.things), DRAWS[task])
    return asking.question(task, asking.say(asking.ability), *(separated(targets) or ("There is nothing.",)))


def semantic(asking: Asking) -> Question | None:
    """Every thing by class, and the surfaces behind and under them."""
    surfaces = visible_surfaces(asking.scene)
    if surfaces is None:
        return None
    targets = by_concept(asking, tuple(asking.things), "mask")
    targets += [Target(label=name, kind="mask", surface=name) for name in surfaces]
    return asking.question("segment", asking.say("semantic"), *separated(targets))


def surface(asking: Asking) -> Question | None:
    """The floor, the wall, the sky, the ceiling."""
    shown = visible_surfaces(asking.scene)
    if shown is None:
        return None
    choices = [name for name in SURFACES if name in SURFACE_WORDS and (name in shown) != asking.negative]
    if not choices:
        return None
    name = pick(asking.rng, choices)
    noun = Noun(words=pick(asking.rng, SURFACE_WORDS[name]), label=name)
    answer = denial(noun.words) if asking.negative else Target(label=name, kind="mask", surface=name)
    return asking.question("segment", asking.say("surface", noun), answer)


def category_things(asking: Asking) -> dict[str, tuple[int, ...]]:
    """Category -> its things, for the categories that have an everyday noun."""
    named = [asking.questioner.concept(thing).category for thing in asking.scene.things]
    return {c: tuple(k for k, other in enumerate(named) if other == c) for c in CATEGORY_NOUNS}


def pick_category(asking: Asking) -> Noun | None:
    """A category that nothing there belongs to in one's opinion only; present or absent, as asked for."""
    things_of = category_things(asking)
    for category in shuffled(asking.rng, things_of):
        things, noun = things_of[category], CATEGORY_NOUNS[category]
        if bool(things) != asking.negative and not asking.questioner.doubtful(asking.scene, category):
            return Noun(words=noun, label=noun, things=things)
    return None


def detect_category(asking: Asking) -> Question | None:
    """All animals, each by its own name."""
    noun = pick_category(asking)
    if noun is None:
        return None
    answer = separated(by_concept(asking, noun.things, "box")) or (noun.denial,)
    return asking.question("detect", asking.say("detect_category", noun), *answer)


# --- depth, and what the user drew -------------------------------------------------------------------


def depth(asking: Asking) -> Question | None:
    if asking.scene.depth is None:
        return None
    return asking.question("depth", asking.say("depth"), Target(label=SCENE_LABEL, kind="depth"))


def drawn_thing(asking: Asking) -> tuple[int, tuple[Drawn, ...]] | None:
    """A thing that the user marks somehow."""
    if not asking.scene.things:
        return None
    thing = pick(asking.rng, asking.things)
    return thing, (Drawn(kind=pick(asking.rng, _PROMPTS), thing=thing),)


def segment_drawn(asking: Asking) -> Question | None:
    """Segment or box a thing that the user marked."""
    found = drawn_thing(asking)
    if found is None:
        return None
    thing, drawn = found
    task = "box" if "segment" not in asking.tasks or asking.rng.random() < _BOXED_SHARE else "segment"
    target = Target(label=asking.questioner.look(asking.scene, thing), kind=DRAWS[task], things=(thing,))
    return asking.question(task, asking.say(f"{task}_drawn"), target, drawn=drawn)


def segment_except(asking: Asking) -> Question | None:
    """Segment or box one of two things; a point says that the other one is not meant."""
    if len(asking.scene.things) < 2:
        return None
    thing = pick(asking.rng, asking.things)
    other, *rest = [k for k in _by_distance(asking.scene, thing) if k != thing]
    excluded = Drawn(kind="point", thing=other, excludes=True)
    box = around(asking.scene.things[thing].xyxy, asking.scene.things[other].xyxy)
    alone = not any(_inside(asking.scene.things[k].xyxy, box) for k in rest)
    drawn = Drawn(kind="box", thing=thing, beside=other)
    if not alone or asking.rng.random() < _POINTED_SHARE:
        drawn = Drawn(kind="point", thing=thing)
    task = "box" if "segment" not in asking.tasks or asking.rng.random() < _BOXED_SHARE else "segment"
    target = Target(label=asking.questioner.look(asking.scene, thing), kind=DRAWS[task], things=(thing,))
    return asking.question(task, asking.say(f"{task}_drawn"), target, drawn=(drawn, excluded))


def _by_distance(scene: Scene, thing: int) -> list[int]:
    """Things by the distance of their centres from that of one."""
    corners = np.array([other.xyxy for other in scene.things])
    centres = corners[:, :2] + corners[:, 2:]
    return [int(k) for k in np.hypot(*(centres - centres[thing]).T).argsort(kind="stable")]


def _inside(xyxy: XYXY, box: XYXY) -> bool:
    """Whether the centre is."""
    x, y = (xyxy[0] + xyxy[2]) / 2, (xyxy[1] + xyxy[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
