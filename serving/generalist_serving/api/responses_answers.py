"""The answers of ``/v1/responses`` as models, whole and streamed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from generalist_serving.api.answer_schemas import Issue, Preview, TokenLogprob
from generalist_serving.api.visual_schemas import ImageInfo, Visual


class ResponseCitation(BaseModel):
    """A document that the reply names."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str
    filename: str
    index: int = Field(ge=0, description="Where its words end in the text, in characters.")


class ResponseText(BaseModel):
    """The words of the reply."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[ResponseCitation] = []
    logprobs: list[TokenLogprob] = []


class ResponseMessage(BaseModel):
    """The reply: its words, and what is drawn."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[ResponseText]
    visual: list[Visual] | list[dict[str, Any]] | dict[str, Any] = Field(
        default=[], description="What is drawn; native entries, unless `visual_format` chose another form."
    )
    image: list[ImageInfo] = Field(default=[], description="The images of the conversation, which `visual` speaks of.")
    images: list[Preview] = Field(default=[], description="Pictures of the drawings, with `overlay`.")
    issues: list[Issue] = Field(default=[], description="Where the reply left the grammar; such pieces are not drawn.")


class SummaryText(BaseModel):
    """The plan: what is drawn, how, and how many."""

    type: Literal["summary_text"] = "summary_text"
    text: str


class ResponseReasoning(BaseModel):
    """What the model planned to draw."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: Literal["in_progress", "completed", "incomplete"]
    summary: list[SummaryText]


class FileSearchResult(BaseModel):
    """A document that was found."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: dict[str, str | float | bool] = {}


class ResponseFileSearch(BaseModel):
    """What was looked up before the reply."""

    id: str
    type: Literal["file_search_call"] = "file_search_call"
    status: Literal["in_progress", "searching", "completed"]
    queries: list[str]
    results: list[FileSearchResult] | None = Field(
        default=None, description="With `file_search_call.results` in `include`."
    )


class InputDetails(BaseModel):
    """Of the tokens of the prompt."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """Of the tokens of the reply."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """Tokens; an image counts as many as it takes."""

    input_tokens: int = Field(ge=0)
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int = Field(ge=0)
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int = Field(ge=0)


class IncompleteDetails(BaseModel):
    """Why the reply was cut."""

    reason: Literal["max_output_tokens"]


class ModelResponse(BaseModel):
    """The whole answer."""

    id: str
    object: Literal["response"] = "response"
    created_at: int = Field(description="Seconds since 1970.")
    status: Literal["in_progress", "completed", "incomplete"]
    error: None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    metadata: dict[str, str] = {}
    model: str
    output: list[Annotated[ResponseFileSearch | ResponseReasoning | ResponseMessage, Field(discriminator="type")]]
    parallel_tool_calls: bool = False
    previous_response_id: None = None
    store: Literal[False] = False
    temperature: float | None = None
    text: dict[str, Any] = {}
    tool_choice: Literal["none", "auto"] = "auto"
    tools: list[Any] = []
    top_p: float | None = None
    usage: ResponseUsage | None = None


class ResponseEvent(BaseModel):
    """An event of OpenAI's Responses API; what else is in it, its type says."""

    model_config = ConfigDict(extra="allow")

    type: str
    sequence_number: int = Field(ge=0)
