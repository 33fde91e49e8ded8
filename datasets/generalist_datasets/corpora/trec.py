"""TREC's layout: documents and topics in SGML, judgements (qrels) as ``QUERY 0 DOCUMENT GRADE`` lines.

Documents are ``<DOC>`` elements with a ``<DOCNO>``, topics ``<top>`` elements with ``<num>`` and ``<title>``; tags
in either case, closing tags of topics may be missing, as in TREC's own. It is SGML in name only, so elements are
found by their tags, and text between them may hold a bare ``&`` or ``<``.

Some collections (Cranfield's) number topics 1, 2, 4, 8 ... where their judgements count 1, 2, 3 ...: then a
query's id is its place in the file, and a warning says so. This is decided by the numbers alone: there are as many
topics as judged queries, those are 1 to n, and the topics' are not.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from generalist.types import GeneralistError
from generalist_datasets.corpora.base import CorpusFormat, Ids
from generalist_datasets.corpora.beir import read_relevance
from generalist_datasets.readers.json_stream import open_regular
from generalist_datasets.readers.lines import LONGEST, read_head, text_lines
from generalist_datasets.readers.pairs import walk
from generalist_datasets.records import Document, Judgement, Problems, Query, Where

Part: TypeAlias = Literal["documents", "topics", "qrels"]

_SUFFIXES = ("", ".xml", ".txt", ".trec", ".sgml", ".sgm", ".dat", ".topics", ".qrel", ".qrels")
_MOST_FILES = 10_000
_BEGINNING = re.compile(r"\s*(?:<\?[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<(?!doc\b|top\b)\w+>\s*)?<(doc|top)\b", re.I | re.S)
_QREL = re.compile(r"\S+[ \t]+\S+[ \t]+\S+[ \t]+-?\d+[ \t]*\r?(?:\n|$)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrecCorpus:
    """The files of a corpus by what they hold."""

    files: dict[Part, tuple[Path, ...]]

    def documents(self, problems: Problems) -> Iterator[Document]:
        ids = Ids()
        for file in self.files["documents"]:
            for where, text in _elements(file, "doc", problems):
                id = _field(text, "docno")
                if not id:
                    problems.error("missing field", where, "DOCNO")
                elif ids.add(id, where, problems):
                    yield Document(id=id, text=_body(text), title=_field(text, "title") or _field(text, "headline"))

    def queries(self, problems: Problems) -> Iterator[Query]:
        ids, by_place = Ids(), self._counts_by_place()
        for place, (where, topic) in enumerate(self._topics(problems), 1):
            if by_place and place == 1:
                problems.warn(
                    "topics numbered otherwise than judgements", where, "a query's id is its place in the file"
                )
            query = Query(id=str(place), text=topic.text) if by_place else topic
            if ids.add(query.id, where, problems):
                yield query

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        for file in self.files["qrels"]:
            for where, line in text_lines(file, problems):
                parts = line.split()
                if not parts:
                    continue
                if len(parts) != 4:
                    problems.error("line with the wrong number of values", where, f"{len(parts)} values; 4 are needed")
                elif (relevance := read_relevance(parts[3], where, problems)) is not None:
                    yield Judgement(query=parts[0], document=parts[2], relevance=relevance)

    def _topics(self, problems: Problems) -> Iterator[tuple[Where, Query]]:
        for file in self.files["topics"]:
            for where, text in _elements(file, "top", problems):
                id = re.sub(r"(?i)^number:\s*", "", _field(text, "num"))
                title = re.sub(r"(?i)^topic:\s*", "", _field(text, "title") or _field(text, "desc"))
                if id and title:
                    yield where, Query(id=id, text=title)
                else:
                    problems.error("missing field", where, "title" if id else "num")

    def _counts_by_place(self) -> bool:
        silent = Problems(strict=False, keep=0)
        topics = {query.id for _, query in self._topics(silent)}
        judged = {judgement.query for judgement in self.judgements(silent)}
        counted = {str(number) for number in range(1, len(topics) + 1)}
        return bool(topics) and judged == counted != topics


def _detect(path: Path) -> bool:
    found = _parts(path, most=40)
    return bool(found["documents"])


def _open(path: Path) -> TrecCorpus:
    files = _parts(path, most=_MOST_FILES)
    if not files["documents"]:
        raise GeneralistError(f"{path}: no file there begins with <DOC>; name the folder of the documents")
    return TrecCorpus(files=files)


FORMAT = CorpusFormat(
    name="trec", summary="<DOC> documents, <top> topics, qrels of four columns", detect=_detect, open=_open
)


# --- files --------------------------------------------------------------------------------------------


def _parts(path: Path, most: int) -> dict[Part, tuple[Path, ...]]:
    """The files of a folder, at most ``most`` of them, by what their beginnings show; a file and those beside it."""
    found: dict[Part, tuple[Path, ...]] = {"documents": (), "topics": (), "qrels": ()}
    if os.path.isfile(path):
        beside = _parts(path.parent, most) if part_of(path) == "documents" else found
        return {**beside, "documents": (path,)} if beside["documents"] else found
    count = 0
    for folder, names in walk(path, _SUFFIXES):
        for name in names:
            if (count := count + 1) > most:
                return found
            if part := part_of(folder / name):
                found[part] += (folder / name,)
    return found


def part_of(file: Path) -> Part | None:
    """What a file holds, by its beginning; None for what is not TREC's."""
    head = read_head(file, 4096)
    if beginning := _BEGINNING.match(head):
        return "documents" if beginning[1].lower() == "doc" else "topics"
    return "qrels" if _QREL.match(head) else None


