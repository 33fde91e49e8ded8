"""The images of a request: data URLs, and http(s) URLs where the server allows them -> pictures."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from generalist import images
from generalist.types import GeneralistError
from generalist_serving.api.errors import ApiError
from generalist_serving.api.image_bytes import pixels_only
from generalist_serving.api.remote import fetch
from generalist_serving.api.settings import Settings

T = TypeVar("T")

# Threads of their own: a picture of 40 megapixels takes half a gigabyte while it is read, so few at once.
_READERS = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="images")

_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]{1,40})(?:;[a-z0-9=._-]{1,40})?;base64,", re.IGNORECASE)
_ESCAPED = (("%2B", "+"), ("%2F", "/"), ("%3D", "="))  # the rest of base64 needs no escapes
_SPACES = str.maketrans("", "", " \t\r\n")


async def load_image(
    url: str, settings: Settings, *, param: str | None = "image_url", left: int | None = None
) -> Image.Image:
    """The picture that a data URL holds or, if the settings allow it, that an http(s) URL names: upright RGB.

    JPEG, PNG, WebP, GIF, BMP and TIFF by content, whatever the URL calls it; the first frame of an animation.
    ``left``: pixels that the other images of the request have left for it, all of ``max_total_pixels`` by default.
    Raises :class:`ApiError` 400, with ``param``, for anything that is not a whole image within the limits.
    """
    limits = _limits(settings, left)
    return await _load(url, settings, param, lambda data: _picture(data, limits))


async def load_png(
    url: str, settings: Settings, *, param: str | None = "visual_prompts", left: int | None = None
) -> np.ndarray:
    """The drawn pixels of a mask or scribble, bool [H, W], of a data URL that holds a PNG.

    Drawn is what ``generalist.images.load_bitmap`` calls drawn. ``left`` as above. Raises :class:`ApiError` 400, with
    ``param``.
    """
    if not url[:5].lower() == "data:":
        raise _wrong(f"a mask is {_shown(url)}; send a PNG as a data URL", param, "invalid_image_url")
    limits = _limits(settings, left)
    return await _load(url, settings, param, lambda data: _bitmap(data, limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Pixels: of one image, and what the request has left of those of all of them."""

    each: int
    left: int
    total: int


def _limits(settings: Settings, left: int | None) -> _Limits:
    total = settings.max_total_pixels
    return _Limits(each=settings.max_pixels, left=total if left is None else left, total=total)


async def _load(url: str, settings: Settings, param: str | None, read: Callable[[bytes], T]) -> T:
    loop = asyncio.get_running_loop()
    try:
        if url[:5].lower() == "data:":
            return await loop.run_in_executor(_READERS, lambda: read(_data(url)))
        if not re.match(r"https?://", url[:8], re.IGNORECASE):
            raise GeneralistError(f"an image is {_shown(url)}; send a data URL: data:image/png;base64,...")
        if not settings.allow_remote_images:
            raise GeneralistError(f"an image is {_shown(url)}; this server fetches no URLs, so send a data URL")
        data = await fetch(url, settings)
        return await loop.run_in_executor(_READERS, read, data)
    except ApiError as error:
        raise _wrong(error.detail, param, error.code) from error
    except GeneralistError as error:
        raise _wrong(str(error), param, "invalid_image") from error


def _wrong(message: str, param: str | None, code: str | None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


def _data(url: str) -> bytes:
    begin = _DATA_URL.match(url)
    if begin is None:
        raise GeneralistError(f"an image is {_shown(url)}; a data URL begins with data:image/png;base64,")
    text = url[begin.end() :]
    for escaped, sign in _ESCAPED:
        text = text.replace(escaped, sign).replace(escaped.lower(), sign)
    try:
        return base64.b64decode(text.translate(_SPACES), validate=True)
    except (binascii.Error, ValueError) as error:
        raise GeneralistError(f"an image is {_shown(url)}; what follows the comma is not whole base64") from error


def _picture(data: bytes, limits: _Limits) -> Image.Image:
    return _decoded(images.load_image, _opened(data, limits))


def _bitmap(data: bytes, limits: _Limits) -> np.ndarray:
    picture = _opened(data, limits)
    if picture.format != "PNG":
        raise GeneralistError(f"a mask is a {picture.format}; send a PNG, which keeps every pixel as it is")
    return _decoded(images.load_bitmap, picture)


def _decoded(read: Callable[[Image.Image], T], picture: Image.Image) -> T:
    try:
        return read(picture)
    except GeneralistError:
        raise
    except Exception as error:  # decoders raise many types on hostile bytes
        raise _damaged(picture.format) from error


def _opened(data: bytes, limits: _Limits) -> Image.Image:
    """A picture of which only the header has been read, within the limit."""
    kind, plain = pixels_only(data)
    try:
        picture = Image.open(io.BytesIO(plain), formats=[kind])
    except Image.DecompressionBombError as error:
        raise _too_large("far too large", limits.each) from error
    except Exception as error:  # and so do readers of headers
        raise _damaged(kind) from error
    # Numbers of more than 8 bits go through floats of 64, four times the memory of colours.
    most = limits.each // 4 if picture.mode.startswith(("I", "F")) else limits.each
    if picture.width * picture.height > most:
        raise _too_large(f"{picture.width}x{picture.height}", most)
    if picture.width * picture.height > limits.left:
        raise GeneralistError(
            f"the images of the request have more than {limits.total / 1e6:g} megapixels together; scale them down, or "
            "send fewer at once"
        )
    return picture


def _damaged(kind: str | None) -> GeneralistError:
    return GeneralistError(f"the image is truncated or damaged ({kind}); send a whole file")


def _too_large(size: str, most: int) -> GeneralistError:
    return GeneralistError(f"the image is {size}; at most {most / 1e6:g} megapixels are read, so scale it down")


def _shown(url: str) -> str:
    return repr(url if len(url) <= 60 else f"{url[:40]}...{url[-10:]}")
