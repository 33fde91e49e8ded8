"""Fields and bases that the schemas of several routes share."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from generalist.tasks import TASKS, get_task
from generalist.types import MAX_TOP_LOGPROBS


class Strict(BaseModel):
    """A part of a request: no coercion, no unknown fields, no infinities."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Only:
    """Marks a field of OpenAI's that can only be served with these values: ``Annotated[Any, Only(None, 0)]``.

    ``reason`` is what the error says of any other.
    """

    def __init__(self, *allowed: str | float | bool | None, reason: str = "this server cannot do that") -> None:
        self._allowed = allowed
        self._reason = reason

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self._allowed)}

    def _check(self, value: Any) -> Any:
        for one in self._allowed:
            if value == one and isinstance(value, bool) == isinstance(one, bool):  # in JSON, false is not 0
                return value
        shown = " or ".join(json.dumps(one) for one in self._allowed)
        raise ValueError(f"{self._reason}; use {shown}, or leave the field out")


def _to_int(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_to_int)
"""Makes a field of ``int`` take an integer by JSON's measure, which 30.0 is too. It comes last: the bounds in front of
it are those of the integer, and stay in the document."""

TaskName = Annotated[
    str,
    AfterValidator(lambda name: get_task(name).name),
    WithJsonSchema({"type": "string", "enum": list(TASKS)}),
]

VisualFormat = Literal["native", "coco", "roboflow", "gemini", "qwen", "moondream"]

Ignored = Annotated[JsonValue, Field(description="Accepted for OpenAI's clients; changes nothing here.")]
ImageUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40_000_000,
        description="A data URL (`data:image/png;base64,...`); http(s) only where the server allows it.",
    ),
]
Temperature = Annotated[float, Field(ge=0, le=2, description="0, the default, always takes the likeliest token.")]
TopP = Annotated[
    float, Field(ge=1e-6, le=1, description="Take from the likeliest tokens that together have this probability.")
]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63, description="The same seed gives the same reply."), WHOLE]
MaxTokens = Annotated[
    int, Field(ge=1, le=2**31 - 1, description="Tokens of a reply at most; the server's own limit stays."), WHOLE
]
TopK = Annotated[
    int, Field(ge=0, le=2**31 - 1, description="Take from so many of the likeliest tokens; 0 is all of them."), WHOLE
]
TopLogprobs = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_TOP_LOGPROBS,
        description="How many of the likeliest tokens of each step to tell; fewer where the grammar allows fewer.",
    ),
    WHOLE,
]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Words = Annotated[str, Field(max_length=1_000_000)]


# --- what the user drew ---------------------------------------------------------------------------------


class PointPrompt(Strict):
    """A point on the thing that is meant, or beside it."""

    type: Literal["point"]
    point: Annotated[list[float], Field(min_length=2, max_length=2, description="[x, y] in pixels.")]
    label: Literal[0, 1] = Field(
        default=1, description="1: on the thing that is meant. 0: beside it, to tell it from what else could be meant."
    )


class BoxPrompt(Strict):
    """A box around the thing that is meant."""

    type: Literal["box"]
    box: Annotated[list[float], Field(min_length=4, max_length=4, description="[x1, y1, x2, y2] in pixels.")]


class PaintedPrompt(Strict):
    """A mask, or a scribble on the thing that is meant: a picture of the image's own size, painted where it is."""

    type: Literal["mask", "scribble"]
    png: ImageUrl = Field(
        description="A data URL of a PNG. Set pixels are half opaque, or where nothing is transparent, bright."
    )


VisualPromptEntry = Annotated[PointPrompt | BoxPrompt | PaintedPrompt, Field(discriminator="type")]
VisualPrompts = Annotated[
    list[VisualPromptEntry],
    Field(max_length=64, description="What the user drew on the last image, in its pixels."),
]


# --- what a reply is to be -------------------------------------------------------------------------------


class TextFormat(Strict):
    """Words and drawings."""

    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object, and no drawings."""

    type: Literal["json_object"]
