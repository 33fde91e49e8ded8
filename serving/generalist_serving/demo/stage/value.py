"""What the stage shows, as one JSON value. Shapes: W, H the submitted picture's width and height in pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
from PIL import Image

from generalist.types import GeneralistError
from generalist.visual import decode_png16

PREVIEW_SIDE = 2048
"""Longest side in pixels of a picture as it is sent to the page; geometry stays in pixels of the submitted one."""
DEPTH_PREVIEW_SIDE = 640
DEPTH_GRID_SIDE = 96
_JPEG_QUALITY = 90
_LOSSLESS_PIXELS = 512 * 512

DEPTH_COLOURS = (
    *("#fee838", "#dec958", "#bcae6c", "#9b9476", "#7d7c78"),
    *("#61656f", "#434e6c", "#1a386f", "#00224e"),
)
"""Near to far, evenly spaced: the stops of cividis (Nunez et al. 2018), which falls in lightness all the way and
looks the same to people who confuse red and green."""


class StageImage(TypedDict):
    """``url`` of a picture of any size (a data URL from :func:`stage_image`); ``width`` and ``height`` are W and H."""

    url: str
    width: int
    height: int
    name: str


class StageDepth(TypedDict):
    """A depth map: ``preview``, a colour picture as a data URL, and values to read off.

    ``values`` are those of a grid of ``size`` = [rows, columns], at most 96 x 96, row by row; None where the depth is
    not known. ``min`` and ``max`` are the ends of the colours, in ``unit``.
    """

    preview: str
    values: list[float | None]
    size: list[int]
    unit: Literal["metre", "relative"]
    min: float
    max: float


class StageValue(TypedDict):
    """The value of the component.

    ``units``: entries of ``visual`` as the API sends them, in pixels of the picture, without ``png16``. ``prompts``:
    entries of the API's ``visual_prompts``, which the user drew. As an output, None leaves what is drawn as it is
    (and clears it when the picture is another); as an input it is always a list. ``drawing`` names the prompts: those
    of one name are loaded once, however often the value comes, as the user may have drawn since. ``at``: of two values
    the one with the larger number is the newer; one that is older than what is shown is left out.
    """

    image: StageImage | None
    units: list[dict[str, Any]]
    depth: StageDepth | None
    prompts: list[dict[str, Any]] | None
    drawing: NotRequired[str]
    at: NotRequired[int]


def stage_image(picture: Image.Image, name: str = "") -> StageImage:
    """``picture``, upright, as a data URL that is not larger than a page needs. ``name`` is shown as it is."""
    shown = _at_most(picture.convert("RGB"), PREVIEW_SIDE)
    lossless = shown.width * shown.height <= _LOSSLESS_PIXELS
    url = _data_url(shown, "PNG") if lossless else _data_url(shown, "JPEG", quality=_JPEG_QUALITY)
    return StageImage(url=url, width=picture.width, height=picture.height, name=name)


def stage_value(
    image: Image.Image | StageImage | None,
    visual: Sequence[Mapping[str, Any]] = (),
    *,
    image_index: int | None = None,
    prompts: Sequence[Mapping[str, Any]] | None = None,
) -> StageValue:
    """The value that shows ``visual`` on ``image``.

    Make the picture's :class:`StageImage` once where an answer streams: it takes longer than everything else.
    ``image_index`` leaves out what lies on other pictures of the conversation. Raises :class:`GeneralistError` for a
    depth map that cannot be read.
    """
    here = [e for e in visual if image_index is None or e["image"] in (image_index, None)]
    maps = [entry for entry in here if entry["type"] == "depth"]
    return StageValue(
        image=stage_image(image) if isinstance(image, Image.Image) else image,
        units=[{key: value for key, value in entry.items() if key != "png16"} for entry in here],
        depth=_depth(maps[0]) if maps else None,
        prompts=None if prompts is None else [dict(prompt) for prompt in prompts],
    )


# --- depth ----------------------------------------------------------------------------------------------


def _depth(entry: Mapping[str, Any]) -> StageDepth:
    low, high = float(entry["min"]), float(entry["max"])
    try:
        preview, values, size = _depth_parts(entry["png16"], float(entry["scale"]), low, high)
    except (ValueError, OSError, SyntaxError) as error:
        raise GeneralistError(f"the depth map {entry['index']} is not a PNG; use the form of to_visual") from error
    return StageDepth(preview=preview, values=list(values), size=list(size), unit=entry["unit"], min=low, max=high)


@lru_cache(maxsize=16)  # an answer that goes on behind its depth map is shown many times a second
def _depth_parts(
    png16: str, scale: float, low: float, high: float
) -> tuple[str, tuple[float | None, ...], tuple[int, ...]]:
    """(preview, values, size) of :class:`StageDepth`."""
    values = decode_png16(base64.b64decode(png16, validate=True), scale)  # [h, w]
    grid = _sampled(values, DEPTH_GRID_SIDE)
    preview = _data_url(_depth_picture(_sampled(values, DEPTH_PREVIEW_SIDE), low, high), "PNG")
    return preview, tuple(round(float(value), 3) if value > 0 else None for value in grid.ravel()), grid.shape


def _sampled(values: np.ndarray, side: int) -> np.ndarray:
    """``values`` [h, w] at the centres of the cells of a grid with at most ``side`` rows and columns.

    Not an average: that would mix what is near with what is far behind it, and with what is not known.
    """
    shape = [max(1, min(length, round(length * side / max(values.shape)))) for length in values.shape]
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(int)
        for count, length in zip(shape, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


def _depth_picture(values: np.ndarray, low: float, high: float) -> Image.Image:
    """RGBA picture of ``values`` [h, w]; transparent where the depth is not known."""
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    stops = [[int(stop[at : at + 2], 16) for at in (1, 3, 5)] for stop in DEPTH_COLOURS]
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(share, places, column) for column in zip(*stops, strict=True)]
    known = np.where(values > 0, 255, 0)
    return Image.fromarray(np.stack([*channels, known], axis=-1).round().astype(np.uint8), "RGBA")


def _at_most(picture: Image.Image, side: int) -> Image.Image:
    if max(picture.size) <= side:
        return picture
    share = side / max(picture.size)
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _data_url(picture: Image.Image, form: Literal["PNG", "JPEG"], **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
