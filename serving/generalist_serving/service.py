"""The server without HTTP: a request in, events or whole answers out, whatever the engine.

1. ``prepare``: Ask -> Prompt, with the grammar of its task or of its JSON schema.
2. ``backend.run``: Prompt -> pieces of tokens; ``n`` replies run side by side.
3. ``Writer``: pieces -> text, plan and what is to be drawn, up to a stop string.
4. ``Reading.ground``: that -> drawings in pixels, scored; ``HubDrawing.redraw``: drawn better, where asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from generalist.answer import Answer
from generalist.dialects import Drawn
from generalist.hub_line import HubLine
from generalist.pipeline import Line
from generalist.scores import refs_of
from generalist.tasks import TASKS
from generalist.types import Box, ChatRequest, DocHit, GeneralistError, Kind, Phrase, Point, Prompt, Sampling, Usage
from generalist.visual import to_visual
from generalist_serving.backend import Backend, Busy, Piece, UnknownAdapter
from generalist_serving.events import Answered, Ask, Drawing, End, Event, Text, Token
from generalist_serving.indexes import Indexes
from generalist_serving.json_schemas import json_constraint
from generalist_serving.merge import merge
from generalist_serving.notes import Note, Observer
from generalist_serving.readings import Drawable, Reading, SeenReading, reading_of
from generalist_serving.writer import Item, Writer

if TYPE_CHECKING:
    from generalist.hub_drawing import HubDrawing

# A schema may take seconds to compile: one at a time, so that hostile ones hold up no more than each other.
_COMPILER = ThreadPoolExecutor(1, thread_name_prefix="schemas")

# A model that draws takes one image at a time: who waits for it holds up no other thread.
_DRAWER = ThreadPoolExecutor(1, thread_name_prefix="drawing")

_MOST_SEEN = 64
"""Requests for what a model that draws sees by itself, such as depth, that may be under way; more are told to wait."""

_QUICK_KINDS: tuple[Kind, ...] = ("box", "point")
"""What may be decoded within a turn of the event loop; masks and depth maps are as large as their image."""


class Service:
    """Answers requests with the replies of a backend.

    ``model`` is the name of the base; adapters go by their own names. ``indexes`` are searched beside it. ``drawing``
    draws masks or depth in the model's place. ``observe`` is told how each reply went.
    """

    def __init__(
        self,
        line: Line | HubLine,
        backend: Backend,
        *,
        model: str,
        indexes: Indexes | None = None,
        drawing: HubDrawing | None = None,
        observe: Observer | None = None,
    ) -> None:
        self.line = line
        self.backend = backend
        self.model = model
        self.indexes = indexes or Indexes()
        self.drawing = drawing
        self._seeing = 0
        self.observe = observe
        speaks = line.vocabulary.hash if isinstance(line, Line) else line.dialect.name
        identity = hashlib.sha256(f"{model}\n{speaks}".encode()).hexdigest()
        self.fingerprint = f"fp_{identity[:10]}"

    @property
    def tasks(self) -> list[str]:
        """What the base can be asked for."""
        able = self.line.tasks if isinstance(self.line, HubLine) else _tasks_of(self.line)
        more = () if self.drawing is None else self.drawing.tasks
        return [name for name in TASKS if name in able or name in more]

    def adapter_of(self, model: str) -> str | None:
        """The adapter that a request's model name means, None for the base; raises :class:`UnknownAdapter`."""
        if model == self.model:
            return None
        if model in self.backend.adapters:
            return model
        raise UnknownAdapter(f"there is no model {model[:80]!r}; use {self.model!r} or an adapter of /v1/models")

    async def prepare(self, ask: Ask) -> Prompt:
        """What the engine gets; :class:`GeneralistError` when the request is wrong."""
        if ask.json_schema and isinstance(self.line, HubLine):
            raise GeneralistError("a model from the hub is held to no JSON schema; ask for JSON in words")
        prompt = await asyncio.to_thread(self.line.prepare, ask.request)  # mask prompts take their time
        if not ask.json_schema:
            look = getattr(self.backend, "look", None)  # of backends that have visual heads
            seen = None if look is None else await look(ask.request)
            return prompt if seen is None else await asyncio.to_thread(self._own_line.give, prompt, seen)
        loop = asyncio.get_running_loop()
        compiled = loop.run_in_executor(_COMPILER, json_constraint, ask.json_schema, self._own_line.vocabulary)
        return replace(prompt, constraint=await compiled)

    async def answer(self, ask: Ask) -> list[Answered]:
        """All ``n`` replies, whole. Raises what :meth:`stream` raises; cancelling it stops the work."""
        collected: list[list[Event]] = [[] for _ in range(ask.n)]
        async with aclosing(self.stream(ask)) as events:
            async for number, event in events:
                collected[number].append(event)
        return [_answered(events_of_one, _images(ask.request)) for events_of_one in collected]

    async def stream(self, ask: Ask) -> AsyncGenerator[tuple[int, Event], None]:
        """(number of the reply, event), as they come; each reply ends with :class:`End`.

        Raises :class:`GeneralistError` and :class:`Busy` before the first event. Closing it stops the work.
        """
        with Note(ask.request, self.observe, prepares=True):
            starts = await self._starts(ask)
        replies = [self._reply(start, ask) for start in starts]
        async with aclosing(merge(replies)) as events:
            async for numbered in events:
                yield numbered

    # --- steps ---

    @property
    def _own_line(self) -> Line:
        assert isinstance(self.line, Line)
        return self.line

    async def _starts(self, ask: Ask) -> list[_Start]:
        """How each of the ``n`` replies begins; what a model that draws sees by itself is all said already."""
        drawing, request = self.drawing, ask.request
        if drawing is None or ask.json_schema:
            drawing = None
        elif drawing.sees(request):
            seen = await self._see(drawing, request)
            return [_Start(reading=SeenReading(seen), pieces=_nothing()) for _ in range(ask.n)]
        else:
            request = drawing.asked(request)
        prompt = await self.prepare(replace(ask, request=request))
        return [
            _Start(
                reading=reading_of(self.line, prompt),
                pieces=self.backend.run(prompt, _sampling(request.sampling, number)),
                drawing=drawing,
                prompt_tokens=len(prompt.token_ids),
            )
            for number in range(ask.n)
        ]

    async def _see(self, drawing: HubDrawing, request: ChatRequest) -> Answer:
        if self._seeing >= _MOST_SEEN:
            raise Busy()
        self._seeing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(_DRAWER, drawing.see, request)
        finally:
            self._seeing -= 1

    async def _reply(self, start: _Start, ask: Ask) -> AsyncGenerator[Event, None]:
        """One reply, event by event."""
        writer = Writer(start.reading, ask.stop, tokens=ask.logprobs)
        count = 0
        with Note(ask.request, self.observe) as note:
            async with aclosing(self._items(start.pieces, writer, note)) as items:
                async for item in items:
                    for event in await self._events(item, start, ask.request, count):
                        count += isinstance(event, Drawing)
                        note.see(event)
                        yield event
            end = writer.end(start.prompt_tokens)
            note.see(end)
            yield end

    async def _items(self, pieces: AsyncIterator[Piece], writer: Writer, note: Note) -> AsyncGenerator[Item, None]:
        try:
            async for piece in pieces:
                note.begun(piece)
                for item in writer.feed(piece):
                    yield item
                if writer.over:
                    break
            for item in writer.finish():
                yield item
        finally:
            close = getattr(pieces, "aclose", None)  # which an iterator need not have
            if close is not None:
                await close()

    async def _events(self, item: Item, start: _Start, request: ChatRequest, drawn: int) -> Sequence[Event]:
        if isinstance(item, str):
            return [Text(text=item)]
        if not isinstance(item, Phrase | Drawn):
            return [item]
        draw = partial(_draw, item, start, request, drawn)
        if start.drawing is not None:
            return await asyncio.get_running_loop().run_in_executor(_DRAWER, draw)
        return draw() if _is_quick(item) else await asyncio.to_thread(draw)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Start:
    """What one reply is made of."""

    reading: Reading
    pieces: AsyncIterator[Piece]
    drawing: HubDrawing | None = None
    prompt_tokens: int = 0


