"""What the arguments mean: which images, what about them, what is drawn on them."""

from __future__ import annotations

# os.path, not pathlib: its tests say False of a name that no file can have, where Path raises.
import os
from collections.abc import Sequence
from pathlib import Path

from generalist.cli.commands import Command
from generalist.cli.options import Options
from generalist.images import IMAGE_SUFFIXES, list_images
from generalist.types import GeneralistError, VisualPrompt
from generalist.visual import Size, bitmap_prompt, box_prompt, point_prompt


def split_arguments(spec: Command, arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """(images and folders, the last argument's text or None); see ``Command.argument_help`` for the rule."""
    *images, last = arguments
    if spec.needs_last == "never":
        return list(arguments), None
    if spec.needs_last == "perhaps" and (not images or _looks_like_image(last)):
        return list(arguments), None
    if not images:
        raise GeneralistError(f"only {last[:200]!r} is given; use: {spec.example}")
    if spec.needs_last == "always" and _is_image_file(last):
        raise GeneralistError(f"the last argument {last!r} is an image file; put the {spec.last.lower()} behind it")
    return images, last


def find_images(sources: Sequence[str]) -> list[Path]:
    """Every image named, and those in every folder named, in this order; a folder without any is an error."""
    found: list[Path] = []
    for source in sources:
        found += list_images(source) if os.path.isdir(source) else [Path(source)]
    return found


def read_prompts(options: Options, size: Size) -> tuple[VisualPrompt, ...]:
    """The drawings of the command line, on an image of ``size`` (W, H)."""
    return (
        *(box_prompt(_numbers("--box", text, 4), size) for text in options.boxes),
        *(point_prompt(_numbers("--point", text, 2), size) for text in options.points),
        *(point_prompt(_numbers("--exclude", text, 2), size, excludes=True) for text in options.excluded),
        *(bitmap_prompt("mask", str(path), size) for path in options.masks),
        *(bitmap_prompt("scribble", str(path), size) for path in options.scribbles),
    )


def _numbers(option: str, text: str, count: int) -> list[float]:
    form = "x1,y1,x2,y2" if count == 4 else "x,y"
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise GeneralistError(f"{option} is {text[:100]!r}; use numbers {form} in pixels") from error
    if len(values) != count:
        raise GeneralistError(f"{option} is {text[:100]!r}, which has {len(values)} numbers; use {form} in pixels")
    return values


def _looks_like_image(argument: str) -> bool:
    has_slash = "/" in argument or os.sep in argument
    return os.path.splitext(argument)[1].lower() in IMAGE_SUFFIXES or (has_slash and os.path.exists(argument))


def _is_image_file(argument: str) -> bool:
    return os.path.splitext(argument)[1].lower() in IMAGE_SUFFIXES and os.path.isfile(argument)
