"""Many requests at once on the transformers engine (dynamic batching).

The event loop accepts requests and hands tokens out; images are made ready in a pool of threads; one thread owns
the engine. Between two steps of its batch it takes in who waits and lets go who was left, so that a long reply
holds up no short one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from generalist.constrain import compile_constraint
from generalist.engine.batch import Batch, Speaker
from generalist.engine.inputs import Input
from generalist.engine.transformers_engine import TransformersEngine
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, GeneralistError, Prompt, Sampling, Seen, Usage
from generalist_serving.backend import Busy, Piece

log = logging.getLogger("generalist_serving")

_JOINS = 4
"""Prompts read between two steps: a prompt takes as long as several steps, and those who speak wait for it."""

_LONGEST_RETRY_S = 30

_News: TypeAlias = Piece | Exception


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """A request under way. The event loop sets ``left``; all else belongs to the engine's thread."""

    prompt: Prompt
    item: Input
    sampling: Sampling
    news: asyncio.Queue[_News] = field(default_factory=asyncio.Queue)
    begun: float = 0.0
    left: bool = False
    speaker: Speaker | None = None
    told: int = 0

    def next_piece(self) -> Piece | None:
        """What was said since the last call; None if nothing was."""
        assert self.speaker is not None
        row, begin = self.speaker.row, self.told
        self.told = len(row.ids)
        if row.finish_reason is None and begin == self.told:
            return None
        # In every piece: a reply that ends at a stop string has no last one.
        usage = Usage(prompt_tokens=len(self.item.ids), completion_tokens=self.told)
        return Piece(
            token_ids=tuple(row.ids[begin:]),
            logprobs=tuple(row.logprobs[begin:]),
            finish_reason=row.finish_reason,
            usage=usage,
            top_logprobs=tuple(row.top[begin:]),
        )


class TransformersBackend:
    """A :class:`~generalist_serving.backend.Backend` over a transformers engine.

    ``max_batch`` replies are written side by side, ``max_queue`` more requests may wait. The engine belongs to
    the backend from now on.
    """

    def __init__(
        self, engine: TransformersEngine, vocabulary: Vocabulary, *, max_batch: int = 16, max_queue: int = 64
    ) -> None:
        if max_batch < 1:
            raise GeneralistError(f"max_batch is {max_batch}; use 1 or more")
        if max_queue < 0:
            raise GeneralistError(f"max_queue is {max_queue}; use 0 or more")
        self._engine = engine
        self._vocabulary = vocabulary
        self._max_batch = max_batch
        self._capacity = max_batch + max_queue
        self._accepted = 0
        self._writer = _Writer(engine, max_batch)
        self._readers = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="generalist-read")

    async def check(self, prompt: Prompt) -> None:
        await self._read(prompt)

    async def look(self, request: ChatRequest) -> Seen | None:
        """What the request's adapter answers by itself, if it is a visual head."""
        return await asyncio.to_thread(self._engine.look, request)

    async def run(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Piece, None]:
        if self._accepted >= self._capacity:
            raise Busy(self._retry_after())
        self._accepted += 1
        try:
            job = _Job(prompt=prompt, item=await self._read(prompt), sampling=sampling)
            self._writer.add(job, asyncio.get_running_loop())
            try:
                while True:
                    news = await job.news.get()
                    if isinstance(news, Exception):
                        raise news
                    yield news
                    if news.finish_reason is not None:
                        return
            finally:
                job.left = True
        finally:
            self._accepted -= 1

    @property
    def adapters(self) -> Mapping[str, str]:
        return {name: str(folder) for name, folder in self._engine.adapters.items()}

    async def load_adapter(self, name: str, folder: str) -> None:
        await asyncio.to_thread(self._engine.load_adapter, name, folder)

    async def unload_adapter(self, name: str) -> None:
        self._engine.unload_adapter(name)

    @property
    def waiting(self) -> int:
        return max(self._accepted - self.running, 0)

    @property
    def running(self) -> int:
        return self._writer.running

    async def close(self) -> None:
        """Take no more requests, finish those under way, end the threads."""
        await asyncio.to_thread(self._writer.stop)
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _read(self, prompt: Prompt) -> Input:
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read_now, prompt)
        except RuntimeError as error:  # the pool is closed, and so are we
            raise Busy() from error
        return await reading

    def _read_now(self, prompt: Prompt) -> Input:
        item = self._engine.check(prompt)
        if prompt.constraint is not None:  # here, so that the engine's thread finds it compiled
            compile_constraint(prompt.constraint, self._vocabulary)
        return item

    def _retry_after(self) -> int:
        """In how many seconds there may be a place, going by how long replies took of late."""
        turns = max(self._capacity / self._max_batch - 1, 1)
        return min(max(math.ceil(turns * self._writer.reply_s), 1), _LONGEST_RETRY_S)


