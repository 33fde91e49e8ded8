"""How files of the COCO family lie in a folder: which of them it holds, of which split, and where the pictures are.

The split is what the name of the file says ("train2017" of instances_train2017.json, "valid" of val sets that
call themselves so), else that of its folder (Roboflow's train/_annotations.coco.json), else "".
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, TypeAlias

from generalist.types import GeneralistError
from generalist_datasets.readers.base import Options
from generalist_datasets.readers.json_stream import sniff

Family: TypeAlias = Literal["coco", "coco_panoptic", "lvis"]

MOST_FILES = 64
"""json files of one folder, and sub-folders, that are looked at; a folder of more is another format (LabelMe)."""

_ANNOTATION_FOLDERS = frozenset(["annotations", "annotation", "labels", "json"])
_LISTS = re.compile(r'"(images|annotations|categories)"\s*:\s*\[')
_COCO_FIELDS = re.compile(r'"(?:image_id|file_name|coco_url)"\s*:')
_LVIS_FIELDS = re.compile(r'"(?:neg_category_ids|not_exhaustive_category_ids|synset|instance_count)"\s*:')
_PANOPTIC_FIELDS = re.compile(r'"segments_info"\s*:')
_SPLIT = re.compile(
    r"(?<![a-z0-9])(?:trainval|train|validation|valid|val|test[ab]?|minival|dev|unlabeled)(?:-dev)?\d*(?![a-z0-9])",
    re.IGNORECASE,
)


def family_of(path: Path) -> Family | None:
    """Which format a json file is in, from its first and last 64 KiB; None for none of the family."""
    text = sniff(path)
    lists = len(set(_LISTS.findall(text)))
    if not text.startswith("{") or not lists or (lists == 1 and not _COCO_FIELDS.search(text)):
        return None
    if _PANOPTIC_FIELDS.search(text):
        return "coco_panoptic"
    return "lvis" if _LVIS_FIELDS.search(text) else "coco"


def families(path: Path) -> dict[Path, Family]:
    """The files of the family in a folder and its sub-folders, by name; of a file, itself."""
    if os.path.isfile(path):
        candidates = [path]
    else:
        files, folders = _listing(path)
        candidates = files + [file for folder in folders for file in _listing(folder)[0]]
    found = {candidate: family_of(candidate) for candidate in candidates}
    return {file: family for file, family in found.items() if family}


def detects(path: Path, family: Family) -> bool:
    """Whether ``path`` is for the reader of ``family``: plain COCO comes first where a folder holds several."""
    found = set(families(path).values())
    return family in found and (family == "coco" or "coco" not in found)


def annotation_files(path: Path, family: Family) -> list[Path]:
    """The files to read; a file that the user names is taken whatever it looks like."""
    if os.path.isfile(path):
        return [path]
    found = [file for file, its_family in families(path).items() if its_family == family]
    if not found:
        raise GeneralistError(f"{path}: no {family} annotations there; name the .json file that holds them")
    return found


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """(json files, sub-folders), each sorted by name; the first ``MOST_FILES`` of them."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(".json"):
                    files.append(entry.name)
                elif not entry.name.startswith(".") and entry.is_dir():
                    folders.append(entry.name)
    except (OSError, ValueError):  # not a folder, not readable, no name at all
        return [], []
    return [folder / name for name in sorted(files)[:MOST_FILES]], [folder / n for n in sorted(folders)[:MOST_FILES]]


def split_of(file: Path, root: Path) -> str:
    """The split that a file, or a folder between it and ``root``, is named after; "" for none."""
    match = _SPLIT.search(file.stem)
    if match:
        return match.group()
    for folder in (file.parent, file.parent.parent):
        if _SPLIT.fullmatch(folder.name):
            return folder.name
        if folder == root or folder.name.lower() not in _ANNOTATION_FOLDERS:
            break
    return ""


def picture_folders(file: Path, root: Path, split: str, options: Options) -> list[Path]:
    """Existing folders where the pictures of an annotation file may be, the likeliest first.

    ``options.images``, where the user gave it, is the only place that is looked at (and its split's folder).
    """
    short = split.rstrip("0123456789")
    if options.images is not None:
        candidates = [options.images / split, options.images / short, options.images]
    else:
        bases = [file.parent]
        if file.parent != root or file.parent.name.lower() in _ANNOTATION_FOLDERS:
            bases.append(file.parent.parent)
        names = (split, f"images/{split}", short, f"images/{short}", f"{split}/images", "images", "", "data")
        candidates = [base / name for base in bases for name in names]
    return [folder for folder in dict.fromkeys(candidates) if os.path.isdir(folder)]
