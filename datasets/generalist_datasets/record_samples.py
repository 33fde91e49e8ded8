"""From a record to samples: every task that its labels can answer, in the words of ``tasks.TASKS``.

Targets are the whole truth, also where a reply could not hold as many. Crowds are left out; so are things that lie
outside the picture or have no pixel.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TypeAlias

from PIL import Image

from generalist.images import load_image
from generalist.pipeline import EVERYTHING
from generalist.tasks import get_task, question
from generalist.types import Box, DepthMap, Grounded, Mask, Message, Output, Point, Sample
from generalist_datasets.record_geometry import Picture
from generalist_datasets.records import Annotation, Record
from generalist_datasets.world.language import is_plural, units

SCENE = "scene"
"""The phrase that a depth map belongs to."""

NAMELESS = "object"
"""What an annotation without a class is called."""

_PLURAL = re.compile(r"(?:[b-hj-rtv-z]|ski)s$", re.IGNORECASE)
"""How a class ends that people have named in the plural: "Platelets", "skis"; not "bus", "glass"."""


def to_samples(record: Record, tasks: Collection[str] | None = None) -> Iterator[Sample]:
    """The samples of a record; ``tasks``: only those of these tasks.

    The pictures are decoded once, when the first sample is asked for. Coordinates are 0-1 of the upright picture
    (see :mod:`~generalist_datasets.record_geometry`), boxes clipped into it. An id is the record's, the task and a
    number, whatever ``tasks`` are chosen. Raises :class:`GeneralistError` for an unknown task and for a picture,
    mask or depth map that cannot be read.
    """
    wanted = set(_MAKERS) if tasks is None else {get_task(name).name for name in tasks}
    if not record.images:  # a conversation without a picture
        return
    source = _Source(record)
    for task, make in _MAKERS.items():
        if task in wanted:
            for number, draft in enumerate(make(source)):
                yield _sample(source, task, number, draft)


Grouped: TypeAlias = Mapping[str, Sequence[Output]]
"""What each phrase draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A sample but for its pictures. The phrases of ``drawn`` stand in ``text`` in their order, commas between them."""

    prompt: str
    text: str
    drawn: Grouped = field(default_factory=dict)
    history: tuple[Message, ...] = ()


class _Source:
    """A record with what is decoded of it, once."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def has_phrases(self) -> bool:
        return any(annotation.phrases for annotation in self.record.annotations)

    @cached_property
    def picture(self) -> Picture:
        return Picture.load(self.record)

    @cached_property
    def images(self) -> tuple[Image.Image, ...]:
        """All pictures; only a conversation has several."""
        return (self.picture.image, *(load_image(path) for path in self.record.images[1:]))

    @cached_property
    def masks(self) -> dict[int, Mask]:
        """Number of an annotation -> its mask, where it has one with a pixel."""
        found = {
            at: self.picture.mask(annotation)
            for at, annotation in enumerate(self.record.annotations)
            if annotation.segment is not None and not annotation.crowd
        }
        return {at: mask for at, mask in found.items() if mask is not None}

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """Number of an annotation -> its box, that of its mask where it has none of its own."""
        found: dict[int, Box] = {}
        for at, annotation in enumerate(self.record.annotations):
            if annotation.crowd or annotation.stuff:
                continue
            if annotation.xyxy is not None:
                xyxy = self.picture.box(annotation.xyxy)
            else:
                xyxy = self.masks[at].xyxy if at in self.masks else None
            if xyxy is not None:
                found[at] = Box(xyxy=xyxy)
        return found

    def by_class(self, outputs: Mapping[int, Output]) -> dict[str, list[Output]]:
        """Class -> what it draws, in the order of the annotations."""
        groups: defaultdict[str, list[Output]] = defaultdict(list)
        for at, output in outputs.items():
            groups[_name(self.record.annotations[at])].append(output)
        return dict(groups)

    def by_phrase(self, outputs: Mapping[int, Output]) -> dict[str, list[Output]]:
        """Referring expression -> what it draws."""
        groups: defaultdict[str, list[Output]] = defaultdict(list)
        for at, output in outputs.items():
            for phrase in self.record.annotations[at].phrases:
                if phrase.strip():
                    groups[phrase.strip()].append(output)
        return dict(groups)


def _sample(source: _Source, task: str, number: int, draft: _Draft) -> Sample:
    record = source.record
    *earlier, image = source.images if task == "chat" else (source.picture.image,)
    return Sample(
        id=f"{record.id}/{task}/{number}",
        image=image,
        task=task,
        prompt=draft.prompt,
        text=draft.text,
        targets=tuple(_targets(draft.drawn)),
        earlier_images=tuple(earlier),
        history=draft.history,
        meta={**record.facts, "record": record.id, "split": record.split},
    )


