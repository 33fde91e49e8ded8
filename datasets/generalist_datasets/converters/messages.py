"""Samples -> conversations: ``SPLIT.jsonl``, one a line, as TRL and Hugging Face's ``json`` loader take them.

``{"id": ..., "images": [NAME, ...], "messages": [{"role": ..., "content": [PART, ...]}, ...]}`` with parts
``{"type": "image"}``, the next one of ``images``, and ``{"type": "text", "text": ...}``.

Boxes and points are written as Qwen2.5-VL writes them, ``[{"bbox_2d": [x1, y1, x2, y2], "label": ...}]`` and
``point_2d``, in whole pixels of the upright picture. No such convention exists for masks, depth and points that
exclude: what asks with them, or answers with them, is left out and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, TypeAlias

from generalist.types import Box, DepthMap, DocHit, Grounded, Mask, Message, Point, Sample, VisualPrompt
from generalist_datasets.converters.folder import OutFolder, Written

Size: TypeAlias = tuple[int, int]

_NO_SPLIT = "messages"
_OUTPUTS: dict[type, str] = {Mask: "masks", DepthMap: "depth maps", DocHit: "documents"}


def write_messages(samples: Iterable[tuple[Sample, tuple[Path, ...]]], folder: OutFolder) -> Written:
    """Write samples, each with the files of its pictures (earlier ones first), or () where they are no files."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        files: dict[str, IO[str]] = {}
        for sample, pictures in samples:
            if reason := _unwritable(sample):
                folder.left_out[f"conversations with {reason}"] += 1
                continue
            name = f"{folder.split_name(str(sample.meta.get('split', ''))) or _NO_SPLIT}.jsonl"
            if name not in files:
                files[name] = stack.enter_context((folder.path / name).open("w", encoding="utf-8"))
            if pictures:
                names = [folder.name_of(picture) for picture in pictures]
            else:
                names = [folder.save(picture) for picture in (*sample.earlier_images, sample.image)]
            entry = {"id": sample.id, "images": names, "messages": _messages(sample)}
            print(json.dumps(entry), file=files[name])
            counts["conversations"] += 1
    return Written(counts=counts, files=tuple(files), left_out=folder.left_out)


def _unwritable(sample: Sample) -> str:
    """What of a sample cannot be written; "" for nothing."""
    drawn = [prompt for message in sample.history for prompt in message.visual_prompts]
    for prompt in (*drawn, *sample.visual_prompts):
        if prompt.bitmap is not None:
            return f"a {prompt.kind} drawn by the user"
        if prompt.excludes:
            return "a point on what is not meant"
    return next((_OUTPUTS[type(t.output)] for t in sample.targets if type(t.output) in _OUTPUTS), "")


def _messages(sample: Sample) -> list[dict[str, Any]]:
    size = sample.image.size
    question = Message(role="user", text=sample.prompt, visual_prompts=sample.visual_prompts)
    turns = [(m.role, _with_drawings(m, size)) for m in (*sample.history, question)]
    turns.append(("assistant", _answer(sample, size)))
    pictures = [{"type": "image"}] * (len(sample.earlier_images) + 1)
    messages = []
    for role, text in turns:
        shown, pictures = (pictures, []) if role == "user" else ([], pictures)  # all in the first question
        messages.append({"role": role, "content": [*shown, {"type": "text", "text": text}]})
    return messages


def _with_drawings(message: Message, size: Size) -> str:
    """The words of a turn and, below them, what the user drew."""
    drawn = [place for prompt in message.visual_prompts if (place := _drawing(prompt, size))]
    return f"{message.text}\n{json.dumps(drawn)}" if drawn else message.text


def _drawing(prompt: VisualPrompt, size: Size) -> dict[str, Any]:
    if prompt.xyxy is not None:
        return {"bbox_2d": _pixels(prompt.xyxy, size)}
    return {"point_2d": _pixels(prompt.xy, size)} if prompt.xy is not None else {}


def _answer(sample: Sample, size: Size) -> str:
    """The list of what is drawn, below the words where there are more of them than the labels in the list."""
    if not sample.targets:
        return sample.text
    drawn = json.dumps([_target(target, size) for target in sample.targets], ensure_ascii=False)
    words = sample.text
    for start, stop in sorted({target.span for target in sample.targets}, reverse=True):
        words = words[:start] + words[stop:]
    return f"{sample.text}\n{drawn}" if any(map(str.isalnum, words)) else drawn


def _target(target: Grounded, size: Size) -> dict[str, Any]:
    if isinstance(target.output, Point):
        return {"point_2d": _pixels(target.output.xy, size), "label": target.label}
    assert isinstance(target.output, Box), "masks, depth and documents were left out"
    return {"bbox_2d": _pixels(target.output.xyxy, size), "label": target.label}


def _pixels(values: Sequence[float], size: Size) -> list[int]:
    """0-1 -> whole pixels, at most half a pixel off."""
    return [round(value * size[axis % 2]) for axis, value in enumerate(values)]
