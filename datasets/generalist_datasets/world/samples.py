"""From scenes and questions to samples: what a phrase names becomes a box, a point, a mask, depth or a document."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from generalist.types import Box, DepthMap, DocHit, Grounded, Message, Output, Point, Sample, VisualPrompt
from generalist_datasets.world.dataset import WorldItem
from generalist_datasets.world.drawing import draw_prompt, inner_point
from generalist_datasets.world.masks import to_mask
from generalist_datasets.world.question import Answer, Drawn, Question, Target, Turn, answer_text
from generalist_datasets.world.scene import Scene


def samples_of(item: WorldItem) -> tuple[Sample, ...]:
    """One sample a question of the item; what is drawn on the image depends on the item alone."""
    rng = np.random.default_rng([item.seed, zlib.crc32(b"drawn"), item.index])
    where = {"split": item.split, "index": item.index}
    return tuple(
        to_sample(item.scene, question, f"{item.split}-{item.index:08d}-{number}", rng, where)
        for number, question in enumerate(item.questions)
    )


def to_sample(
    scene: Scene, question: Question, id: str, rng: np.random.Generator, where: Mapping[str, object] | None = None
) -> Sample:
    """A question and its answer, ready for training or scoring.

    Args:
        scene: what the question is about.
        question: with things of ``scene``.
        id: the sample's.
        rng: how a user would draw what the question points at.
        where: what ``meta`` says besides the ability and whether the thing asked about is absent.
    """
    earlier = () if question.earlier is None else (Image.fromarray(question.earlier.image),)
    history = tuple(message for turn in question.history for message in _messages(scene, turn, rng))
    return Sample(
        id=id,
        image=Image.fromarray(scene.image),
        task=question.task,
        prompt=question.text,
        text=answer_text(question.answer),
        targets=_grounded(scene, question.answer, len(earlier)),
        visual_prompts=_prompts(scene, question.drawn, rng),
        earlier_images=earlier,
        history=history,
        meta={"ability": question.ability, "negative": question.negative, **(where or {})},
    )


def _prompts(scene: Scene, drawn: Sequence[Drawn], rng: np.random.Generator) -> tuple[VisualPrompt, ...]:
    return tuple(draw_prompt(rng, scene, one) for one in drawn)


def _messages(scene: Scene, turn: Turn, rng: np.random.Generator) -> tuple[Message, Message]:
    asked = Message(role="user", text=turn.text, visual_prompts=_prompts(scene, turn.drawn, rng))
    return asked, Message(role="assistant", text=answer_text(turn.answer))


def _grounded(scene: Scene, answer: Answer, image: int) -> tuple[Grounded, ...]:
    """What the phrases of an answer draw on image number ``image``, in the order written."""
    found: list[Grounded] = []
    start = 0
    for piece in answer:
        if isinstance(piece, str):
            start += len(piece)
            continue
        span = (start, start + len(piece.label))
        for ref, output in enumerate(_outputs(scene, piece)):
            found.append(Grounded(label=piece.label, span=span, image=image, ref=ref, output=output))
        start = span[1]
    return tuple(found)


def _outputs(scene: Scene, target: Target) -> tuple[Output, ...]:
    if target.kind == "depth":
        assert scene.depth is not None, "asked for the depth of a photograph"
        return (DepthMap(values=scene.depth),)
    if target.kind == "doc":
        return (DocHit(doc_id=target.document, title=target.label),)
    if target.surface:
        return (to_mask(scene.surface_mask(target.surface)),)
    return tuple(_thing(scene, target.kind, thing) for thing in target.things)


def _thing(scene: Scene, kind: str, thing: int) -> Output:
    if kind == "box":
        return Box(xyxy=scene.things[thing].xyxy)
    if kind == "point":
        return Point(xy=inner_point(scene.mask(thing)))
    return to_mask(scene.mask(thing))
