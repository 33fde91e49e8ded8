"""The dialects that answer in JSON.

- ``qwen2_5_vl``: pixels of the image as the processor resized it (QwenLM/Qwen3-VL issues 676, 762, 1367).
- ``qwen3_vl``: 0 to 1000 of the width and of the height (issues 1486, 1741, 1927).
- ``gemini``: 0 to 1000, y first; masks are pictures of the box, or polygons (Gemini API, image understanding).
- ``json``: for models that know no form of their own, fractions of the width and of the height.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from generalist.dialects.dialect import Asked, Question, Reader, Sizes, only_kinds, refuse
from generalist.dialects.geometry import Scale
from generalist.dialects.json_masks import draw_mask
from generalist.dialects.json_reader import JsonReader, Keys
from generalist.types import Constraint, VisualPrompt

MOST_ITEMS = 100
"""Of a constrained list: a model that repeats itself comes to an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonDialect:
    """One of them. ``scale``: what stands for the right and the lower edge; ``form``: how a coordinate is explained."""

    name: str
    keys: Keys
    scale: Callable[[Sizes], Scale]
    form: str
    digits: int = 0
    masks: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("chat", "detect", "box", "point", "caption", "count", *(("segment",) if self.masks else ()))

    def ask(self, question: Question) -> Asked:
        """The question in words; the user's own drawings follow it as JSON."""
        if question.task not in self.tasks:
            raise refuse(self.name, question.task, self.tasks)
        only_kinds(self.name, question.visual_prompts, ("box", "point"))
        shown = [self._shown(prompt, question) for prompt in question.visual_prompts]
        return Asked(text="\n".join([self._words(question), *shown]))

    def reader(self, question: Question) -> Reader:
        scale = self.scale(question.sizes) if question.sizes else (1.0, 1.0)
        return JsonReader(question, self.keys, scale, draw_mask if self.masks else None)

    def constraint(self, question: Question) -> Constraint | None:
        """A JSON schema for boxes and points; masks are too long to be spelled out."""
        if question.sizes is None or question.task not in ("detect", "box", "point"):
            return None
        name, count = (self.keys.point[0], 2) if question.task == "point" else (self.keys.box[0], 4)
        edge = max(self.scale(question.sizes))
        number = {"type": "number" if self.digits else "integer", "minimum": 0, "maximum": edge}
        place = {"type": "array", "items": number, "minItems": count, "maxItems": count}
        one = {
            "type": "object",
            "properties": {name: place, "label": {"type": "string"}},
            "required": [name, "label"],
            "additionalProperties": False,
        }
        return Constraint(grammar="", json_schema=json.dumps({"type": "array", "items": one, "maxItems": MOST_ITEMS}))

    def _words(self, question: Question) -> str:
        if question.task in ("chat", "caption"):
            return question.text
        if question.task == "count":
            return f"{question.text} Answer with a number."
        point = question.task == "point"
        axes = ("y", "x") if self.keys.y_first else ("x", "y")
        names = ", ".join([*axes] if point else [f"{axis}{end}" for end in (1, 2) for axis in axes])
        key = self.keys.point[0] if point else self.keys.box[0]
        mask = ', "mask"' if question.task == "segment" else ""
        what = {"point": "Point to", "segment": "Give the segmentation masks of"}.get(question.task, "Locate")
        return (
            f"{what} {question.thing} in the image. Answer in JSON: "
            f'a list of {{"{key}": [{names}]{mask}, "label": the name}}, {self.form}.'
        )

    def _shown(self, prompt: VisualPrompt, question: Question) -> str:
        assert question.sizes is not None
        x, y = self.scale(question.sizes)
        values = prompt.xyxy if prompt.kind == "box" else prompt.xy
        assert values is not None
        placed = [round(v * (x, y)[axis % 2], self.digits) for axis, v in enumerate(values)]
        if self.keys.y_first:
            placed = [v for k in range(0, len(placed), 2) for v in (placed[k + 1], placed[k])]
        key = self.keys.box[0] if prompt.kind == "box" else self.keys.point[0]
        return json.dumps({key: placed if self.digits else [int(v) for v in placed]})


_BOX_NAMES = ("bbox_2d", "box_2d", "bbox", "box", "bounding_box")
_POINT_NAMES = ("point_2d", "point", "point_xy", "coordinates")

QWEN2_5_VL = JsonDialect(
    name="qwen2_5_vl",
    keys=Keys(box=_BOX_NAMES, point=_POINT_NAMES),
    scale=lambda sizes: sizes.resized,
    form="in pixels of the image",
)
QWEN3_VL = JsonDialect(
    name="qwen3_vl",
    keys=Keys(box=_BOX_NAMES, point=_POINT_NAMES),
    scale=lambda sizes: (1000, 1000),
    form="from 0 to 1000",
)
GEMINI = JsonDialect(
    name="gemini",
    keys=Keys(box=("box_2d", "bbox_2d", "bbox", "box"), point=("point", "point_2d"), y_first=True),
    scale=lambda sizes: (1000, 1000),
    form="from 0 to 1000",
    masks=True,
)
PLAIN_JSON = JsonDialect(
    name="json",
    keys=Keys(box=("box", "bbox", "bbox_2d", "box_2d"), point=("point", "point_2d")),
    scale=lambda sizes: (1, 1),
    form="in fractions of the image's width and height, from 0 to 1",
    digits=3,
)
