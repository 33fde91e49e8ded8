"""Sprites from packages as they lie on disk: what is cut out, and that the cache can be trusted."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from generalist.types import GeneralistError
from generalist_datasets.assets import packaged
from generalist_datasets.world.concepts import CONCEPTS, NUMBER
from generalist_datasets.world.scene import Style
from generalist_datasets.world.sprites import load_sprites

SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36"><rect x="4" y="10" width="20" height="10"
fill="#ff8000" fill-opacity="0.5"/></svg>"""


def file_name(pictograph: str, suffix: str) -> str:
    return "-".join(f"{ord(character):x}" for character in pictograph) + suffix


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose Fluent package has three pictures, of which one shows nothing."""
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path))
    pictures = packaged("fluent-3d") / "package" / "assets"
    pictures.mkdir(parents=True)
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[10:30, 20:60] = (0, 128, 255, 200)  # blue, green, red, alpha
    picture[0, 0] = (255, 255, 255, 50)  # haze, not part of the thing
    monkey, spider, cat = (CONCEPTS[NUMBER[name]].pictographs for name in ("monkey", "spider", "cat"))
    assert "\ufe0f" in spider[0]
    for pictograph in (monkey[1], spider[0].replace("\ufe0f", "")):
        cv2.imwrite(str(pictures / file_name(pictograph, ".webp")), picture, [cv2.IMWRITE_WEBP_QUALITY, 101])
    cv2.imwrite(str(pictures / file_name(cat[0], ".webp")), np.zeros_like(picture))
    return tmp_path


def test_a_sprite_is_cut_premultiplied_and_scaled(cache: Path) -> None:
    sprites = load_sprites("fluent", 20)
    assert len(sprites) == len(CONCEPTS)
    assert {CONCEPTS[number].name for number, variants in enumerate(sprites) if variants} == {"monkey", "spider"}
    (sprite,) = sprites[NUMBER["spider"]]
    assert sprite.shape == (10, 20, 4) and sprite.dtype == np.uint8
    assert np.array_equal(np.unique(sprite.reshape(-1, 4), axis=0), [[200, 100, 0, 200]])


def test_a_style_without_sprites_is_named() -> None:
    with pytest.raises(GeneralistError, match=r"^style 'solid' has no sprites; use one of fluent, twemoji, noto$"):
        load_sprites("solid")


def test_drawings_become_pictures(cache: Path) -> None:
    drawings = packaged("twemoji") / "package"
    drawings.mkdir(parents=True)
    for name in ("owl", "tennis racket"):
        (drawings / file_name(CONCEPTS[NUMBER[name]].pictographs[0], ".svg")).write_text(SVG, encoding="utf-8")
    sprites = load_sprites("twemoji", 36)
    (owl,) = sprites[NUMBER["owl"]]
    assert owl.shape == (18, 36, 4)
    assert np.abs(owl[9, 18].astype(int) - (128, 64, 0, 128)).max() <= 1
    assert sprites[NUMBER["tennis racket"]] == ()  # that style draws a ball


def test_what_was_drawn_is_not_drawn_again(cache: Path) -> None:
    first = load_sprites("fluent", 20)
    shutil.rmtree(cache / "packages")
    again = load_sprites("fluent", 20)
    assert [len(variants) for variants in again] == [len(variants) for variants in first]
    assert np.array_equal(again[NUMBER["monkey"]][0], first[NUMBER["monkey"]][0])
    assert [path.suffix for path in (cache / "sprites").iterdir()] == [".bin"]


@pytest.mark.parametrize("damage", [b"", b"short", None], ids=["empty", "short", "one byte changed"])
def test_a_damaged_cache_is_made_again(cache: Path, damage: bytes | None) -> None:
    first = load_sprites("fluent", 20)
    (kept,) = (cache / "sprites").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:] if damage is None else damage)
    again = load_sprites("fluent", 20)
    assert np.array_equal(again[NUMBER["monkey"]][0], first[NUMBER["monkey"]][0])
    assert kept.read_bytes() == whole


def test_a_damaged_package_is_named(cache: Path) -> None:
    picture = next((packaged("fluent-3d") / "package" / "assets").iterdir())
    picture.write_bytes(b"not a picture")
    with pytest.raises(GeneralistError, match=rf"{picture.name} is not a picture .*; delete the package's folder"):
        load_sprites("fluent", 20)


@pytest.mark.parametrize("style", ["fluent", "twemoji", "noto"])
def test_every_concept_is_drawn_in_every_style(style: Style) -> None:
    if not packaged({"fluent": "fluent-3d"}.get(style, style)).is_dir():
        pytest.skip(f"the pictures of the style {style} are not in the cache")
    sprites = load_sprites(style)
    missing = [c.name for c, pictures in zip(CONCEPTS, sprites, strict=True) if c.pictographs and not pictures]
    assert missing == (["tennis racket"] if style == "twemoji" else [])
    for sprite in (sprite for variants in sprites for sprite in variants):
        assert max(sprite.shape) == 112
        assert (sprite[..., :3] <= sprite[..., 3:]).all()
        assert (sprite[..., 3] > 127).mean() > 0.04  # something to see
