"""Questions about a labelled picture, with their answers, in the words that the base model was taught."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from generalist.pipeline import EVERYTHING
from generalist.tasks import question
from generalist.tokens import MAX_REFS
from generalist.types import Kind, Message
from generalist_adapters.finetune.pictures import XY, Picture, Region
from generalist_datasets.record_samples import SCENE, counted
from generalist_datasets.world.language import denial
from generalist_datasets.world.phrasings import noun_slots, say

_NOTHING = "There is nothing."
_ASKED_CLASSES = 2
"""Classes at most that a picture is asked for by name at a time, of those that are there and of the others."""
_DENIED = 0.6
"""How often a class is asked for that is not there."""
_COUNTED = 0.5
_FIRST_SHARE = 0.35
"""How often the whole is asked for in exactly the words that an evaluation uses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """A phrase of an answer and what it draws: regions for boxes and masks, places for points, a map for depth."""

    label: str
    kind: Kind
    regions: tuple[Region, ...] = ()
    points: tuple[XY, ...] = ()
    depth: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A question and its answer: words with drawings in them. ``about``: what an answer in words speaks of."""

    task: str
    text: str
    answer: tuple[str | Drawing, ...]
    history: tuple[Message, ...] = ()
    about: tuple[Region, ...] = ()

    @property
    def answer_text(self) -> str:
        """The words of the answer, each drawing as its label and what it draws."""
        return "".join(p if isinstance(p, str) else f"{p.label} [{_number(p)} {p.kind}]" for p in self.answer)


def _number(drawing: Drawing) -> int:
    return len(drawing.regions) or len(drawing.points) or 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asking:
    """A picture about to be asked about; ``classes``: all that the data set knows."""

    rng: np.random.Generator
    picture: Picture
    classes: Sequence[str]
    there: frozenset[str] = field(default_factory=frozenset)

    def some(self, names: Collection[str], most: int = _ASKED_CLASSES) -> list[str]:
        """Up to ``most`` of ``names``, by chance."""
        ordered = sorted(names)
        return [ordered[int(k)] for k in self.rng.permutation(len(ordered))[:most]]

    def absent(self) -> list[str]:
        """A class that is surely not there, now and then."""
        lacking = set(self.classes) - self.there - self.picture.uncounted
        return self.some(lacking, 1) if self.rng.random() < _DENIED else []

    def say(self, wording: str, name: str, *, many: bool = False) -> str:
        return say(self.rng, wording, noun_slots(name, counted(name), counted(name), many=many))

    def whole(self, wording: str, exact: str) -> str:
        """The question for everything; often in the very words of an evaluation."""
        return exact if self.rng.random() < _FIRST_SHARE else say(self.rng, wording)


def ask(rng: np.random.Generator, picture: Picture, classes: Sequence[str], tasks: Collection[str]) -> list[Asked]:
    """A mixture of questions about a picture for every task of ``tasks`` that its labels answer, the main ones first.

    ``classes``: names that may be asked for though they are not there.
    """
    there = frozenset(region.label for region in (*picture.boxes, *picture.masks))
    asking = _Asking(rng=rng, picture=picture, classes=classes, there=there)
    return [asked for task, make in _MAKERS.items() if task in tasks for asked in make(asking)]


# --- what is drawn ----------------------------------------------------------------------------------------


def _grouped(regions: Iterable[Region], kind: Kind) -> list[Drawing]:
    """One drawing a class, in the order in which classes appear from the left, as in the composed world."""
    groups: dict[str, list[Region]] = {}
    for region in sorted(regions, key=_from_left):
        groups.setdefault(region.label, []).append(region)
    return [Drawing(label=label, kind=kind, regions=_most(found)) for label, found in groups.items()]


def _from_left(region: Region) -> tuple[float, float]:
    """Twice the centre of its box."""
    return region.xyxy[0] + region.xyxy[2], region.xyxy[1] + region.xyxy[3]


def _most(regions: Sequence[Region]) -> tuple[Region, ...]:
    """As many as a phrase can number, the largest, in their order."""
    if len(regions) <= MAX_REFS:
        return tuple(regions)
    largest = sorted(regions, key=lambda r: (r.xyxy[0] - r.xyxy[2]) * (r.xyxy[3] - r.xyxy[1]))[:MAX_REFS]
    return tuple(sorted(largest, key=_from_left))


def _separated(drawings: Sequence[Drawing]) -> tuple[str | Drawing, ...]:
    answer: list[str | Drawing] = []
    for drawing in drawings:
        answer += [", ", drawing] if answer else [drawing]
    return tuple(answer)


# --- one function a task ----------------------------------------------------------------------------------


def _detect(asking: _Asking) -> Iterator[Asked]:
    drawings = _grouped(asking.picture.boxes, "box")
    if not drawings and asking.picture.uncounted:
        return
    text = asking.whole("detect_all", question("detect", EVERYTHING))
    yield Asked(task="detect", text=text, answer=_separated(drawings) or (_NOTHING,))
    found = {drawing.label: drawing for drawing in drawings}
    for name in asking.some(found, 1):
        # "Where is the dog?" goes with "detect" too: that is what a class is where there is one of it.
        single = len(found[name].regions) == 1 and asking.rng.random() < 0.5
        many = len(found[name].regions) > 1
        text = asking.say("box" if single else "detect", name, many=many)
        yield Asked(task="box" if single else "detect", text=text, answer=(found[name],))
    for name in asking.absent():
        yield Asked(task="detect", text=asking.say("detect", name), answer=(denial(name),))


def _box(asking: _Asking) -> Iterator[Asked]:
    yield from _referred(asking, "box", "box")


def _referred(asking: _Asking, task: str, kind: Kind) -> Iterator[Asked]:
    phrases = dict(asking.picture.phrases)
    for phrase in asking.some(phrases):
        regions = tuple(r for r in phrases[phrase] if kind == "box" or r.mask is not None)[:MAX_REFS]
        if regions:
            drawing = Drawing(label=phrase, kind=kind, regions=regions)
            yield Asked(task=task, text=question(task, phrase), answer=(drawing,))


def _segment(asking: _Asking) -> Iterator[Asked]:
    masks = asking.picture.masks
    drawings = _grouped(masks, "mask")
    things = [region for region in masks if not region.stuff]
    if len(things) < len(masks):
        text = asking.whole("semantic", question("segment", "everything"))
        yield Asked(task="segment", text=text, answer=_separated(drawings))
    elif things:
        text = asking.whole("segment_all", question("segment", EVERYTHING))
        yield Asked(task="segment", text=text, answer=_separated(drawings))
    found = {drawing.label: drawing for drawing in drawings}
    for name in asking.some(found):
        text = asking.say("segment", name, many=len(found[name].regions) > 1)
        yield Asked(task="segment", text=text, answer=(found[name],))
    for name in asking.absent():
        yield Asked(task="segment", text=asking.say("segment", name), answer=(denial(name),))
    yield from _referred(asking, "segment", "mask")


def _point(asking: _Asking) -> Iterator[Asked]:
    places: dict[str, list[XY]] = {}
    for name, xy in asking.picture.points:
        places.setdefault(name, []).append(xy)
    for name in asking.some(places):
        points = tuple(places[name][:MAX_REFS])
        text = question("point", name) if asking.rng.random() < _FIRST_SHARE else asking.say("point", name)
        yield Asked(task="point", text=text, answer=(Drawing(label=name, kind="point", points=points),))


def _depth(asking: _Asking) -> Iterator[Asked]:
    if asking.picture.depth is not None:
        drawing = Drawing(label=SCENE, kind="depth", depth=asking.picture.depth)
        yield Asked(task="depth", text=say(asking.rng, "depth"), answer=(drawing,))


def _count(asking: _Asking) -> Iterator[Asked]:
    groups: dict[str, list[Region]] = {}
    for region in asking.picture.boxes:
        groups.setdefault(region.label, []).append(region)
    for name in asking.some(set(groups) - asking.picture.uncounted):
        if asking.rng.random() < _COUNTED:
            answer, about = (str(len(groups[name])),), tuple(groups[name])
            yield Asked(task="count", text=asking.say("count", name), answer=answer, about=about)
    if asking.rng.random() < _COUNTED:
        for name in asking.absent():
            yield Asked(task="count", text=asking.say("count", name), answer=("0",))


def _in_words(asking: _Asking, task: str) -> Iterator[Asked]:
    said = [one for one in asking.picture.said if one.task == task]
    for k in asking.rng.permutation(len(said))[:_ASKED_CLASSES]:
        one = said[int(k)]
        text = say(asking.rng, "caption") if task == "caption" else one.prompt
        yield Asked(task=task, text=text, answer=(one.answer,), history=one.history)


_MAKERS: dict[str, Callable[[_Asking], Iterator[Asked]]] = {
    "detect": _detect,
    "segment": _segment,
    "depth": _depth,
    "caption": lambda asking: _in_words(asking, "caption"),
    "chat": lambda asking: _in_words(asking, "chat"),
    "box": _box,
    "point": _point,
    "count": _count,
}
