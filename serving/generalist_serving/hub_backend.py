"""A model from the hub behind a server: one reply at a time, the others wait in line.

transformers generates a batch from its beginning to its end, so replies that share one would wait for the longest of
them, and one that nobody waits for any more could not leave it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from generalist.engine.hub_engine import HubEngine
from generalist.types import GeneralistError, Prompt, Sampling, Usage
from generalist_serving.backend import Busy, Piece, UnknownAdapter

_LONGEST_RETRY_S = 30

_News: TypeAlias = Piece | Exception


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """A request under way: ``inputs`` are its prompt as the engine takes it. The event loop sets ``left``."""

    prompt: Prompt
    inputs: Any
    sampling: Sampling
    loop: asyncio.AbstractEventLoop
    news: asyncio.Queue[_News] = field(default_factory=asyncio.Queue)
    left: bool = False

    def tell(self, news: _News) -> None:
        try:
            self.loop.call_soon_threadsafe(self.news.put_nowait, news)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.left = True


class HubBackend:
    """A :class:`~generalist_serving.backend.Backend` over the engine of a model from the hub.

    ``max_queue`` requests may wait. The engine belongs to the backend from now on.
    """

    adapters: Mapping[str, str] = {}

    def __init__(self, engine: HubEngine, *, max_queue: int = 64) -> None:
        if max_queue < 0:
            raise GeneralistError(f"max_queue is {max_queue}; use 0 or more")
        self._engine = engine
        self._capacity = 1 + max_queue
        self._accepted = 0
        self._running = 0
        self._reply_s = 1.0
        # One each: a tokenizer pads for one caller at a time, and the model writes for one.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="generalist-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="generalist-write")

    async def check(self, prompt: Prompt) -> None:
        await self._read(prompt)

    async def run(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Piece, None]:
        if self._accepted >= self._capacity:
            raise Busy(min(max(math.ceil(self._accepted * self._reply_s), 1), _LONGEST_RETRY_S))
        self._accepted += 1
        try:
            loop = asyncio.get_running_loop()
            job = _Job(prompt=prompt, inputs=await self._read(prompt), sampling=sampling, loop=loop)
            try:
                self._writer.submit(self._write, job)
            except RuntimeError as error:  # the pool is closed, and so are we
                raise Busy() from error
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

    async def load_adapter(self, name: str, folder: str) -> None:
        raise GeneralistError(f"a model from the hub takes no adapter; {name[:80]!r} belongs to a model of ours")

    async def unload_adapter(self, name: str) -> None:
        raise UnknownAdapter(f"there is no adapter {name[:80]!r}")

    @property
    def waiting(self) -> int:
        return max(self._accepted - self._running, 0)

    @property
    def running(self) -> int:
        return self._running

    async def close(self) -> None:
        """Take no more requests, finish those under way, end the threads."""
        await asyncio.to_thread(self._reader.shutdown)
        await asyncio.to_thread(self._writer.shutdown)

    async def _read(self, prompt: Prompt) -> Any:
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._reader, self._engine.read, prompt)
        except RuntimeError as error:
            raise Busy() from error
        return await reading

    # --- in the thread ---

    def _write(self, job: _Job) -> None:
        if job.left:
            return
        self._running, begun = 1, time.monotonic()
        try:
            finish = self._tell_tokens(job)
        except Exception as error:  # told to whoever waits
            finish = error
        # Whoever hears of the end finds the place free.
        self._running = 0
        self._reply_s += 0.1 * (time.monotonic() - begun - self._reply_s)
        if finish is not None:
            job.tell(finish)

    def _tell_tokens(self, job: _Job) -> _News | None:
        """Tell every token; how the reply ended, None if nobody waits for it."""
        prompt_tokens, written = int(job.inputs["attention_mask"].sum()), 0
        with closing(self._engine.steps(job.prompt, job.inputs, job.sampling)) as steps:
            for step in steps:
                if job.left:
                    return None
                usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=written)
                if step.token in self._engine.ends:
                    return Piece(finish_reason="stop", usage=usage)
                written += 1
                usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=written)
                top = (step.top,) if job.sampling.top_logprobs else ()
                job.tell(Piece(token_ids=(step.token,), logprobs=(step.logprob,), usage=usage, top_logprobs=top))
        return Piece(finish_reason="length", usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=written))
