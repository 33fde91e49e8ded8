"""Readers of answers with tags in them (``<loc0123>``), whose text and tags arrive in any pieces."""

from __future__ import annotations

import re

from generalist.dialects.dialect import Question, Reader


class TagReader(Reader):
    """Cuts an answer into text and tags, and hands them to :meth:`on_text` and :meth:`on_tag`.

    ``tags`` must match a tag whole; any other "<" is text. ``longest``: characters of a tag at most. ``dropped``
    are tags that mean nothing, such as the marks of a beginning and an end.
    """

    def __init__(self, question: Question, tags: re.Pattern[str], *, longest: int, dropped: frozenset[str]) -> None:
        super().__init__(question)
        self._tags, self._longest, self._dropped = tags, longest, dropped
        self._waiting = ""
        self._at = 0  # offset of what waits
        self._searched = 0  # of it, up to where there is no ">"

    def take(self, text: str) -> None:
        self._waiting += text
        start = 0
        while start < len(self._waiting):
            stop = self._next(start)
            if stop is None:
                break
            start = stop
        self._waiting = self._waiting[start:]
        self._at += start

    def end(self) -> None:
        if self._waiting:
            self.on_text(self._waiting, self._at)
        self.on_end(self._at + len(self._waiting))

    def _next(self, start: int) -> int | None:
        """Hand on the text or tag at ``start`` of what waits; where the next one begins, None to wait for more."""
        if self._waiting[start] != "<":
            stop = self._waiting.find("<", start)
            stop = len(self._waiting) if stop < 0 else stop
            self.on_text(self._waiting[start:stop], self._at + start)
            return stop
        limit = start + self._longest
        close = self._waiting.find(">", start + max(self._searched, 1), limit)
        if close < 0:
            if len(self._waiting) < limit and "<" not in self._waiting[start + max(self._searched, 1) :]:
                self._searched = len(self._waiting) - start
                return None
            return self._text_sign(start)
        self._searched = 0
        tag = self._waiting[start : close + 1]
        if not self._tags.fullmatch(tag):
            return self._text_sign(start)
        if tag not in self._dropped:
            self.on_tag(tag, self._at + start)
        return close + 1

    def _text_sign(self, start: int) -> int:
        self._searched = 0
        self.on_text("<", self._at + start)
        return start + 1

    # --- for dialects ---

    def on_text(self, text: str, at: int) -> None:
        """A piece of text at offset ``at``; a text may come in several."""
        raise NotImplementedError

    def on_tag(self, tag: str, at: int) -> None:
        """A whole tag at offset ``at``."""
        raise NotImplementedError

    def on_end(self, at: int) -> None:
        """The answer is over, after ``at`` characters."""
        raise NotImplementedError
