"""Counting what the records of a data set hold, in memory that does not grow with their number."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict

from generalist_datasets.check.pictures import split_name
from generalist_datasets.check.report import AnnotationCounts, Bin, Counts, ObjectSizes
from generalist_datasets.records import Annotation, Record

_COCO = (32**2, 96**2)
_RELATIVE = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)


class Statistics:
    """Counts of images, annotations by class and split, object sizes."""

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()
        self.annotations: Counter[str] = Counter()
        self.by_class: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.parts: Counter[str] = Counter()
        self.captions = self.turns = self.empty = 0
        self._coco = [0] * (len(_COCO) + 1)
        self._relative = [0] * len(_RELATIVE)

    def add(self, record: Record, size: tuple[int, int] | None) -> None:
        """Count a record whose coordinates are pixels of a picture of ``size`` (W, H), None where nobody knows it."""
        split = split_name(record.split)
        self.images[split] += 1
        self.captions += len(record.captions)
        self.turns += len(record.turns)
        self.empty += is_empty(record)
        for annotation in record.annotations:
            self.annotations[split] += 1
            self.by_class[annotation.label][split] += 1
            self.parts["boxes"] += annotation.xyxy is not None
            self.parts["masks"] += annotation.segment is not None
            self.parts["keypoints"] += bool(annotation.keypoints)
            self.parts["phrases"] += bool(annotation.phrases)
            self.parts["crowds"] += annotation.crowd
            if annotation.xyxy is not None and not annotation.crowd:
                self._measure(annotation, size)

    def class_totals(self) -> dict[str, int]:
        """Class -> annotations, the most frequent first."""
        totals = {label: counts.total() for label, counts in self.by_class.items()}
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def image_counts(self) -> Counts:
        return Counts(total=self.images.total(), by_split=dict(self.images))

    def annotation_counts(self) -> AnnotationCounts:
        return AnnotationCounts(
            total=self.annotations.total(),
            by_split=dict(self.annotations),
            by_class={label: dict(self.by_class[label]) for label in self.class_totals()},
            **{name: self.parts[name] for name in ("boxes", "masks", "keypoints", "phrases", "crowds")},
        )

    def object_sizes(self) -> ObjectSizes:
        small, medium, large = self._coco
        edges = (*_RELATIVE, 1.0)
        relative = tuple(
            Bin(low=low, high=high, count=count)
            for low, high, count in zip(edges[:-1], edges[1:], self._relative, strict=True)
        )
        return ObjectSizes(small=small, medium=medium, large=large, relative=relative)

    def _measure(self, annotation: Annotation, size: tuple[int, int] | None) -> None:
        assert annotation.xyxy is not None
        x1, y1, x2, y2 = annotation.xyxy
        area = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
        if not area > 0:  # NaN is not, either
            return
        self._coco[bisect_right(_COCO, area)] += 1
        if size is not None:
            share = math.sqrt(area / (size[0] * size[1])) if min(size) > 0 else 0.0
            self._relative[bisect_right(_RELATIVE, share) - 1] += 1


def is_empty(record: Record) -> bool:
    """Whether nothing is said of the picture."""
    return not (record.annotations or record.captions or record.turns or record.depth or record.facts)
