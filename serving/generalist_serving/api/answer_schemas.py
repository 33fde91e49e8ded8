"""Parts of answers that several routes share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class TopLogprob(BaseModel):
    """A token; special ones go by their names and have no bytes."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the reply, and with `top_logprobs` the likeliest ones of its step."""

    top_logprobs: list[TopLogprob] = []


class Issue(BaseModel):
    """Where a reply left the grammar."""

    index: int = Field(ge=0)
    at: int = Field(ge=0, description="Tokens of the reply before it.")
    expected: str
    got: str


class PreviewLocation(BaseModel):
    """A picture as a data URL."""

    url: str


class Preview(BaseModel):
    """A picture of the drawings."""

    index: int = Field(ge=0)
    type: Literal["image_url"] = "image_url"
    image_url: PreviewLocation
