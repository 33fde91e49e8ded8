"""What is true of a picture against what was found on it: which belong together, and statistics of many pictures.

Shapes: N found, M true.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from generalist.evaluation.measures.geometry import bitmap, box_array, box_overlap, mask_overlap, name, pairs
from generalist.types import Box, Grounded, Mask
from generalist.visual import Size, mask_area

RIGHT = 0.5
"""Overlap from which a drawing is of a thing, as in PASCAL VOC."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thing:
    """A labelled thing and the drawing that fits it best. ``share`` of the picture's area, 0-1; ``overlap``
    (intersection over union) with the drawing ``found``, an index, None where none touches it."""

    label: str
    share: float
    overlap: float = 0.0
    found: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """``things`` in the order of the truth; ``labels`` of what was found, in the order drawn."""

    things: tuple[Thing, ...]
    labels: tuple[str, ...]

    def confusions(self) -> Iterator[tuple[str | None, str | None]]:
        """(true class, class that it was found as): the second is None for what was missed, the first for what was
        made up."""
        met = [thing.found if thing.overlap >= RIGHT else None for thing in self.things]
        for thing, found in zip(self.things, met, strict=True):
            yield thing.label, None if found is None else self.labels[found]
        yield from ((None, label) for at, label in enumerate(self.labels) if at not in met)


def judge(truth: Sequence[Grounded], found: Sequence[Grounded], size: Size) -> Judged:
    """Put each thing of ``truth`` together with one drawing at most.

    In turn: drawings of the thing's own name that overlap it by half, others that do, then whatever touches it, its own
    name first. All are boxes or masks; masks are compared pixel by pixel where all of them are, else by their boxes.
    ``size``: (W, H).
    """
    true_names, found_names = [name(item.label) for item in truth], [name(item.label) for item in found]
    overlap = _overlap(found, truth, size)  # [N, M]
    same = np.array([[a == b for b in true_names] for a in found_names], bool).reshape(overlap.shape)
    partner: dict[int, int] = {}
    for wanted, at_least in ((same, RIGHT), (~same, RIGHT), (same, 0.0), (~same, 0.0)):
        free = overlap * wanted
        free[list(partner.values()), :] = 0
        free[:, list(partner)] = 0
        partner.update((column, row) for row, column in pairs(free, at_least))
    things = tuple(
        Thing(
            label=label,
            share=_share(item, size),
            overlap=float(overlap[partner[at], at]) if at in partner else 0.0,
            found=partner.get(at),
        )
        for at, (label, item) in enumerate(zip(true_names, truth, strict=True))
    )
    return Judged(things=things, labels=tuple(found_names))


def _overlap(found: Sequence[Grounded], truth: Sequence[Grounded], size: Size) -> np.ndarray:
    """Intersection over union, float64 [N, M]."""
    drawn = [item.output for item in found if isinstance(item.output, Box | Mask)]
    true = [item.output for item in truth if isinstance(item.output, Box | Mask)]
    masks, true_masks = ([one for one in some if isinstance(one, Mask)] for some in (drawn, true))
    if len(masks) == len(drawn) and len(true_masks) == len(true):
        shape = (size[1], size[0])
        return mask_overlap([bitmap(one, shape) for one in masks], [bitmap(one, shape) for one in true_masks])
    return box_overlap(box_array(drawn), box_array(true))


def _share(item: Grounded, size: Size) -> float:
    """Of the picture's area."""
    if isinstance(item.output, Mask):
        return mask_area(item.output) / (size[0] * size[1])
    assert isinstance(item.output, Box)
    ((x1, y1, x2, y2),) = box_array([item.output]).tolist()
    return float((x2 - x1) * (y2 - y1))


# --- many pictures ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """A class: how many things of it there are, how many were drawn, the mean overlap of those that there are (None
    where there are none)."""

    name: str
    true: int
    found: int
    overlap: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """``classes``, the commonest first. ``right``: things found under their own name; ``confusion``: (true class, found
    class) -> count, as :meth:`Judged.confusions` has them."""

    classes: tuple[ClassCount, ...]
    confusion: Counter[tuple[str | None, str | None]]
    things: int
    drawn: int
    right: int

    @property
    def recall(self) -> float:
        """Of the things, how many were found; 1 where there are none."""
        return self.right / self.things if self.things else 1.0

    @property
    def precision(self) -> float:
        """Of the drawings, how many are right; 1 where there are none."""
        return self.right / self.drawn if self.drawn else 1.0


def statistics(judged: Sequence[Judged]) -> Statistics:
    """What all pictures say together."""
    things = [thing for one in judged for thing in one.things]
    true = Counter(thing.label for thing in things)
    found = Counter(label for one in judged for label in one.labels)
    overlaps: defaultdict[str, float] = defaultdict(float)
    for thing in things:
        overlaps[thing.label] += thing.overlap
    confusion = Counter(pair for one in judged for pair in one.confusions())
    names = sorted(true | found, key=lambda one: (-true[one], -found[one], one))
    return Statistics(
        classes=tuple(
            ClassCount(
                name=one,
                true=true[one],
                found=found[one],
                overlap=overlaps[one] / true[one] if true[one] else None,
            )
            for one in names
        ),
        confusion=confusion,
        things=len(things),
        drawn=sum(found.values()),
        right=sum(count for (truth, said), count in confusion.items() if truth is not None and truth == said),
    )
