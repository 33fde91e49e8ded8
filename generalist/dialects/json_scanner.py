"""JSON objects out of an answer that is still being written, among prose and with JSON's usual slips.

One pass, one character at a time, so that the work grows with the length of the answer alone. Mended in silence:
single quotes, bare words, missing and trailing commas, Python's True, False and None. Mended with an issue: a list or
an object that was not closed before what follows it. Dropped with an issue: an object that makes no sense, up to its
"}"; whatever the end cuts off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

MAX_DEPTH = 32
MAX_HELD = 100_000
"""Characters of brackets without a finding, after which they are taken for text."""

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_MISSING = object()


@dataclass(slots=True, kw_only=True)
class Found:
    """A closed object or list, with [start, stop) in characters of the answer. ``depth``: how many enclose it."""

    value: dict[str, Any] | list[Any]
    start: int
    stop: int
    depth: int
    in_object: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """Where the answer left JSON."""

    at: int
    expected: str
    got: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The outermost brackets are closed, or given up (``closed`` False): what stands in them is complete."""

    at: int
    closed: bool


Item: TypeAlias = Found | Slip | Left


@dataclass(slots=True, kw_only=True)
class _Frame:
    """An open object or list."""

    closer: str
    start: int
    pairs: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    key: Any = _MISSING  # of an object: what waits for its value
    colon: bool = False
    broken: bool = False


