"""Moondream's routes (docs.moondream.ai), answered by any model of ours; and ``/v1/depth`` in their manner.

Coordinates are in 0-1 of the submitted, EXIF-corrected image; the path of ``/v1/segment`` is in 0-1 of its box.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Request

from generalist.tasks import question
from generalist.types import ChatRequest, Message, PlanItem, VisualPrompt
from generalist_serving.api import moondream_schemas as schemas
from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.media import load_image
from generalist_serving.api.replies import plan_text
from generalist_serving.api.request_reading import read_sampling
from generalist_serving.api.settings import Settings
from generalist_serving.api.streams import declared_stream, event_stream, sse, while_connected
from generalist_serving.events import Answered, Ask, Drawing, End, Plan, Text
from generalist_serving.formats import moondream_point, moondream_region, moondream_segment
from generalist_serving.service import Service

T = TypeVar("T")

DETAILED_CAPTION = "Describe the image in detail."
"""How the long caption is asked for."""

_STREAMS = "The answer; with `stream`, server-sent events. An error after the first is sent as `error`, as in a 4xx."


def router(service: Service, settings: Settings) -> APIRouter:
    """The routes; they need nothing of the app that they are attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["moondream"], responses=ERROR_RESPONSES)
    _add_words(routes, service, settings)
    _add_shapes(routes, service, settings)
    _add_maps(routes, service, settings)
    return routes


def _add_words(routes: APIRouter, service: Service, settings: Settings) -> None:
    streams = declared_stream(schemas.TextChunk, _STREAMS)

    @routes.post("/v1/caption", response_model=schemas.CaptionAnswered, responses=streams)
    async def caption(request: Request, body: schemas.CaptionAsked) -> Any:
        """Describe an image in words."""
        words = DETAILED_CAPTION if body.length == "long" else question("caption")
        ask = await _ask(service, settings, body, "caption", words, body.image_url)
        if body.stream:
            return await event_stream(request, _text_lines(service, ask, _id(request), reasoning=False))
        answered = await _answer(request, service, ask)
        return {**_common(request, answered), "caption": answered.answer.text}

    @routes.post("/v1/query", response_model=schemas.QueryAnswered, responses=streams)
    async def query(request: Request, body: schemas.QueryAsked) -> Any:
        """Answer a question in words."""
        ask = await _ask(service, settings, body, "chat", body.question, body.image_url, body.spatial_refs)
        if body.stream:
            return await event_stream(request, _text_lines(service, ask, _id(request), reasoning=bool(body.reasoning)))
        answered = await _answer(request, service, ask)
        reasoning = _reasoning(answered.answer.plan) if body.reasoning else None
        return {**_common(request, answered), "answer": answered.answer.text, "reasoning": reasoning}


def _add_shapes(routes: APIRouter, service: Service, settings: Settings) -> None:
    @routes.post("/v1/detect", response_model=schemas.DetectAnswered)
    async def detect(request: Request, body: schemas.DetectAsked) -> Any:
        """Find the boxes of an object."""
        words = question("detect", body.object)
        answered = await _answer(request, service, await _ask(service, settings, body, "detect", words, body.image_url))
        boxes = [moondream_region(entry["box"], _size(answered)) for entry in _entries(answered, "box")]
        return {**_common(request, answered), "objects": _first(boxes, body)}

    @routes.post("/v1/point", response_model=schemas.PointAnswered)
    async def point(request: Request, body: schemas.PointAsked) -> Any:
        """Find a point on each of an object."""
        words = question("point", body.object)
        ask = await _ask(service, settings, body, "point", words, body.image_url, body.spatial_refs)
        answered = await _answer(request, service, ask)
        points = [moondream_point(entry["point"], _size(answered)) for entry in _entries(answered, "point")]
        return {**_common(request, answered), "points": _first(points, body)}


def _add_maps(routes: APIRouter, service: Service, settings: Settings) -> None:
    streams = declared_stream(schemas.SegmentChunk, _STREAMS)

    @routes.post("/v1/segment", response_model=schemas.SegmentAnswered, responses=streams)
    async def segment(request: Request, body: schemas.SegmentAsked) -> Any:
        """Outline an object: one path of everything that it is."""
        words = question("segment", body.object)
        ask = await _ask(service, settings, body, "segment", words, body.image_url, body.spatial_refs)
        if body.stream:
            return await event_stream(request, _segment_lines(service, ask, _id(request)))
        answered = await _answer(request, service, ask)
        return {**_common(request, answered), **await asyncio.to_thread(moondream_segment, _entries(answered, "mask"))}

    @routes.post("/v1/depth", response_model=schemas.DepthAnswered)
    async def depth(request: Request, body: schemas.DepthAsked) -> Any:
        """Estimate the depth of every pixel."""
        ask = await _ask(service, settings, body, "depth", question("depth"), body.image_url)
        answered = await _answer(request, service, ask)
        return {**_common(request, answered), "depth": next(iter(_entries(answered, "depth")), None)}


