"""The labelled folders that may be inspected, and what is asked about their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from generalist.pipeline import EVERYTHING
from generalist.tasks import question
from generalist.types import GeneralistError, Grounded
from generalist.visual import Size
from generalist_datasets.readers import get_reader, read_records
from generalist_datasets.record_samples import to_samples
from generalist_datasets.records import Problems, Record

DrawingTask: TypeAlias = Literal["detect", "segment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A labelled folder (or annotation file) under the ``name`` that the page calls it."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """A picture of a labelled folder. ``size`` = (W, H) of the upright picture; ``truth``: everything in it that a task
    can draw; ``questions``: what is asked about it, one after the other."""

    id: str
    path: Path
    size: Size
    truth: tuple[Grounded, ...]
    questions: tuple[str, ...]


def find_folders(paths: Sequence[Path]) -> tuple[Folder, ...]:
    """The folders at ``paths``; :class:`GeneralistError` for one that no reader knows."""
    folders: list[Folder] = []
    for path in paths:
        get_reader(path)
        name = path.resolve().name or str(path)
        again = sum(folder.name == name or folder.name.startswith(f"{name} (") for folder in folders)
        folders.append(Folder(name=f"{name} ({again + 1})" if again else name, path=path))
    return tuple(folders)


def read_pictures(folder: Folder, task: DrawingTask, *, by_class: bool) -> Iterator[Labelled | None]:
    """The folder's pictures that have something to draw, in its order; None for one that cannot be read.

    ``by_class``: a question for each class that is in the picture, instead of one for everything.
    """
    # What is wrong with single entries is for `data check` to tell; here they are left out.
    records = read_records(folder.path, problems=Problems(strict=False, keep=0))
    for record in records:
        if not record.images or not any(_drawable(record, task)):
            continue
        try:
            picture = _labelled(record, task, by_class)
        except GeneralistError:
            yield None
            continue
        if picture is not None:
            yield picture


def _drawable(record: Record, task: DrawingTask) -> Iterator[bool]:
    for annotation in record.annotations:
        has_box = annotation.xyxy is not None and task == "detect"
        yield (has_box or annotation.segment is not None) and not annotation.crowd


def _labelled(record: Record, task: DrawingTask, by_class: bool) -> Labelled | None:
    samples = {sample.prompt: sample for sample in to_samples(record, [task])}
    # With stuff, everything is more than the things; each class has a sample of its own either way.
    whole = samples.get(question(task, "everything")) or samples.get(question(task, EVERYTHING))
    if whole is None:
        return None
    classes = tuple(question(task, name) for name in dict.fromkeys(target.label for target in whole.targets))
    return Labelled(
        id=record.id,
        path=record.image,
        size=whole.image.size,
        truth=whole.targets,
        questions=classes if by_class else (whole.prompt,),
    )
