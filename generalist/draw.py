"""Answers as pictures: overlays, depth colour maps, and files that are whole or absent."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
from PIL import Image

from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Output, Point
from generalist.visual import encode_png16, mask_bitmap

COLOURS = (
    *("#e6194b", "#4363d8", "#f58231", "#3cb44b", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c"),
    *("#008080", "#ffe119", "#9a6324", "#fabebe", "#800000", "#808000", "#000075", "#aaffc3"),
)
"""Far apart in hue and lightness, in an order that keeps neighbours apart as well."""

_SAVE_FORMATS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"},
    **{".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"},
}
_LABEL_LIMIT = 40
_SMALLEST_WITH_LABELS = 32
"""Short side in pixels under which text would hide the picture."""


def draw_overlay(
    image: Image.Image, grounded: Sequence[Grounded], *, numbers: Sequence[int] | None = None
) -> Image.Image:
    """``image`` with every box, point, mask and depth map drawn on it, at the same size; documents named in its corner.

    One colour a label; with ``numbers``, one for each of ``grounded``, a colour a number from 1 and the number before
    each label. A depth map covers the image; with other drawings it is half transparent.
    """
    scene = image.convert("RGB")
    depths = [g.output for g in grounded if isinstance(g.output, DepthMap)]
    shapes = [at for at, g in enumerate(grounded) if isinstance(g.output, Box | Point | Mask | DocHit)]
    drawn = [grounded[at] for at in shapes]
    if depths:
        scene = _draw_depth(scene, depths[0], opacity=0.5 if drawn else 1.0)
    if not drawn:
        return scene
    if numbers is not None:
        chosen = [numbers[at] for at in shapes]
        labels = [f"{number} {_label(g)}".strip() for number, g in zip(chosen, drawn, strict=True)]
        return _draw_shapes(scene, drawn, labels, [number - 1 for number in chosen])
    names = list(dict.fromkeys(g.label for g in drawn))
    return _draw_shapes(scene, drawn, [_label(g) for g in drawn], [names.index(g.label) for g in drawn])


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write ``image``; the suffix chooses the format. :class:`GeneralistError` when it cannot be written."""
    check_savable(path)
    form = _SAVE_FORMATS[Path(path).suffix.lower()]
    options = {"quality": 92} if form in {"JPEG", "WEBP"} else {}
    _write_whole(Path(path), lambda file: image.save(file, form, **options))


def save_depth(depth: DepthMap, path: str | os.PathLike[str]) -> float:
    """Write ``depth`` as a 16-bit PNG and return its scale: value / scale is the depth, 0 is unknown."""
    if Path(path).suffix.lower() != ".png":
        raise GeneralistError(f"{path}: a 16-bit depth map is written as PNG; use a name that ends in .png")
    data, scale = encode_png16(depth)
    _write_whole(Path(path), lambda file: file.write(data))
    return scale


def check_savable(path: str | os.PathLike[str]) -> None:
    """Raise :class:`GeneralistError` now if :func:`save_image` to ``path`` is bound to fail."""
    target = Path(path)
    if target.suffix.lower() not in _SAVE_FORMATS:
        raise GeneralistError(
            f"{path}: cannot write pictures of type {target.suffix!r}; use {', '.join(_SAVE_FORMATS)}"
        )
    try:
        if target.is_dir():
            raise GeneralistError(f"{path}: this is a folder; name a file, such as {target / 'overlay.png'}")
        if not target.parent.is_dir():
            raise GeneralistError(f"{path}: folder {target.parent} does not exist; make it first")
    except OSError as error:
        raise GeneralistError(f"{path}: cannot write there ({error.strerror})") from error


def _write_whole(path: Path, write: Callable[[Any], object]) -> None:
    """Write beside ``path``, then rename, so that a reader never meets half a file."""
    beside: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=path.suffix, delete=False) as file:
            beside = file.name
            write(file)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)  # a temporary file is private; a saved picture is not
        os.replace(beside, path)
        beside = None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise GeneralistError(f"{path}: cannot write this file ({reason}); choose another place") from error
    finally:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)


# --- drawing with supervision --------------------------------------------------------------------------


