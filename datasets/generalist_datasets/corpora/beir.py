"""BEIR's layout: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``; only the corpus must be there.

Lines are ``{"_id": ..., "title": ..., "text": ...}``, ``{"_id": ..., "text": ...}`` and, below a header,
``query-id TAB corpus-id TAB score``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.corpora.base import CorpusFormat, Ids
from generalist_datasets.readers.fields import show
from generalist_datasets.readers.lines import JsonObject, json_lines, read_head, text_lines
from generalist_datasets.records import Document, Judgement, Problems, Query, Where

_ENTRY = re.compile(r'\s*\{[^\n]*"_id"\s*:')


@dataclass(frozen=True, slots=True)
class BeirCorpus:
    """The corpus in ``folder``."""

    folder: Path

    def documents(self, problems: Problems) -> Iterator[Document]:
        for _, id, entry in _entries(self.folder / "corpus.jsonl", problems):
            title = entry.get("title")
            yield Document(id=id, text=entry["text"], title=title if isinstance(title, str) else "")

    def queries(self, problems: Problems) -> Iterator[Query]:
        file = self.folder / "queries.jsonl"
        if os.path.lexists(file):
            for _, id, entry in _entries(file, problems):
                yield Query(id=id, text=entry["text"])

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        folder = self.folder / "qrels"
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for name in names:
            if name.endswith(".tsv"):
                yield from _read_tsv(folder / name, problems)


def _detect(path: Path) -> bool:
    file = path / "corpus.jsonl" if os.path.isdir(path) else path
    return file.name == "corpus.jsonl" and _ENTRY.match(read_head(file)) is not None


def _open(path: Path) -> BeirCorpus:
    folder = path if os.path.isdir(path) else path.parent
    if not os.path.isfile(folder / "corpus.jsonl"):
        raise GeneralistError(f"{folder}: no corpus.jsonl there; BEIR's layout needs one")
    return BeirCorpus(folder)


FORMAT = CorpusFormat(name="beir", summary="corpus.jsonl, queries.jsonl, qrels/*.tsv", detect=_detect, open=_open)


def _entries(file: Path, problems: Problems) -> Iterator[tuple[Where, str, JsonObject]]:
    """Objects with an id of their own and a text."""
    ids = Ids()
    for where, entry in json_lines(file, problems):
        id = entry.get("_id")
        if type(id) is int:
            id = show(id)
        if not isinstance(id, str) or not id:
            problems.error("missing field" if id in (None, "") else "wrong type", where, f"_id is {show(id)}")
        elif not isinstance(entry.get("text"), str):
            kind = "wrong type" if "text" in entry else "missing field"
            problems.error(kind, where, f"text is {show(entry.get('text'))}")
        elif ids.add(id, where, problems):
            yield where, id, entry


def _read_tsv(file: Path, problems: Problems) -> Iterator[Judgement]:
    for number, (where, line) in enumerate(text_lines(file, problems)):
        parts = line.split("\t")
        if not line.strip() or (number == 0 and parts[-1] == "score"):
            continue
        if len(parts) != 3:
            problems.error("line with the wrong number of values", where, f"{len(parts)} values; 3 are needed")
            continue
        query, document, score = (part.strip() for part in parts)
        if (relevance := read_relevance(score, where, problems)) is not None:
            yield Judgement(query=query, document=document, relevance=relevance, split=file.stem)


def read_relevance(text: str, where: Where, problems: Problems) -> int | None:
    """A grade, perhaps negative; None, and an error, for what is none."""
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        return int(text)
    problems.error("not a number", where, f"relevance is {show(text)}")
    return None
