"""The server without HTTP: a request in, events or whole answers out, whatever the engine.

1. ``prepare``: Ask -> Prompt, with the grammar of its task or of its JSON schema.
2. ``backend.run``: Prompt -> pieces of tokens; ``n`` replies run side by side.
3. ``Writer``: pieces -> text, plan and phrases, up to a stop string.
4. ``line.ground``: phrase -> drawings in pixels, scored.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TypeAlias

from PIL import Image

from generalist.answer import Answer
from generalist.pipeline import Line
from generalist.scores import refs_of
from generalist.types import ChatRequest, DocHit, GeneralistError, Kind, Phrase, Prompt, Sampling, Usage
from generalist.visual import to_visual
from generalist_serving.backend import Backend, Busy, Piece, UnknownAdapter
from generalist_serving.events import Answered, Ask, Drawing, End, Ended, Event, Outcome, Text, Token
from generalist_serving.json_schemas import json_constraint
from generalist_serving.merge import merge
from generalist_serving.writer import Item, Writer

Observer: TypeAlias = Callable[[Outcome], None]

# A schema may take seconds to compile: one at a time, so that hostile ones hold up no more than each other.
_COMPILER = ThreadPoolExecutor(1, thread_name_prefix="schemas")

_QUICK_KINDS: tuple[Kind, ...] = ("box", "point")
"""What may be decoded within a turn of the event loop; masks and depth maps are as large as their image."""


class Service:
    """Answers requests with the replies of a backend.

    ``model`` is the name of the base; adapters go by their own names. ``observe`` is told how each reply went.
    """

    def __init__(self, line: Line, backend: Backend, *, model: str, observe: Observer | None = None) -> None:
        self.line = line
        self.backend = backend
        self.model = model
        self.observe = observe
        identity = hashlib.sha256(f"{model}\n{line.vocabulary.hash}".encode()).hexdigest()
        self.fingerprint = f"fp_{identity[:10]}"

    def adapter_of(self, model: str) -> str | None:
        """The adapter that a request's model name means, None for the base; raises :class:`UnknownAdapter`."""
        if model == self.model:
            return None
        if model in self.backend.adapters:
            return model
        raise UnknownAdapter(f"there is no model {model[:80]!r}; use {self.model!r} or an adapter of /v1/models")

    async def prepare(self, ask: Ask) -> Prompt:
        """What the engine gets; :class:`GeneralistError` when the request is wrong."""
        prompt = await asyncio.to_thread(self.line.prepare, ask.request)  # mask prompts take their time
        if not ask.json_schema:
            return prompt
        loop = asyncio.get_running_loop()
        compiled = loop.run_in_executor(_COMPILER, json_constraint, ask.json_schema, self.line.vocabulary)
        return replace(prompt, constraint=await compiled)

    async def answer(self, ask: Ask) -> list[Answered]:
        """All ``n`` replies, whole. Raises what :meth:`stream` raises; cancelling it stops the work."""
        collected: list[list[Event]] = [[] for _ in range(ask.n)]
        async with aclosing(self.stream(ask)) as events:
            async for number, event in events:
                collected[number].append(event)
        images = [image for message in ask.request.messages for image in message.images]
        return [_answered(events_of_one, images) for events_of_one in collected]

    async def stream(self, ask: Ask) -> AsyncGenerator[tuple[int, Event], None]:
        """(number of the reply, event), as they come; each reply ends with :class:`End`.

        Raises :class:`GeneralistError` and :class:`Busy` before the first event. Closing it stops the work.
        """
        with _Note(ask.request, self.observe, prepares=True):
            prompt = await self.prepare(ask)
        replies = [self._reply(prompt, ask, number) for number in range(ask.n)]
        async with aclosing(merge(replies)) as events:
            async for numbered in events:
                yield numbered

    # --- steps ---

    async def _reply(self, prompt: Prompt, ask: Ask, number: int) -> AsyncGenerator[Event, None]:
        """One reply, event by event."""
        writer = Writer(self.line.vocabulary, ask.stop, tokens=ask.logprobs)
        drawn: list[Phrase] = []
        count = 0
        with _Note(ask.request, self.observe) as note:
            async with aclosing(self._items(prompt, _sampling(ask.request.sampling, number), writer, note)) as items:
                async for item in items:
                    for event in await self._events(item, prompt, writer, drawn, count):
                        count += isinstance(event, Drawing)
                        note.see(event)
                        yield event
                    if isinstance(item, Phrase):
                        drawn.append(item)
            end = writer.end(len(prompt.token_ids))
            end = replace(end, scores=tuple(self.line.scores.of(end.reply, writer.logprobs)))
            note.see(end)
            yield end

    async def _items(
        self, prompt: Prompt, sampling: Sampling, writer: Writer, note: _Note
    ) -> AsyncGenerator[Item, None]:
        pieces = self.backend.run(prompt, sampling)
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

    async def _events(
        self, item: Item, prompt: Prompt, writer: Writer, before: Sequence[Phrase], drawn: int
    ) -> Sequence[Event]:
        if isinstance(item, str):
            return [Text(text=item)]
        if not isinstance(item, Phrase):
            return [item]
        draw = partial(self._draw, item, prompt, list(writer.logprobs), tuple(before), drawn)
        if item.unit is None or item.unit.kind in _QUICK_KINDS:
            return draw()
        return await asyncio.to_thread(draw)

    def _draw(
        self, phrase: Phrase, prompt: Prompt, logprobs: Sequence[float], before: Sequence[Phrase], drawn: int
    ) -> list[Drawing]:
        sizes = [image.size for image in prompt.images]
        grounded = self.line.ground(phrase, prompt, logprobs, before)
        entries = to_visual(grounded, sizes)
        return [
            Drawing(grounded=one, visual={**entry, "index": drawn + number})
            for number, (one, entry) in enumerate(zip(grounded, entries, strict=True))
        ]


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
    """The drawing with its score in the whole reply; a document keeps that of its index."""
    one, score = drawing.grounded, scores.get((drawing.grounded.span, drawing.grounded.ref))
    if score is None or isinstance(one.output, DocHit):
        return drawing
    visual = {**drawing.visual, "score": round(score, 4)}
    return Drawing(grounded=replace(one, output=replace(one.output, score=score)), visual=visual)


