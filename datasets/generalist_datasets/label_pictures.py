"""Pictures whose pixel values are labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from generalist.images import MAX_PIXELS
from generalist.types import GeneralistError

LABEL_SUFFIXES = frozenset([".png", ".bmp", ".tif", ".tiff", ".gif"])
"""Lossless formats: a JPEG changes labels."""

_FORMATS = ("PNG", "BMP", "TIFF", "GIF")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelPicture:
    """``values`` int32 [H, W]: the stored number (0 and 255 in a picture of one bit), the palette's position, or
    R + 256 G + 65536 B when ``coloured``.

    ``palette``: the colour of each palette position, as R + 256 G + 65536 B; empty without a palette.
    """

    values: np.ndarray
    coloured: bool = False
    palette: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(W, H)."""
        return self.values.shape[1], self.values.shape[0]

    def distinct(self) -> list[int]:
        """The values that occur, ascending."""
        flat = self.values.ravel()
        if not self.coloured and flat.size and flat.min() >= 0 and flat.max() < 1 << 20:
            return [int(v) for v in np.flatnonzero(np.bincount(flat))]  # ten times as fast as sorting
        return [int(v) for v in np.unique(flat)]

    def boxes(self) -> dict[int, tuple[float, float, float, float]]:
        """The box in pixels, x1 y1 x2 y2, around each value's pixels."""
        flat = self.values.ravel()
        if flat.size and flat.min() >= 0 and flat.max() < 1 << 16:
            flat = flat.astype(np.uint16)  # which are sorted in linear time
        order = np.argsort(flat, kind="stable")
        values, first = np.unique(flat[order], return_index=True)
        y, x = np.divmod(order, self.values.shape[1])
        low = np.minimum.reduceat(x, first), np.minimum.reduceat(y, first)
        high = np.maximum.reduceat(x, first) + 1, np.maximum.reduceat(y, first) + 1
        corners = np.stack([*low, *high], axis=1).astype(float).tolist()
        return {int(v): (x1, y1, x2, y2) for v, (x1, y1, x2, y2) in zip(values, corners, strict=True)}


def load_label_picture(file: Path) -> LabelPicture:
    """The labels in ``file``, as it is stored (EXIF orientation is for photographs and is not applied).

    Transparency is ignored. Raises :class:`GeneralistError` for anything but a whole PNG, BMP, TIFF or GIF.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here
            with Image.open(file, formats=_FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"{picture.width}x{picture.height} pixels")
                return _labels(picture)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise GeneralistError(f"{file}: not a readable label picture ({reason}); use a PNG") from error


def _labels(picture: Image.Image) -> LabelPicture:
    if picture.mode in ("RGB", "RGBA", "RGBX"):
        red, green, blue = (np.asarray(picture)[..., channel].astype(np.int32) for channel in range(3))
        return LabelPicture(values=red + 256 * green + 65536 * blue, coloured=True)
    if picture.mode in ("LA", "PA"):
        return LabelPicture(values=np.asarray(picture)[..., 0].astype(np.int32))
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        raise ValueError(f"its pixels are {picture.mode}")
    values = np.asarray(picture.convert("L") if picture.mode == "1" else picture).astype(np.int32)
    if picture.mode != "P":
        return LabelPicture(values=values)
    levels = picture.getpalette("RGB") or []
    colours = zip(levels[0::3], levels[1::3], levels[2::3], strict=False)
    return LabelPicture(values=values, palette=tuple(r + 256 * g + 65536 * b for r, g, b in colours))
