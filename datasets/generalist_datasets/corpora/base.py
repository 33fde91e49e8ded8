"""What a corpus is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from generalist_datasets.records import Document, Judgement, Problems, Query, Where


class Corpus(Protocol):
    """Texts, questions to them, and which text answers which question.

    Each method reads its files from the start and streams; what is wrong goes to ``problems``. A corpus may have no
    queries and no judgements. Ids of documents are unique, and so are those of queries.
    """

    def documents(self, problems: Problems) -> Iterator[Document]: ...

    def queries(self, problems: Problems) -> Iterator[Query]: ...

    def judgements(self, problems: Problems) -> Iterator[Judgement]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFormat:
    """A format of corpora.

    ``detect(path)``: cheap, never raises, True only for this format. ``open(path)``: the corpus in a folder, or in
    the file that the user named; raises :class:`GeneralistError` when nothing of it is there.
    """

    name: str
    summary: str
    detect: Callable[[Path], bool]
    open: Callable[[Path], Corpus]


class Ids:
    """The ids that were given out."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def add(self, id: str, where: Where, problems: Problems) -> bool:
        """Whether ``id`` is new; reports it where it is not."""
        if id in self._seen:
            problems.error("duplicate id", where, repr(id[:100]))
            return False
        self._seen.add(id)
        return True
