"""Colour and depth side by side in one folder, as RGB-D cameras record it.

7-Scenes: ``seq-01/frame-000000.color.png`` + ``frame-000000.depth.png``; ``TrainSplit.txt`` and ``TestSplit.txt`` list
the sequences of each split. NYU: ``kitchen_0001/rgb_00000.jpg`` + ``sync_depth_00000.png``, and ``00000_colors.png`` +
``00000_depth.png``. Depth is in millimetres unless ``Options.depth_scale`` says otherwise; 0 and 65535 are unknown.
Pictures and depth in folders of their own are a ``depth_folder``, which this reader hands them to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from generalist.images import IMAGE_SUFFIXES
from generalist_datasets.readers import depth_folder
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.pairs import read_text, record_id, split_of, walk
from generalist_datasets.records import Problems, Record, Where

_NAMES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(frame-\d+)\.color"), (r"\1.depth",)),
    (re.compile(r"rgb_(\w+)"), (r"sync_depth_\1", r"depth_\1")),
    (re.compile(r"(.+)[_.](?:rgb|colors?)"), (r"\1_depth", r"\1.depth")),
)
"""What a picture of colours is called, and what its depth may be: file names without the suffix."""

_DEPTH_NAME = re.compile(r"(sync_)?depth_\w+|.+[_.]depth")
_SUFFIXES = (".png", ".npy", ".tiff", ".tif")
_SPLIT_FILES = {"TrainSplit.txt": "train", "TestSplit.txt": "test"}
_MOST_BYTES = 1 << 20
_PEEK = 16  # folders that detection looks into


def detect(path: Path) -> bool:
    """A folder, or folders in it, with a picture and its depth under names that belong together."""
    for _, names in islice(walk(path, IMAGE_SUFFIXES | set(_SUFFIXES)), _PEEK):
        there = set(names)
        if any(_depth_of(name, there) for name in names):
            return True
    return False


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a picture that has depth."""
    if not detect(path) and depth_folder.detect(path):
        yield from depth_folder.read(path, problems, options)
        return
    scale = depth_folder.given_scale(options)
    splits = _splits(path, problems)
    found = False
    for folder, names in walk(path, IMAGE_SUFFIXES | set(_SUFFIXES)):
        split = splits.get(folder.name) or split_of(folder.relative_to(path))
        for name, depth_name in _pairs(folder, names, problems):
            found = True
            depth = depth_folder.depth_file(folder / depth_name, scale, problems)
            if depth is not None:
                yield Record(
                    id=record_id(folder / name, path),
                    images=(folder / name,),
                    where=Where(file=folder / depth_name),
                    split=split,
                    depth=depth,
                )
    if not found:
        detail = "no frame-000000.color.png, rgb_00000.jpg or 00000_colors.png with its depth"
        problems.error("nothing to read", Where(file=path), detail)


def _pairs(folder: Path, names: list[str], problems: Problems) -> Iterator[tuple[str, str]]:
    """Pictures of colours and their depth; what has no partner is warned of."""
    there = set(names)
    used = set()
    for name in names:
        if _is_colour(name):
            depth = _depth_of(name, there)
            if depth is None:
                problems.warn("missing label", Where(file=folder / name), "no depth beside it")
            else:
                used.add(depth)
                yield name, depth
    for name in names:
        if _DEPTH_NAME.fullmatch(os.path.splitext(name)[0]) and name not in used:
            problems.warn("missing image", Where(file=folder / name), "no picture of colours beside it")


def _is_colour(name: str) -> bool:
    stem, suffix = os.path.splitext(name)
    return suffix.lower() in IMAGE_SUFFIXES and any(pattern.fullmatch(stem) for pattern, _ in _NAMES)


def _depth_of(name: str, there: set[str]) -> str | None:
    """The depth file of a picture of colours, among the names in its folder."""
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in IMAGE_SUFFIXES:
        return None
    for pattern, depths in _NAMES:
        if match := pattern.fullmatch(stem):
            candidates = (match.expand(depth) + suffix for depth in depths for suffix in _SUFFIXES)
            return next((c for c in candidates if c in there), None)
    return None


def _splits(root: Path, problems: Problems) -> dict[str, str]:
    """The split of each sequence's folder; a line "sequence1" is the folder seq-01."""
    found = {}
    for name, split in _SPLIT_FILES.items():
        if os.path.isfile(root / name) and (text := read_text(root / name, problems, _MOST_BYTES)) is not None:
            for number, line in enumerate(text.splitlines(), 1):
                match = re.fullmatch(r"\s*seq(?:uence)?[-_ ]?([0-9]{1,6})\s*", line, re.IGNORECASE)
                if match:
                    found[f"seq-{int(match[1]):02d}"] = split
                elif line.strip():
                    where = Where(file=root / name, entry=f"line {number}")
                    problems.warn("unknown sequence", where, f"{line.strip()[:40]!r}; a line is like sequence1")
    return found


READER = Reader(
    name="rgbd",
    summary="7-Scenes and NYU-like recordings: colour and depth side by side",
    detect=detect,
    read=read,
)
