"""The request of ``/v1/responses`` as models: OpenAI's, and our own fields in it.

Nothing is kept between requests: the conversation comes whole, as ``input``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, JsonValue, Tag

from generalist_serving.api.fields import (
    Ignored,
    ImageUrl,
    JsonObjectFormat,
    MaxTokens,
    Name,
    Only,
    Seed,
    Strict,
    TaskName,
    Temperature,
    TextFormat,
    TopK,
    TopLogprobs,
    TopP,
    VisualFormat,
    VisualPrompts,
    Words,
)
from generalist_serving.api.file_search import Tools

# --- the conversation ------------------------------------------------------------------------------------


class InputText(Strict):
    """Words."""

    type: Literal["input_text"]
    text: Words


class InputImage(Strict):
    """An image."""

    type: Literal["input_image"]
    image_url: ImageUrl
    detail: Ignored = None
    file_id: Annotated[Any, Only(None)] = None


class OutputText(Strict):
    """Words of an earlier answer."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    type: Literal["output_text"]
    text: Words


InputPart = Annotated[InputText | InputImage, Field(discriminator="type")]
SaidPart = Annotated[InputText | OutputText, Field(discriminator="type")]


class UserItem(Strict):
    """A question. Its images come before its words, whatever the order of the parts."""

    type: Literal["message"] = "message"
    role: Literal["user"]
    content: Words | Annotated[list[InputPart], Field(min_length=1, max_length=256)]
    id: Ignored = None
    status: Ignored = None


class SystemItem(Strict):
    """How to answer."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer"]
    content: Words | Annotated[list[InputText], Field(min_length=1, max_length=256)]
    id: Ignored = None
    status: Ignored = None


class AssistantItem(Strict):
    """An earlier answer. What came with its words may be sent back and is not read again."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    type: Literal["message"] = "message"
    role: Literal["assistant"]
    content: Words | Annotated[list[SaidPart], Field(max_length=256)]


class ReasoningItem(Strict):
    """The plan of an earlier answer; it may be sent back and is not read again."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    type: Literal["reasoning"]


class FileSearchItem(Strict):
    """What was looked up for an earlier answer; it may be sent back and is not read again."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    type: Literal["file_search_call"]


def _kind_of_item(item: Any) -> str:
    def field(name: str) -> object:
        return item.get(name) if isinstance(item, dict) else getattr(item, name, None)

    kind = field("type")
    return str(kind if kind in ("reasoning", "file_search_call") else field("role"))


InputItem = Annotated[
    Annotated[UserItem, Tag("user")]
    | Annotated[AssistantItem, Tag("assistant")]
    | Annotated[SystemItem, Tag("system")]
    | Annotated[SystemItem, Tag("developer")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[FileSearchItem, Tag("file_search_call")],
    Discriminator(_kind_of_item),
]

_NOT_KEPT = "nothing is kept between requests, so send the conversation as input"

# --- the request -----------------------------------------------------------------------------------------


class JsonSchemaText(Strict):
    """JSON of a schema, and no drawings."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    type: Literal["json_schema"]
    name: Name
    schema_: dict[str, JsonValue] = Field(alias="schema")
    description: Words | None = None
    strict: bool | None = Field(default=None, description="The reply always follows the schema.")


class TextConfig(Strict):
    """What the reply is to be."""

    format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaText, Field(discriminator="type")] | None = None
    verbosity: Ignored = None


class ResponseStreamOptions(Strict):
    """How to stream."""

    include_obfuscation: Ignored = None


class ResponseRequest(Strict):
    """OpenAI's request, with `task`, `visual_prompts`, `visual_format`, `overlay`, `seed` and `top_k`."""

    model: Name = Field(description="The base model or an adapter; see /v1/models.")
    input: Words | Annotated[list[InputItem], Field(min_length=1, max_length=1024)]
    instructions: Words | None = Field(default=None, description="How to answer; comes before the conversation.")
    max_output_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    text: TextConfig | None = None
    include: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=32)] | None = Field(
        default=None,
        description="`message.output_text.logprobs` and `file_search_call.results` are served; others change nothing.",
    )
    top_logprobs: TopLogprobs | None = Field(
        default=None, description="Needs `message.output_text.logprobs` in `include`."
    )
    metadata: dict[str, str] | None = Field(default=None, max_length=16, description="Comes back with the answer.")

    # Ours.
    task: TaskName = Field(default="chat", description="What may be drawn and how long the reply may get.")
    visual_prompts: VisualPrompts | None = None
    visual_format: VisualFormat = Field(default="native", description="The form of the message's `visual`.")
    overlay: bool = Field(default=False, description="Send pictures of the drawings as the message's `images` too.")
    seed: Seed | None = None
    top_k: TopK | None = None

    # What would change the answer.
    previous_response_id: Annotated[Any, Only(None, reason=_NOT_KEPT)] = None
    conversation: Annotated[Any, Only(None, reason=_NOT_KEPT)] = None
    prompt: Annotated[Any, Only(None)] = None
    background: Annotated[Any, Only(None, False)] = None
    context_management: Annotated[Any, Only(None)] = None
    moderation: Annotated[Any, Only(None)] = None
    tools: Tools | None = None
    tool_choice: Annotated[Any, Only(None, "none", "auto")] = None

    max_tool_calls: Ignored = None
    parallel_tool_calls: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    reasoning: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    truncation: Ignored = None
    user: Ignored = None
