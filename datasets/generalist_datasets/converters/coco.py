"""Records -> COCO json: ``instances_SPLIT.json`` (boxes, masks, keypoints) and ``captions_SPLIT.json``.

The lists of images and annotations are longer than memory may be, and the categories are known at the end: so the
lists are written to files of their own first, and joined then. All splits have the same categories.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from pycocotools import mask as coco_mask

from generalist.images import read_header
from generalist.types import GeneralistError
from generalist_datasets.converters.folder import OutFolder, Written
from generalist_datasets.label_pictures import load_label_picture
from generalist_datasets.record_samples import NAMELESS
from generalist_datasets.records import Annotation, PixelValues, Polygons, Problems, Record, Rle

JsonObject: TypeAlias = dict[str, Any]
LabelValues: TypeAlias = dict[Path, np.ndarray]

_NO_SPLIT = "all"


def write_coco(records: Iterable[Record], folder: OutFolder, problems: Problems) -> Written:
    """Write records in bounded memory. What COCO cannot hold is counted; what is broken goes to ``problems``."""
    counts: Counter[str] = Counter()
    categories = _Categories()
    with ExitStack() as stack:
        splits: dict[str, _Split] = {}
        for record in records:
            name = folder.split_name(record.split) or _NO_SPLIT
            if name not in splits:
                splits[name] = stack.enter_context(_Split(name, folder.path))
            _write_record(record, splits[name], categories, folder, problems, counts)
        files = [file for split in splits.values() for file in split.join(categories)]
    counts["categories"] = len(categories)
    return Written(counts=counts, files=tuple(files), left_out=+folder.left_out)


class _Categories:
    """Labels and what is known of them; their ids are 1, 2, ... by name, once all are known."""

    def __init__(self) -> None:
        self._keypoints: dict[str, dict[str, None]] = {}  # label -> names, in order of appearance
        self._things: set[str] = set()

    def __len__(self) -> int:
        return len(self._keypoints)

    def add(self, label: str, annotation: Annotation) -> None:
        names = self._keypoints.setdefault(label, {})
        names.update(dict.fromkeys(keypoint.name for keypoint in annotation.keypoints))
        if not annotation.stuff:
            self._things.add(label)

    def ids(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(sorted(self._keypoints), 1)}

    def keypoints(self, label: str) -> list[str]:
        return list(self._keypoints[label])

    def entries(self) -> Iterator[JsonObject]:
        for label, id in self.ids().items():
            parts = {"keypoints": self.keypoints(label), "skeleton": []} if self._keypoints[label] else {}
            stuff = {} if label in self._things else {"isthing": 0}
            yield {"id": id, "name": label, "supercategory": "", **parts, **stuff}


class _Split:
    """The lists of a split, a line an entry, each in a file of its own until they are joined."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        self._lists = {key: folder / f".{name}.{key}" for key in ("images", "annotations", "captions")}
        self._files: dict[str, IO[str]] = {}
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> _Split:
        self._files = {key: path.open("w+", encoding="utf-8") for key, path in self._lists.items()}
        return self

    def __exit__(self, *exception: object) -> None:
        for key, path in self._lists.items():
            self._files[key].close()
            path.unlink(missing_ok=True)

    def add(self, key: str, entry: JsonObject) -> int:
        """Append an entry, which gets the next id; returns it. ValueError when it is no JSON."""
        id = self._counts[key] + 1
        print(json.dumps({"id": id, **entry}, allow_nan=False), file=self._files[key])
        self._counts[key] = id
        return id

    def join(self, categories: _Categories) -> Iterator[str]:
        """Write the files of the split; yields their names."""
        ids = categories.ids()
        parts = {label: categories.keypoints(label) for label in ids}
        things = (_finished(entry, ids, parts) for entry in self._read("annotations"))
        if self._counts["annotations"] or not self._counts["captions"]:
            yield self._write("instances", {"annotations": things, "categories": categories.entries()})
        if self._counts["captions"]:
            yield self._write("captions", {"annotations": self._read("captions")})

    def _write(self, kind: str, lists: dict[str, Iterator[JsonObject]]) -> str:
        name = f"{kind}_{self._name}.json"
        with (self._folder / name).open("w", encoding="utf-8") as file:
            opening = "{"
            for key, entries in chain([("images", self._read("images"))], lists.items()):
                file.write(f'{opening}"{key}": [')
                for number, entry in enumerate(entries):
                    file.write((",\n" if number else "\n") + json.dumps(entry))
                file.write("\n]")
                opening = ",\n"
            file.write("}\n")
        return name

    def _read(self, key: str) -> Iterator[JsonObject]:
        file = self._files[key]
        file.seek(0)
        return map(json.loads, file)


