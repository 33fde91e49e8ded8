"""An XML file as a tree, when nothing in it can grow."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from generalist_datasets.records import Problems, Where

_MOST_BYTES = 8 << 20
_DEEPEST = 100


def read_xml(file: Path, problems: Problems) -> Element | None:
    """The root; None, and an error, for what is not XML, declares a document type (and so entities), or is huge."""
    where = Where(file=file)
    try:
        if not os.path.isfile(file):
            raise OSError("not a file")
        with open(file, "rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise OSError(f"more than {_MOST_BYTES:,} bytes")
    except OSError as error:
        problems.error("unreadable file", where, str(error)[:200])
        return None
    try:
        return _parse(data)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding nobody knows
        problems.error("not valid XML", where, str(error)[:200])
        return None


def _parse(data: bytes) -> Element:
    tree = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"elements nested more than {_DEEPEST} deep")
        tree.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        tree.end(tag)

    def refuse(*_: object) -> None:
        raise ValueError("document types (<!DOCTYPE) and entities are not read")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, tree.data
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(data, True)
    return tree.close()
