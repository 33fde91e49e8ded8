"""``visual`` and ``image`` over HTTP: what :mod:`generalist.visual` makes, as models with a JSON schema.

All geometry is in absolute pixels of the submitted, EXIF-corrected image, x right and y down.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter

Four = Annotated[list[float], Field(min_length=4, max_length=4)]
Two = Annotated[list[float], Field(min_length=2, max_length=2)]


class ImageInfo(BaseModel):
    """One submitted image, after EXIF correction."""

    index: int = Field(ge=0, description="Its place among the images of the conversation.")
    width: int = Field(ge=1, description="Pixels.")
    height: int = Field(ge=1, description="Pixels.")


class _Entry(BaseModel):
    index: int = Field(ge=0, description="The entry's place in the list.")
    image: int | None = Field(ge=0, description="The image that it lies on; null for a document without one.")
    label: str = Field(description="The words of the reply that name it.")
    span: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(
        description="[start, stop) of these words in the reply's text, in characters."
    )
    score: float | None = Field(
        description="How sure the model is, 0-1, or an index of its document; null where it is not known."
    )


class BoxVisual(_Entry):
    """An axis-aligned box."""

    type: Literal["box"]
    box: Four = Field(description="[x1, y1, x2, y2] in pixels.")


class PointVisual(_Entry):
    """A point."""

    type: Literal["point"]
    point: Two = Field(description="[x, y] in pixels.")


class Rle(BaseModel):
    """COCO's compressed run-length encoding."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(description="[height, width] in pixels.")
    counts: str


class MaskVisual(_Entry):
    """The pixels of a thing."""

    type: Literal["mask"]
    box: Four = Field(description="[x1, y1, x2, y2] in pixels, as the model drew it.")
    rle: Rle
    area: int = Field(ge=0, description="Pixels.")


class DepthVisual(_Entry):
    """The depth of every pixel; larger is farther."""

    type: Literal["depth"]
    unit: Literal["metre", "relative"]
    png16: str = Field(description="Base64 of a 16-bit grey PNG; value / scale is the depth, 0 is unknown.")
    scale: float = Field(gt=0)
    min: float
    max: float


class DocumentEvidence(BaseModel):
    """Words by which the reply named a document."""

    text: str
    span: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        description="[start, stop) in the document's text, in characters; null for its title."
    )


class DocumentVisual(_Entry):
    """A document of an index."""

    type: Literal["document"]
    document_id: str
    title: str
    text: str
    evidence: list[DocumentEvidence] = Field(default=[], description="The identifier that the model wrote.")


Visual: TypeAlias = Annotated[
    BoxVisual | PointVisual | MaskVisual | DepthVisual | DocumentVisual, Field(discriminator="type")
]
"""An entry of the ``visual`` list."""

VISUAL_SCHEMA = TypeAdapter(list[Visual]).json_schema()
"""The JSON schema of a ``visual`` list."""
