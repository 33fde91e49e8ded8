"""A labelled folder of six pictures, and a backend that answers each of them in its own way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from generalist.types import Prompt, Sampling
from generalist_serving.backend import Piece

from ..scripted_backend import Ids, ScriptedBackend

SIDE = 64
HOSTILE = '<img src=x onerror="document.title=1">'

# Of each picture: (class, box in pixels) of its things, and of what is answered. Locations have 64 bins, whose middles
# are whole pixels and a half, so that overlaps are exact.
_A, _B, _C = (8.5, 8.5, 24.5, 24.5), (32.5, 8.5, 48.5, 40.5), (8.5, 8.5, 24.5, 16.5)
PICTURES: dict[str, tuple[list[tuple[str, tuple[float, ...]]], list[tuple[str, tuple[float, ...]]]]] = {
    "right.png": ([("dog", _A), ("cat", _B)], [("dog", _A), ("cat", _B)]),
    "half.png": ([("dog", _A)], [("dog", _C)]),
    "confused.png": ([("dog", _A)], [("cat", _A)]),
    "missed.png": ([("cat", _B)], []),
    "made up.png": ([("dog", _A)], [("dog", _A), ("bird", _B)]),
    f"{HOSTILE.replace('/', '')}.png": ([(HOSTILE, _A)], [("dog", (9.5, 8.5, 25.5, 24.5))]),
}
"""The overlap of ``half`` is 0.5, that of the last 15 / 17, all others 1 or 0."""


def labelled_folder(folder: Path) -> Path:
    """The pictures with labels in COCO's form; the red of a picture is 10 times its number."""
    names = list(dict.fromkeys(label for things, _ in PICTURES.values() for label, _ in things))
    images, annotations = [], []
    for number, (name, (things, _)) in enumerate(PICTURES.items()):
        Image.new("RGB", (SIDE, SIDE), (10 * number, 90, 160)).save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for label, (x1, y1, x2, y2) in things:
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"id": len(annotations), "image_id": number, "category_id": names.index(label), "bbox": box}
            annotations.append({**entry, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": at, "name": name} for at, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


class PaintedBackend(ScriptedBackend):
    """Answers by the red of the picture, whatever order questions come in; see ``PICTURES``."""

    def __init__(self, ids: Ids) -> None:
        answers = [answer for _, answer in PICTURES.values()]
        self._written = [ids(_reply(answer)) for answer in answers]
        super().__init__(self._written)

    async def run(self, prompt: Prompt, sampling: Sampling) -> AsyncIterator[Piece]:
        pixel = prompt.images[-1].getpixel((0, 0))
        assert isinstance(pixel, tuple)
        self.replies = [tuple(self._written[int(pixel[0]) // 10])]
        async for piece in super().run(prompt, sampling):
            yield piece


def _reply(answer: list[tuple[str, tuple[float, ...]]]) -> str:
    phrases = []
    for label, box in answer:
        bins = "".join(f"<loc_{int(value):04}>" for value in box)
        phrases.append(f"<Phrase>{label}</Phrase>(<Unit>box</Unit>[0]{bins})")
    return ", ".join(phrases) or "There is nothing."
