"""The thread that owns vLLM: everything is asked of it through an inbox, and it steps as long as there is work.

One thread, because vLLM's engine is not safe to share; so requests of many threads are answered in one batch.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Submission:
    """A request on its way in. ``deliver`` gets its RequestOutputs in turn, or the exception that ended it.

    It is called in the thread of the loop, so it must not wait.
    """

    id: str
    prompt: dict[str, Any]
    params: Any
    adapter: Any
    deliver: Callable[[Any], None]
    accepted: Future[None] = field(default_factory=Future)


class Loop:
    """Makes an LLMEngine with ``start`` in a thread of its own and serves it until :meth:`close`, then ``stop``s it."""

    def __init__(self, start: Callable[[], Any], stop: Callable[[Any], None]) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: dict[str, Callable[[Any], None]] = {}
        self._failure: BaseException | None = None
        self._closing = False
        self._engine: Any = None
        self._stop = stop
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, args=(start, started), name="vllm", daemon=True)
        self._thread.start()
        started.result()

    # --- asked from any thread ---

    def submit(self, submissions: Iterable[Submission]) -> None:
        """Start requests, all in one batch. Returns once vLLM has accepted or refused each (``accepted``)."""
        wanted = list(submissions)
        self.call(lambda _: self._add(wanted))

    def abort(self, ids: Iterable[str]) -> None:
        """End requests; those that have ended already are left alone. Nothing of them is delivered any more."""
        wanted = list(ids)
        if self._thread.is_alive():
            self._inbox.put(lambda: self._drop(wanted))

    def call(self, function: Callable[[Any], T]) -> T:
        """``function`` of vLLM's engine, between two of its steps."""
        result: Future[T] = Future()

        def run() -> None:
            if self._failure is not None:
                result.set_exception(_ended(self._failure))
                return
            try:
                result.set_result(function(self._engine))
            except BaseException as error:  # it belongs to the caller
                result.set_exception(error)

        if not self._thread.is_alive():
            raise _ended(self._failure)
        self._inbox.put(run)
        while not wait([result], timeout=1.0).done:
            if not self._thread.is_alive() and not result.done():  # it ended in front of this call
                raise _ended(self._failure)
        return result.result()

    def close(self) -> None:
        """End all requests and vLLM; may be called again, and from any thread."""
        if self._thread.is_alive():
            self._inbox.put(self._end)
            self._thread.join()

    # --- in the thread ---

    def _live(self, start: Callable[[], Any], started: Future[None]) -> None:
        try:
            self._engine = start()
        except BaseException as error:
            self._failure = error
            started.set_exception(error)
            return
        started.set_result(None)
        while not self._closing:
            try:
                self._turn()
            except BaseException as error:
                _log.exception("vLLM failed")
                self._failure, self._closing = error, True
        self._fail_all()
        try:
            self._stop(self._engine)
        except Exception:
            _log.exception("vLLM did not end cleanly")
        self._engine = None

    def _turn(self) -> None:
        """Do what the inbox says, then one step; wait for the inbox when there is nothing to step."""
        if not self._engine.has_unfinished_requests():
            self._inbox.get()()
        while not self._inbox.empty():
            self._inbox.get()()
        if not self._closing and self._engine.has_unfinished_requests():
            for output in self._engine.step():
                deliver = self._waiting.get(output.request_id)
                if output.finished:
                    self._waiting.pop(output.request_id, None)
                if deliver is not None:
                    deliver(output)

    def _add(self, submissions: list[Submission]) -> None:
        for one in submissions:
            try:
                self._engine.add_request(one.id, one.prompt, one.params, lora_request=one.adapter)
            except Exception as error:  # a refusal: it ends this request alone
                one.accepted.set_exception(error)
            else:
                self._waiting[one.id] = one.deliver
                one.accepted.set_result(None)

    def _drop(self, ids: list[str]) -> None:
        known = [one for one in ids if self._waiting.pop(one, None) is not None]
        if known:
            self._engine.abort_request(known)

    def _end(self) -> None:
        self._closing = True

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for deliver in waiting.values():
            deliver(_ended(self._failure))


def _ended(failure: BaseException | None) -> RuntimeError:
    if failure is None:
        return RuntimeError("the engine is closed; make a new one")
    said = " ".join(str(failure).split()) or type(failure).__name__
    return RuntimeError(f"internal error: vLLM failed ({said}); make a new engine")
