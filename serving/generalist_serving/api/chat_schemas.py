"""``/v1/chat/completions`` as models: OpenAI's request and answers, and our own fields in them.

What OpenAI's clients send and we have no use for is :data:`Ignored`; what would change the answer and cannot be
served is refused by :class:`Only`; a field that nobody knows is a mistake.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from generalist_serving.api.answer_schemas import Issue, Preview, TokenLogprob
from generalist_serving.api.fields import (
    WHOLE,
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
from generalist_serving.api.hits import SearchHit
from generalist_serving.api.visual_schemas import ImageInfo, Visual

# --- the conversation ------------------------------------------------------------------------------------


class TextPart(Strict):
    """Words."""

    type: Literal["text"]
    text: Words


class ImageLocation(Strict):
    """Where an image is."""

    url: ImageUrl
    detail: Ignored = None


class ImagePart(Strict):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageLocation


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class SystemMessage(Strict):
    """How to answer."""

    role: Literal["system", "developer"]
    content: Words | Annotated[list[TextPart], Field(min_length=1, max_length=256)]
    name: Ignored = None


class UserMessage(Strict):
    """A question. Its images come before its words, whatever the order of the parts."""

    role: Literal["user"]
    content: Words | Annotated[list[Part], Field(min_length=1, max_length=256)]
    name: Ignored = None


class AssistantMessage(Strict):
    """An earlier answer. What came with its words may be sent back and is not read again."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    role: Literal["assistant"]
    content: Words | Annotated[list[TextPart], Field(min_length=1, max_length=256)] | None = None
    tool_calls: Annotated[list[JsonValue], Field(max_length=0)] | None = None


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


# --- the request -----------------------------------------------------------------------------------------


class JsonSchema(Strict):
    """A named JSON schema."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    name: Name
    description: Words | None = None
    schema_: dict[str, JsonValue] | None = Field(
        default=None, alias="schema", description="Without one, any JSON object."
    )
    strict: bool | None = Field(default=None, description="The reply always follows the schema.")


class JsonSchemaFormat(Strict):
    """JSON of a schema, and no drawings."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Strict):
    """How to stream."""

    include_usage: bool | None = Field(default=None, description="A last chunk says how many tokens there were.")
    include_obfuscation: Ignored = None


Stop = Annotated[str, Field(min_length=1, max_length=256)]


class ChatCompletionRequest(Strict):
    """OpenAI's request, with `task`, `visual_prompts`, `visual_format`, `overlay` and `top_k` beside its fields."""

    model: Name = Field(description="The base model or an adapter; see /v1/models.")
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1024)]
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = Field(default=None, description="Counts before `max_tokens`.")
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Annotated[int, Field(ge=1, le=128), WHOLE] | None = Field(default=None, description="How many replies.")
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(
        default=None, description="The reply ends before any of these; so do its drawings."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = Field(default=None, description="Say the log-probability of every token.")
    top_logprobs: TopLogprobs | None = Field(default=None, description="Needs `logprobs`.")
    response_format: ResponseFormat | None = None

    # Ours.
    task: TaskName = Field(default="chat", description="What may be drawn and how long the reply may get.")
    visual_prompts: VisualPrompts | None = None
    visual_format: VisualFormat = Field(default="native", description="The form of `message.visual`.")
    overlay: bool = Field(default=False, description="Send pictures of the drawings as `message.images` too.")
    top_k: TopK | None = None

    # What would change the answer.
    frequency_penalty: Annotated[Any, Only(None, 0)] = None
    presence_penalty: Annotated[Any, Only(None, 0)] = None
    logit_bias: Annotated[dict[str, JsonValue], Field(max_length=0)] | None = None
    tools: Tools | None = None
    tool_choice: Annotated[Any, Only(None, "none", "auto")] = None
    functions: Annotated[list[JsonValue], Field(max_length=128)] | None = Field(
        default=None, description="Accepted; the model never calls one."
    )
    function_call: Annotated[Any, Only(None, "none", "auto")] = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    audio: Annotated[Any, Only(None)] = None
    moderation: Annotated[Any, Only(None)] = None
    web_search_options: Annotated[Any, Only(None)] = None

    metadata: Ignored = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    user: Ignored = None
    verbosity: Ignored = None


# --- the answer ------------------------------------------------------------------------------------------


class Logprobs(BaseModel):
    """Every token of a reply, special ones included."""

    content: list[TokenLogprob]
    refusal: None = None


class FileCitation(BaseModel):
    """A document that the reply names."""

    file_id: str
    filename: str
    start_index: int = Field(ge=0, description="Where its words begin in the content, in characters.")
    end_index: int = Field(ge=0)


class Annotation(BaseModel):
    """A citation."""

    index: int = Field(ge=0)
    type: Literal["file_citation"] = "file_citation"
    file_citation: FileCitation


class FoundHit(SearchHit):
    """A document that the tool `file_search` found."""

    index: int = Field(ge=0)


class _Reply(BaseModel):
    reasoning_content: str | None = Field(default=None, description="The plan: what is drawn, how, and how many.")
    visual: list[Visual] | list[dict[str, Any]] | dict[str, Any] = Field(
        default=[], description="What is drawn; native entries, unless `visual_format` chose another form."
    )
    image: list[ImageInfo] = Field(default=[], description="The images of the conversation, which `visual` speaks of.")
    images: list[Preview] = Field(default=[], description="Pictures of the drawings, with `overlay`.")
    annotations: list[Annotation] = Field(default=[], description="Documents among the drawings.")
    search_results: list[FoundHit] = Field(default=[], description="What the tool `file_search` found.")
    issues: list[Issue] = Field(default=[], description="Where the reply left the grammar; such pieces are not drawn.")


class AnswerMessage(_Reply):
    """A reply."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One of the `n` replies."""

    index: int = Field(ge=0)
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: Logprobs | None = None


class CompletionUsage(BaseModel):
    """Tokens; an image counts as many as it takes, and a prompt once, however many replies there are."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)


class _Completion(BaseModel):
    id: str
    created: int = Field(description="Seconds since 1970.")
    model: str
    system_fingerprint: str | None = None
    service_tier: None = None


class ChatCompletion(_Completion):
    """The whole answer."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[Choice]
    usage: CompletionUsage


class Delta(_Reply):
    """What has become known: words to append, and list entries that are new and whole."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: None = None


class ChunkChoice(BaseModel):
    """A piece of one of the `n` replies."""

    index: int = Field(ge=0)
    delta: Delta
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: Logprobs | None = None


class ChatCompletionChunk(_Completion):
    """A piece of the answer: the data of one server-sent event; the last event is `[DONE]`."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
