"""Named RGBA sprites of the concepts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from generalist.types import GeneralistError
from generalist_datasets.assets import fetch
from generalist_datasets.concepts import CATEGORIES

Sprite = np.ndarray
"""float32 [h, w, 4], colour premultiplied by alpha, all in 0-255, cut to the visible part."""


def pictograph_names() -> dict[str, dict[str, str]]:
    """Pictograph -> its entry of unicode-emoji-json, with ``name`` and ``group``."""
    names: dict[str, dict[str, str]] = json.loads(
        (fetch("emoji-names") / "package" / "data-by-emoji.json").read_text(encoding="utf-8")
    )
    return names


def sprite_files() -> tuple[Path, ...]:
    """One picture file for each concept, in the order of ``concept_names()``."""
    names = pictograph_names()
    pictures = fetch("fluent-3d") / "package" / "assets"
    by_name = {entry["name"]: pictograph for pictograph, entry in names.items()}
    return tuple(_picture(pictures, by_name, n) for block in CATEGORIES.values() for n in block)


def other_sprite_files() -> tuple[Path, ...]:
    """Pictures of things that are no concept: more shapes, without names that a model learns."""
    names = pictograph_names()
    pictures, taken = fetch("fluent-3d") / "package" / "assets", set(sprite_files())
    groups = {"Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects"}
    paths = (
        pictures / f"{'-'.join(f'{ord(character):04x}' for character in pictograph)}.webp"
        for pictograph, entry in names.items()
        if entry["group"] in groups
    )
    return tuple(path for path in paths if path not in taken and path.exists())


def _picture(pictures: Path, by_name: dict[str, str], cldr_name: str) -> Path:
    if cldr_name not in by_name:
        raise GeneralistError(f"concept {cldr_name!r} is not a pictograph of unicode-emoji-json; correct its name")
    code = "-".join(f"{ord(character):04x}" for character in by_name[cldr_name])
    for stem in (code, code.replace("-fe0f", "")):
        if (path := pictures / f"{stem}.webp").exists():
            return path
    raise GeneralistError(f"concept {cldr_name!r} has no picture {code}.webp in the sprite package")


def load_sprite(path: Path, longest: int) -> Sprite:
    """Read a picture, cut it to its visible part, and scale its longer side to ``longest`` pixels."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        raise GeneralistError(f"{path}: not a readable picture with transparency")
    rows, columns = np.where(picture[..., 3] > 100)
    picture = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = longest / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    sprite: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    sprite[..., :3] = sprite[..., 2::-1] * sprite[..., 3:] / 255.0  # BGR file order to RGB
    return sprite


def load_sprites(longest: int = 112) -> tuple[Sprite, ...]:
    """Every concept's sprite at training resolution."""
    return tuple(load_sprite(path, longest) for path in sprite_files())
