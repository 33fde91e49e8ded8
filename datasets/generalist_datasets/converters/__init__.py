"""A data set carried to other tools: as COCO json, or as conversations.

Stages: records of a reader, or scenes of a folder of shards -> a writer -> a new folder, renamed when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from generalist.types import GeneralistError, Sample
from generalist_datasets.converters.coco import write_coco
from generalist_datasets.converters.folder import OutFolder, Written, new_folder
from generalist_datasets.converters.messages import write_messages
from generalist_datasets.converters.scenes import scene_records
from generalist_datasets.readers import Options, read_records
from generalist_datasets.record_samples import to_samples
from generalist_datasets.records import Problems, Record
from generalist_datasets.world.shards import is_shards, read_shards

__all__ = ["Form", "OutFolder", "Written", "convert", "new_folder", "scene_records", "write_coco", "write_messages"]

Form: TypeAlias = Literal["coco", "messages"]


def convert(
    path: Path,
    form: Form,
    out: Path,
    *,
    format: str | None = None,
    options: Options | None = None,
    problems: Problems | None = None,
) -> Written:
    """Write the data set at ``path`` into the new folder ``out``.

    Args:
        path: a labelled data set in any known format, or a folder of composed scenes.
        form: "coco": ``instances_SPLIT.json`` and ``captions_SPLIT.json``; "messages": ``SPLIT.jsonl``.
        out: must not exist yet, or be empty. Pictures stay where they are and are named by their absolute path, or
            relative to ``options.images`` where they are in it; those that are no files yet go to ``out/images``.
        format: of what is at ``path``, found from its contents by default.
        options: of the reader.
        problems: takes what is wrong; such entries are left out. By default the first error raises.

    Raises:
        GeneralistError: nothing could be read, or ``out`` cannot be written.
    """
    options, problems = options or Options(), problems or Problems()
    scenes = format is None and is_shards(path)
    with new_folder(out, options.images) as folder:
        if scenes and form == "coco":
            written = write_coco(scene_records(path, folder), folder, problems)
        elif scenes:
            written = write_messages(((sample, ()) for sample in read_shards(path)), folder)
        else:
            records = read_records(path, format, options=options, problems=problems)
            if form == "coco":
                written = write_coco(records, folder, problems)
            else:
                written = write_messages(_samples(records, problems), folder)
        if not any(written.counts.values()):
            reason = ", ".join(f"{count:,} {name}" for name, count in written.left_out.items()) or "nothing was read"
            raise GeneralistError(f"{path}: nothing in it can be written as {form} ({reason}); try the other form")
    return written


def _samples(records: Iterator[Record], problems: Problems) -> Iterator[tuple[Sample, tuple[Path, ...]]]:
    """Every sample of the records, with the files of its pictures in the order of the pictures."""
    for record in records:
        try:
            for sample in to_samples(record):
                yield sample, record.images if sample.earlier_images else record.images[:1]
        except GeneralistError as error:
            problems.error("unreadable picture", record.where, str(error))