def _targets(drawn: Grouped) -> Iterator[Grounded]:
    start = 0
    for phrase, outputs in drawn.items():
        span = (start, start + len(phrase))
        for ref, output in enumerate(outputs):
            yield Grounded(label=phrase, span=span, image=0, ref=ref, output=output)
        start = span[1] + len(_COMMA)


_COMMA = ", "


def _drawing(task: str, about: str, drawn: Grouped) -> _Draft:
    return _Draft(prompt=question(task, about), text=_COMMA.join(drawn), drawn=drawn)


def _name(annotation: Annotation) -> str:
    return " ".join(annotation.label.split()) or NAMELESS


def counted(name: str) -> str:
    """What "how many" is followed by: the plural of a class that people may have named in the plural already."""
    return name if _PLURAL.search(name) and not is_plural(name) else units(name)


# --- one function a task ------------------------------------------------------------------------------------


def _detect(source: _Source) -> Iterator[_Draft]:
    groups = source.by_class(source.boxes)
    if groups:
        yield _drawing("detect", EVERYTHING, groups)
    for name, boxes in groups.items():
        yield _drawing("detect", name, {name: boxes})


def _box(source: _Source) -> Iterator[_Draft]:
    if source.has_phrases:
        for phrase, boxes in source.by_phrase(source.boxes).items():
            yield _drawing("box", phrase, {phrase: boxes})


def _segment(source: _Source) -> Iterator[_Draft]:
    """Things, things and stuff, then class by class, then by expression."""
    annotations = source.record.annotations
    groups = source.by_class(source.masks)
    things = source.by_class({at: mask for at, mask in source.masks.items() if not annotations[at].stuff})
    if things:
        yield _drawing("segment", EVERYTHING, things)
    if groups != things:
        yield _drawing("segment", "everything", groups)
    for name, masks in groups.items():
        yield _drawing("segment", name, {name: masks})
    if source.has_phrases:
        for phrase, masks in source.by_phrase(source.masks).items():
            yield _drawing("segment", phrase, {phrase: masks})


def _point(source: _Source) -> Iterator[_Draft]:
    """Keypoints that can be seen, by their name and class."""
    groups: defaultdict[str, list[Output]] = defaultdict(list)
    for annotation in source.record.annotations:
        for keypoint in annotation.keypoints:
            x, y = source.picture.point(keypoint.xy)
            if keypoint.visible and 0 <= x <= 1 and 0 <= y <= 1:
                groups[f"{keypoint.name.replace('_', ' ')} of {_name(annotation)}"].append(Point(xy=(x, y)))
    for name, points in groups.items():
        yield _drawing("point", name, {name: points})


def _depth(source: _Source) -> Iterator[_Draft]:
    if source.record.depth is not None:
        values = source.picture.depth(source.record.depth)
        yield _drawing("depth", "", {SCENE: [DepthMap(values=values)]})


def _caption(source: _Source) -> Iterator[_Draft]:
    for caption in source.record.captions:
        yield _Draft(prompt=question("caption"), text=caption)


def _count(source: _Source) -> Iterator[_Draft]:
    """Classes with a crowd are left out: nobody has counted it."""
    crowds = {_name(annotation) for annotation in source.record.annotations if annotation.crowd}
    for name, boxes in source.by_class(source.boxes).items():
        if name not in crowds:
            yield _Draft(prompt=question("count", counted(name)), text=str(len(boxes)))


def _chat(source: _Source) -> Iterator[_Draft]:
    """The classes of the whole picture; then one sample an answer of the assistant, with what was said before it."""
    classes = [_name(a) for a in source.record.annotations if not (a.xyxy or a.segment or a.keypoints)]
    if classes:
        yield _Draft(prompt="What is in the image?", text=_COMMA.join(dict.fromkeys(classes)))
    earlier: tuple[Message, ...] = ()
    for role, turns in groupby(source.record.turns, key=lambda turn: turn.role):
        message = Message(role=role, text="\n".join(turn.text for turn in turns))
        if role == "assistant" and earlier and earlier[-1].role == "user":
            yield _Draft(prompt=earlier[-1].text, text=message.text, history=earlier[:-1])
        earlier += (message,)


_MAKERS: dict[str, Callable[[_Source], Iterator[_Draft]]] = {
    "detect": _detect,
    "box": _box,
    "segment": _segment,
    "point": _point,
    "count": _count,
    "depth": _depth,
    "caption": _caption,
    "chat": _chat,
}
