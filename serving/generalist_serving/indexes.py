"""The indexes that a server searches: opened at its start, searched in threads, a few at once.

A change that another process makes to an index (``generalist index add``) counts from the next search on.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from generalist.documents import Hit, SearchOptions
from generalist.documents.asking import Question
from generalist.documents.models import Floats
from generalist.documents.reranking import rerank
from generalist.types import GeneralistError
from generalist_serving.backend import Busy
from generalist_serving.open_index import OpenIndex

T = TypeVar("T")
Ended: TypeAlias = Literal["found", "nothing", "cancelled", "busy", "refused", "failed"]

_LONGEST_RETRY_S = 30


class UnknownIndex(GeneralistError):
    """There is no index of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How a search went, for whoever counts: time in seconds, from the request on."""

    index: str
    mode: str
    ended: Ended
    seconds: float


Observer: TypeAlias = Callable[[Searched], None]


class Indexes:
    """Indexes by name.

    ``device``: where their models are loaded. ``at_once`` searches run side by side, ``waiting`` more may wait; one
    more meets :class:`Busy`. ``observe`` is told how each search went. Raises :class:`GeneralistError` for the first
    index that cannot be opened.
    """

    def __init__(
        self,
        folders: Mapping[str, Path] | None = None,
        *,
        device: str = "auto",
        at_once: int = 2,
        waiting: int = 16,
        observe: Observer | None = None,
    ) -> None:
        self._open = {name: OpenIndex(name, folder, device) for name, folder in (folders or {}).items()}
        self._at_once, self._capacity = at_once, at_once + waiting
        self._accepted, self._counting = 0, threading.Lock()
        self._search_s = 1.0  # how long a search takes of late
        self._threads: ThreadPoolExecutor | None = None
        self.observe = observe

    @property
    def all(self) -> tuple[OpenIndex, ...]:
        return tuple(self._open.values())

    @property
    def running(self) -> int:
        return min(self._accepted, self._at_once)

    @property
    def waiting(self) -> int:
        return self._accepted - self.running

    def find(self, name: str) -> OpenIndex | None:
        """The index of this name, if there is one."""
        return self._open.get(name)

    def get(self, name: str) -> OpenIndex:
        """The index of this name; :class:`UnknownIndex` when there is none."""
        if name not in self._open:
            raise UnknownIndex(f"there is no vector store {name[:80]!r}; GET /v1/vector_stores lists those there are")
        return self._open[name]

    async def search(self, name: str, questions: Sequence[Question], options: SearchOptions) -> list[Hit]:
        """As :meth:`OpenIndex.search`, in a thread. Raises :class:`Busy` when too many wait."""
        index = self.get(name)
        return await self.run(name, options.mode, lambda: index.search(questions, options))

    async def rerank(
        self, index: OpenIndex | None, question: str, texts: Sequence[str], mode: str
    ) -> list[tuple[int, float]]:
        """As :meth:`OpenIndex.rerank`, in a thread; without an index by words. Raises :class:`Busy`."""
        order = partial(rerank if index is None else index.rerank, question, texts, mode)
        return await self.run("" if index is None else index.name, f"rerank {mode}", order)

    async def embed(self, index: OpenIndex, texts: Sequence[str]) -> tuple[Floats, int]:
        """As :meth:`OpenIndex.embed`, in a thread. Raises :class:`Busy`."""
        ((vectors, tokens),) = await self.run(index.name, "embed", lambda: [index.embed(texts)])
        return vectors, tokens

    async def run(self, name: str, mode: str, work: Callable[[], Sequence[T]]) -> list[T]:
        """What ``work`` gives, which is run in one of the threads and counted as a search."""
        begun = time.monotonic()
        ended: Ended = "failed"
        try:
            found = await self._in_thread(work)
            ended = "found" if found else "nothing"
            return list(found)
        except Busy:
            ended = "busy"
            raise
        except GeneralistError:
            ended = "refused"
            raise
        except asyncio.CancelledError:
            ended = "cancelled"
            raise
        finally:
            if self.observe is not None:
                self.observe(Searched(index=name, mode=mode, ended=ended, seconds=time.monotonic() - begun))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._accepted >= self._capacity:
            raise Busy(self._retry_after())
        with self._counting:
            self._accepted += 1

        def timed() -> T:
            begun = time.monotonic()
            try:
                return work()
            finally:
                self._search_s += 0.1 * (time.monotonic() - begun - self._search_s)

        def end(_: Future[T]) -> None:
            with self._counting:
                self._accepted -= 1

        # Who stops waiting leaves its place in the queue, but a search that has begun goes on and is counted.
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="searches")
        future = self._threads.submit(timed)
        future.add_done_callback(end)
        return await asyncio.wrap_future(future)

    def _retry_after(self) -> int:
        """In how many seconds there may be a place, going by how long searches took of late."""
        turns = max(self._capacity / self._at_once - 1, 1)
        return min(max(math.ceil(turns * self._search_s), 1), _LONGEST_RETRY_S)

    def close(self) -> None:
        """Drop the searches that wait, and let go of the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
