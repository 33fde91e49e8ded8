"""A picture with all that is labelled in it, small enough to be kept in memory and varied at every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from generalist.pipeline import EVERYTHING
from generalist.tasks import question
from generalist.types import Box, DepthMap, Mask, Message, Point, Sample
from generalist.visual import mask_bitmap
from generalist_adapters.finetune.data import classes_of
from generalist_datasets.record_samples import to_samples
from generalist_datasets.records import Record

XY = tuple[float, float]
XYXY = tuple[float, float, float, float]

_DETECT_ALL = question("detect", EVERYTHING)
_SEGMENT_THINGS, _SEGMENT_WHOLE = question("segment", EVERYTHING), question("segment", "everything")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """What a label or a referring expression means: ``xyxy`` in 0-1, and ``mask`` bool [H, W] where it has one.

    ``stuff``: a class without instances, which is only segmented.
    """

    label: str
    xyxy: XYXY
    mask: np.ndarray | None = None
    stuff: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """A question that is answered in words, by task, with the turns of user and assistant before it."""

    task: str
    prompt: str
    answer: str
    history: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """``image`` RGB. ``boxes``: things; ``masks``: things and stuff; ``phrases``: by referring expression.

    ``points``: (name, place in 0-1). ``depth`` float32 [h, w] in metres, NaN where unknown. ``uncounted``: classes
    that a crowd belongs to, so that nobody has counted them, and what is not labelled may be there all the same.
    """

    id: str
    image: Image.Image
    boxes: tuple[Region, ...] = ()
    masks: tuple[Region, ...] = ()
    phrases: tuple[tuple[str, tuple[Region, ...]], ...] = ()
    points: tuple[tuple[str, XY], ...] = ()
    depth: np.ndarray | None = None
    said: tuple[Said, ...] = ()
    uncounted: frozenset[str] = frozenset()


def load(record: Record, tasks: Sequence[str], longest: int) -> Picture:
    """The picture of a record, with a longer side of at most ``longest`` pixels.

    Labels come through the samples that evaluation asks about, so that both mean the same. Raises
    :class:`GeneralistError` for a picture or mask that cannot be read.
    """
    wanted = {*tasks, *(("detect",) if {"count", "box"} & {*tasks} else ())}
    samples = list(to_samples(record, wanted))
    image = next((sample.image for sample in samples), None) or Image.new("RGB", (1, 1))
    size = _fitted(image.size, longest)
    classes = frozenset(classes_of(record))
    crowds = (" ".join(a.label.split()) for a in record.annotations if a.crowd)
    return Picture(
        id=record.id,
        image=image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0),
        boxes=tuple(_regions(_of(samples, _DETECT_ALL), size)),
        masks=tuple(_masks(samples, size)),
        phrases=tuple(_phrases(samples, classes, size)),
        points=tuple(
            (t.label, t.output.xy)
            for s in samples
            if s.task == "point"
            for t in s.targets
            if isinstance(t.output, Point)
        ),
        depth=next((t.output.values for s in samples for t in s.targets if isinstance(t.output, DepthMap)), None),
        said=tuple(
            Said(task=s.task, prompt=s.prompt, answer=s.text, history=s.history)
            for s in samples
            if s.task in ("caption", "chat") and not s.earlier_images and not any(m.role == "system" for m in s.history)
        ),
        uncounted=frozenset(crowds),
    )


def _of(samples: Iterable[Sample], prompt: str) -> Sample | None:
    return next((sample for sample in samples if sample.prompt == prompt), None)


def _regions(sample: Sample | None, size: tuple[int, int]) -> Iterable[Region]:
    for target in sample.targets if sample else ():
        if isinstance(target.output, Mask):
            yield Region(label=target.label, xyxy=target.output.xyxy, mask=_bitmap(target.output, size))
        elif isinstance(target.output, Box):
            yield Region(label=target.label, xyxy=target.output.xyxy)


def _masks(samples: Sequence[Sample], size: tuple[int, int]) -> Iterable[Region]:
    """All masks; what is among them and not among the things is stuff."""
    things = _of(samples, _SEGMENT_THINGS)
    names = {target.label for target in things.targets} if things else set()
    whole = _of(samples, _SEGMENT_WHOLE)
    for region in _regions(whole or things, size):
        if region.mask is not None and region.mask.any():  # a few pixels of a large picture can vanish
            yield replace(region, stuff=whole is not None and region.label not in names)


def _phrases(
    samples: Iterable[Sample], classes: frozenset[str], size: tuple[int, int]
) -> Iterable[tuple[str, tuple[Region, ...]]]:
    for sample in samples:
        refers = sample.task == "segment" and sample.prompt not in (_SEGMENT_THINGS, _SEGMENT_WHOLE)
        if sample.task == "box" or (refers and sample.targets[0].label not in classes):
            regions = tuple(r for r in _regions(sample, size) if r.mask is None or r.mask.any())
            if regions:
                yield sample.targets[0].label, regions


def _bitmap(mask: Mask, size: tuple[int, int]) -> np.ndarray:
    bitmap = Image.fromarray(mask_bitmap(mask))
    return np.asarray(bitmap.resize(size, Image.Resampling.NEAREST), np.bool_)


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
