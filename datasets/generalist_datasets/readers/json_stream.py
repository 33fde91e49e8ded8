"""JSON files of any size in bounded memory: one pass over the entries of their top-level lists.

An entry is given with its place in the file, so that a reader may keep the place (two numbers) instead of the
entry, and read it again with :func:`read_entry` in whatever order it likes. (ijson gives no places, needs a pass
for each list, and refuses the NaN that Python's own writer makes.)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LARGEST_ENTRY = 16 << 20
"""Bytes of one entry of a list: about 350 MiB as Python values, at worst."""

SNIFF_BYTES = 1 << 16
_CHUNK = 1 << 20
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_BOM = b"\xef\xbb\xbf"
_NUMBER_TAIL = 4  # "1.5e-" decodes as 1.5 when the text is cut there


class Defect(ValueError):
    """Why a file or an entry cannot be used; ``kind`` as in :class:`generalist_datasets.records.Problem`."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Entry:
    """``value`` is number ``index`` of the top-level list ``key``, bytes ``start`` to ``stop`` of the file."""

    key: str
    index: int
    start: int
    stop: int
    value: object


def stream_entries(path: Path, keys: Collection[str]) -> Iterator[Entry]:
    """Every entry of the lists ``keys`` of the JSON object in ``path``, in the order of the file.

    The key "" stands for the file itself where that is one list. Raises OSError, and :class:`Defect` with the
    line and byte where the text stops being JSON; by then the entries before it have been given.
    """
    with open_regular(path) as file:
        text = _Text(file)
        first = text.peek()
        if first == "[" and "" in keys:
            yield from text.items("")
        elif first == "{" and set(keys) != {""}:
            for key in text.members():
                opening = text.peek()
                if key in keys and opening not in ("[", ""):
                    raise text.bad(f'"{key}" should be a list', kind="wrong type")
                if key in keys:
                    yield from text.items(key)
                else:
                    text.skip(opening)
        else:
            wanted = "a list" if keys == ("",) else "an object"
            raise text.bad(
                f"the file should be {wanted}", kind="wrong type" if first in ("[", '"') else "not valid JSON"
            )
        if text.peek():
            raise text.bad("more text after the end")


def read_entry(file: BinaryIO, start: int, stop: int) -> object:
    """Bytes ``start`` to ``stop`` of an open file, as JSON; :class:`Defect` when they are not."""
    file.seek(start)
    return parse_json(file.read(stop - start))


def parse_json(data: bytes) -> object:
    """A whole JSON text of moderate size, UTF-8; every way in which it may be wrong is a :class:`Defect`."""
    try:
        return json.loads(data.removeprefix(_BOM).decode())
    except RecursionError:
        raise Defect("not valid JSON", "nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of more than 4300 digits
        raise Defect("not valid JSON", str(error)) from None


def open_regular(path: Path) -> BinaryIO:
    """Opens a file for reading bytes; OSError for anything but a regular file (a pipe would wait for ever)."""
    if not os.path.isfile(path):
        raise OSError("not a file" if os.path.exists(path) else "no such file")
    return open(path, "rb")


def sniff(path: Path) -> str:
    """The first and the last 64 KiB of a JSON file, enough to tell formats apart; "" for what is not one."""
    if not str(path).lower().endswith(".json"):
        return ""
    try:
        with open_regular(path) as file:
            head = file.read(SNIFF_BYTES)
            rest = os.fstat(file.fileno()).st_size - len(head)
            if rest > 0:
                file.seek(-min(rest, SNIFF_BYTES), os.SEEK_END)
                head += file.read(SNIFF_BYTES)
    except OSError:
        return ""
    return head.removeprefix(_BOM).decode("latin-1").lstrip()


class _Text:
    """A window that moves over a file of JSON.

    The window holds one character a byte (Latin-1), so that positions in it are positions in the file. All of
    JSON's own marks are ASCII, so the structure reads the same; strings are decoded properly in ``value``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.window = file.read(_CHUNK).decode("latin-1")
        self.at = len(_BOM) if self.window.startswith(_BOM.decode("latin-1")) else 0
        self.start = 0  # position in the file of window[0]
        self.lines = 0  # line ends before it

    def bad(self, detail: str, at: int | None = None, kind: str = "not valid JSON") -> Defect:
        at = self.at if at is None else at
        line = self.lines + self.window.count("\n", 0, at) + 1
        return Defect(kind, f"line {line}, byte {self.start + at}: {detail}")

    def more(self) -> bool:
        """Drops what has been read and takes in more of the file; False at its end."""
        left = len(self.window) - self.at
        if left > LARGEST_ENTRY:
            raise self.bad(f"an entry of more than {LARGEST_ENTRY >> 20} MiB")
        new = self.file.read(max(_CHUNK, left))  # doubling keeps repeated decoding linear
        if not new:
            return False
        self.lines += self.window.count("\n", 0, self.at)
        self.start += self.at
        self.window, self.at = self.window[self.at :] + new.decode("latin-1"), 0
        return True

    def peek(self) -> str:
        """The next character that is not white space, "" at the end; it is not consumed."""
        while True:
            space = _SPACE.match(self.window, self.at)
            assert space  # it matches the empty text too
            self.at = space.end()
            if self.at < len(self.window):
                return self.window[self.at]
            if not self.more():
                return ""

    def take(self, wanted: str) -> str:
        """Consumes the next character, which must be one of ``wanted``."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.bad(f"expected {' or '.join(wanted)}" + ("" if found else ", but the file ends"))
        self.at += 1
        return found

    def value(self) -> tuple[object, int, int]:
        """The value that comes next, whatever it is, and its place in the file."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.window, self.at)
            except RecursionError:
                raise self.bad("nested too deeply") from None
            except json.JSONDecodeError as error:
                if self.more():
                    continue
                raise self.bad(error.msg, error.pos) from None
            except ValueError:
                raise self.bad("a number of more than 4300 digits") from None
            if end + _NUMBER_TAIL <= len(self.window) or not self.more():
                break
        text = self.window[self.at : end]
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1").decode("utf-8"))
            except UnicodeDecodeError as error:
                raise self.bad("text that is not UTF-8", self.at + error.start) from None
        start, self.at = self.start + self.at, end
        return value, start, self.start + end

    def items(self, key: str) -> Iterator[Entry]:
        self.take("[")
        if self.peek() == "]":
            self.at += 1
            return
        index = 0
        while True:
            value, start, stop = self.value()
            yield Entry(key, index, start, stop, value)
            index += 1
            if self.take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The keys of an object; the caller consumes each value before the next key."""
        self.take("{")
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            if self.peek() != '"':
                raise self.bad('expected "')
            key = self.value()[0]
            self.take(":")
            yield str(key)
            if self.take(",}") == "}":
                return

    def skip(self, opening: str) -> None:
        """Passes over a value. What it holds may be larger than memory where it is a list or an object."""
        if opening == "[":
            for _ in self.items(""):
                pass
        elif opening == "{":
            for _ in self.members():
                self.value()
        else:
            self.value()
