"""Image files, arrays and bytes -> upright RGB pictures, or a one-line error.

Every accepted source ends as ``RGB``, 8 bits, EXIF orientation applied, transparency on white,
first frame of an animation. Nothing is accepted half: a truncated file is an error.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFile

from generalist.types import GeneralistError

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

MAX_PIXELS = 178_956_970
"""Pillow's own limit against decompression bombs, kept even where a caller lifted Pillow's."""

IMAGE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pnm",
        ".jp2",
        ".avif",
    ],
)

# An allow-list: some of Pillow's readers start other programs (EPS) or accept almost any bytes (TGA).
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "QOI")

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: ImageSource) -> Image.Image:
    """The picture in ``source`` as upright 8-bit RGB.

    ``source``: a path, encoded bytes, a PIL image, or an array ``[H, W]`` or ``[H, W, 1|2|3|4]`` of
    bool, uint8, uint16 (0-65535) or float (0-1). Raises :class:`GeneralistError` for anything that is
    not a whole image: missing, a folder, empty, truncated, another format, more than MAX_PIXELS.
    """
    return load_oriented(source)[0]


def load_oriented(source: ImageSource) -> tuple[Image.Image, int]:
    """What :func:`load_image` returns, and the EXIF orientation (1-8) that was applied to make it upright.

    Annotations often refer to the picture as it is stored; :func:`oriented_size` tells how large that is.
    """
    picture, orientation = _upright(source)
    try:
        result = _to_rgb(picture)
        result.info = {}  # an orientation left there would be applied again by the next reader
        return result, orientation
    except (ValueError, OSError, AssertionError) as error:  # AssertionError: a palette that is said to be there is not
        raise GeneralistError(f"{_name(source)}: cannot convert mode {picture.mode} to RGB ({_line(error)})") from error


def oriented_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The upright (W, H) of a picture stored as ``size``, or the stored size of an upright one: its own inverse."""
    return size[::-1] if orientation >= 5 else size


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a picture says of itself: ``size`` = (W, H) as it is stored, and its EXIF ``orientation`` (1 is upright)."""

    size: tuple[int, int]
    orientation: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of an image file, without its pixels; :class:`GeneralistError` when there is none.

    Cheap enough for every picture of a data set. A sound header says nothing of the pixels behind it.
    """
    _check_file(path)
    with _open(path, _name(path)) as picture:
        _check_size(picture, _name(path))
        # Where a PNG has no EXIF before its pixels, Pillow would decode all of them to look behind.
        told = picture.format != "PNG" or "exif" in picture.info or "Raw profile type exif" in picture.info
        orientation = _orientation(picture) if told else 1
        # Pillow tells the upright size of a TIFF, and the stored one of everything else.
        size = oriented_size(picture.size, orientation) if picture.format == "TIFF" else picture.size
        return Header(size=size, orientation=orientation)


