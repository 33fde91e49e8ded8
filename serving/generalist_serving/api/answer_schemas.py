"""Parts of answers that several routes share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class TokenLogprob(BaseModel):
    """A token; special ones go by their names and have no bytes."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[Any] = Field(default=[], max_length=0)


class PreviewLocation(BaseModel):
    """A picture as a data URL."""

    url: str


class Preview(BaseModel):
    """A picture of the drawings."""

    index: int = Field(ge=0)
    type: Literal["image_url"] = "image_url"
    image_url: PreviewLocation
