"""YOLO: a text file of labels for every picture, with boxes, polygons, oriented boxes (as polygons) or keypoints.

``data.yaml`` says where the pictures of each split are: a folder, a list of folders, or a text file of pictures. The
labels of ``images/train/a.jpg`` are in ``labels/train/a.txt``, or beside the picture. Without a yaml (or when none of
its folders is there) these arrangements are read: ``images/`` + ``labels/``; ``train/images/`` + ``train/labels/``;
labels beside the pictures; and a folder of labels with another name beside ``images/``. Where a folder has several
yaml files or folders of labels, the ones whose names go together are taken (``boxes.yaml``, ``yolo-boxes/``).
Classes are then named in ``classes.txt``, ``obj.names`` or the like. A picture without a label file shows nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from generalist.images import IMAGE_SUFFIXES
from generalist.types import GeneralistError
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.fields import show
from generalist_datasets.readers.lines import read_head, text_lines
from generalist_datasets.readers.pairs import (
    IMAGE_FOLDERS,
    files_in,
    folders_in,
    named_folder,
    record_id,
    split_of,
    walk,
)
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.readers.yolo_labels import Classes, Frame, looks_like_labels, read_labels
from generalist_datasets.readers.yolo_yaml import YAML_SUFFIXES, DataYaml, looks_like_data_yaml, read_data_yaml
from generalist_datasets.records import Problems, Record, Where

_NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "classes.names", "labels.names")
_PEEK = 8  # label files, yaml files or folders that detection looks into


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Pictures of a split. ``images``: their folder, or a text file that lists them. ``labels``: the folder with the
    same sub-folders; None where the rule of "images" and "labels" finds them."""

    images: Path
    labels: Path | None
    split: str


