"""Which folders and files of a data set belong together: pictures and labels of the same name.

Every function takes folders as they come: unreadable ones count as empty, and links are followed once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generalist.images import IMAGE_SUFFIXES
from generalist_datasets.readers.json_stream import open_regular
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Problems, Where

SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["val", "valid", "validation", "dev"], "val"),
    **dict.fromkeys(["test", "testing"], "test"),
    "trainval": "trainval",
}
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "rgb", "color", "colour", "leftImg8bit")

_USUAL_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".JPEG", ".PNG", ".bmp", ".webp", ".tif", ".tiff")
_MOST_FOLDERS = 1_000_000  # of one data set; a label file may send a reader to the root of a disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Pictures and their labels. ``split`` is "" where only sub-folders say it."""

    images: Path
    labels: Path
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    image: Path
    label: Path
    split: str


def split_of(path: Path) -> str:
    """The split that the last telling part of ``path`` names: "train" of a/training/b; "" when none does."""
    return next((SPLITS[part.lower()] for part in reversed(path.parts) if part.lower() in SPLITS), "")


def files_in(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Names of the files directly in ``folder`` with one of ``suffixes`` (lower case), sorted; hidden ones left out."""
    names, _ = _listing(folder)
    return [n for n in names if os.path.splitext(n)[1].lower() in suffixes]


def folders_in(folder: Path) -> list[str]:
    """Names of the folders directly in ``folder``, sorted; hidden ones left out."""
    return _listing(folder)[1]


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith((".", "__MACOSX"))), key=lambda e: e.name)
    except (OSError, ValueError):
        return [], []
    return [e.name for e in entries if _is(e.is_file)], [e.name for e in entries if _is(e.is_dir)]


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link to itself
        return False


def walk(root: Path, suffixes: Collection[str]) -> Iterator[tuple[Path, list[str]]]:
    """``root`` and every folder in it, sorted, each with the names of its files with one of ``suffixes``."""
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting and len(seen) < _MOST_FOLDERS:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
        except (OSError, ValueError):
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        names, inner = _listing(folder)
        yield folder, [n for n in names if os.path.splitext(n)[1].lower() in suffixes]
        waiting += [folder / name for name in reversed(inner)]


def holds(folder: Path, suffixes: Collection[str]) -> bool:
    """Whether ``folder``, or one of the first folders in it, has a file with one of ``suffixes``."""
    return any(names for _, (_, names) in zip(range(16), walk(folder, suffixes), strict=False))


def find_folders(
    root: Path,
    labels: Sequence[str],
    suffixes: Collection[str],
    *,
    images: Path | None = None,
    endings: Sequence[str] = (),
) -> list[Folders]:
    """The folders of pictures and of labels in ``root``, in one of the usual arrangements:

    ``images/`` + ``masks/`` (whose sub-folders may be splits), ``train/images/`` + ``train/masks/``, and
    ``train/`` + ``trainannot/``. ``labels`` are the names a folder of labels may have (or the same with a capital),
    ``endings`` what may be added to a picture folder's name, ``suffixes`` those of label files. ``images``: the
    pictures' folder, where the user named it; ``root`` may then be the folder of labels itself.
    """
    found = []
    taken = {n for name in (*IMAGE_FOLDERS, *labels) for n in (name, name.capitalize())}
    inner = [n for n in folders_in(root) if n not in taken]
    for base in (root, *(root / name for name in inner)):
        of_images = images or named_folder(base, IMAGE_FOLDERS)
        of_labels = named_folder(base, labels, lambda folder: holds(folder, suffixes)) if of_images else None
        if of_images and of_labels:
            found.append(Folders(images=of_images, labels=of_labels, split=split_of(Path(base.name))))
    if found:
        return found
    names = set(inner)
    beside = [(name, name + ending) for name in inner for ending in endings if name + ending in names]
    found = [Folders(images=root / a, labels=root / b, split=split_of(Path(a))) for a, b in beside]
    found = [f for f in found if holds(f.labels, suffixes) and holds(f.images, IMAGE_SUFFIXES)]
    if not found and images and holds(root, suffixes):
        return [Folders(images=images, labels=root)]
    return found


def named_folder(base: Path, names: Sequence[str], accept: Callable[[Path], bool] = os.path.isdir) -> Path | None:
    """The acceptable folder in ``base`` that comes first in ``names``; what else is in there is not looked at."""
    folders = (base / n for name in names for n in (name, name.capitalize()))
    return next((f for f in folders if os.path.isdir(f) and accept(f)), None)


def pair_files(
    folders: Folders,
    suffixes: Collection[str],
    problems: Problems,
    key: Callable[[str], str | None] = lambda stem: stem,
) -> Iterator[Pair]:
    """Pictures with the label file of the same stem in the same sub-folder, sorted.

    ``key``: what else the picture's stem may be, given the label file's; None for a file that holds no labels. Of
    several files for one picture the first counts. Pictures without labels and labels without pictures are warned of.
    """
    for folder, names in walk(folders.images, IMAGE_SUFFIXES):
        inside = folder.relative_to(folders.images)
        pictures = {os.path.splitext(name)[0] for name in names}
        labels: dict[str, str] = {}
        for name in files_in(folders.labels / inside, suffixes):
            own = os.path.splitext(name)[0]
            if (stem := own if own in pictures else key(own)) is not None:
                labels.setdefault(stem, name)
        used = set()
        for name in names:
            stem = os.path.splitext(name)[0]
            if stem not in labels:
                problems.warn("missing label", Where(file=folder / name), f"nothing in {folders.labels / inside}")
                continue
            used.add(stem)
            label = folders.labels / inside / labels[stem]
            yield Pair(image=folder / name, label=label, split=split_of(inside) or folders.split)
        for stem in sorted(labels.keys() - used):
            problems.warn("missing image", Where(file=folders.labels / inside / labels[stem]), f"nothing in {folder}")
    for folder, names in walk(folders.labels, suffixes):
        beside = folders.images / folder.relative_to(folders.labels)
        if names and not os.path.isdir(beside):
            problems.warn("missing image", Where(file=folder), f"no folder {beside}")


def picture_with_stem(stem: str, folders: Sequence[Path]) -> Path | None:
    """The picture of a label file with this stem, where the file does not say its name."""
    found = (resolve_image(stem + suffix, folders) for suffix in _USUAL_SUFFIXES)
    return next((image for image in found if image), None)


def record_id(image: Path, root: Path) -> str:
    """A picture's name in the data set: its path from ``root`` without the suffix."""
    inside = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return inside.with_suffix("").as_posix()


def read_bytes(file: Path, problems: Problems, most: int) -> bytes | None:
    """A file of up to ``most`` bytes; None, and an error, for any other."""
    try:
        with open_regular(file) as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise OSError(f"more than {most:,} bytes")
        return data
    except (OSError, ValueError) as error:
        problems.unreadable(file, error)
        return None


def read_text(file: Path, problems: Problems, most: int) -> str | None:
    """A text file of up to ``most`` bytes, UTF-8 with or without a mark; None, and an error, for any other."""
    data = read_bytes(file, problems, most)
    try:
        return None if data is None else data.decode("utf-8-sig")
    except ValueError as error:
        problems.unreadable(file, error)
        return None
