"""How replies went, for whoever counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

from generalist.types import ChatRequest, GeneralistError, Kind, Usage
from generalist_serving.backend import Busy, Piece
from generalist_serving.events import Drawing, End, Ended, Event, Outcome

Observer: TypeAlias = Callable[[Outcome], None]


class Note:
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
        """A piece has come."""
        if self._first is None and piece.token_ids:
            self._first = time.monotonic() - self._begin

    def see(self, event: Event) -> None:
        """The reply says this."""
        if isinstance(event, Drawing):
            self._units[_KIND_OF[event.visual["type"]]] += 1
        elif isinstance(event, End):
            self._end = event

    def __enter__(self) -> Note:
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
