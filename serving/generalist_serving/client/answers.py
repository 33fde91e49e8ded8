"""What the client gives back: a reply with its drawings as typed values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from generalist.draw import draw_overlay
from generalist.grammar import read_plan_line
from generalist.images import ImageSource, load_image
from generalist.types import (
    Box,
    DepthMap,
    DocHit,
    GeneralistError,
    Grounded,
    Mask,
    ParseIssue,
    PlanItem,
    Point,
    Usage,
)
from generalist.visual import Size, mask_bitmap

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredToken:
    """A token as the model wrote it, special ones by their names, and its natural log-probability."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that questions can name: the base (``parent`` is None) or an adapter. ``tasks``: what it can do."""

    name: str
    parent: str | None = None
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClientAnswer:
    """A reply.

    ``outputs`` are in the order written; geometry is 0-1 of the image that ``Grounded.image`` numbers, whose (W, H)
    in pixels is in ``sizes``. ``visual`` is the list as the server sent it, in pixels. ``finish_reason`` is "length"
    when the reply was cut. ``issues``: where it left the grammar, as far as the server says so. ``images`` are those
    that were sent, upright; None for a URL, whose pixels the client has not seen. ``tokens``: all of the reply's,
    where they were asked for.
    """

    text: str
    outputs: tuple[Grounded, ...] = ()
    visual: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[Size, ...] = ()
    plan: tuple[PlanItem, ...] | None = None
    usage: Usage = field(default_factory=Usage)
    issues: tuple[ParseIssue, ...] = ()
    finish_reason: str = "stop"
    model: str = ""
    images: tuple[Image.Image | None, ...] = ()
    tokens: tuple[ScoredToken, ...] = ()

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

    def to_supervision(self) -> supervision.Detections:
        """Boxes and masks as supervision's ``Detections``, in pixels, in the order written.

        ``class_id`` counts labels in the order of their first, ``data["class_name"]`` are the labels. ``mask`` is
        there when everything is a mask, and ``confidence`` when every score is known: supervision has them for all
        or none. Points, depth and documents have no place in it.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when OpenCV is absent, which changes nothing here
            import supervision as sv
        found = [(g, g.output) for g in self.outputs if isinstance(g.output, Box | Mask)]
        names = list(dict.fromkeys(g.label for g, _ in found))
        pixels = [np.multiply(output.xyxy, self.sizes[g.image] * 2) for g, output in found]
        scores = [output.score for _, output in found]
        masks = [mask_bitmap(output) for _, output in found if isinstance(output, Mask)]
        return sv.Detections(
            xyxy=np.array(pixels, np.float64).reshape(-1, 4),
            mask=np.stack(masks) if masks and len(masks) == len(found) else None,
            confidence=None if None in scores else np.array(scores, np.float64),
            class_id=np.array([names.index(g.label) for g, _ in found], int),
            data={"class_name": np.array([g.label for g, _ in found], str)},
        )

    def overlay(self, image: ImageSource | None = None) -> Image.Image:
        """``image``, by default the last one that was sent, with everything that is drawn on the last image."""
        number = len(self.sizes) - 1
        if number < 0:
            raise GeneralistError("there is no image to draw on: the question had none")
        picture = load_image(image) if image is not None else self.images[number] if self.images else None
        if picture is None:
            raise GeneralistError("the image was sent as a URL; give its picture, such as answer.overlay('photo.jpg')")
        if picture.size != self.sizes[number]:
            (w, h), (width, height) = picture.size, self.sizes[number]
            raise GeneralistError(f"the picture is {w}x{h} and the image that was asked about {width}x{height}")
        return draw_overlay(picture, [g for g in self.outputs if g.image == number])


def read_plan(text: str | None) -> tuple[PlanItem, ...] | None:
    """The plan of ``reasoning_content``; None when there is none."""
    items = [read_plan_line(line) for line in (text or "").split("\n")]
    return tuple(item for item in items if item is not None) or None
