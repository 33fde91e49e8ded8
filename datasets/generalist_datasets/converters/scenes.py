"""Composed scenes as records: every visible thing with its box and its mask."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from generalist.types import GeneralistError
from generalist_datasets.converters.folder import OutFolder
from generalist_datasets.records import Annotation, Record, Rle, Where
from generalist_datasets.world.shards import read_manifest

_COLUMNS = ("index", "image", "instances", "things", "split")
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


def scene_records(shards: Path, folder: OutFolder) -> Iterator[Record]:
    """One record a scene of a folder of shards; the pictures are written to ``folder``.

    Raises:
        GeneralistError: a shard is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    manifest = read_manifest(shards) or {}
    for path in sorted(shards.glob(f"{manifest.get('split')}-*.parquet")):
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=16, columns=list(_COLUMNS)):
                    for row in batch.to_pylist():
                        yield _record(row, path, folder)
        except (pa.ArrowException, KeyError, TypeError, SyntaxError) as error:
            raise GeneralistError(f"{path}: not a whole shard of scenes; delete it and write it again") from error


def _record(row: Mapping[str, Any], shard: Path, folder: OutFolder) -> Record:
    id, data = f"{row['split']}-{row['index']:08d}", row["image"]["bytes"]
    suffix = next((suffix for start, suffix in _SUFFIXES.items() if data.startswith(start)), ".png")
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
    return Record(
        id=id,
        images=(folder.save_bytes(f"{id}{suffix}", data),),
        where=where,
        split=row["split"],
        size=(width, height),
        annotations=tuple(annotations),
    )
