"""From the parts of an HTTP request to a :class:`~generalist.types.ChatRequest`, with every limit checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from generalist.prompt import split_excluded
from generalist.tasks import get_task, question
from generalist.types import GeneralistError, Message, Sampling, VisualPrompt
from generalist.visual import Size, box_prompt, point_prompt
from generalist_serving.api.errors import ApiError
from generalist_serving.api.fields import BoxPrompt, PaintedPrompt, PointPrompt
from generalist_serving.api.media import load_image, load_png
from generalist_serving.api.settings import Settings
from generalist_serving.json_schemas import ANY_OBJECT, schema_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message as it came: its texts, and (URL, path of the field) of its images."""

    role: Literal["system", "user", "assistant"]
    texts: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()


async def read_messages(
    turns: Sequence[Turn],
    visual_prompts: Sequence[PointPrompt | BoxPrompt | PaintedPrompt],
    *,
    task: str,
    settings: Settings,
    param: str,
) -> tuple[Message, ...]:
    """The conversation, with its images loaded and ``visual_prompts`` drawn on the last of them.

    A last question without words gets those of its ``task``, where the task asks about nothing in particular.
    ``param`` is what errors call the field of the turns. Raises :class:`ApiError` 400 for what breaks a limit.
    """
    _check_limits(turns, settings, param)
    room = _Room(settings)
    messages = [await _message(turn, room) for turn in turns]
    last = messages[-1] if messages else None
    if last is None or last.role != "user":
        if visual_prompts:
            raise _wrong("visual_prompts belong to a question; end with a user message", "visual_prompts")
        return tuple(messages)
    sizes = [image.size for message in messages for image in message.images]
    drawn = [await _drawn(entry, number, sizes, room) for number, entry in enumerate(visual_prompts)]
    try:
        split_excluded(drawn)
    except GeneralistError as error:
        raise _wrong(str(error), "visual_prompts") from error
    text = last.text if last.text.strip() or get_task(task).takes_text else question(task)
    messages[-1] = Message(role="user", text=text, images=last.images, visual_prompts=tuple(drawn))
    return tuple(messages)


def read_sampling(
    task: str,
    settings: Settings,
    *,
    max_tokens: tuple[int | None, str],
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    seed: int | None,
    top_logprobs: int = 0,
) -> Sampling:
    """How to choose tokens; ``max_tokens`` with the name of its field, by default what the task needs."""
    asked, param = max_tokens
    if asked is not None and asked > settings.max_tokens:
        raise _wrong(f"{param} is {asked}; use at most {settings.max_tokens}", param)
    return Sampling(
        temperature=temperature or 0.0,
        top_p=1.0 if top_p is None else top_p,
        top_k=top_k or 0,
        max_new_tokens=asked or min(get_task(task).max_new_tokens, settings.max_tokens),
        seed=seed,
        top_logprobs=top_logprobs,
    )


def read_top_logprobs(count: int | None, logprobs: bool, needs: str) -> int:
    """How many of the likeliest tokens to tell; refused where the ``logprobs`` beside them are not asked for."""
    if count and not logprobs:
        raise _wrong(f"top_logprobs need {needs}", "top_logprobs")
    return count or 0


def read_n(n: int | None, settings: Settings) -> int:
    """How many replies."""
    if n is not None and n > settings.max_n:
        raise _wrong(f"n is {n}; use at most {settings.max_n}", "n")
    return n or 1


def read_json_schema(schema: Mapping[str, Any] | None, task: str, param: str) -> str:
    """The schema of a reply in JSON as text, by default of any object; refused for tasks that are there to draw."""
    if task != "chat" and get_task(task).emits:
        raise _wrong(f"{param} asks for JSON and task {task!r} draws; use task 'chat', or leave {param} out", param)
    try:
        return ANY_OBJECT if schema is None else schema_text(schema)
    except GeneralistError as error:
        raise _wrong(str(error), param) from error


def _check_limits(turns: Sequence[Turn], settings: Settings, param: str) -> None:
    images = sum(len(turn.images) for turn in turns)
    characters = sum(len(text) for turn in turns for text in turn.texts)
    for count, most, what in (
        (len(turns), settings.max_messages, "messages"),
        (images, settings.max_images, "images"),
        (characters, settings.max_text_chars, "characters of text"),
    ):
        if count > most:
            raise _wrong(f"the request has {count} {what}; use at most {most}", param)


class _Room:
    """Loads the images of one request, which share a number of pixels."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._left = settings.max_total_pixels

    async def image(self, url: str, param: str) -> Image.Image:
        picture = await load_image(url, self._settings, param=param, left=self._left)
        self._left -= picture.width * picture.height
        return picture

    async def bitmap(self, url: str, param: str) -> np.ndarray:
        """bool[H, W]."""
        bitmap = await load_png(url, self._settings, param=param, left=self._left)
        self._left -= bitmap.size
        return bitmap


async def _message(turn: Turn, room: _Room) -> Message:
    # One after the other: a large picture takes much memory while it is read.
    images = tuple([await room.image(url, param) for url, param in turn.images])
    return Message(role=turn.role, text="\n".join(turn.texts), images=images)


async def _drawn(
    entry: PointPrompt | BoxPrompt | PaintedPrompt, number: int, sizes: Sequence[Size], room: _Room
) -> VisualPrompt:
    param = f"visual_prompts[{number}]"
    if not sizes:
        raise _wrong("visual_prompts are drawn on an image; send one", "visual_prompts")
    try:
        if isinstance(entry, PointPrompt):
            return point_prompt(entry.point, sizes[-1], excludes=entry.label == 0)
        if isinstance(entry, BoxPrompt):
            return box_prompt(entry.box, sizes[-1])
    except GeneralistError as error:
        raise _wrong(str(error), param) from error
    bitmap = await room.bitmap(entry.png, f"{param}.png")
    if bitmap.shape[::-1] != sizes[-1]:
        (height, width), (w, h) = bitmap.shape, sizes[-1]
        raise _wrong(f"the {entry.type} is {width}x{height} and its image {w}x{h}; use one size", f"{param}.png")
    return VisualPrompt(kind=entry.type, bitmap=bitmap)


def _wrong(message: str, param: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
