"""Text files of many entries, one at a time: lines, JSON lines, the rows of a CSV table.

Any bytes will do: an entry that cannot be read is reported, and the next one is tried. Memory is bounded by
``LONGEST``, whatever the file's size.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeGuard

from generalist_datasets.readers.fields import show
from generalist_datasets.readers.json_stream import open_regular
from generalist_datasets.records import Problems, Where

LONGEST = 32 * 2**20
"""Bytes of a line; a conversation may hold whole pictures as base64."""

_DELIMITERS = ",;\t|"

JsonObject: TypeAlias = dict[str, Any]


def read_head(file: Path, size: int = 65536) -> str:
    """The first ``size`` bytes as text, for telling a format; "" for what is not a readable file. Never raises."""
    try:
        with open_regular(file) as stream:
            return stream.read(size).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return ""


def text_lines(file: Path, problems: Problems) -> Iterator[tuple[Where, str]]:
    """Every line without its end, with its place ("line 12", from 1); blank ones too."""
    stream = _open(file, problems)
    if stream is None:
        return
    with stream:
        for number, line in enumerate(_raw_lines(stream), 1):
            where = Where(file=file, entry=f"line {number}")
            if line is None:
                problems.error("line too long", where, f"more than {LONGEST // 2**20} MiB")
                continue
            if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                problems.error("not UTF-8 text", where, "this is UTF-16; save it as UTF-8")
                return
            try:
                yield where, line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                problems.error("not UTF-8 text", where, f"byte {error.start + 1} of the line")


def json_lines(file: Path, problems: Problems) -> Iterator[tuple[Where, JsonObject]]:
    """The objects of a JSON lines file."""
    for where, line in text_lines(file, problems):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.error("not valid JSON", where, _reason(error))
            continue
        if is_object(value, where, problems):
            yield where, value


def csv_rows(file: Path, problems: Problems) -> Iterator[tuple[Where, dict[str, str]]]:
    """The rows of a CSV file with a header, by column. The delimiter is what the header has most of: , ; tab or |."""
    lines = text_lines(file, problems)
    header = next(lines, None)
    if header is None:
        return
    fed: list[Where] = []  # the lines of the row at hand: quoted text may hold line ends

    def feed() -> Iterator[str]:
        for where, line in itertools.chain([header], lines):
            fed.append(where)
            yield line + "\n"

    rows = csv.reader(feed(), delimiter=max(_DELIMITERS, key=header[1].count), skipinitialspace=True)
    columns: list[str] | None = None
    while True:
        fed.clear()
        try:
            row = next(rows, None)
        except csv.Error as error:
            problems.error("not valid CSV", fed[0], str(error))
            continue
        if row is None:
            return
        if not any(row):
            continue
        if columns is None:
            columns = [name.strip() for name in row]
        elif len(row) != len(columns):
            detail = f"{len(row)} values for {len(columns)} columns"
            problems.error("line with the wrong number of values", fed[0], detail)
        else:
            yield fed[0], dict(zip(columns, row, strict=True))


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error).partition(";")[0][:100]


def is_object(value: object, where: Where, problems: Problems) -> TypeGuard[JsonObject]:
    """Whether an entry is a JSON object whose text can be written to a file again; reports it where it is not."""
    if not isinstance(value, dict):
        problems.error("wrong type", where, f"expected an object, found {show(value)}")
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # "\\ud800" in JSON
        problems.error("not UTF-8 text", where, "half of a surrogate pair")
        return False
    except RecursionError:
        problems.error("not valid JSON", where, "nested too deeply")
        return False
    return True


def _open(file: Path, problems: Problems) -> BinaryIO | None:
    try:
        return open_regular(file)
    except (OSError, ValueError) as error:
        problems.unreadable(file, error)
        return None


def _raw_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines with their ends; None for one that is longer than LONGEST."""
    while line := stream.readline(LONGEST + 1):
        if len(line) <= LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST)
        yield None
