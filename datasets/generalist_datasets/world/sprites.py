"""Pictures of the concepts in several art styles, cut out of what icon sets and fonts draw."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import resvg_py
from PIL import Image, ImageDraw, ImageFont, features

from generalist.types import GeneralistError
from generalist_datasets.assets import PACKAGES, cache_folder, fetch
from generalist_datasets.world.concepts import CONCEPTS
from generalist_datasets.world.scene import Style

Sprite: TypeAlias = np.ndarray
"""uint8 [h, w, 4]: red, green, blue **premultiplied** by alpha, and alpha; cut to the visible part."""

_Draw: TypeAlias = Callable[[str], np.ndarray | None]
"""Draws a pictograph as uint8 [h, w, 4] RGBA, not premultiplied; None when the style has no picture of it."""

_VISIBLE = 100
"""Alpha above which a pixel belongs to the visible part."""

_FORMAT = 1
"""Of the cached files (SHA-256, then npz); to be raised when sprites are made or kept in another way."""

_VARIATION_SELECTOR = "\ufe0f"


def load_sprites(style: Style, longest: int = 112) -> tuple[tuple[Sprite, ...], ...]:
    """Every concept's pictures in a style, indexed by its number.

    A concept has one picture for each of its pictographs that the style draws: none for solids. The longer side
    of each is ``longest`` pixels. The pictures are fetched and drawn on first use and then read from the cache.

    Raises:
        GeneralistError: ``style`` has no sprites, or a package cannot be fetched.
    """
    if style not in _STYLES:
        raise GeneralistError(f"style {style!r} has no sprites; use one of {', '.join(_STYLES)}")
    wanted = [concept.pictographs for concept in CONCEPTS]
    path = _cached_file(style, longest, wanted)
    sprites = _read(path)
    if sprites is None:
        draw = _STYLES[style][1](longest)
        sprites = tuple(_sprites(draw, pictographs, longest) for pictographs in wanted)
        _write(path, sprites)
    return sprites


def pictograph_names() -> dict[str, dict[str, str]]:
    """Pictograph -> its entry of unicode-emoji-json, with ``name`` and ``group``."""
    path = fetch("emoji-names") / "package" / "data-by-emoji.json"
    names: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return names


# --- drawing --------------------------------------------------------------------------------------------


def _fluent(longest: int) -> _Draw:
    folder = fetch("fluent-3d") / "package" / "assets"

    def draw(pictograph: str) -> np.ndarray | None:
        path = _picture_file(folder, pictograph, "04x", ".webp")
        return None if path is None else _decoded(path.read_bytes(), path)

    return draw


def _twemoji(longest: int) -> _Draw:
    folder = fetch("twemoji") / "package"

    def draw(pictograph: str) -> np.ndarray | None:
        path = _picture_file(folder, pictograph, "x", ".svg")
        if path is None or pictograph == "🎾":  # a mere ball, where the others draw a racket
            return None
        # Twice as large as needed, so that the cut-out is shrunk, not enlarged.
        return _decoded(resvg_py.svg_to_bytes(svg_path=str(path), width=2 * longest, skip_system_fonts=True), path)

    return draw


def _noto(longest: int) -> _Draw:
    path = fetch("noto") / "usr" / "share" / "fonts" / "truetype" / "noto" / "NotoColorEmoji.ttf"
    font = ImageFont.truetype(str(path), 109)  # the only size that its bitmaps, 136 x 128, come in
    joins = features.check("raqm")

    def draw(pictograph: str) -> np.ndarray | None:
        text = pictograph.replace(_VARIATION_SELECTOR, "")
        if len(text) > 1 and not joins:
            return None  # without this part of Pillow a sequence is drawn side by side
        canvas = Image.new("RGBA", (180, 180))
        ImageDraw.Draw(canvas).text((20, 20), text, font=font, embedded_color=True)
        return np.asarray(canvas)

    return draw


_STYLES: dict[Style, tuple[str, Callable[[int], _Draw]]] = {
    "fluent": ("fluent-3d", _fluent),
    "twemoji": ("twemoji", _twemoji),
    "noto": ("noto", _noto),
}
"""Style -> its package and what draws it."""


def _picture_file(folder: Path, pictograph: str, number: str, suffix: str) -> Path | None:
    """The file named after the code points, with or without the one that asks for colour."""
    for text in (pictograph, pictograph.replace(_VARIATION_SELECTOR, "")):
        path = folder / ("-".join(format(ord(character), number) for character in text) + suffix)
        if path.exists():
            return path
    return None


def _decoded(data: bytes, path: Path) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        raise GeneralistError(
            f"{path} is not a picture with transparency; delete the package's folder to fetch it again"
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)


def _sprites(draw: _Draw, pictographs: Iterable[str], longest: int) -> tuple[Sprite, ...]:
    drawn = (draw(pictograph) for pictograph in pictographs)
    return tuple(_cut_out(picture, longest) for picture in drawn if picture is not None and picture[..., 3].any())


def _cut_out(picture: np.ndarray, longest: int) -> Sprite:
    """Cut an RGBA picture to its visible part, premultiply it, scale its longer side to ``longest`` pixels."""
    left, top, width, height = cv2.boundingRect((picture[..., 3] > _VISIBLE).view(np.uint8))
    sprite = picture[top : top + height, left : left + width].astype(np.float32)
    sprite[..., :3] *= sprite[..., 3:] / 255
    scale = longest / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Neither kind overshoots, so that colour stays within alpha.
    scaled = cv2.resize(sprite, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.rint(scaled).astype(np.uint8)


# --- cache ----------------------------------------------------------------------------------------------


def _cached_file(style: Style, longest: int, wanted: Sequence[tuple[str, ...]]) -> Path:
    """Where the sprites are kept: other pictographs, packages or ways to draw them have other files."""
    package = PACKAGES[_STYLES[style][0]]
    made_of = repr((_FORMAT, package.name, package.version, wanted, features.check("raqm")))
    return cache_folder() / "sprites" / f"{style}-{longest}-{sha256(made_of.encode()).hexdigest()[:16]}.bin"


def _write(path: Path, sprites: Sequence[tuple[Sprite, ...]]) -> None:
    """Written beside and renamed: who reads at the same time sees all of it or nothing."""
    flat = [sprite for variants in sprites for sprite in variants]
    arrays = io.BytesIO()
    np.savez(
        arrays,
        counts=np.array([len(variants) for variants in sprites]),
        sizes=np.array([sprite.shape[:2] for sprite in flat]),
        pixels=np.concatenate([sprite.ravel() for sprite in flat]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        part = Path(scratch) / path.name
        part.write_bytes(sha256(arrays.getbuffer()).digest() + arrays.getbuffer())
        part.replace(path)


def _read(path: Path) -> tuple[tuple[Sprite, ...], ...] | None:
    """None when there is no such file or it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = data[:32], memoryview(data)[32:]
    if sha256(content).digest() != digest:
        return None
    with np.load(io.BytesIO(content)) as arrays:
        counts, sizes, pixels = arrays["counts"], arrays["sizes"], arrays["pixels"]
    parts = np.split(pixels, np.cumsum(4 * sizes.prod(axis=1))[:-1])
    sprites = iter([part.reshape(*size, 4) for part, size in zip(parts, sizes, strict=True)])
    return tuple(tuple(islice(sprites, int(count))) for count in counts)
