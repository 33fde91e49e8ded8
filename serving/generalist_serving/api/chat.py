"""``POST /v1/chat/completions``, as OpenAI's clients speak it; drawings come as ``visual`` beside the words."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from generalist.types import ChatRequest
from generalist_serving.api import chat_schemas as schemas
from generalist_serving.api.chat_stream import ChunkWriter
from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.file_search import FileSearch, search_files
from generalist_serving.api.replies import (
    citations,
    formatted,
    infos,
    issue_dicts,
    logprob_dict,
    plan_text,
    previews,
    usage_dict,
)
from generalist_serving.api.request_reading import (
    Turn,
    read_json_schema,
    read_messages,
    read_n,
    read_sampling,
    read_top_logprobs,
)
from generalist_serving.api.settings import Settings
from generalist_serving.api.streams import declared_stream, event_stream, sse, while_connected
from generalist_serving.events import Answered, Ask
from generalist_serving.service import Service

_STREAMED = (
    "The answer; with `stream`, server-sent events, each a chat.completion.chunk, and `[DONE]` as the last. "
    "An error after the first is sent as `error`, as in a 4xx."
)


def router(service: Service, settings: Settings) -> APIRouter:
    """The route; it needs nothing of the app that it is attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["chat"], responses=ERROR_RESPONSES)
    streamed = declared_stream(schemas.ChatCompletionChunk, _STREAMED, last="[DONE]")

    @routes.post("/v1/chat/completions", response_model=schemas.ChatCompletion, responses=streamed)
    async def create_chat_completion(request: Request, body: schemas.ChatCompletionRequest) -> Any:
        """Answer a conversation about images with words and drawings."""
        if body.stream_options is not None and not body.stream:
            raise ApiError(400, "stream_options need stream to be true", param="stream_options", code="invalid_value")
        ask, found = await read_ask(service, settings, body)
        hits = [{"index": number, **hit} for number, hit in enumerate(found.hit_dicts(settings) if found else ())]
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": body.model,
            "system_fingerprint": service.fingerprint,
        }
        if body.stream:
            return await event_stream(request, _lines(service, ask, body, head, hits))
        answered = await while_connected(request, service.answer(ask))
        choices = [await _choice(number, one, body, hits) for number, one in enumerate(answered)]
        usage = usage_dict([one.answer.usage for one in answered])
        whole = schemas.ChatCompletion.model_validate({**head, "choices": choices, "usage": usage})
        return Response(whole.model_dump_json(), media_type="application/json")

    return routes


async def read_ask(
    service: Service, settings: Settings, body: schemas.ChatCompletionRequest
) -> tuple[Ask, FileSearch | None]:
    """What the service is asked, and what was looked up; :class:`ApiError` and GeneralistError for a wrong request."""
    adapter = service.adapter_of(body.model)
    n = read_n(body.n, settings)
    completion = body.max_completion_tokens is not None
    limit = (body.max_completion_tokens, "max_completion_tokens") if completion else (body.max_tokens, "max_tokens")
    sampling = read_sampling(
        body.task,
        settings,
        max_tokens=limit,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        seed=body.seed,
        top_logprobs=read_top_logprobs(body.top_logprobs, bool(body.logprobs), "logprobs to be true"),
    )
    schema = _json_schema(body)
    turns = [_turn(message, number) for number, message in enumerate(body.messages)]
    messages = await read_messages(
        turns, body.visual_prompts or (), task=body.task, settings=settings, param="messages"
    )
    tools = () if body.tool_choice == "none" else body.tools
    found = await search_files(tools, messages, service, settings, draws=body.task == "chat" and not schema)
    index = found.index if found else None
    ask = Ask(
        request=ChatRequest(messages=messages, task=body.task, adapter=adapter, sampling=sampling, index=index),
        n=n,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        json_schema=schema,
        logprobs=bool(body.logprobs),
    )
    return ask, found


def _json_schema(body: schemas.ChatCompletionRequest) -> str:
    form = body.response_format
    if form is None or form.type == "text":
        return ""
    schema = form.json_schema.schema_ if form.type == "json_schema" else None
    return read_json_schema(schema, body.task, "response_format")


def _turn(message: schemas.SystemMessage | schemas.UserMessage | schemas.AssistantMessage, number: int) -> Turn:
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str) or message.content is None:
        return Turn(role=role, texts=(message.content,) if message.content else ())
    texts = tuple(part.text for part in message.content if part.type == "text")
    images = tuple(
        (part.image_url.url, f"messages[{number}].content[{place}].image_url.url")
        for place, part in enumerate(message.content)
        if part.type == "image_url"
    )
    return Turn(role=role, texts=texts, images=images)


async def _choice(
    number: int, one: Answered, body: schemas.ChatCompletionRequest, hits: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """A whole reply. What depends on the size of its images is made in a thread."""
    images = one.answer.images
    visual = await asyncio.to_thread(formatted, body.visual_format, one.visual, images)
    pictures = await asyncio.to_thread(previews, one.answer.outputs, images) if body.overlay else []
    message = {
        "content": one.answer.text,
        "reasoning_content": plan_text(one.answer.plan),
        "visual": visual,
        "image": infos(images),
        "images": pictures,
        "annotations": citations(one.visual),
        "search_results": hits,
        "issues": issue_dicts(one.answer.issues),
    }
    logprobs = {"content": [logprob_dict(token) for token in one.tokens]} if body.logprobs else None
    return {
        "index": number,
        "message": message,
        "finish_reason": one.answer.finish_reason,
        "logprobs": logprobs,
    }


async def _lines(
    service: Service,
    ask: Ask,
    body: schemas.ChatCompletionRequest,
    head: Mapping[str, Any],
    hits: Sequence[Mapping[str, Any]],
) -> AsyncGenerator[str, None]:
    """The events of a stream, as lines."""
    counts = bool(body.stream_options and body.stream_options.include_usage)
    writer = ChunkWriter(ask, visual_format=body.visual_format, overlay=body.overlay, hits=hits)
    head = {**head, "object": "chat.completion.chunk"}

    def lines(choices: Iterator[Mapping[str, Any]]) -> Iterator[str]:
        for choice in choices:
            yield sse({**head, "choices": [choice]} | ({"usage": None} if counts else {}))

    async with aclosing(service.stream(ask)) as events:
        begun = False
        async for number, event in events:
            if not begun:  # OpenAI's helper numbers the replies by the order in which they begin
                begun = True
                for line in lines(writer.begin()):
                    yield line
            for line in lines(iter(await writer.write(number, event))):
                yield line
    if counts:
        yield sse({**head, "choices": [], "usage": usage_dict(writer.usages)})
    yield "data: [DONE]\n\n"
