"""vLLM's asynchronous engine as the backend of a server: prompts in, pieces of replies out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from itertools import count
from typing import Any

from generalist.types import Prompt, Sampling, Usage
from generalist_serving.backend import Busy, Piece
from generalist_serving.vllm_engine import requests
from generalist_serving.vllm_engine.adapters import Adapters
from generalist_serving.vllm_engine.reading import Reader
from generalist_serving.vllm_plugin import identifiers

_LONGEST_RETRY_S = 30


class VllmBackend:
    """A :class:`~generalist_serving.backend.Backend` over vLLM's ``AsyncLLM``, whose engine runs in other processes.

    ``max_batch`` replies are written side by side, ``max_queue`` more requests may wait. The engine belongs to the
    backend from now on. ``on_adapters`` is told after every change which adapters there are: LoRARequests by name.
    """

    def __init__(
        self,
        engine: Any,
        reader: Reader,
        adapters: Adapters,
        *,
        max_batch: int,
        max_queue: int,
        on_adapters: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._adapters = adapters
        self._max_batch = max_batch
        self._capacity = max_batch + max_queue
        self._on_adapters = on_adapters
        self._numbers = count()
        self._accepted = 0
        self._reply_s = 1.0  # how long a reply takes of late
        self._closed = False

    async def check(self, prompt: Prompt) -> None:
        await self._read(prompt, Sampling())

    async def run(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Piece, None]:
        if self._accepted >= self._capacity:
            raise self._busy()
        self._accepted += 1
        begun = time.monotonic()
        try:
            request = await self._read(prompt, sampling)
            async with aclosing(self._pieces(request)) as pieces:
                async for piece in pieces:
                    yield piece
            self._reply_s += 0.1 * (time.monotonic() - begun - self._reply_s)
        finally:
            self._accepted -= 1

    @property
    def adapters(self) -> Mapping[str, str]:
        return self._adapters.folders

    async def load_adapter(self, name: str, folder: str) -> None:
        loop = asyncio.get_running_loop()

        def add(adapter: Any) -> None:
            try:
                asyncio.run_coroutine_threadsafe(self._engine.add_lora(adapter), loop).result()
            except Exception as error:  # vLLM tells of what went wrong in its engine by exceptions of no kind
                raise ValueError(str(error)) from error

        # In a thread: every file of the adapter is looked at.
        await self._forget(await asyncio.to_thread(self._adapters.load, name, folder, add))

    async def unload_adapter(self, name: str) -> None:
        await self._forget(self._adapters.unload(name))

    @property
    def waiting(self) -> int:
        return self._accepted - self.running

    @property
    def running(self) -> int:
        return min(self._accepted, self._max_batch)

    async def close(self) -> None:
        """End vLLM, and what is still under way with it. May be called again."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._engine.shutdown, 0)

    # --- steps ---

    async def _read(self, prompt: Prompt, sampling: Sampling) -> requests.Request:
        request = await asyncio.to_thread(self._reader.read, prompt, sampling, self._adapters)
        if prompt.constraint is not None and prompt.constraint.identifiers is not None:
            identifiers.trust(prompt.constraint.identifiers)
        return request

    async def _pieces(self, request: requests.Request) -> AsyncGenerator[Piece, None]:
        ends, written = self._reader.vocabulary.ends, 0
        outputs = self._engine.generate(
            requests.vllm_prompt(request),
            self._reader.sampling_params(request, streamed=True),
            f"generalist-{next(self._numbers)}",
            lora_request=request.adapter,
        )
        try:
            async with aclosing(outputs):  # which ends the request when nobody waits any more
                async for output in outputs:
                    ids = requests.new_tokens(output, ends)
                    written += len(ids)
                    if output.finished:
                        requests.check_finished(request, output, ends)
                    yield Piece(
                        token_ids=tuple(ids),
                        logprobs=tuple(requests.token_logprobs(output)[: len(ids)]),
                        finish_reason=_finish_reason(output),
                        usage=Usage(prompt_tokens=request.prompt_tokens, completion_tokens=written),
                        top_logprobs=requests.likeliest(request, output)[: len(ids)],
                    )
        except Exception as error:
            if told := self._told(error):
                raise told from error
            raise

    async def _forget(self, adapter: Any) -> None:
        if adapter is not None:
            await self._engine.remove_lora(adapter.lora_int_id)
        self._on_adapters({name: self._adapters.get(name) for name in self._adapters.names})

    def _told(self, error: Exception) -> Exception | None:
        """What a client is told of an error of vLLM's; None for one inside the server."""
        from vllm.exceptions import GracefulHTTPError

        # Its own kind of error is wrapped around all that is none of vLLM's.
        inner = error.__cause__ if isinstance(error.__cause__, ValueError) else error
        if isinstance(inner, GracefulHTTPError):
            return self._busy()
        return requests.refusal(inner)

    def _busy(self) -> Busy:
        """Says in how many seconds there may be a place, going by how long replies took of late."""
        turns = max(self._capacity / self._max_batch - 1, 1)
        return Busy(min(max(math.ceil(turns * self._reply_s), 1), _LONGEST_RETRY_S))


def _finish_reason(output: Any) -> Any:
    if not output.finished:
        return None
    return "length" if output.outputs[0].finish_reason == "length" else "stop"