def load_bitmap(source: ImageSource) -> np.ndarray:
    """The drawn pixels of a mask or scribble picture: bool ``[H, W]``.

    A picture with transparency is set where it is at least half opaque; any other is set where it is
    brighter than half of its brightest pixel. Raises :class:`GeneralistError` when nothing is set.
    """
    picture, _ = _upright(source)
    if _has_alpha(picture):
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]  # uint8[H, W]
        if alpha.min() < 255:
            return _not_empty(alpha >= 128, source)
    # Small 16-bit numbers would all become black in RGB, so they are compared in their own units.
    deep = _is_deep(picture)
    grey = np.nan_to_num(np.asarray(picture, np.float64)) if deep else np.asarray(_to_rgb(picture)).max(axis=2)
    return _not_empty((grey > grey.max() / 2) & (grey > 0), source)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files directly in ``folder``, by name; raises :class:`GeneralistError` when there are none."""
    try:
        entries = sorted(Path(folder).iterdir())
    except (OSError, ValueError) as error:
        raise GeneralistError(f"{_name(folder)}: cannot list this folder ({_line(error)})") from error
    found = [p for p in entries if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file()]
    if not found:
        raise GeneralistError(f"{_name(folder)}: no images in this folder; put .png, .jpg or .webp files there")
    return found


def _upright(source: ImageSource) -> tuple[Image.Image, int]:
    """Fully decoded first frame with its EXIF orientation applied, in its own mode; and that orientation."""
    if isinstance(source, np.ndarray):
        return _from_array(source), 1
    picture = source if isinstance(source, Image.Image) else _open(io.BytesIO(_read(source)), _name(source))
    _check_size(picture, _name(source))
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES  # other libraries switch this on, and half a picture would pass
    try:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        # Pillow turns a TIFF when it loads it, and then forgets how.
        turned = _orientation(picture) if picture.format == "TIFF" else 1
        picture.load()
        orientation = _orientation(picture)
        if orientation == 1:
            return picture, turned
        return picture.transpose(_TRANSPOSE[orientation]), orientation
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, EOFError, ... on damaged files
        raise GeneralistError(f"{_name(source)}: truncated or damaged ({_line(error)}); use a whole file") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _read(source: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | os.PathLike):
        _check_file(source)
        try:
            data = Path(source).read_bytes()
        except (OSError, ValueError) as error:
            raise GeneralistError(f"{_name(source)}: cannot read this file ({_line(error)})") from error
    else:
        raise GeneralistError(
            f"an image is a {type(source).__name__}; give a path, bytes, a PIL image or a numpy array"
        )
    if not data:
        raise GeneralistError(f"{_name(source)}: the file is empty; use a whole image file")
    return data


def _check_file(path: str | os.PathLike[str]) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise GeneralistError(f"{_name(path)}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise GeneralistError(f"{_name(path)}: cannot read this file ({_line(error)})") from error
    if stat.S_ISDIR(mode):
        raise GeneralistError(f"{_name(path)}: this is a folder; name an image file")
    if not stat.S_ISREG(mode):
        raise GeneralistError(f"{_name(path)}: not a regular file; name an image file")


def _check_size(picture: Image.Image, name: str) -> None:
    if picture.width < 1 or picture.height < 1:
        raise GeneralistError(f"{name}: the image is {picture.width}x{picture.height}; it needs a pixel")
    if picture.width * picture.height > MAX_PIXELS:
        raise GeneralistError(_too_large(name, f"{picture.width}x{picture.height}"))


def _open(source: str | os.PathLike[str] | io.BytesIO, name: str) -> Image.Image:
    Image.init()
    formats = [f for f in _FORMATS if f in Image.OPEN]
    try:
        return Image.open(source, formats=formats)
    except Image.DecompressionBombError as error:
        raise GeneralistError(_too_large(name, "far too large")) from error
    except Exception as error:  # readers of headers raise many types on hostile bytes
        raise GeneralistError(f"{name}: not a readable image; use PNG, JPEG, WebP, GIF, BMP or TIFF") from error


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 for a number that means nothing."""
    try:
        orientation = int(picture.getexif().get(_ORIENTATION_TAG, 1))
        return orientation if orientation in _TRANSPOSE else 1
    except Exception:  # damaged metadata beside sound pixels: show the pixels as they are
        return 1


def _has_alpha(picture: Image.Image) -> bool:
    return picture.has_transparency_data and not _is_deep(picture)


def _is_deep(picture: Image.Image) -> bool:
    """More than 8 bits a pixel in one channel: 16 or 32-bit integers, or floats."""
    return picture.mode.startswith(("I", "F"))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if _has_alpha(picture):
        # Premultiplied modes and LA convert to RGBA in one or two steps; RGBA is the common form.
        rgba = picture.convert("LA" if picture.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    if _is_deep(picture):
        return Image.fromarray(_deep_to_8_bit(np.asarray(picture))).convert("RGB")
    return picture.copy() if picture.mode == "RGB" else picture.convert("RGB")


def _deep_to_8_bit(values: np.ndarray) -> np.ndarray:
    """Integer or float values -> uint8. Integers are 16-bit; floats take the first usual full scale that holds them."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(numbers.max())
    scales = (65535.0, top) if np.issubdtype(values.dtype, np.integer) else (1.0, 255.0, 65535.0, top)
    full = next(scale for scale in scales if top <= scale)
    return np.asarray(np.rint(np.clip(numbers / full, 0, 1) * 255), np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise GeneralistError(f"an image array has shape {array.shape}; use [H, W] or [H, W, 1 to 4] with a pixel")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise GeneralistError(_too_large("an image array", f"{array.shape[1]}x{array.shape[0]}"))
    if array.dtype == np.bool_:
        eight = np.asarray(array, np.uint8) * 255
    elif array.dtype == np.uint8:
        eight = array
    elif array.dtype == np.uint16 or np.issubdtype(array.dtype, np.floating):
        eight = _deep_to_8_bit(array)
    else:
        raise GeneralistError(f"an image array has dtype {array.dtype}; use uint8, uint16, bool, or float in 0-1")
    squeezed = eight[..., 0] if eight.ndim == 3 and eight.shape[2] == 1 else eight
    return Image.fromarray(np.ascontiguousarray(squeezed))


def _not_empty(bitmap: np.ndarray, source: ImageSource) -> np.ndarray:
    if not bitmap.any():
        raise GeneralistError(f"{_name(source)}: nothing is drawn in this picture; paint the pixels that are meant")
    return bitmap


def _too_large(name: str, size: str) -> str:
    return f"{name}: the image is {size}; at most {MAX_PIXELS // 1_000_000} megapixels are read, so scale it down"


def _name(source: object) -> str:
    """How an error calls the source: its path on one line, or its type."""
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        text = "".join(c if c.isprintable() else "?" for c in (os.fsdecode(text)))
        return text if len(text) <= 200 else f"{text[:100]}...{text[-50:]}"
    return "the image"


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__
