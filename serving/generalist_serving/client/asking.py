"""From what a user gives the client to the body of a chat completion request."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import numpy as np
from PIL import Image

from generalist.images import ImageSource, load_image
from generalist.types import GeneralistError, Message, Sampling, VisualPrompt
from generalist.visual import Size, box_pixels

Images: TypeAlias = ImageSource | Sequence[ImageSource] | None

LARGEST_PNG = 10_000_000
"""Bytes; a larger picture goes as JPEG of quality 95, so that the server takes its body."""

_URL = re.compile(r"(https?|data):", re.IGNORECASE)
_MEDIA_TYPES = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request without its model. ``images``: the upright pictures, None for a URL."""

    body: Mapping[str, Any]
    model: str | None = None
    images: tuple[Image.Image | None, ...] = field(default=(), compare=False)


def ask_image(
    images: Images,
    prompt: str,
    *,
    task: str,
    visual_prompts: Sequence[VisualPrompt] = (),
    sampling: Sampling | None = None,
    model: str | None = None,
) -> Asked:
    """A question about images; :class:`GeneralistError` for an image that is none."""
    sources = [] if images is None else list(images) if isinstance(images, list | tuple) else [images]
    read = [read_image(cast(ImageSource, source)) for source in sources]
    parts = [_image_part(url) for url, _ in read] + [{"type": "text", "text": prompt}]
    pictures = tuple(picture for _, picture in read)
    return _asked([{"role": "user", "content": parts}], pictures, task, visual_prompts, sampling, model)


def ask_chat(
    messages: Sequence[Message], *, task: str, sampling: Sampling | None, model: str | None, logprobs: bool = False
) -> Asked:
    """A conversation that ends with a question; what was drawn for an earlier one cannot be sent any more."""
    if any(message.visual_prompts for message in messages[:-1]):
        raise GeneralistError("visual_prompts of earlier messages cannot be sent; put them on the last message")
    turns: list[dict[str, Any]] = []
    pictures: list[Image.Image] = []
    for message in messages:
        read = [read_image(image) for image in message.images]
        pictures += [picture for _, picture in read if picture is not None]
        parts = [_image_part(url) for url, _ in read] + [{"type": "text", "text": message.text}]
        turns.append({"role": message.role, "content": parts if read else message.text})
    drawn = messages[-1].visual_prompts if messages else ()
    asked = _asked(turns, tuple(pictures), task, drawn, sampling, model)
    return replace(asked, body={**asked.body, "logprobs": True}) if logprobs else asked


def _asked(
    messages: list[dict[str, Any]],
    pictures: tuple[Image.Image | None, ...],
    task: str,
    visual_prompts: Sequence[VisualPrompt],
    sampling: Sampling | None,
    model: str | None,
) -> Asked:
    body: dict[str, Any] = {"messages": messages, "task": task}
    if visual_prompts:
        body["visual_prompts"] = [drawn_on(prompt, pictures) for prompt in visual_prompts]
    if sampling is not None:
        body |= {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_completion_tokens": sampling.max_new_tokens,
        }
        body |= {} if sampling.seed is None else {"seed": sampling.seed}
    return Asked(body=body, model=model, images=pictures)


# --- images ---------------------------------------------------------------------------------------------


def _image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def read_image(source: ImageSource) -> tuple[str, Image.Image | None]:
    """(URL to send, upright picture). Files of common kinds are sent as they are, everything else as PNG."""
    if isinstance(source, str) and _URL.match(source):
        return source, None
    picture = load_image(source)
    if isinstance(source, Image.Image | np.ndarray):
        return _encoded(picture), picture
    data = source if isinstance(source, bytes) else _file(source)
    with Image.open(io.BytesIO(data)) as opened:
        media_type = _MEDIA_TYPES.get(opened.format or "")
    return (_data_url(data, media_type) if media_type else _encoded(picture)), picture


def _file(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _encoded(picture: Image.Image) -> str:
    data = _bytes(picture, "PNG")
    if len(data) <= LARGEST_PNG:
        return _data_url(data, "png")
    return _data_url(_bytes(picture, "JPEG", quality=95), "jpeg")


def _bytes(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:image/{media_type};base64,{base64.b64encode(data).decode('ascii')}"


# --- drawings -------------------------------------------------------------------------------------------


def drawn_on(prompt: VisualPrompt, pictures: Sequence[Image.Image | None]) -> dict[str, Any]:
    """What the user drew, in pixels of the last image."""
    if prompt.bitmap is not None:
        picture = Image.fromarray(np.asarray(prompt.bitmap, np.uint8) * 255)
        return {"type": prompt.kind, "png": _data_url(_bytes(picture, "PNG"), "png")}
    size = _last_size(prompt, pictures)
    if prompt.xy is not None:
        label = {"label": 0} if prompt.excludes else {}
        return {"type": "point", "point": box_pixels(prompt.xy, size), **label}
    assert prompt.xyxy is not None
    return {"type": "box", "box": box_pixels(prompt.xyxy, size)}


def _last_size(prompt: VisualPrompt, pictures: Sequence[Image.Image | None]) -> Size:
    if not pictures:
        raise GeneralistError(f"a {prompt.kind} is drawn on an image; give one")
    if pictures[-1] is None:
        raise GeneralistError(f"a {prompt.kind} needs the size of its image; give a file or a picture, not a URL")
    return pictures[-1].size
