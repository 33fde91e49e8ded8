"""Models of the hub that draw beside a language model: its boxes and points become masks, depth is theirs alone.

1. ``answer`` and ``stream``: what a model need not be asked (depth) is answered; the rest is asked, for boxes where
   the model has no masks.
2. What it drew becomes masks, all of one reply together; a depth map of its own gives way to the better one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from generalist.answer import Answer
from generalist.decoders.hub import HubDepth, HubMasks
from generalist.hub_line import HubLine
from generalist.line import Line, StreamEvent
from generalist.reply import TextDelta
from generalist.tasks import get_task, question
from generalist.types import (
    Box,
    ChatRequest,
    DepthMap,
    Grounded,
    Mask,
    Output,
    Phrase,
    Point,
    Reply,
)

SCENE = "scene"
"""What a depth map shows, as nano says it."""

AskAll: TypeAlias = Callable[[Sequence[ChatRequest]], list[Answer]]
AskOne: TypeAlias = Callable[[ChatRequest], Iterator[StreamEvent]]


class HubDrawing:
    """Draws for the model of ``line``: masks, depth, or both. Make one with :meth:`open`."""

    def __init__(self, line: Line | HubLine, *, masks: HubMasks | None = None, depth: HubDepth | None = None) -> None:
        self.masks, self.depth = masks, depth
        self._is_hub = isinstance(line, HubLine)
        able = line.tasks if isinstance(line, HubLine) and masks is not None else ()
        self._instead = next((task for task in ("detect", "point") if task in able), None)

    @classmethod
    def open(
        cls,
        line: Line | HubLine,
        *,
        masks: str | Path | None = None,
        depth: str | Path | None = None,
        device: str = "auto",
    ) -> HubDrawing:
        """With the checkpoints of folders or ids of the hub, loaded when they draw first; :class:`GeneralistError`."""
        return cls(
            line,
            masks=None if masks is None else HubMasks.open(masks, device),
            depth=None if depth is None else HubDepth.open(depth, device),
        )

    def answer(self, requests: Sequence[ChatRequest], ask: AskAll) -> list[Answer]:
        """Answers in the order of ``requests``; ``ask`` is the model, which gets what is left for it."""
        left = [self.asked(request) for request in requests if not self.sees(request)]
        answers = iter(ask(left) if left else [])
        return [self.see(one) if self.sees(one) else self._redrawn(next(answers), one) for one in requests]

    def stream(self, request: ChatRequest, ask: AskOne) -> Iterator[StreamEvent]:
        """The same, piece by piece."""
        if self.sees(request):
            seen = self.see(request)
            return iter((TextDelta(text=seen.text), *seen.outputs))
        return self._streamed(ask(self.asked(request)), request)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that can be answered because of it, whatever the model itself can do."""
        return (*(("segment",) if self._instead else ()), *(("depth",) if self.depth else ()))

    def report(self) -> dict[str, dict[str, Any]]:
        """By what they draw: name, type and size of the models that were loaded, and what they have done so far."""
        drawers = (one for one in (self.masks, self.depth) if one is not None)
        return {
            one.what: {
                "name": one.source.name,
                "model_type": one.source.model_type,
                "weights_mb": round(one.source.weights_bytes / 1e6, 1),
                **{name: round(value, 3) for name, value in asdict(one.work).items()},
            }
            for one in drawers
        }

    # --- before the model ---

    def sees(self, request: ChatRequest) -> bool:
        """Whether this is a question for the depth of an image, which the model is not asked."""
        return self.depth is not None and _task_of(request) == "depth" and bool(_images(request))

    def asked(self, request: ChatRequest) -> ChatRequest:
        """The request, for boxes or else points where it is for masks and the model comes from the hub."""
        task = self._instead
        if task is None or _task_of(request) != "segment":
            return request
        *before, last = request.messages
        own = _words_of("segment").fullmatch(last.text)
        words = replace(last, text=question(task, own[1] if own else last.text.strip()))
        return replace(request, task=task, messages=(*before, words))

    def see(self, request: ChatRequest) -> Answer:
        """The answer to a question that it :meth:`sees` to."""
        assert self.depth is not None
        images = _images(request)
        span = (0, len(SCENE))
        drawn = Grounded(label=SCENE, span=span, image=len(images) - 1, ref=0, output=self.depth.draw(images[-1]))
        reply = Reply(text=SCENE, phrases=(Phrase(text=SCENE, span=span),))
        return Answer(reply=reply, outputs=(drawn,), images=images)

    # --- behind it ---

    def _redrawn(self, answer: Answer, request: ChatRequest) -> Answer:
        return replace(answer, outputs=tuple(self.redraw(answer.outputs, answer.images, request)))

    def _streamed(self, events: Iterator[StreamEvent], request: ChatRequest) -> Iterator[StreamEvent]:
        images = _images(request)
        try:
            for event in events:
                yield from self.redraw([event], images, request) if isinstance(event, Grounded) else [event]
        finally:
            close = getattr(events, "close", None)
            if close is not None:  # a caller who stops listening stops the engine
                close()

    def redraw(
        self, items: Sequence[Grounded], images: Sequence[Image.Image], request: ChatRequest
    ) -> Iterator[Grounded]:
        """The same things in the same order, as masks and as the better depth; what it leaves is the same object."""
        done: dict[int, Output] = {}
        if self.masks is not None:
            for number, image in enumerate(images):
                places = {
                    at: i.output for at, i in enumerate(items) if i.image == number and self._is_place(i, request)
                }
                prompts = [output for output in places.values() if isinstance(output, Box | Point | Mask)]
                done.update(zip(places, self.masks.draw(image, prompts), strict=True))
        for at, item in enumerate(items):
            if self.depth is not None and isinstance(item.output, DepthMap):
                done[at] = self.depth.draw(images[item.image])
            yield replace(item, output=done[at]) if at in done else item

    def _is_place(self, item: Grounded, request: ChatRequest) -> bool:
        """Whether a mask takes its place: a mask's always; a box's where masks are asked for, and in a conversation
        with a model that has none of its own."""
        if isinstance(item.output, Mask):
            return True
        wanted = _task_of(request) == "segment" or (request.task == "chat" and self._is_hub)
        return wanted and isinstance(item.output, Box | Point)


def _task_of(request: ChatRequest) -> str:
    """The task of a request; in a conversation that of its words, where these are a task's own ("Segment the dog.")."""
    if request.task != "chat" or not request.messages:
        return request.task
    words = request.messages[-1].text
    return next((task for task in ("segment", "depth") if _words_of(task).fullmatch(words)), "chat")


@cache
def _words_of(task: str) -> re.Pattern[str]:
    """Matches a task's own words; what it is about is the group, if there is one."""
    words = re.escape(get_task(task).instruction.removesuffix("."))
    return re.compile(rf"\s*{words.replace(re.escape('{}'), '(.+?)')}\.?\s*", re.IGNORECASE | re.DOTALL)


def _images(request: ChatRequest) -> tuple[Image.Image, ...]:
    return tuple(image for message in request.messages for image in message.images)


def check_drawing(masks: str | None, depth: str | None) -> list[Path]:
    """The folders of models that draw; :class:`GeneralistError` for what is not there, or draws something else."""
    return [kind.open(name).source.folder for kind, name in ((HubMasks, masks), (HubDepth, depth)) if name is not None]
