"""Composed scenes as records: every visible thing with its box and its mask."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from generalist_datasets.converters.folder import OutFolder
from generalist_datasets.records import Annotation, Record, Rle, Where
from generalist_datasets.world.shards import read_shard, shard_files

_COLUMNS = ("index", "image", "instances", "things", "split")
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


def scene_records(shards: Path, folder: OutFolder) -> Iterator[Record]:
    """One record a scene of a folder of shards; the pictures are written to ``folder``.

    Raises:
        GeneralistError: a shard is damaged.
    """
    for path in shard_files(shards):
        for record, picture in read_shard(path, _COLUMNS, partial(_records, path)):
            suffix = next((suffix for start, suffix in _SUFFIXES.items() if picture.startswith(start)), ".png")
            yield replace(record, images=(folder.save_bytes(f"{record.id}{suffix}", picture),))


def _records(shard: Path, row: Mapping[str, Any]) -> Iterator[tuple[Record, bytes]]:
    """The record of a row, without its picture, and the file of that."""
    where = Where(file=shard, entry=f"scene {row['index']}")
    with Image.open(io.BytesIO(row["instances"]["bytes"]), formats=["PNG"]) as picture:
        instances = np.asarray(picture)  # uint8 [H, W], k is things[k - 1]
    height, width = instances.shape
    annotations = []
    for number, thing in enumerate(row["things"], 1):
        rle = coco.encode(np.asfortranarray(instances == number, np.uint8))
        x1, y1, x2, y2 = thing["box"]
        annotations.append(
            Annotation(
                label=thing["name"],
                where=where,
                xyxy=(x1 * width, y1 * height, x2 * width, y2 * height),
                segment=Rle(size=(height, width), counts=rle["counts"].decode("ascii")),
            )
        )
    record = Record(
        id=f"{row['split']}-{row['index']:08d}",
        images=(),
        where=where,
        split=row["split"],
        size=(width, height),
        annotations=tuple(annotations),
    )
    yield record, row["image"]["bytes"]
