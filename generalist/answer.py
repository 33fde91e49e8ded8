"""A parsed reply with its drawings decoded: what a caller gets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from generalist.draw import draw_overlay, save_depth, save_image
from generalist.scores import Scores
from generalist.types import (
    Box,
    DepthMap,
    DocHit,
    GeneralistError,
    Generation,
    Grounded,
    Mask,
    ParseIssue,
    Phrase,
    PlanItem,
    Point,
    Reply,
    Usage,
)
from generalist.visual import Size, image_infos, to_visual

if TYPE_CHECKING:
    from generalist.decoders import Decoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What the model said and drew.

    ``outputs`` are in the order written; geometry is 0-1 of the image that ``Grounded.image`` numbers.
    ``images`` are the submitted ones, upright RGB. ``finish_reason`` is "length" when the reply was cut.
    """

    reply: Reply
    outputs: tuple[Grounded, ...] = ()
    usage: Usage = field(default_factory=Usage)
    images: tuple[Image.Image, ...] = ()
    finish_reason: Literal["stop", "length"] = "stop"

    @property
    def text(self) -> str:
        return self.reply.text

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(W, H) of every image."""
        return tuple(image.size for image in self.images)

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(g.output for g in self.outputs if isinstance(g.output, Box))

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(g.output for g in self.outputs if isinstance(g.output, Point))

    @property
    def masks(self) -> tuple[Mask, ...]:
        return tuple(g.output for g in self.outputs if isinstance(g.output, Mask))

    @property
    def depth(self) -> DepthMap | None:
        """The first depth map, or None."""
        return next((g.output for g in self.outputs if isinstance(g.output, DepthMap)), None)

    @property
    def documents(self) -> tuple[DocHit, ...]:
        return tuple(g.output for g in self.outputs if isinstance(g.output, DocHit))

    @property
    def plan(self) -> tuple[PlanItem, ...] | None:
        return self.reply.plan

    @property
    def issues(self) -> tuple[ParseIssue, ...]:
        """Where the reply left the grammar; such pieces are not drawn."""
        return self.reply.issues

    def to_visual(self) -> list[dict[str, Any]]:
        """The drawings in pixels; see :mod:`generalist.visual`."""
        return to_visual(self.outputs, self.sizes)

    def to_dict(self) -> dict[str, Any]:
        """``text``, ``visual``, ``image``, ``usage``; ``plan`` and ``issues`` when there are any."""
        usage = self.usage
        content: dict[str, Any] = {
            "text": self.text,
            "visual": self.to_visual(),
            "image": image_infos(self.sizes),
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
            },
        }
        if self.plan:
            content["plan"] = [{"name": item.name, "kind": item.kind, "num": item.num} for item in self.plan]
        if self.issues:
            content["issues"] = [{"at": i.at, "expected": i.expected, "got": i.got} for i in self.issues]
        return content

    def overlay(self, image: int = -1) -> Image.Image:
        """The image numbered ``image`` (the last one if not given) with its drawings, at its own size."""
        if not self.images:
            raise GeneralistError("there is no image to draw on: the question had none")
        if not -len(self.images) <= image < len(self.images):
            raise GeneralistError(f"image {image} does not exist; the question had {len(self.images)}")
        number = image % len(self.images)
        return draw_overlay(self.images[number], [g for g in self.outputs if g.image == number])

    def save_overlay(self, path: str | os.PathLike[str], image: int = -1) -> None:
        """Write :meth:`overlay`; the suffix of ``path`` chooses the format."""
        save_image(self.overlay(image), path)

    def save_depth(self, path: str | os.PathLike[str]) -> float:
        """Write :attr:`depth` as a 16-bit PNG and return its scale: value / scale is the depth."""
        if self.depth is None:
            raise GeneralistError("there is no depth map in this answer; ask for the depth")
        return save_depth(self.depth, path)


def make_answer(
    reply: Reply,
    generation: Generation,
    images: Sequence[Image.Image],
    decoders: Mapping[str, Decoder],
    scores: Scores | None = None,
) -> Answer:
    """Decode every drawing of ``reply``, scored by the log-probabilities of ``generation``; plainly by default."""
    scored = zip(reply.phrases, (scores or Scores()).of(reply, generation.logprobs), strict=True)
    outputs = tuple(item for phrase, of_phrase in scored for item in ground(phrase, images, decoders, of_phrase))
    return Answer(
        reply=reply,
        outputs=outputs,
        usage=generation.usage,
        images=tuple(images),
        finish_reason=generation.finish_reason,
    )


def ground(
    phrase: Phrase, images: Sequence[Image.Image], decoders: Mapping[str, Decoder], scores: Sequence[float] = ()
) -> list[Grounded]:
    """The typed outputs of a phrase. They lie on the last image; without an image only documents remain.

    ``scores``: one a drawing, or none; a decoder's own score goes first. What names no document draws nothing.
    """
    unit = phrase.unit
    if unit is None or unit.kind not in decoders or (not images and unit.kind != "doc"):
        return []
    height_width = (images[-1].height, images[-1].width) if images else (1, 1)
    image = max(len(images) - 1, 0)
    decoded = decoders[unit.kind].decode(unit.refs, height_width)
    grounded: list[Grounded] = []
    given: Sequence[float | None] = scores or [None] * len(unit.refs)
    for ref, drawn, score in zip(unit.refs, decoded, given, strict=True):
        if drawn is None:
            continue
        output = replace(drawn, score=score) if drawn.score is None else drawn
        grounded.append(Grounded(label=phrase.text, span=phrase.span, image=image, ref=ref.index, output=output))
    return grounded
