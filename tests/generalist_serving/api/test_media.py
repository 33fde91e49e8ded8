from __future__ import annotations

import asyncio
import base64
import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.images import load_image as load_picture
from generalist_serving.api import remote
from generalist_serving.api.errors import ApiError
from generalist_serving.api.media import load_image, load_png
from generalist_serving.api.settings import Settings

from .hostile_images import IMAGES, ODD, saved

SETTINGS = Settings()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def load(url: str, settings: Settings = SETTINGS) -> Image.Image:
    return asyncio.run(load_image(url, settings))


def refusal(url: str, settings: Settings = SETTINGS) -> str:
    with pytest.raises(ApiError) as raised:
        load(url, settings)
    assert raised.value.status_code == 400
    assert raised.value.param == "image_url"
    return raised.value.detail


def peak() -> int | None:
    """The most memory this process has held since the last :func:`forget_peak`, in MB."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), None)


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of memory cannot be measured here")


# --- data URLs ---


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_six_formats_are_read(kind: str):
    picture = load(data_url(saved(kind, (12, 9))))
    assert (picture.mode, picture.size) == ("RGB", (12, 9))


def test_pixels_are_those_of_the_file():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    for kind, options in (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("TIFF", {}), ("WEBP", {})):
        file = io.BytesIO()
        noise.save(file, kind, **options)
        assert np.array_equal(load(data_url(file.getvalue())), load_picture(file.getvalue()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(kind: str, orientation: int):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3)).save(file, kind, exif=exif)
    picture = load(data_url(file.getvalue()))
    assert picture.size == ((8, 16) if orientation >= 5 else (16, 8))
    assert np.array_equal(picture, load_picture(file.getvalue()))


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_read_in_no_time(name: str):
    data = ODD[name]()
    forget_peak()
    before, begun = peak(), time.process_time()
    assert load(data_url(data)).mode == "RGB"
    assert time.process_time() - begun < 1
    assert (peak() or 0) - (before or 0) < 100


@pytest.mark.parametrize("name", IMAGES)
def test_hostile_pictures_are_refused_in_no_time(name: str):
    data = IMAGES[name]()
    forget_peak()
    before, begun = peak(), time.process_time()
    refusal(data_url(data))
    assert time.process_time() - begun < 1
    assert (peak() or 0) - (before or 0) < 150


def test_the_content_counts_and_not_its_name():
    assert load(data_url(saved("JPEG"), "image/png")).size == (8, 8)
    assert "data:text" in refusal(data_url(saved("PNG"), "text/html"))


def test_the_limit_is_that_of_the_settings():
    url = data_url(saved("PNG", (100, 100)))
    assert load(url, Settings(max_pixels=10_000)).size == (100, 100)
    assert "100x100" in refusal(url, Settings(max_pixels=9_999))


GOOD = base64.b64encode(saved("PNG")).decode()


@pytest.mark.parametrize(
    "url",
    [
        f"DATA:IMAGE/PNG;BASE64,{GOOD}",
        f"data:image/png;charset=binary;base64,{GOOD}",
        "data:image/png;base64," + "\r\n".join(GOOD[i : i + 60] for i in range(0, len(GOOD), 60)),
        "data:image/png;base64," + GOOD.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ],
)
def test_the_usual_ways_to_write_a_data_url_are_read(url: str):
    assert load(url).size == (8, 8)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:",
        "data:,",
        "data:image/png",
        "data:image/png,",
        "data:image/png;base64,",
        "data:image/png;base64,====",
        "data:image/png;base64,@@@@",
        "data:image/png;base64,%",
        "data:image/png;base64,%FF%FE",
        "data:image/png;base64,é",
        f"data:image/png;base64,{GOOD[:-1]}",
        f"data:image/png;base64,{GOOD[:20]}-_{GOOD[22:]}",
        f"data:image/png,{GOOD}",
        f"data:;base64,{GOOD}",
        f"data:application/pdf;base64,{GOOD}",
        f"data:image/png;base32,{GOOD}",
        f"data:image/{'x' * 10_000};base64,{GOOD}",
        f" data:image/png;base64,{GOOD}",
        GOOD,
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://example.com/a.png",
        "gopher://127.0.0.1:6379/_x",
        "javascript:alert(1)",
        "//example.com/a.png",
        "\x00",
        "x" * 100_000,
    ],
)
def test_broken_urls_are_refused_in_a_short_line(url: str):
    assert len(refusal(url, Settings(allow_remote_images=True))) < 300


def test_urls_of_other_servers_are_not_fetched_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "resolve", lambda *_: pytest.fail("a name was looked up"))
    for url in ("http://example.com/a.png", "HTTPS://example.com/a.png"):
        assert "this server fetches no URLs" in refusal(url)


# --- masks ---


def load_mask(url: str) -> np.ndarray:
    return asyncio.run(load_png(url, SETTINGS))


def test_a_mask_is_what_is_painted():
    drawn = np.zeros((6, 9), bool)
    drawn[1:3, 4:8] = True
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    assert np.array_equal(load_mask(data_url(file.getvalue())), drawn)


@pytest.mark.parametrize(
    "url", [data_url(saved("PNG")), data_url(saved("JPEG")), data_url(b""), "https://example.com/mask.png", "mask.png"]
)
def test_a_mask_that_is_empty_or_no_png_is_refused(url: str):
    with pytest.raises(ApiError) as raised:
        load_mask(url)
    assert raised.value.param == "visual_prompts"
