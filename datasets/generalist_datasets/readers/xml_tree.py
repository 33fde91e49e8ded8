"""An XML file as a tree, when nothing in it can grow."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from generalist_datasets.readers.pairs import read_bytes
from generalist_datasets.records import Problems, Where

_MOST_BYTES = 8 << 20
_DEEPEST = 100


def read_xml(file: Path, problems: Problems) -> Element | None:
    """The root; None, and an error, for what is not XML, declares a document type (and so entities), or is huge."""
    data = read_bytes(file, problems, _MOST_BYTES)
    try:
        return None if data is None else _parse(data)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding nobody knows
        problems.error("not valid XML", Where(file=file), str(error)[:200])
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