def _supervision() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when OpenCV is absent, which changes nothing here
        import supervision
    return supervision


def _draw_depth(scene: Image.Image, depth: DepthMap, opacity: float) -> Image.Image:
    sv = _supervision()
    values = np.ascontiguousarray(depth.values, np.float32)
    if depth.unit == "metre":
        shown = sv.DepthMap(values, kind="depth_m")
    else:  # farther is larger here and nearer is larger there
        top = np.nanmax(values, where=np.isfinite(values), initial=0.0)
        shown = sv.DepthMap((top - values).astype(np.float32), kind="relative_inverse")
    return cast(Image.Image, sv.DepthAnnotator(opacity=opacity).annotate(scene, shown))


def _draw_shapes(
    scene: Image.Image, drawn: Sequence[Grounded], labels: Sequence[str], colours: Sequence[int]
) -> Image.Image:
    sv = _supervision()
    detections = _detections(sv, drawn, colours, scene.size)
    palette = sv.ColorPalette.from_hex(list(COLOURS))
    # Lengths follow the picture, and stay legible on a strip of 20,000 by 100.
    unit = min(math.sqrt(scene.width * scene.height), 6 * min(scene.size))
    line = max(1, round(unit / 250))
    points, documents = (np.array([isinstance(g.output, kind) for g in drawn]) for kind in (Point, DocHit))
    for index, item in enumerate(drawn):
        # One at a time: all masks of a large picture at once would take gigabytes.
        if isinstance(item.output, Mask) and item.output.size == (scene.height, scene.width):
            one = detections[index : index + 1]
            one.mask = mask_bitmap(item.output)[None]
            scene = sv.MaskAnnotator(color=palette, opacity=0.45).annotate(scene, one)
    scene = sv.BoxAnnotator(color=palette, thickness=line).annotate(scene, detections[~(points | documents)])
    dot = sv.DotAnnotator(color=palette, radius=2 * line + 1, outline_thickness=line, outline_color=sv.Color.WHITE)
    scene = dot.annotate(scene, detections[points])
    if min(scene.size) < _SMALLEST_WITH_LABELS:
        return scene
    font, padding = max(11, round(unit / 32)), max(2, round(unit / 160))
    detections.xyxy[documents, 1::2] -= np.arange(documents.sum())[:, None] * (font + 2 * padding)  # a line each
    named = np.array([bool(label) for label in labels])
    writer = sv.RichLabelAnnotator(
        color=palette,
        text_color=sv.ColorPalette.from_hex([_ink(c) for c in COLOURS]),
        font_size=font,
        text_padding=padding,
        smart_position=True,
    )
    return cast(Image.Image, writer.annotate(scene, detections[named], labels=[label for label in labels if label]))


def _detections(sv: ModuleType, drawn: Sequence[Grounded], colours: Sequence[int], size: tuple[int, int]) -> Any:
    """Boxes in pixels that lie on the picture to their last line; a point is a box without extent."""
    last = np.array([size[0] - 1, size[1] - 1] * 2, np.float32)
    xyxy = np.clip(np.array([_place(g.output) for g in drawn], np.float32) * (last + 1), 0, last)  # float32[n, 4]
    return sv.Detections(xyxy=xyxy, class_id=np.array(colours) % len(COLOURS))


def _place(output: Output) -> tuple[float, ...]:
    """x1 y1 x2 y2 in 0-1; a document, which is nowhere in the picture, is named in the lower left corner."""
    if isinstance(output, DocHit):
        return (0.0, 1.0, 0.0, 1.0)
    return output.xy * 2 if isinstance(output, Point) else cast(Box, output).xyxy


def _label(item: Grounded) -> str:
    output = item.output
    words = f"document: {output.title or output.doc_id}" if isinstance(output, DocHit) else item.label
    words = " ".join(words.split())
    words = words if len(words) <= _LABEL_LIMIT else words[: _LABEL_LIMIT - 3] + "..."
    return words if output.score is None else f"{words} {output.score:.2f}".strip()


def _ink(colour: str) -> str:
    """Black or white, whichever contrasts more with ``colour``."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
