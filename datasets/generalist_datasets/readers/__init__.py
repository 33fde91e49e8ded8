"""Formats of labelled images: which of them a folder is in, and reading it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path

from generalist.tasks import get_task
from generalist.types import GeneralistError, Sample
from generalist_datasets.readers.base import Detect, Options, Read, Reader
from generalist_datasets.records import Problems, Record

__all__ = [
    "READERS",
    "Detect",
    "Options",
    "Read",
    "Reader",
    "detect_reader",
    "get_reader",
    "read_records",
    "read_samples",
]

_MODULES = (
    "rgbd", "refcoco", "lvis", "coco_panoptic", "coco", "yolo", "voc", "labelme", "ade20k", "mask_folder",
    "depth_folder", "messages", "imagefolder", "forkme",
)  # fmt: skip
"""A module of this package each. In the order of detection: the more telling first."""

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (import_module(f"{__name__}.{module}").READER for module in _MODULES)
}
"""Format -> its reader."""

_MOST_ENTRIES = 10_000
"""Entries of a folder that an error message counts."""


def detect_reader(path: Path) -> Reader:
    """The reader of whatever is at ``path``, a folder or an annotation file.

    Raises :class:`GeneralistError`, which says what is there, when no reader knows it.
    """
    if not os.path.exists(path):
        raise GeneralistError(f"{_short(path)}: no such file or folder; check the path")
    found = next((reader for reader in READERS.values() if reader.detect(path)), None)
    if found is None:
        raise GeneralistError(f"{path}: {_unknown(path)}")
    return found


def get_reader(path: Path, format: str | None = None) -> Reader:
    """The reader called ``format``, or the one that knows what is at ``path``; :class:`GeneralistError` for none."""
    if format is None:
        return detect_reader(path)
    if format not in READERS:
        raise GeneralistError(f"there is no format {format!r}; use one of {', '.join(READERS)}")
    if not os.path.exists(path):
        raise GeneralistError(f"{_short(path)}: no such file or folder; check the path")
    return READERS[format]


def read_records(
    path: Path, format: str | None = None, *, options: Options | None = None, problems: Problems | None = None
) -> Iterator[Record]:
    """One record an image, streamed. Without ``problems``, the first error raises :class:`GeneralistError`."""
    reader = get_reader(path, format)
    return reader.read(path, problems or Problems(), options or Options())


def read_samples(
    path: Path,
    format: str | None = None,
    *,
    options: Options | None = None,
    split: str | None = None,
    tasks: Collection[str] | None = None,
) -> Iterator[Sample]:
    """Samples of a labelled data set or of a folder of composed scenes, streamed; the first error raises.

    ``split`` and ``tasks`` choose some of them; an unknown split gives none.
    """
    from generalist_datasets.world.shards import is_shards

    chosen = None if tasks is None else {get_task(task).name for task in tasks}
    if format is None and is_shards(path):
        return _scenes(path, split, chosen)
    return _labelled(read_records(path, format, options=options), split, chosen)


def _scenes(path: Path, split: str | None, tasks: Collection[str] | None) -> Iterator[Sample]:
    from generalist_datasets.world.shards import read_shards

    for sample in read_shards(path):
        if (tasks is None or sample.task in tasks) and split in (None, sample.meta.get("split")):
            yield sample


def _labelled(records: Iterator[Record], split: str | None, tasks: Collection[str] | None) -> Iterator[Sample]:
    from generalist_datasets.record_samples import to_samples

    for record in records:
        if split in (None, record.split):
            yield from to_samples(record, tasks)


def _unknown(path: Path) -> str:
    """Why no reader is for ``path``, and what to do."""
    from generalist_datasets.corpora import detect_corpus
    from generalist_datasets.world.shards import is_shards

    if is_shards(path):
        return "these are composed scenes, not records; read_samples reads them"
    corpus = detect_corpus(path)
    if corpus is not None:
        return f"this is a corpus of text ({corpus.name}), which has no images"
    if not os.path.isdir(path):
        contents = f"a file {path.suffix or 'without a suffix'}"
    elif not (contents := _contents(path)):
        return "the folder is empty; name one with pictures and their labels"
    return (
        f"no labels in a known format ({contents}); name it with --format: {', '.join(READERS)}; "
        "and where the pictures are with --images, if they are elsewhere"
    )


def _contents(path: Path) -> str:
    """What is in a folder, in a few words; "" for nothing."""
    kinds: Counter[str] = Counter()
    folders: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in islice(entries, _MOST_ENTRIES):
                if os.path.isdir(entry.path):  # False, not an error, for a link to itself
                    folders.append(entry.name)
                else:
                    kinds[Path(entry.name).suffix.lower() or "no suffix"] += 1
    except OSError as error:
        return error.strerror or "it cannot be listed"
    parts = [f"{count:,} {kind}" for kind, count in kinds.most_common(4)]
    if folders:
        parts.append(f"folders {', '.join(sorted(folders)[:6])}{', ...' if len(folders) > 6 else ''}")
    return f"it holds {'; '.join(parts)}" if parts else ""


def _short(path: Path) -> str:
    return str(path)[:200]