async def _nothing() -> AsyncGenerator[Piece, None]:
    """The pieces of a reply without tokens."""
    yield Piece(finish_reason="stop", usage=Usage())


def _is_quick(item: Drawable) -> bool:
    if isinstance(item, Drawn):
        return isinstance(item.item.output, Box | Point)
    return item.unit is None or item.unit.kind in _QUICK_KINDS


def _draw(item: Drawable, start: _Start, request: ChatRequest, drawn: int) -> list[Drawing]:
    """``drawn``: how many drawings the reply has already."""
    images = _images(request)
    plain = start.reading.ground(item)
    grounded = plain if start.drawing is None else list(start.drawing.redraw(plain, images, request))
    entries = to_visual(grounded, [image.size for image in images])
    return [
        Drawing(grounded=one, visual={**entry, "index": drawn + number}, redrawn=one is not before)
        for number, (before, one, entry) in enumerate(zip(plain, grounded, entries, strict=True))
    ]


def _images(request: ChatRequest) -> list[Image.Image]:
    return [image for message in request.messages for image in message.images]


def _tasks_of(line: Line) -> list[str]:
    """The tasks that need no drawing, or one that the checkpoint can decode."""
    return [name for name, spec in TASKS.items() if not spec.emits or any(kind in line.decoders for kind in spec.emits)]


def _sampling(sampling: Sampling, number: int) -> Sampling:
    """Replies that share a seed would all be the same."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + number)


def _answered(events: Sequence[Event], images: Sequence[Image.Image]) -> Answered:
    end = events[-1]
    assert isinstance(end, End)
    final = {
        (phrase.span, ref.index): score
        for phrase, scores in zip(end.reply.phrases, end.scores, strict=True)
        for ref, score in zip(refs_of(phrase), scores, strict=False)  # none without log-probabilities
    }
    drawings = [_rescored(event, final) for event in events if isinstance(event, Drawing)]
    answer = Answer(
        reply=end.reply,
        outputs=tuple(drawing.grounded for drawing in drawings),
        usage=end.usage,
        images=tuple(images),
        finish_reason=end.finish_reason,
    )
    tokens = tuple(event for event in events if isinstance(event, Token))
    return Answered(answer=answer, visual=tuple(drawing.visual for drawing in drawings), tokens=tokens)


def _rescored(drawing: Drawing, scores: Mapping[tuple[tuple[int, int], int], float]) -> Drawing:
    """The drawing with its score in the whole reply; a document keeps that of its index, a redrawn thing its own."""
    one, score = drawing.grounded, scores.get((drawing.grounded.span, drawing.grounded.ref))
    if score is None or drawing.redrawn or isinstance(one.output, DocHit):
        return drawing
    visual = {**drawing.visual, "score": round(score, 4)}
    return Drawing(grounded=replace(one, output=replace(one.output, score=score)), visual=visual)
