"""Depth maps on disk -> metres."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image

from generalist.images import MAX_PIXELS
from generalist.types import GeneralistError
from generalist_datasets.records import DepthFile

ARRAY_SUFFIXES = frozenset([".npy", ".npz"])
DEPTH_SUFFIXES = frozenset([".png", ".tif", ".tiff"]) | ARRAY_SUFFIXES
MAX_VALUES = 200_000_000
"""Values of an array file; more are refused by its header, before any is read."""

_Found = TypeVar("_Found")
_PICTURE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F", "L")


def load_depth(depth: DepthFile) -> np.ndarray:
    """The map in metres: float32 [H, W], NaN where it is unknown (invalid values, 0, negatives, NaN, infinities).

    Reads 16-bit PNG and TIFF, ``.npy`` and ``.npz`` (the array called "depth", or the only one).
    Raises :class:`GeneralistError` for anything that is not a map with one value a pixel.
    """
    if depth.file.suffix.lower() in ARRAY_SUFFIXES:
        stored = _one_channel(_array(depth.file, _values), depth.file)
    else:
        stored = _picture(depth.file)
    with np.errstate(over="ignore", invalid="ignore"):  # a value beyond float32 becomes inf, which is unknown
        metres = np.divide(stored, depth.scale, dtype=np.float32, casting="unsafe")  # float32[H, W]
        known = np.isfinite(metres) & (metres > 0)
    for value in depth.invalid:
        known &= stored != value
    return np.where(known, metres, np.float32(np.nan))


def array_header(file: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the array in an ``.npy`` or ``.npz`` file, from its header; raises as :func:`load_depth`."""
    return _array(file, _header)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = read[version](file)
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise ValueError(f"values of type {dtype}")
    values = 1
    for length in shape:  # Python numbers, which do not overflow
        values *= length
    if not 0 < values <= MAX_VALUES or min(shape, default=1) < 0:
        raise ValueError(f"shape {shape}; from 1 to {MAX_VALUES:,} values are read")
    return shape, dtype


def _values(file: IO[bytes]) -> np.ndarray:
    _header(file)
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _array(file: Path, read: Callable[[IO[bytes]], _Found]) -> _Found:
    try:
        if file.suffix.lower() == ".npy":
            with file.open("rb") as stream:
                return read(stream)
        with zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if n.endswith(".npy")]
            chosen = "depth.npy" if "depth.npy" in names else names[0] if len(names) == 1 else ""
            if not chosen:
                raise ValueError(f"{len(names)} arrays; call the one that is the depth 'depth'")
            with archive.open(chosen) as stream:
                return read(stream)
    except Exception as error:  # damaged headers and archives raise SyntaxError, KeyError, zlib.error, ...
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise GeneralistError(f"{file}: not a readable depth array ({reason}); use float or integer numbers") from error


def _one_channel(values: np.ndarray, file: Path) -> np.ndarray:
    """[H, W] of [H, W], [1, H, W] or [H, W, 1]."""
    flat = values
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        flat = values[0] if values.shape[0] == 1 else values[..., 0]
    if flat.ndim != 2:
        raise GeneralistError(f"{file}: the depth array has shape {values.shape}; use [H, W]")
    return flat


def _picture(file: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here
            with Image.open(file, formats=("PNG", "TIFF")) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"{picture.width}x{picture.height} pixels")
                if picture.mode not in _PICTURE_MODES:
                    raise ValueError(f"its pixels are {picture.mode}; a depth map has one channel of 16 bits")
                return np.asarray(picture)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise GeneralistError(f"{file}: not a readable depth picture ({reason}); use a 16-bit PNG") from error
