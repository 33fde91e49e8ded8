"""Images that reach vLLM's own routes."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from typing import Any

import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_serving.api.settings import Settings
from generalist_serving.vllm_plugin import media

pytest.importorskip("vllm", reason="vLLM is not installed")


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What vLLM reads media with, where an image may have 100 pixels."""
    from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY

    monkeypatch.setenv("VLLM_MEDIA_CONNECTOR", "http")
    monkeypatch.setattr(MEDIA_CONNECTOR_REGISTRY, "name2class", dict(MEDIA_CONNECTOR_REGISTRY.name2class))
    media.install(Settings(max_pixels=100))
    return MEDIA_CONNECTOR_REGISTRY.load(os.environ["VLLM_MEDIA_CONNECTOR"], media_io_kwargs=None)


def png(side: int) -> str:
    data = io.BytesIO()
    Image.new("RGBA", (side, side), (255, 0, 0, 255)).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def test_a_data_url_is_read(connector: Any) -> None:
    for image in (connector.fetch_image(png(10)), asyncio.run(connector.fetch_image_async(png(10)))):
        assert (image.size, image.mode, image.getpixel((0, 0))) == ((10, 10), "RGB", (255, 0, 0))


@pytest.mark.parametrize("url, says", [
    (png(11), "11x11; at most 0.0001 megapixels"),
    ("http://127.0.0.1/a.png", "this server fetches no URLs"),
    ("https://example.com/a.png", "this server fetches no URLs"),
    ("file:///etc/passwd", "send a data URL"),
    ("data:image/png;base64,AAAA", "not a readable one"),
])  # fmt: skip
def test_anything_else_is_refused(connector: Any, url: str, says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        asyncio.run(connector.fetch_image_async(url))


def test_only_images_are_read(connector: Any) -> None:
    for fetch in (connector.fetch_audio_async, connector.fetch_video_async):
        with pytest.raises(GeneralistError, match="this server reads images only"):
            asyncio.run(fetch("data:audio/wav;base64,AAAA"))