class _Writer:
    """The thread that owns the engine. ``reply_s``: how long a reply takes of late, waiting not counted."""

    def __init__(self, engine: TransformersEngine, max_batch: int) -> None:
        self.reply_s = 1.0
        self._engine = engine
        self._max_batch = max_batch
        self._batch = Batch(engine)
        self._speaking: list[_Job] = []
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="generalist-write", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        return len(self._speaking)

    def add(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            if self._stopping:
                raise Busy()
            self._loop = loop
            self._waiting.append(job)
            self._changed.notify()

    def stop(self) -> None:
        """Returns when all that was accepted is finished."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    # --- in the thread ---

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._speaking or self._stopping)
                if not self._waiting and not self._speaking:
                    return
            self._let_go()
            self._take_in()
            self._step()

    def _let_go(self) -> None:
        """Stop writing what nobody waits for any more."""
        for job in self._speaking:
            if job.left and job.speaker is not None:
                try:
                    self._batch.leave(job.speaker)
                except Exception as error:
                    return self._break_off(error)
        self._speaking = [job for job in self._speaking if not job.left]

    def _take_in(self) -> None:
        taken = 0
        while taken < _JOINS and len(self._speaking) < self._max_batch and self._waiting:
            job = self._waiting.popleft()
            if job.left:
                continue
            taken += 1
            job.begun = time.monotonic()
            try:
                job.speaker = self._batch.join(job.prompt, job.item, job.sampling)
            except Exception as error:
                self._tell([(job, _failure(error))])
                continue
            self._speaking.append(job)
            self._tell_pieces([job])  # the first token, before the next prompt is read

    def _step(self) -> None:
        try:
            self._batch.step()
        except Exception as error:
            return self._break_off(error)
        self._tell_pieces(self._speaking)

    def _break_off(self, error: Exception) -> None:
        """Give up the replies of a step that failed; whoever comes next gets a new batch."""
        failed, self._speaking = self._speaking, []
        self._batch = Batch(self._engine)
        self._tell([(job, _failure(error)) for job in failed])

    def _tell_pieces(self, jobs: Sequence[_Job]) -> None:
        news: list[tuple[_Job, _News]] = []
        for job in list(jobs):
            if (piece := job.next_piece()) is not None:
                news.append((job, piece))
                if piece.finish_reason is not None:  # whoever hears of the end finds the place free
                    self._speaking.remove(job)
                    self.reply_s += 0.1 * (time.monotonic() - job.begun - self.reply_s)
        self._tell(news)

    def _tell(self, news: Sequence[tuple[_Job, _News]]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_hand_out, news)
        except RuntimeError:  # the loop is closed: nobody waits any more
            for job, _ in news:
                job.left = True


def _hand_out(news: Sequence[tuple[_Job, _News]]) -> None:
    for job, one in news:
        job.news.put_nowait(one)


def _failure(error: Exception) -> Exception:
    """An error for one of the requests that an exception ended: what several raise must not be one object."""
    if isinstance(error, GeneralistError):
        return error
    failure = RuntimeError(f"the engine failed: {error}")
    failure.__cause__ = error
    return failure
