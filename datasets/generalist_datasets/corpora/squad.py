"""SQuAD's json, version 1 or 2: every paragraph is a document, every question a query that it answers.

A document's id is ``FILE/ARTICLE/PARAGRAPH``, counted from 0. A question that its paragraph cannot answer
(version 2) is a query without answers and without a judgement.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.corpora.base import CorpusFormat, Ids
from generalist_datasets.readers.coco_layout import split_of
from generalist_datasets.readers.fields import as_id, as_object, show
from generalist_datasets.readers.json_stream import Defect, stream_entries
from generalist_datasets.readers.lines import JsonObject, is_object, read_head
from generalist_datasets.readers.pairs import files_in
from generalist_datasets.records import Document, Judgement, Problems, Query, Where

_MARKS = (re.compile(r'"data"\s*:\s*\['), re.compile(r'"(?:paragraphs|context|qas)"\s*:'))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paragraph:
    document: Document
    questions: list[object]
    where: Where


@dataclass(frozen=True, slots=True)
class SquadCorpus:
    """The corpus in ``files``. Of a question that occurs in several files, only the first is kept."""

    files: tuple[Path, ...]

    def documents(self, problems: Problems) -> Iterator[Document]:
        for file in self.files:
            for paragraph in _paragraphs(file, problems):
                yield paragraph.document

    def queries(self, problems: Problems) -> Iterator[Query]:
        ids = Ids()
        for file in self.files:
            for paragraph in _paragraphs(file, _silent()):  # documents() reports those
                for where, query, _ in _questions(paragraph, problems):
                    if ids.add(query.id, where, problems):
                        yield query

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        for file in self.files:
            split = split_of(file, file.parent)
            for paragraph in _paragraphs(file, _silent()):
                for _, query, possible in _questions(paragraph, _silent()):
                    if possible:
                        yield Judgement(query=query.id, document=paragraph.document.id, relevance=1, split=split)


def _silent() -> Problems:
    return Problems(strict=False, keep=0)


def _detect(path: Path) -> bool:
    return bool(_files(path))


def _open(path: Path) -> SquadCorpus:
    files = (path,) if os.path.isfile(path) else _files(path)
    if not files:
        raise GeneralistError(f"{path}: no SQuAD json there; name the file")
    return SquadCorpus(files)


FORMAT = CorpusFormat(name="squad", summary="SQuAD json, version 1 or 2", detect=_detect, open=_open)


def _files(path: Path) -> tuple[Path, ...]:
    candidates = [path / name for name in files_in(path, [".json"])[:64]] if os.path.isdir(path) else [path]
    return tuple(file for file in candidates if file.suffix == ".json" and _is_squad(read_head(file)))


def _is_squad(head: str) -> bool:
    return head.lstrip().startswith("{") and all(mark.search(head) for mark in _MARKS)


def _paragraphs(file: Path, problems: Problems) -> Iterator[_Paragraph]:
    """One article of the file is in memory at a time."""
    try:
        for article in stream_entries(file, ("data",)):
            where = Where(file=file, entry=f"data[{article.index}]")
            if is_object(article.value, where, problems):
                yield from _of_article(article.value, f"{file.stem}/{article.index}", where, problems)
    except Defect as defect:
        problems.error(defect.kind, Where(file=file), f"{defect}; nothing behind it is read")
    except OSError as error:
        problems.unreadable(file, error)


def _of_article(article: JsonObject, id: str, where: Where, problems: Problems) -> Iterator[_Paragraph]:
    title = article.get("title")
    try:
        paragraphs = _as_list(article.get("paragraphs"), "paragraphs")
    except Defect as defect:
        problems.error(defect.kind, where, str(defect))
        return
    for number, value in enumerate(paragraphs):
        place = Where(file=where.file, entry=f"{where.entry}.paragraphs[{number}]")
        try:
            entry = as_object(value)
            document = Document(
                id=f"{id}/{number}",
                text=_as_str(entry.get("context"), "context"),
                title=title.replace("_", " ") if isinstance(title, str) else "",
            )
            questions = _as_list(entry.get("qas", []), "qas")
        except Defect as defect:
            problems.error(defect.kind, place, str(defect))
        else:
            yield _Paragraph(document=document, questions=questions, where=place)


def _questions(paragraph: _Paragraph, problems: Problems) -> Iterator[tuple[Where, Query, bool]]:
    """Where a question is, the question, and whether its paragraph answers it."""
    for number, value in enumerate(paragraph.questions):
        where = Where(file=paragraph.where.file, entry=f"{paragraph.where.entry}.qas[{number}]")
        try:
            entry = as_object(value)
            possible = entry.get("is_impossible") is not True
            answers = [as_object(answer) for answer in _as_list(entry.get("answers", []), "answers")]
            texts = [_as_str(answer.get("text"), "text of an answer") for answer in answers]
            query = Query(
                id=str(as_id(entry.get("id"), "id")),
                text=_as_str(entry.get("question"), "question"),
                answers=tuple(dict.fromkeys(texts)) if possible else (),
            )
        except Defect as defect:
            problems.error(defect.kind, where, str(defect))
        else:
            yield where, query, possible


def _as_list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise Defect("missing field" if value is None else "wrong type", f"{what} is {show(value)}")
    return value


def _as_str(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Defect("missing field" if value is None else "wrong type", f"{what} is {show(value)}")
    return value
