"""What the user drew, as it comes back from the page -> prompts of the model."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from generalist.types import GeneralistError, VisualPrompt
from generalist.visual import Size, bitmap_prompt, box_prompt, point_prompt
from generalist_serving.api.fields import BoxPrompt, PaintedPrompt, PointPrompt, VisualPrompts

_PROMPTS: TypeAdapter[list[PointPrompt | BoxPrompt | PaintedPrompt]] = TypeAdapter(VisualPrompts)
_PNG = "data:image/png;base64,"


def read_prompts(entries: object, size: Size) -> tuple[VisualPrompt, ...]:
    """The prompts of a stage's value on a picture of ``size`` (W, H); none for None.

    Anyone may send anything in a page's name, so all of it is checked; :class:`GeneralistError` names what is wrong.
    """
    try:
        drawn: Sequence[PointPrompt | BoxPrompt | PaintedPrompt] = _PROMPTS.validate_python(entries or [])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = " ".join(".".join(map(str, first["loc"])).split())[:80]  # it may hold a name that was made up
        raise GeneralistError(f"drawn prompts: {place or 'the list'}: {first['msg']}; draw them again") from error
    return tuple(_prompt(entry, size) for entry in drawn)


def _prompt(entry: PointPrompt | BoxPrompt | PaintedPrompt, size: Size) -> VisualPrompt:
    if isinstance(entry, PointPrompt):
        return point_prompt(entry.point, size, excludes=entry.label == 0)
    if isinstance(entry, BoxPrompt):
        return box_prompt(entry.box, size)
    return bitmap_prompt(entry.type, _png(entry, size), size)


def _png(entry: Any, size: Size) -> bytes:
    """The bytes of a painted prompt, once its header says that it is as large as the picture."""
    try:
        if not entry.png.startswith(_PNG):
            raise ValueError
        data = base64.b64decode(entry.png[len(_PNG) :], validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            found = picture.size
    except (ValueError, OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise GeneralistError(f"the {entry.type} is not a PNG as a data URL; draw it again") from error
    if found != size:
        raise GeneralistError(
            f"the {entry.type} is {found[0]}x{found[1]} and the image {size[0]}x{size[1]}; draw it on this image"
        )
    return data
