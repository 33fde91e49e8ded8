"""Ask a question about an image; get text with boxes, points, masks and depth.

    from generalist import Generalist

    answer = Generalist.from_pretrained().ask("photo.jpg", "Segment the red mug.")
    answer.text, answer.masks, answer.to_visual()
    answer.save_overlay("overlay.png")

The names below are loaded when they are first used, so that ``import generalist`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generalist.answer import Answer as Answer
    from generalist.images import load_image as load_image
    from generalist.pipeline import Generalist as Generalist
    from generalist.types import Box as Box
    from generalist.types import ChatRequest as ChatRequest
    from generalist.types import DepthMap as DepthMap
    from generalist.types import DocHit as DocHit
    from generalist.types import GeneralistError as GeneralistError
    from generalist.types import Grounded as Grounded
    from generalist.types import Mask as Mask
    from generalist.types import Message as Message
    from generalist.types import Point as Point
    from generalist.types import Sampling as Sampling
    from generalist.types import VisualPrompt as VisualPrompt
    from generalist.visual import bitmap_prompt as bitmap_prompt
    from generalist.visual import box_prompt as box_prompt
    from generalist.visual import from_visual as from_visual
    from generalist.visual import point_prompt as point_prompt

_TYPES = ("Box", "ChatRequest", "DepthMap", "DocHit", "GeneralistError", "Grounded", "Mask", "Message", "Point")
_HOMES = {
    "Answer": "generalist.answer",
    "Generalist": "generalist.pipeline",
    "load_image": "generalist.images",
    **dict.fromkeys((*_TYPES, "Sampling", "VisualPrompt"), "generalist.types"),
    **dict.fromkeys(("bitmap_prompt", "box_prompt", "from_visual", "point_prompt"), "generalist.visual"),
}

__all__ = [  # noqa: PLE0604 - computed, so that the table above is the only list
    "__version__",
    *sorted(_HOMES),
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("generalist")
        except PackageNotFoundError:  # run from its source without being installed
            return "not installed"
    if name in _HOMES:
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module 'generalist' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
