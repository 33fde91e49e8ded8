"""Folders of depth maps: ``images/`` and ``depth/`` with files of the same name.

Maps are 16-bit PNG or TIFF, or ``.npy`` / ``.npz``. How many levels make a metre: ``Options.depth_scale``, else
``depth_scale.txt``, ``scale.txt`` or ``{"depth_scale": ...}`` in ``metadata.json`` beside the folders, else 256 in
KITTI's layouts, else 1 for arrays of floats and 1000 (millimetres) for integers. 0, negatives, NaN and 65535 are
unknown depth.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.depth import ARRAY_SUFFIXES, DEPTH_SUFFIXES, array_header
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.pairs import Folders, find_folders, pair_files, read_text, record_id
from generalist_datasets.records import DepthFile, Problems, Record, Where

DEPTH_FOLDERS = ("depth", "depths", "depth_maps", "depth_map", "depthmaps", "groundtruth_depth", "depth_gt", "gt_depth")
SATURATED = 65535
"""What sensors write where they measured nothing; as millimetres it would be 65 m."""

_FOLDER_ENDINGS = ("_depth", "depth")
_FILE_ENDINGS = ("_depth", "-depth", ".depth")
_SCALE_FILES = ("depth_scale.txt", "scale.txt", "metadata.json")
_MILLIMETRES, _KITTI = 1000.0, 256.0
_MOST_BYTES = 1 << 20


def detect(path: Path) -> bool:
    """A folder of pictures beside a folder of depth maps."""
    return bool(_folders(path, None))


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a picture that has a depth map."""
    folders = _folders(path, options.images)
    if not folders:
        problems.error("nothing to read", Where(file=path), "no pictures and depth maps side by side (images/, depth/)")
    for pair_of_folders in folders:
        beside = pair_of_folders.labels.parent
        scale = given_scale(options) or _written_scale(dict.fromkeys([path, beside, pair_of_folders.labels]), problems)
        for pair in pair_files(pair_of_folders, DEPTH_SUFFIXES, problems, _stem):
            depth = depth_file(pair.label, scale, problems)
            if depth is not None:
                yield Record(
                    id=record_id(pair.image, path),
                    images=(pair.image,),
                    where=Where(file=pair.label),
                    split=pair.split,
                    depth=depth,
                )


def given_scale(options: Options) -> float | None:
    """The user's scale; raises :class:`GeneralistError` when it is no scale."""
    scale = options.depth_scale
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise GeneralistError(f"the depth scale is {scale}; say how many levels make a metre, such as 1000")
    return scale


def depth_file(file: Path, scale: float | None, problems: Problems) -> DepthFile | None:
    """How to read a depth map, from its header; None, and an error, for a file that is none.

    ``scale``: levels a metre, None where nothing says it.
    """
    floats = _floats(file, problems)
    if floats is None:
        return None
    if floats:
        return DepthFile(file=file, scale=scale or 1.0)
    usual = _KITTI if _is_kitti(file) else _MILLIMETRES
    return DepthFile(file=file, scale=scale or usual, invalid=(SATURATED,))


def _floats(file: Path, problems: Problems) -> bool | None:
    """Whether a depth map holds floats; None, and an error, for a file that is no depth map."""
    if file.suffix.lower() in ARRAY_SUFFIXES:
        try:
            return array_header(file)[1].kind == "f"
        except GeneralistError as error:
            problems.unreadable(file, error)
            return None
    try:
        with Image.open(file, formats=("PNG", "TIFF")) as picture:
            mode = picture.mode
    except Exception:  # readers of headers raise many types on hostile bytes
        problems.error("unreadable file", Where(file=file), "not a PNG or TIFF picture")
        return None
    if mode == "L":
        problems.warn("8-bit depth", Where(file=file), "depth in metres is usually 16-bit; this may be for looking at")
    elif not mode.startswith(("I", "F")):
        problems.error("wrong type", Where(file=file), f"a depth map has one channel of 16 bits, this is {mode}")
        return None
    return mode == "F"


def _folders(path: Path, images: Path | None) -> list[Folders]:
    return find_folders(path, DEPTH_FOLDERS, DEPTH_SUFFIXES, images=images, endings=_FOLDER_ENDINGS)


def _stem(stem: str) -> str:
    """The picture's stem of a depth map's."""
    if "_groundtruth_depth_" in stem:  # KITTI's selection: drive_image_0000_image_02 and drive_groundtruth_depth_...
        return stem.replace("_groundtruth_depth_", "_image_")
    return next((stem.removesuffix(e) for e in _FILE_ENDINGS if stem.endswith(e) and stem != e), stem)


def _is_kitti(file: Path) -> bool:
    """By the folders of its layouts, or one called kitti; not by what is farther up, which is the user's home."""
    folders = [part.lower() for part in file.absolute().parts[:-1]]
    layouts = {"proj_depth", "image_02", "groundtruth_depth"}
    return not layouts.isdisjoint(folders[-6:]) or any("kitti" in name for name in folders[-3:])


def _written_scale(folders: dict[Path, None], problems: Problems) -> float | None:
    """The scale that a file beside the folders says."""
    files = [folder / name for folder in folders for name in _SCALE_FILES]
    for file in files:
        if not os.path.isfile(file) or (text := read_text(file, problems, _MOST_BYTES)) is None:
            continue
        written: object = text.strip()
        if file.suffix == ".json":
            try:
                loaded = json.loads(text)
            except (ValueError, RecursionError) as error:
                problems.error("not valid JSON", Where(file=file), str(error)[:200])
                continue
            if not isinstance(loaded, dict) or "depth_scale" not in loaded:
                continue  # metadata of another kind
            written = loaded["depth_scale"]
        scale = _positive(written)
        if scale is not None:
            return scale
        problems.error("not a number", Where(file=file), f"the depth scale is {str(written)[:40]!r}; use 1000, say")
    return None


def _positive(written: object) -> float | None:
    if not isinstance(written, str | int | float) or isinstance(written, bool):
        return None
    try:
        number = float(written)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


READER = Reader(
    name="depth_folder",
    summary="folders of depth maps (16-bit PNG, npy) beside the photographs",
    detect=detect,
    read=read,
)
