"""The images of vLLM's own routes, read within the limits of ours.

vLLM's connector fetches any URL from anywhere, follows redirects and opens local files; this one stands in its place
(``VLLM_MEDIA_CONNECTOR``).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, NoReturn

from PIL.Image import Image

from generalist.types import GeneralistError
from generalist_serving.api.errors import ApiError
from generalist_serving.api.media import load_image
from generalist_serving.api.settings import Settings

_NAME = "generalist"


def install(settings: Settings) -> None:
    """Make vLLM read media by ``settings``: images alone, and from the network only if that is allowed."""
    from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector

    class Connector(MediaConnector):
        """Every modality but images comes through ``load_from_url``."""

        async def fetch_image_async(self, image_url: str, *, image_mode: str | None = "RGB") -> Image:
            try:
                return await load_image(image_url, settings)
            except ApiError as error:
                raise GeneralistError(error.detail) from error

        def fetch_image(self, image_url: str, *, image_mode: str | None = "RGB") -> Image:
            return asyncio.run(self.fetch_image_async(image_url))

        def load_from_url(self, url: str, media_io: Any, *, fetch_timeout: int | None = None) -> NoReturn:
            raise GeneralistError("the request holds media that are no image; this server reads images only")

        async def load_from_url_async(self, url: str, media_io: Any, *, fetch_timeout: int | None = None) -> NoReturn:
            self.load_from_url(url, media_io)

    MEDIA_CONNECTOR_REGISTRY.register(_NAME)(Connector)
    os.environ["VLLM_MEDIA_CONNECTOR"] = _NAME
