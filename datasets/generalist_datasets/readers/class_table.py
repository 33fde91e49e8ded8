"""The names of label values, in the forms that data sets of label pictures come with."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from generalist_datasets.readers.pairs import read_text
from generalist_datasets.records import Problems, Where

FILES = (
    "classes.txt", "classes.json", "label_colors.txt", "labelmap.txt", "labels.txt", "class_names.txt",
    "class_dict.csv", "_classes.csv", "classes.csv",
)  # fmt: skip
VOID_NAMES = frozenset(
    ["void", "ignore", "ignored", "unlabelled", "unlabeled", "unknown", "background", "_background_"],
)

_MOST_BYTES, _MOST_CHARACTERS, _MOST_CLASSES = 1 << 20, 500, 100_000
_COLOUR_FIRST = re.compile(r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\S.*)")
_COLOUR_LAST = re.compile(r"([^:,;\t]*[^:,;\t\s])[\s:,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})(?:\s*[:;,].*)?")
_NUMBERED = re.compile(r"(\d{1,6})\s*(?:[,:;=]\s*|\s)(\S.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """``by_value``: names of stored numbers. ``by_colour``: names of colours, keyed R + 256 G + 65536 B."""

    by_value: dict[int, str] = field(default_factory=dict)
    by_colour: dict[int, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_value or self.by_colour)


def is_void(name: str) -> bool:
    """Whether a name means that nothing is labelled there."""
    return name.strip().lower() in VOID_NAMES


def find_class_table(folders: Iterable[Path], problems: Problems) -> ClassTable:
    """The first table among ``FILES`` in ``folders``; an empty one where there is none."""
    file = next((f / name for f in folders for name in FILES if os.path.isfile(f / name)), None)
    if file is None:
        return ClassTable()
    table = read_class_table(file, problems)
    for name in (*table.by_value.values(), *table.by_colour.values()):
        if not is_void(name):
            problems.declare(name, Where(file=file))
    return table


def read_class_table(file: Path, problems: Problems) -> ClassTable:
    """A table of class names. Reports lines that make no sense, and gives the rest.

    JSON: ``["sky", ...]``, ``{"0": "sky", ...}`` or ``[{"id": 0, "name": "sky", "color": [r, g, b]}, ...]``. Text, a
    class a line: ``sky``; ``0 sky``; ``128 128 128 sky``; ``sky 128 128 128``; ``sky:128,128,128::`` (CVAT). Lines
    without a number are numbered from 0 in their order. ``#`` begins a comment; a csv may have a heading.
    """
    text = read_text(file, problems, _MOST_BYTES)
    if text is None:
        return ClassTable()
    return _from_json(text, file, problems) if file.suffix.lower() == ".json" else _from_lines(text, file, problems)


def _from_lines(text: str, file: Path, problems: Problems) -> ClassTable:
    by_value: dict[int, str] = {}
    by_colour: dict[int, str] = {}
    colour: tuple[str, str, str] | None
    entries = 0  # lines that are classes: their order numbers them
    csv = file.suffix.lower() == ".csv"
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip()
        heading = csv and number == 1 and not any(c.isdigit() for c in words)
        if not words or words.startswith("#") or heading:
            continue
        if len(words) > _MOST_CHARACTERS or entries >= _MOST_CLASSES:
            problems.error("unknown class", Where(file=file, entry=f"line {number}"), "too long for a list of classes")
            break
        if match := _COLOUR_FIRST.fullmatch(words):
            name, colour = match[4], (match[1], match[2], match[3])
        elif match := _COLOUR_LAST.fullmatch(words):
            name, colour = match[1], (match[2], match[3], match[4])
        elif match := _NUMBERED.fullmatch(words):
            by_value[int(match[1])] = " ".join(match[2].split())
            continue
        else:
            name, colour = words, None
        name = " ".join(name.split())
        if colour:
            red, green, blue = map(int, colour)
            by_colour[red + 256 * green + 65536 * blue] = name
        by_value.setdefault(entries, name)
        entries += 1
    return ClassTable(by_value=by_value, by_colour=by_colour)


def _from_json(text: str, file: Path, problems: Problems) -> ClassTable:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.error("not valid JSON", Where(file=file), str(error)[:200])
        return ClassTable()
    pairs = loaded.items() if isinstance(loaded, dict) else enumerate(loaded) if isinstance(loaded, list) else ()
    if not pairs:
        problems.error("wrong type", Where(file=file), "use a list of names, or an object of number: name")
    by_value: dict[int, str] = {}
    by_colour: dict[int, str] = {}
    for key, value in pairs:
        entry = value if isinstance(value, dict) else {"name": value}
        name, number, colour = entry.get("name"), entry.get("id", key), entry.get("color")
        whole = re.fullmatch(r"[0-9]{1,9}", str(number)) if type(number) in (int, str) else None
        if not isinstance(name, str) or not name.strip() or whole is None:
            problems.error("wrong type", Where(file=file, entry=f"entry {str(key)[:40]!r}"), "use number: name")
            continue
        name = " ".join(name.encode("utf-8", "replace").decode().split())  # JSON may hold half surrogate pairs
        by_value[int(whole[0])] = name
        if isinstance(colour, list) and len(colour) >= 3 and all(type(c) is int and 0 <= c < 256 for c in colour[:3]):
            by_colour[colour[0] + 256 * colour[1] + 65536 * colour[2]] = name
    return ClassTable(by_value=by_value, by_colour=by_colour)