def _finished(entry: JsonObject, ids: dict[str, int], parts: dict[str, list[str]]) -> JsonObject:
    """An annotation with the number of its category instead of the label, and its keypoints in the category's order."""
    label, named = entry.pop("label"), entry.pop("keypoints")
    entry["category_id"] = ids[label]
    if named:
        entry["keypoints"] = [value for name in parts[label] for value in named.get(name, (0, 0, 0))]
        entry["num_keypoints"] = len(named)
    return entry


# --- one record ---------------------------------------------------------------------------------------


def _write_record(
    record: Record,
    split: _Split,
    categories: _Categories,
    folder: OutFolder,
    problems: Problems,
    counts: Counter[str],
) -> None:
    if not record.images:
        folder.left_out["conversations without a picture"] += 1
        return
    try:
        width, height = record.size or read_header(record.image).size
    except GeneralistError as error:
        problems.error("unreadable file", record.where, str(error))
        return
    entry = {"file_name": folder.name_of(record.image), "width": width, "height": height}
    image_id = split.add("images", entry)
    counts["images"] += 1
    labels: LabelValues = {}
    for annotation in record.annotations:
        try:
            geometry = _geometry(annotation, labels)
        except GeneralistError as error:
            problems.error("unreadable file", annotation.where, str(error))
            continue
        if not geometry:
            folder.left_out["classes without a place"] += 1
            continue
        label = " ".join(annotation.label.split()) or NAMELESS
        try:
            split.add("annotations", {"image_id": image_id, "label": label, **geometry})
        except ValueError:  # NaN and infinity, which JSON has not
            problems.error("not a number", annotation.where, "a coordinate that is not finite")
            continue
        categories.add(label, annotation)
        counts["annotations"] += 1
        folder.left_out["referring expressions"] += len(annotation.phrases)
    for caption in record.captions:
        split.add("captions", {"image_id": image_id, "caption": caption})
        counts["captions"] += 1
    folder.left_out["turns of conversations"] += len(record.turns)
    folder.left_out["depth maps"] += record.depth is not None


def _geometry(annotation: Annotation, labels: LabelValues) -> JsonObject:
    """``bbox``, ``area``, ``segmentation`` and ``keypoints``; empty when the annotation has no place."""
    segment = annotation.segment
    rle = _run_lengths(segment, labels) if isinstance(segment, Rle | PixelValues) else None
    rings = segment if isinstance(segment, tuple) else ()
    named = {k.name: (*k.xy, 2 if k.visible else 1) for k in annotation.keypoints}
    box = annotation.xyxy or _box(rle, rings, [k.xy for k in annotation.keypoints])
    if box is None:
        return {}
    x1, y1, x2, y2 = box
    segmentation: object = [list(ring) for ring in rings]
    area = sum(_ring_area(ring) for ring in rings) if rings else (x2 - x1) * (y2 - y1)
    if rle is not None:
        segmentation = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
        area = int(coco_mask.area(rle))
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": area,
        "segmentation": segmentation,
        "iscrowd": int(annotation.crowd),
        "keypoints": named,
    }


def _run_lengths(segment: Rle | PixelValues, labels: LabelValues) -> JsonObject:
    if isinstance(segment, Rle):
        return {"size": list(segment.size), "counts": segment.counts.encode("ascii")}
    if segment.file not in labels:
        labels[segment.file] = load_label_picture(segment.file).values
    bitmap = labels[segment.file] == segment.value
    encoded: JsonObject = coco_mask.encode(np.asfortranarray(bitmap, np.uint8))
    return encoded


def _box(
    rle: JsonObject | None, rings: Polygons, points: list[tuple[float, float]]
) -> tuple[float, float, float, float] | None:
    """Around a mask, else around polygons, else around keypoints."""
    if rle is not None:
        x, y, width, height = (float(v) for v in coco_mask.toBbox(rle))
        return x, y, x + width, y + height
    xs = [x for ring in rings for x in ring[0::2]] or [x for x, _ in points]
    ys = [y for ring in rings for y in ring[1::2]] or [y for _, y in points]
    return (min(xs), min(ys), max(xs), max(ys)) if xs and ys else None


def _ring_area(ring: tuple[float, ...]) -> float:
    """Of a polygon x1 y1 x2 y2 ..., in pixels."""
    xs, ys = ring[0::2], ring[1::2]
    pairs = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in pairs)) / 2