def detect(path: Path) -> bool:
    """A ``data.yaml``, or a folder with one, or pictures with YOLO's text files."""
    if os.path.isfile(path):
        return looks_like_data_yaml(path)
    return bool(_yaml_files(path)) or bool(_plain_sources(path, None, ""))


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a picture."""
    root = path.parent if os.path.isfile(path) else path
    files = [path] if os.path.isfile(path) else _yaml_files(path) or _yaml_files_beside(path)
    chosen = _best(files, path.name, ("data.yaml",))
    data = read_data_yaml(chosen, problems) if chosen else None
    if chosen and data is None:
        return
    sources = _yaml_sources(data, problems) if data and data.file.parent == root else []
    sources = sources or _plain_sources(root, options.images, chosen.stem if chosen else "")
    names = data.names if data else {}
    if not names:
        names = _listed_names([root, *(s.labels for s in sources if s.labels), root.parent], problems)
    classes = Classes(names=names, keypoints=data.keypoints if data else None)
    found = False
    for source in sources:
        for image, label in _pairs(source, root, problems):
            found = True
            there = os.path.isfile(label)
            if there or not (data and data.skip_unlabelled):
                record = _record(image, label if there else None, root, source, classes, problems)
                if record is not None:
                    yield record
    if not found:
        problems.error("nothing to read", Where(file=chosen or path), "no pictures with labels: images/ and labels/")


def _record(
    image: Path, label: Path | None, root: Path, source: _Source, classes: Classes, problems: Problems
) -> Record | None:
    split = source.split or split_of(image.relative_to(source.images).parent)
    empty = Record(id=record_id(image, root), images=(image,), where=Where(file=label or image), split=split)
    if label is None or not os.path.getsize(label):
        return empty
    try:
        frame = Frame.of(image)
    except GeneralistError as error:
        problems.unreadable(image, error)
        return None
    annotations = read_labels(label, frame, classes, problems)
    if annotations is None:
        return None
    return Record(
        id=empty.id, images=(image,), where=Where(file=label), split=split, size=frame.size, annotations=annotations
    )


# --- pictures and their label files -------------------------------------------------------------------


def _pairs(source: _Source, root: Path, problems: Problems) -> Iterator[tuple[Path, Path]]:
    """Pictures and where their labels are, if they have any."""
    if os.path.isfile(source.images):
        for image in _listed_pictures(source.images, root, problems):
            yield image, _label_file(image, source)
        return
    for folder, names in walk(source.images, IMAGE_SUFFIXES):
        labels = {folder: set[str]()}
        for name in names:
            label = _label_file(folder / name, source)
            labels.setdefault(label.parent, set()).add(label.name)
            yield folder / name, label
        inside = _label_file(folder / "a", source).parent
        labels.setdefault(inside, set())
        for label_folder, used in labels.items():
            if label_folder == folder:
                continue  # text files beside pictures may be anything
            for name in files_in(label_folder, {".txt"}):
                if name not in used and name not in _NAME_FILES:
                    problems.warn("missing image", Where(file=label_folder / name), f"no picture in {folder}")
    labels_root = _label_file(source.images / "a", source).parent
    for folder, names in walk(labels_root, {".txt"}):
        beside = source.images / folder.relative_to(labels_root)
        if not set(names) <= set(_NAME_FILES) and not os.path.isdir(beside):
            problems.warn("missing image", Where(file=folder), f"no folder {beside}")


def _label_file(image: Path, source: _Source) -> Path:
    name = image.stem + ".txt"
    if source.labels is not None:
        return source.labels / image.parent.relative_to(source.images) / name
    parts = list(image.parent.parts)
    at = next((i for i in reversed(range(len(parts))) if parts[i].lower() == "images"), None)
    if at is None:
        return image.parent / name
    parts[at] = "labels"
    mirrored = Path(*parts) / name
    return image.parent / name if os.path.isfile(image.parent / name) and not os.path.isfile(mirrored) else mirrored


def _listed_pictures(file: Path, root: Path, problems: Problems) -> Iterator[Path]:
    """The pictures that a text file names, one a line."""
    for where, line in text_lines(file, problems):
        name = line.strip()
        if not name:
            continue
        image = resolve_image(name, [file.parent, root])
        if image is None:
            problems.error("missing image", where, show(name))
        else:
            yield image


# --- where the pictures are -------------------------------------------------------------------------------


def _yaml_files(folder: Path) -> list[Path]:
    names = files_in(folder, YAML_SUFFIXES)[:_PEEK]
    return [folder / name for name in names if looks_like_data_yaml(folder / name)]


def _yaml_files_beside(path: Path) -> list[Path]:
    """The yaml files beside a folder of nothing but labels, which name its classes."""
    alone = _has_labels(path) and not any(names for _, names in islice(walk(path, IMAGE_SUFFIXES), _PEEK))
    return _yaml_files(path.parent) if alone else []


def _yaml_sources(data: DataYaml, problems: Problems) -> list[_Source]:
    """What the yaml names, as far as it is there. What is not there is an error only when nothing is."""
    sources, missing = [], []
    for split, entries in data.splits.items():
        for entry in entries:
            found = _find_entry(entry, data.folders)
            if found is None:
                missing.append(f"{split}: {show(entry)}")
            else:
                sources.append(_Source(images=found, labels=None, split=split))
    if missing:
        problems.warn("missing folder", Where(file=data.file), ", ".join(missing))
    return sources


def _find_entry(entry: str, folders: Iterable[Path]) -> Path | None:
    """The folder or list that an entry of the yaml means; exports often write `../train/images` for `train/images`."""
    if "\0" in entry or "://" in entry:
        return None
    written = entry.replace("\\", "/")
    for folder in folders:
        for candidate in (written, written.removeprefix("../")):
            found = Path(os.path.normpath(os.path.join(folder, candidate)))
            is_list = found.suffix == ".txt" and os.path.isfile(found)
            if is_list or (os.path.isdir(found) and found != found.parent):  # never a whole disk
                return found
    return None


def _plain_sources(root: Path, images: Path | None, wanted: str) -> list[_Source]:
    """Pictures and labels without a yaml. ``wanted``: what the name of the folder of labels should hold."""
    sources = []
    splits = [name for name in folders_in(root) if split_of(Path(name))]
    for base in (root, *(root / name for name in splits)):
        pictures = images or named_folder(base, IMAGE_FOLDERS)
        if pictures and _has_labels(base / "labels"):
            sources.append(_Source(images=pictures, labels=base / "labels", split=split_of(Path(base.name))))
    if sources:
        return sources
    if _has_labels(root, beside_pictures=True):
        return [_Source(images=root, labels=root, split="")]
    pictures = images or named_folder(root, IMAGE_FOLDERS)
    others = [root / n for n in folders_in(root) if pictures != root / n][: 4 * _PEEK] if pictures else []
    labels = _best([f for f in others if _has_labels(f)], wanted, ())
    if labels is None and _has_labels(root):  # the folder of labels itself was named
        pictures = images or named_folder(root.parent, IMAGE_FOLDERS)
        labels = root
    return [_Source(images=pictures, labels=labels, split="")] if pictures and labels else []


def _has_labels(folder: Path, *, beside_pictures: bool = False) -> bool:
    """Whether the first text files in ``folder``, or in the first folders in it, are YOLO's labels."""
    for inner, names in islice(walk(folder, {".txt"}), _PEEK):
        candidates = [n for n in names if n not in _NAME_FILES]
        if beside_pictures:
            stems = {os.path.splitext(name)[0] for name in files_in(inner, IMAGE_SUFFIXES)}
            candidates = [n for n in candidates if os.path.splitext(n)[0] in stems]
        if any(looks_like_labels(read_head(inner / name, 4096)) for name in candidates[:_PEEK]):
            return True
    return False


def _best(candidates: list[Path], wanted: str, usual: tuple[str, ...]) -> Path | None:
    """The candidate with a usual name, else one whose name holds ``wanted`` or is held by it, else the first."""
    for candidate in candidates:
        if candidate.name in usual:
            return candidate
    related = [c for c in candidates if wanted and (wanted in c.name or c.stem in wanted)]
    return next(iter([*related, *candidates]), None)


def _listed_names(folders: Iterable[Path], problems: Problems) -> dict[int, str]:
    """Class names from a text file, one a line from class 0."""
    for file in (folder / name for folder in folders for name in _NAME_FILES):
        if os.path.isfile(file):
            names: dict[int, str] = {}
            for where, line in text_lines(file, problems):
                if words := " ".join(line.split()):
                    names[len(names)] = words
                    problems.declare(words, where)
            return names
    return {}


READER = Reader(
    name="yolo",
    summary="YOLO: boxes, polygons or keypoints in a text file a picture, with or without data.yaml",
    detect=detect,
    read=read,
)