# --- requests ---------------------------------------------------------------------------------------------


async def _ask(
    service: Service,
    settings: Settings,
    body: schemas.Asked,
    task: str,
    text: str,
    image_url: str | None,
    spatial_refs: Sequence[Sequence[float]] | None = None,
) -> Ask:
    """What the service is asked; :class:`ApiError` and GeneralistError for what is wrong with the request."""
    adapter = None if body.model is None else service.adapter_of(body.model)
    chosen = body.settings or schemas.MoondreamSettings()
    sampling = read_sampling(
        task,
        settings,
        max_tokens=(chosen.max_tokens, "settings.max_tokens"),
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        top_k=None,
        seed=None,
    )
    prompts = tuple(_visual_prompt(ref) for ref in spatial_refs or ())
    if prompts and image_url is None:
        raise _wrong("spatial_refs are places in an image; send one", "spatial_refs")
    images = () if image_url is None else (await load_image(image_url, settings),)
    message = Message(role="user", text=text, images=images, visual_prompts=prompts)
    return Ask(request=ChatRequest(messages=(message,), task=task, adapter=adapter, sampling=sampling))


def _visual_prompt(ref: Sequence[float]) -> VisualPrompt:
    if len(ref) == 2:
        return VisualPrompt(kind="point", xy=(ref[0], ref[1]))
    x1, y1, x2, y2 = ref
    if x2 <= x1 or y2 <= y1:
        raise _wrong(f"a box is {list(ref)}; use [x1, y1, x2, y2] with x1 < x2 and y1 < y2", "spatial_refs")
    return VisualPrompt(kind="box", xyxy=(x1, y1, x2, y2))


def _wrong(message: str, param: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")


# --- answers ----------------------------------------------------------------------------------------------


async def _answer(request: Request, service: Service, ask: Ask) -> Answered:
    (answered,) = await while_connected(request, service.answer(ask))
    return answered


def _id(request: Request) -> str:
    return getattr(request.state, "request_id", None) or uuid4().hex


def _common(request: Request, answered: Answered) -> dict[str, Any]:
    return {"request_id": _id(request), "finish_reason": answered.answer.finish_reason}


def _entries(answered: Answered, kind: str) -> list[Mapping[str, Any]]:
    return [entry for entry in answered.visual if entry["type"] == kind]


def _size(answered: Answered) -> tuple[int, int]:
    return answered.answer.sizes[-1]


def _first(found: list[T], body: schemas.DetectAsked) -> list[T]:
    most = body.settings.max_objects if body.settings else None
    return found[:most]


def _reasoning(plan: Sequence[PlanItem] | None) -> dict[str, Any] | None:
    text = plan_text(plan)
    return {"text": text, "grounding": []} if text else None


# --- streams ----------------------------------------------------------------------------------------------


async def _text_lines(service: Service, ask: Ask, request_id: str, *, reasoning: bool) -> AsyncGenerator[str, None]:
    plan: Sequence[PlanItem] = ()
    async with aclosing(service.stream(ask)) as events:
        async for _, event in events:
            if isinstance(event, Plan):
                plan = event.plan
            elif isinstance(event, Text):
                yield sse({"chunk": event.text, "completed": False, "request_id": request_id})
            elif isinstance(event, End):
                more = {"reasoning": _reasoning(plan)} if reasoning else {}
                last = {"chunk": "", "completed": True, "request_id": request_id, "finish_reason": event.finish_reason}
                yield sse(last | more)


async def _segment_lines(service: Service, ask: Ask, request_id: str) -> AsyncGenerator[str, None]:
    masks: list[Mapping[str, Any]] = []
    async with aclosing(service.stream(ask)) as events:
        async for _, event in events:
            if isinstance(event, Drawing) and event.visual["type"] == "mask":
                masks.append(event.visual)
            elif isinstance(event, End):
                found = await asyncio.to_thread(moondream_segment, masks)
                common = {"bbox": found["bbox"], "request_id": request_id}
                if found["bbox"]:
                    yield sse({"type": "bbox", "completed": False, **common})
                final = {"path": found["path"], "finish_reason": event.finish_reason}
                yield sse({"type": "final", "completed": True, **final, **common})
