"""What Moondream's routes take and give. Coordinates are in 0-1 of the submitted, EXIF-corrected image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from generalist_serving.api.fields import WHOLE, ImageUrl, MaxTokens, Name, Temperature, TopP

SpatialUnit = Annotated[float, Field(ge=0, le=1)]
NotBlank = Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"\S")]
SpatialPoint = Annotated[list[SpatialUnit], Field(min_length=2, max_length=2)]
SpatialBox = Annotated[list[SpatialUnit], Field(min_length=4, max_length=4)]
SpatialRef = SpatialPoint | SpatialBox

SPATIAL_REFS = Field(
    default=None,
    max_length=32,
    description="Where to look, in 0-1 of the image: points `[x, y]` and boxes `[x1, y1, x2, y2]`.",
)


_STRICT = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)


class MoondreamSettings(BaseModel):
    """How to choose tokens."""

    model_config = _STRICT

    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    max_objects: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Objects or points to return at most."
    )


class Asked(BaseModel):
    """What every request may have. Fields that are not known are ignored."""

    model_config = _STRICT

    model: Name | None = Field(default=None, description="The base model or an adapter; the base if left out.")
    settings: MoondreamSettings | None = None


class CaptionAsked(Asked):
    """A request for a description."""

    image_url: ImageUrl
    length: Literal["short", "normal", "long"] | None = Field(
        default=None, description="`long` asks for details; `short` and `normal` (the default) ask alike."
    )
    stream: bool | None = Field(default=None, description="Send the text as it is written, as server-sent events.")


class QueryAsked(Asked):
    """A question, with or without an image."""

    question: NotBlank = Field(description="The question.")
    image_url: ImageUrl | None = None
    spatial_refs: list[SpatialRef] | None = SPATIAL_REFS
    reasoning: bool | None = Field(default=None, description="Return the plan that the model wrote before its answer.")
    stream: bool | None = Field(default=None, description="Send the text as it is written, as server-sent events.")


class DetectAsked(Asked):
    """A request for boxes."""

    image_url: ImageUrl
    object: NotBlank = Field(description="What to find, such as `dog`.")


class PointAsked(DetectAsked):
    """A request for points."""

    spatial_refs: list[SpatialRef] | None = SPATIAL_REFS


class SegmentAsked(PointAsked):
    """A request for an outline."""

    stream: bool | None = Field(default=None, description="Send the box first, as server-sent events.")


class DepthAsked(Asked):
    """A request for the depth of every pixel; Moondream itself has no such route."""

    image_url: ImageUrl


# --- answers --------------------------------------------------------------------------------------------


class Answered(BaseModel):
    """What every answer has."""

    request_id: str = Field(description="Names the request in the server's log.")
    finish_reason: Literal["stop", "length"] = Field(description="`length` when the reply was cut.")


class Region(BaseModel):
    """A box in 0-1 of the image."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


class PointXY(BaseModel):
    """A point in 0-1 of the image."""

    x: float
    y: float


class Reasoning(BaseModel):
    """The plan of a reply: a line for each thing that it draws."""

    text: str
    grounding: list[Any] = Field(description="Always empty: the plan has no places in the image.")


class CaptionAnswered(Answered):
    """A description."""

    caption: str


class QueryAnswered(Answered):
    """An answer in words."""

    answer: str
    reasoning: Reasoning | None = Field(default=None, description="Where `reasoning` was asked for and is known.")


class DetectAnswered(Answered):
    """The boxes of an object."""

    objects: list[Region]


class PointAnswered(Answered):
    """Points on an object."""

    points: list[PointXY]


class SegmentAnswered(Answered):
    """The outline of an object."""

    path: str = Field(description="SVG path in 0-1 of `bbox`, of everything that was segmented; empty for nothing.")
    bbox: Region | None = Field(description="The tight box of the outline, in 0-1 of the image; null for nothing.")


class DepthMapAnswered(BaseModel):
    """A depth map of the image's size."""

    unit: Literal["metre", "relative"]
    png16: str = Field(description="Base64 of a 16-bit grey PNG: value / `scale` is the depth, 0 is unknown.")
    scale: float
    min: float = Field(description="The nearest, in `unit`.")
    max: float = Field(description="The farthest, in `unit`.")


class DepthAnswered(Answered):
    """The depth of every pixel."""

    depth: DepthMapAnswered | None = Field(description="Null when the model drew no depth map.")


class TextChunk(BaseModel):
    """An event of a streamed text. The last one is `completed`, has no text, and the rest of the answer."""

    chunk: str
    completed: bool
    request_id: str
    finish_reason: Literal["stop", "length"] | None = None
    reasoning: Reasoning | None = None


class SegmentChunk(BaseModel):
    """An event of a streamed outline: `bbox` first, when there is anything, then `final`."""

    type: Literal["bbox", "final"]
    bbox: Region | None = None
    path: str | None = None
    completed: bool
    request_id: str
    finish_reason: Literal["stop", "length"] | None = None