class JsonScanner:
    """Reads from the bracket that opens a value to the one that closes it; see :meth:`feed`."""

    def __init__(self) -> None:
        self._frames: list[_Frame] = []
        self._text: list[str] = []  # of the string or word under way
        self._quote = ""
        self._escape = ""  # "\\" or "\\uXXX" so far
        self._word_at = 0
        self._items: list[Item] = []

    @property
    def open(self) -> bool:
        """Whether a bracket waits to be closed."""
        return bool(self._frames)

    def feed(self, character: str, at: int) -> list[Item]:
        """Take the character at offset ``at``; the first one must be "{" or "[". What is known through it, in order."""
        self._items = []
        if self._quote:
            self._in_string(character, at)
        elif self._frames and self._frames[-1].broken:
            self._in_broken(character, at)
        elif character in '{}[]:,"' or character.isspace() or (character == "'" and not self._text):
            if self._text:
                self._end_word(at)
                if character == '"':  # in the middle of a word: some quote before it was not closed
                    self._break(self._frames[-1], at)
            if self._frames and self._frames[-1].broken:
                self._in_broken(character, at)
            else:
                self._sign(character, at)
        else:
            if not self._text:
                self._word_at = at
            self._text.append(character)
        return self._items

    def end(self, at: int) -> list[Item]:
        """The answer is over: what is open is dropped."""
        self._items = []
        if self._frames:
            closer = self._frames[-1].closer
            self._give_up(Slip(at=at, expected=f"{self._quote or closer}", got="the end"), at)
        return self._items

    # --- characters ---

    def _sign(self, character: str, at: int) -> None:
        if character in "{[":
            self._open(character, at)
        elif character in "}]":
            self._close(character, at)
        elif character in "\"'":
            self._quote, self._text, self._word_at = character, [], at
        elif character == ":":
            self._colon(at)

    def _in_string(self, character: str, at: int) -> None:
        if self._escape:
            self._in_escape(character)
        elif character == "\\":
            self._escape = character
        elif character == self._quote:
            text, self._text, self._quote = "".join(self._text), [], ""
            self._value(text, at)
        else:
            self._text.append(character)

    def _in_escape(self, character: str) -> None:
        if self._escape == "\\" and character != "u":
            self._text.append(_ESCAPES.get(character, character))
            self._escape = ""
            return
        self._escape += character
        if len(self._escape) == 6:
            digits = self._escape[2:]
            known = all(digit in "0123456789abcdefABCDEF" for digit in digits)
            code = int(digits, 16) if known else 0xFFFD
            self._text.append("\ufffd" if 0xD800 <= code < 0xE000 else chr(code))
            self._escape = ""

    def _in_broken(self, character: str, at: int) -> None:
        """Behind nonsense quotes mean nothing; go on where the object closes or the next one opens."""
        if character == self._frames[-1].closer:
            self._frames.pop()
            self._value(_MISSING, at)
            self._leave(at)
        elif character == "{" and len(self._frames) > 1 and self._frames[-2].closer == "]":
            self._frames.pop()
            self._open(character, at)

    def _end_word(self, at: int) -> None:
        word, self._text = "".join(self._text), []
        if word in _WORDS:
            self._value(_WORDS[word], at)
            return
        try:
            self._value(float(word) if len(word) <= 40 else word, at)
        except ValueError:
            self._value(word, at)

    # --- structure ---

    def _open(self, character: str, at: int) -> None:
        if len(self._frames) == MAX_DEPTH:
            self._give_up(Slip(at=at, expected=f"at most {MAX_DEPTH} brackets in one another", got=character), at)
            return
        self._frames.append(_Frame(closer="}" if character == "{" else "]", start=at))

    def _close(self, character: str, at: int) -> None:
        top = self._frames[-1]
        if character != top.closer:
            below = self._frames[-2] if len(self._frames) > 1 else None
            if below is None or below.closer != character:
                self._slip(at, top.closer, character)
                return
            self._slip(at, top.closer, character)
            self._pop(at)
        self._pop(at)
        self._leave(at)

    def _pop(self, at: int) -> None:
        """The innermost value is complete."""
        frame = self._frames.pop()
        value: dict[str, Any] | list[Any] = frame.pairs if frame.closer == "}" else frame.items
        inside = any(below.closer == "}" for below in self._frames)
        self._items.append(
            Found(value=value, start=frame.start, stop=at + 1, depth=len(self._frames), in_object=inside)
        )
        if self._frames:
            self._value(value, at)

    def _leave(self, at: int) -> None:
        if not self._frames:
            self._items.append(Left(at=at + 1, closed=True))

    def _value(self, value: Any, at: int) -> None:
        """A value, or a key, has come to its end."""
        if not self._frames:
            return
        frame = self._frames[-1]
        if frame.closer == "]":
            if value is not _MISSING:
                frame.items.append(value)
        elif frame.key is not _MISSING and frame.colon:
            if value is not _MISSING:
                frame.pairs.setdefault(frame.key, value)
            frame.key, frame.colon = _MISSING, False
        elif isinstance(value, str) and frame.key is _MISSING:
            frame.key = value
        else:
            self._break(frame, at)

    def _colon(self, at: int) -> None:
        frame = self._frames[-1]
        if frame.closer == "}" and frame.key is not _MISSING and not frame.colon:
            frame.colon = True
        elif self._is_unclosed_list(frame):
            self._slip(at, "]", ":")
            key = frame.items.pop()
            self._pop(at)
            self._frames[-1].key, self._frames[-1].colon = key, True
        else:
            self._break(frame, at)

    def _is_unclosed_list(self, frame: _Frame) -> bool:
        """``{"box": [1, 2, 3, 4, "label": ...`` lacks a "]"."""
        last_is_text = frame.closer == "]" and bool(frame.items) and isinstance(frame.items[-1], str)
        return last_is_text and len(self._frames) > 1 and self._frames[-2].closer == "}"

    def _break(self, frame: _Frame, at: int) -> None:
        self._slip(at, f"a pair, or {frame.closer}" if frame.closer == "}" else "a value, or ]", "something else")
        frame.broken = frame.closer == "}"

    def _give_up(self, slip: Slip, at: int) -> None:
        self._items += [slip, Left(at=at, closed=False)]
        self._frames, self._text, self._quote, self._escape = [], [], "", ""

    def _slip(self, at: int, expected: str, got: str) -> None:
        self._items.append(Slip(at=at, expected=expected, got=got))