class _Note:
    """Tells the observer how a reply went. With ``prepares``, it is only told when there will be no reply."""

    def __init__(self, request: ChatRequest, observe: Observer | None, *, prepares: bool = False) -> None:
        self._request = request
        self._observe = observe
        self._prepares = prepares
        self._begin = time.monotonic()
        self._first: float | None = None
        self._units: Counter[Kind] = Counter()
        self._end: End | None = None

    def begun(self, piece: Piece) -> None:
        if self._first is None and piece.token_ids:
            self._first = time.monotonic() - self._begin

    def see(self, event: Event) -> None:
        if isinstance(event, Drawing):
            self._units[_KIND_OF[event.visual["type"]]] += 1
        elif isinstance(event, End):
            self._end = event

    def __enter__(self) -> _Note:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observe is None or (self._prepares and error is None):
            return
        outcome = Outcome(
            task=self._request.task,
            adapter=self._request.adapter,
            ended=self._end.finish_reason if self._end else _ended(error),
            seconds=time.monotonic() - self._begin,
            first_token_s=self._first,
            usage=self._end.usage if self._end else Usage(),
            units=dict(self._units),
            issues=len(self._end.reply.issues) if self._end else 0,
        )
        self._observe(outcome)


_KIND_OF: dict[str, Kind] = {"box": "box", "point": "point", "mask": "mask", "depth": "depth", "document": "doc"}


def _ended(error: BaseException | None) -> Ended:
    if isinstance(error, Busy):
        return "busy"
    if isinstance(error, GeneralistError):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"