def _elements(file: Path, tag: str, problems: Problems) -> Iterator[tuple[Where, str]]:
    """The insides of the elements called ``tag``; text of another encoding than UTF-8 is taken as Latin-1."""
    start, stop = (re.compile(rf"<{slash}{tag}\s*>".encode(), re.I) for slash in ("", "/"))
    number, data = 0, b""
    try:
        with open_regular(file) as stream:
            while chunk := stream.read(max(1 << 20, len(data))):
                data += chunk
                while (opening := start.search(data)) and (closing := stop.search(data, opening.end())):
                    where = Where(file=file, entry=f"{tag} {number + 1}")
                    yield where, _text(data[opening.end() : closing.start()], where, problems)
                    number, data = number + 1, data[closing.end() :]
                if len(data) > LONGEST:
                    where = Where(file=file, entry=f"{tag} {number + 1}")
                    problems.error("element without an end", where, f"nothing for {LONGEST >> 20} MiB")
                    return
    except OSError as error:
        problems.unreadable(file, error)
        return
    if start.search(data):
        problems.error("element without an end", Where(file=file, entry=f"{tag} {number + 1}"), f"no </{tag}>")


def _text(data: bytes, where: Where, problems: Problems) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        problems.warn("not UTF-8 text", where, "read as Latin-1")
        return data.decode("latin-1")


# --- the text of an element ---------------------------------------------------------------------------


def _field(text: str, tag: str) -> str:
    """What is in the first element called ``tag``, up to any next tag, on one line; "" without one."""
    found = re.search(rf"<{tag}\s*>(.*?)(?=</?[a-zA-Z]|$)", text, re.I | re.S)
    return " ".join(html.unescape(found[1]).split()) if found else ""


def _body(text: str) -> str:
    """The TEXT elements of a document, or all of it but its number where it has none; without tags."""
    bodies = re.findall(r"<text\s*>(.*?)</text\s*>", text, re.I | re.S)
    if not bodies:
        bodies = [re.sub(r"(?is)<(docno|docid)\s*>.*?</\1\s*>", " ", text)]
    return html.unescape(_TAG.sub(" ", "\n".join(bodies))).strip()
