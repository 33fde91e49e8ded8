"""Stop strings in text that comes in pieces, with other things between the pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class StopGate(Generic[T]):
    """Lets text and ``T`` items through, in order, up to the first stop string.

    Text that may be the beginning of a stop string is held back, and with it every item that belongs to it: an item
    lies ``at`` the number of characters that it needs. ``stopped`` once a stop string was met; what belongs to text
    behind that place never comes. ``length`` counts the characters that were let through.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._text = ""  # held back
        self._items: deque[tuple[int, T]] = deque()
        self.length = 0
        self.stopped = False

    def text(self, more: str) -> list[str | T]:
        """What may pass now that there is more text: text first, then what was waiting for it."""
        if self.stopped:
            return []
        self._text += more
        found = [at for at in (self._text.find(stop) for stop in self._stop) if at >= 0]
        self.stopped = bool(found)
        passing = self._pass(min(found) if found else len(self._text) - self._possible())
        if self.stopped:
            self._items.clear()
        return passing

    def item(self, at: int, item: T) -> list[str | T]:
        """What may pass now that there is one more item."""
        if not self.stopped:
            self._items.append((at, item))
        return self._pass(0)

    def finish(self) -> list[str | T]:
        """No more comes: everything that was held back, unless a stop string was met."""
        return [] if self.stopped else self._pass(len(self._text))

    def _pass(self, count: int) -> list[str | T]:
        text, self._text = self._text[:count], self._text[count:]
        self.length += len(text)
        passing: list[str | T] = [text] if text else []
        while self._items and self._items[0][0] <= self.length:
            passing.append(self._items.popleft()[1])
        return passing

    def _possible(self) -> int:
        """Characters at the end of the held text that a stop string may begin with."""
        longest = 0
        for stop in self._stop:
            for count in range(min(len(stop) - 1, len(self._text)), longest, -1):
                if self._text.endswith(stop[:count]):
                    longest = count
                    break
        return longest
