"""``POST /v1/responses``, as OpenAI's clients speak it; drawings come as ``visual`` of the message item."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from generalist.types import ChatRequest
from generalist_serving.api import responses_schemas as schemas
from generalist_serving.api.errors import ERROR_RESPONSES, api_route, error_json
from generalist_serving.api.file_search import FileSearch, FileSearchTool, search_files
from generalist_serving.api.replies import formatted, previews
from generalist_serving.api.request_reading import (
    Turn,
    read_json_schema,
    read_messages,
    read_sampling,
    read_top_logprobs,
)
from generalist_serving.api.responses_answers import ModelResponse, ResponseEvent
from generalist_serving.api.responses_stream import EventWriter, ReplySoFar, SearchCall, response_dict
from generalist_serving.api.settings import Settings
from generalist_serving.api.streams import declared_stream, event_stream, sse, while_connected
from generalist_serving.events import Answered, Ask
from generalist_serving.service import Service

LOGPROBS = "message.output_text.logprobs"
"""The entry of ``include`` that asks for log-probabilities."""
RESULTS = "file_search_call.results"
"""The one that asks for what was found."""

_STREAMED = (
    "The answer; with `stream`, server-sent events, `response.created` to `response.completed` or "
    "`response.incomplete`; `error` is the last after a failure."
)


def router(service: Service, settings: Settings) -> APIRouter:
    """The route; it needs nothing of the app that it is attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["responses"], responses=ERROR_RESPONSES)
    streamed = declared_stream(ResponseEvent, _STREAMED)

    @routes.post("/v1/responses", response_model=ModelResponse, responses=streamed)
    async def create_response(request: Request, body: schemas.ResponseRequest) -> Any:
        """Answer a conversation about images with words and drawings. Nothing is kept."""
        ask, search = await read_ask(service, settings, body)
        head = _head(body, ask)
        if body.stream:
            writer = EventWriter(ask, head, visual_format=body.visual_format, overlay=body.overlay, search=search)
            return await event_stream(request, _lines(service, ask, writer), lambda error: _failed(writer, error))
        (answered,) = await while_connected(request, service.answer(ask))
        whole = ModelResponse.model_validate(await _whole(answered, head, body, search))
        return Response(whole.model_dump_json(), media_type="application/json")

    return routes


async def read_ask(
    service: Service, settings: Settings, body: schemas.ResponseRequest
) -> tuple[Ask, SearchCall | None]:
    """What the service is asked, and the item of what was looked up.

    Raises ``ApiError`` and ``GeneralistError`` for what is wrong with the request.
    """
    adapter = service.adapter_of(body.model)
    logprobs = LOGPROBS in (body.include or ())
    sampling = read_sampling(
        body.task,
        settings,
        max_tokens=(body.max_output_tokens, "max_output_tokens"),
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        seed=body.seed,
        top_logprobs=read_top_logprobs(body.top_logprobs, logprobs, f"{LOGPROBS!r} in include"),
    )
    form = body.text.format if body.text else None
    schema = ""
    if form is not None and form.type != "text":
        asked = form.schema_ if form.type == "json_schema" else None
        schema = read_json_schema(asked, body.task, "text.format")
    messages = await read_messages(
        _turns(body), body.visual_prompts or (), task=body.task, settings=settings, param="input"
    )
    tools = () if body.tool_choice == "none" else body.tools
    found = await search_files(tools, messages, service, settings, draws=body.task == "chat" and not schema)
    index = found.index if found else None
    ask = Ask(
        request=ChatRequest(messages=messages, task=body.task, adapter=adapter, sampling=sampling, index=index),
        json_schema=schema,
        logprobs=logprobs,
    )
    return ask, _search_call(found, settings, told=RESULTS in (body.include or ())) if found else None


def _search_call(found: FileSearch, settings: Settings, *, told: bool) -> SearchCall:
    results = [
        {name: hit[name] for name in ("file_id", "filename", "score", "attributes")}
        | {"text": hit["content"][0]["text"]}
        for hit in found.hit_dicts(settings)
    ]
    return {"id": found.id, "type": "file_search_call", "queries": [found.query], "results": results if told else None}


def _turns(body: schemas.ResponseRequest) -> list[Turn]:
    turns = [Turn(role="system", texts=(body.instructions,))] if body.instructions else []
    if isinstance(body.input, str):
        return [*turns, Turn(role="user", texts=(body.input,))]
    said = [(number, item) for number, item in enumerate(body.input) if item.type == "message"]
    return turns + [_turn(item, number) for number, item in said]


def _turn(item: schemas.UserItem | schemas.SystemItem | schemas.AssistantItem, number: int) -> Turn:
    role = "system" if item.role == "developer" else item.role
    if isinstance(item.content, str):
        return Turn(role=role, texts=(item.content,))
    images = tuple(
        (part.image_url, f"input[{number}].content[{place}].image_url")
        for place, part in enumerate(item.content)
        if part.type == "input_image"
    )
    return Turn(role=role, texts=tuple(part.text for part in item.content if part.type != "input_image"), images=images)


def _head(body: schemas.ResponseRequest, ask: Ask) -> dict[str, Any]:
    """What every form of the answer begins with: who answers, and how it was asked."""
    form = body.text.format if body.text and body.text.format else None
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "created_at": int(time.time()),
        "model": body.model,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "temperature": ask.request.sampling.temperature,
        "top_p": ask.request.sampling.top_p,
        "text": {"format": form.model_dump(exclude_none=True) if form else {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": [tool.model_dump(exclude_none=True) for tool in body.tools or () if isinstance(tool, FileSearchTool)],
    }


async def _whole(
    answered: Answered, head: dict[str, Any], body: schemas.ResponseRequest, search: SearchCall | None
) -> dict[str, Any]:
    answer = answered.answer
    reply = ReplySoFar(answer.images, search)
    reply.plan = answer.plan or ()
    reply.text = [answer.text]
    reply.entries = list(answered.visual)
    reply.tokens = list(answered.tokens)
    reply.issues = answer.issues
    # What depends on the size of the images is made in a thread.
    reply.visual = await asyncio.to_thread(formatted, body.visual_format, answered.visual, answer.images)
    if body.overlay:
        reply.images = await asyncio.to_thread(previews, answer.outputs, answer.images)
    return response_dict(head, reply, answer.finish_reason, answer.usage)


async def _lines(service: Service, ask: Ask, writer: EventWriter) -> AsyncGenerator[str, None]:
    """The events of a stream, as lines."""
    async with aclosing(service.stream(ask)) as events:
        begun = False
        async for _, event in events:
            if not begun:
                begun = True
                for sent in writer.begin():
                    yield sse(sent, sent["type"])
            for sent in await writer.write(event):
                yield sse(sent, sent["type"])


def _failed(writer: EventWriter, error: Exception) -> str:
    told = error_json(error)["error"]
    return sse(writer.event("error", code=told["code"], message=told["message"], param=told["param"]), "error")
