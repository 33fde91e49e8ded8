"""A scene and its questions as a row of a table, and the samples of a row.

Pictures are encoded files, so that ``datasets.load_dataset`` shows them; depth is a 16-bit PNG whose values
are 1/1600 m; masks are compressed COCO run lengths. Reading needs no more than Pillow and pycocotools.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from generalist.images import load_image
from generalist.types import (
    Box,
    DepthMap,
    DocHit,
    Grounded,
    Mask,
    Message,
    Output,
    Point,
    Sample,
    VisualPrompt,
)
from generalist.visual import decode_png16, mask_bitmap
from generalist_datasets.world.masks import to_mask

if TYPE_CHECKING:  # it composes, which reading does not need
    from generalist_datasets.world.compose import Assets
    from generalist_datasets.world.dataset import WorldItem

PictureFormat = Literal["png", "jpg"]

DEPTH_SCALE = 1600
"""Levels a metre: the farthest that 16 bits hold is 40.96 m, off by at most 0.32 mm."""

_PNG = {"format": "PNG", "compress_level": 3}
_SAVE: dict[PictureFormat, dict[str, Any]] = {"png": _PNG, "jpg": {"format": "JPEG", "quality": 95, "subsampling": 0}}


def features() -> Any:
    """The columns, as ``datasets.Features``."""
    from datasets import Features, List, Value
    from datasets import Image as Picture

    number, text = Value("float64"), Value("string")
    numbers = List(number)
    prompt = {"kind": text, "box": numbers, "point": numbers, "counts": text, "excludes": Value("bool")}
    target = {
        "label": text, "start": Value("int32"), "stop": Value("int32"), "image": Value("int32"), "ref": Value("int32"),
        "kind": text, "box": numbers, "point": numbers, "counts": text, "document": text, "title": text, "text": text,
    }  # fmt: skip
    question = {
        "id": text, "task": text, "ability": text, "negative": Value("bool"),
        "prompt": text, "text": text, "targets": List(target), "visual_prompts": List(prompt),
        "earlier_images": List(Value("int32")),
        "history": List({"role": text, "text": text, "visual_prompts": List(prompt)}),
    }  # fmt: skip
    thing = {
        "name": text, "box": numbers, "distance": number, "style": text, "colour": text, "material": text,
        "texture": text, "size": text,
    }  # fmt: skip
    return Features(
        {
            "index": Value("int64"),
            "image": Picture(),
            "instances": Picture(),
            "surfaces": Picture(),
            "depth": Picture(),
            "earlier_images": List(Picture()),
            "things": List(thing),
            "camera": {"focal": numbers, "centre": numbers, "eye": number},
            "questions": List(question),
            "split": text,
            "digest": text,
        }
    )


# --- writing ------------------------------------------------------------------------------------------


def to_row(item: WorldItem, samples: Sequence[Sample], assets: Assets, form: PictureFormat) -> dict[str, Any]:
    """The row of an item whose questions are ``samples``; ``form`` is the format of photographs and scenes."""
    scene, camera = item.scene, item.scene.camera
    earlier: list[Image.Image] = []
    questions = []
    for sample in samples:
        places = range(len(earlier), len(earlier) + len(sample.earlier_images))
        earlier += sample.earlier_images
        questions.append(_question_row(sample, list(places)))
    things = [
        {
            "name": assets.concepts[thing.concept].name, "box": thing.xyxy, "distance": thing.distance,
            "style": thing.style, "colour": thing.colour, "material": thing.material, "texture": thing.texture,
            "size": thing.size,
        }
        for thing in scene.things
    ]  # fmt: skip
    depth = None if scene.depth is None else np.rint(scene.depth * DEPTH_SCALE).astype(np.uint16)
    return {
        "index": item.index,
        "image": _encoded(Image.fromarray(scene.image), _SAVE[form]),
        "instances": _encoded(Image.fromarray(scene.instances), _PNG),
        "surfaces": _encoded(Image.fromarray(scene.surfaces), _PNG),
        "depth": None if depth is None else _encoded(Image.fromarray(depth), _PNG),
        "earlier_images": [_encoded(picture, _SAVE[form]) for picture in earlier],
        "things": things,
        "camera": {"focal": camera.focal, "centre": camera.centre, "eye": camera.eye},
        "questions": questions,
        "split": item.split,
        "digest": item.digest().hex(),
    }


def _encoded(picture: Image.Image, options: Mapping[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def _question_row(sample: Sample, earlier: list[int]) -> dict[str, Any]:
    return {
        "id": sample.id,
        "task": sample.task,
        "ability": sample.meta["ability"],
        "negative": sample.meta["negative"],
        "prompt": sample.prompt,
        "text": sample.text,
        "targets": [_target_row(target) for target in sample.targets],
        "visual_prompts": [_prompt_row(prompt) for prompt in sample.visual_prompts],
        "earlier_images": earlier,
        "history": [
            {"role": m.role, "text": m.text, "visual_prompts": [_prompt_row(p) for p in m.visual_prompts]}
            for m in sample.history
        ],
    }


def _target_row(target: Grounded) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": target.label, "start": target.span[0], "stop": target.span[1], "image": target.image,
        "ref": target.ref,
    }  # fmt: skip
    output = target.output
    if isinstance(output, Box):
        return {**row, "kind": "box", "box": output.xyxy}
    if isinstance(output, Point):
        return {**row, "kind": "point", "point": output.xy}
    if isinstance(output, Mask):
        return {**row, "kind": "mask", "box": output.xyxy, "counts": output.counts}
    if isinstance(output, DepthMap):  # the scene's own, which has a column
        return {**row, "kind": "depth"}
    return {**row, "kind": "doc", "document": output.doc_id, "title": output.title, "text": output.text}


def _prompt_row(prompt: VisualPrompt) -> dict[str, Any]:
    counts = None if prompt.bitmap is None else to_mask(prompt.bitmap).counts
    return {"kind": prompt.kind, "box": prompt.xyxy, "point": prompt.xy, "counts": counts, "excludes": prompt.excludes}


# --- reading ------------------------------------------------------------------------------------------

SAMPLE_COLUMNS = ("index", "image", "depth", "earlier_images", "questions", "split")
"""What :func:`samples_of_row` looks at."""


def samples_of_row(row: Mapping[str, Any]) -> Iterator[Sample]:
    """The samples of a row, which share one picture.

    Raises:
        GeneralistError, KeyError, TypeError, ValueError: the row is not one of :func:`to_row`.
    """
    image = load_image(row["image"]["bytes"])
    earlier = [load_image(picture["bytes"]) for picture in row["earlier_images"]]
    depth = None if row["depth"] is None else DepthMap(values=decode_png16(row["depth"]["bytes"], DEPTH_SCALE))
    size = (image.height, image.width)
    for question in row["questions"]:
        yield Sample(
            id=question["id"],
            image=image,
            task=question["task"],
            prompt=question["prompt"],
            text=question["text"],
            targets=tuple(_target(target, size, depth) for target in question["targets"]),
            visual_prompts=_prompts(question, size),
            earlier_images=tuple(earlier[place] for place in question["earlier_images"]),
            history=tuple(
                Message(role=turn["role"], text=turn["text"], visual_prompts=_prompts(turn, size))
                for turn in question["history"]
            ),
            meta={
                "ability": question["ability"],
                "negative": question["negative"],
                "split": row["split"],
                "index": row["index"],
            },
        )


def _target(row: Mapping[str, Any], size: tuple[int, int], depth: DepthMap | None) -> Grounded:
    span = (row["start"], row["stop"])
    return Grounded(label=row["label"], span=span, image=row["image"], ref=row["ref"], output=_output(row, size, depth))


def _output(row: Mapping[str, Any], size: tuple[int, int], depth: DepthMap | None) -> Output:
    kind = row["kind"]
    if kind == "box":
        return Box(xyxy=tuple(row["box"]))
    if kind == "point":
        return Point(xy=tuple(row["point"]))
    if kind == "mask":
        return Mask(size=size, counts=row["counts"], xyxy=tuple(row["box"]))
    if kind == "doc":
        return DocHit(doc_id=row["document"], title=row["title"], text=row["text"])
    if kind == "depth" and depth is not None:
        return depth
    raise ValueError(f"a target of kind {kind!r}")


def _prompts(row: Mapping[str, Any], size: tuple[int, int]) -> tuple[VisualPrompt, ...]:
    return tuple(_prompt(prompt, size) for prompt in row["visual_prompts"])


def _prompt(row: Mapping[str, Any], size: tuple[int, int]) -> VisualPrompt:
    bitmap = None
    if row["counts"] is not None:
        bitmap = mask_bitmap(Mask(size=size, counts=row["counts"], xyxy=(0.0, 0.0, 1.0, 1.0)))
    xyxy, xy = (None if row[name] is None else tuple(row[name]) for name in ("box", "point"))
    return VisualPrompt(kind=row["kind"], xyxy=xyxy, xy=xy, bitmap=bitmap, excludes=row["excludes"])
