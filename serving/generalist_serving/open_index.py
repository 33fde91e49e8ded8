"""One index of a server: opened at its start, read anew when it has changed, with the models that search it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from generalist.documents import MODES, Collection, Hit, Searcher, SearchOptions
from generalist.documents.asking import Question
from generalist.documents.bases import BaseModel, check_base, load_base
from generalist.documents.beam import BeamOptions, Search
from generalist.documents.fusion import fuse
from generalist.documents.models import Floats
from generalist.documents.naming import DocumentIndex
from generalist.documents.network import load_network
from generalist.documents.opening import Models
from generalist.documents.reranking import QuestionReader, rerank
from generalist.identifiers import TITLES
from generalist.index import MANIFEST
from generalist.index.automaton import TextAutomaton
from generalist.index.store import Base, Part
from generalist.types import GeneralistError

log = logging.getLogger("generalist_serving")

T = TypeVar("T")

LEXICAL = "lexical"
"""The mode that needs no model."""
DENSE = "dense"
"""The mode that needs vectors."""
DEFAULT = "hybrid"
_FUSED_DEPTH = 50
"""Of each ranking, where several questions make one."""
_TRIES = 3


class Stamp(NamedTuple):
    """Of an index's manifest, which every change replaces; zeros where there is none."""

    inode: int = 0
    changed_ns: int = 0


class OpenIndex:
    """One index with its models, which are loaded when a search first needs them.

    Raises :class:`GeneralistError` for what is no sound index. An index whose base is not on this machine can be
    searched by words.
    """

    def __init__(self, name: str, folder: Path, device: str) -> None:
        self.name, self.folder = name, folder
        self._device = device
        self._changing, self._asking = threading.Lock(), threading.Lock()
        self.base: BaseModel | None = None
        self._naming: DocumentIndex | None = None
        self._reader: QuestionReader | None = None
        self._learnt: tuple[Base, Part | None, Part | None] | None = None
        self._stamp, self._searcher = self._open()

    @property
    def modes(self) -> tuple[str, ...]:
        """How it can be searched, the default first."""
        if self.base is None:
            return (LEXICAL,)
        without = (DEFAULT,) if self.dense else (DEFAULT, DENSE)
        return (DEFAULT, *(mode for mode in MODES if mode not in without))

    @property
    def dense(self) -> bool:
        """Whether it has vectors, and a model for those of questions; as of the last search."""
        return self.base is not None and self._searcher.dense

    @property
    def sees_images(self) -> bool:
        """Whether a question may be about an image."""
        return self.base is not None and self.base.vocabulary is not None

    @property
    def naming(self) -> DocumentIndex | None:
        """For replies that name its documents (``ChatRequest.index``); None where they cannot."""
        try:
            return self._naming if self._naming is not None and self._naming.identifiers else None
        except GeneralistError as error:  # it was changed
            log.error("%s: replies cannot name its documents any more (%s)", self.name, error)
            return None

    @property
    def has_titles(self) -> bool:
        """Whether its documents go by titles of their own."""
        naming = self.naming
        return naming is not None and naming.identifiers.endswith(TITLES)

    @property
    def searcher(self) -> Searcher:
        """Of the index as it is now; of what it was, if it cannot be read any more."""
        with self._changing:
            stamp = _stamp(self.folder)
            if self._stamp != stamp:
                try:
                    self._stamp, self._searcher = self._open()
                except GeneralistError as error:
                    self._stamp = stamp
                    log.error("%s: the index was changed and cannot be opened (%s)", self.name, error)
            return self._searcher

    @property
    def changed_at(self) -> int:
        """Seconds since 1970."""
        return self._stamp.changed_ns // 1_000_000_000

    def search(self, questions: Sequence[Question], options: SearchOptions) -> list[Hit]:
        """The hits of all questions together, ranked by their ranks in each where there are several.

        Raises :class:`GeneralistError` for what the index cannot be asked.
        """
        if options.mode not in self.modes:
            raise GeneralistError(f"{self.name} has no mode {options.mode!r}; use one of {', '.join(self.modes)}")
        if options.mode == LEXICAL and any(question.images for question in questions):
            raise GeneralistError("mode 'lexical' looks at words alone; leave the image out, or use 'generative'")
        deep = options if len(questions) == 1 else replace(options, most=max(options.most, _FUSED_DEPTH))
        try:
            rankings = self.searcher.search(questions, deep)
        except GeneralistError as error:  # where it lies on this machine is nobody's business
            raise GeneralistError(str(error).replace(str(self.folder), self.name)) from error
        if len(rankings) == 1:
            return rankings[0]
        hits = {(hit.document_id, hit.text): hit for ranking in reversed(rankings) for hit in ranking}
        fused = fuse([[(hit.document_id, hit.text) for hit in ranking] for ranking in rankings])
        return [replace(hits[key], score=score) for key, score in fused[: options.most]]

    def rerank(self, question: str, texts: Sequence[str], mode: str) -> list[tuple[int, float]]:
        """See :func:`~generalist.documents.reranking.rerank`; by the index's base, if that is a language model."""
        if self.base is None or self.base.vocabulary is not None:
            return rerank(question, texts, mode)
        with self._asking:
            return rerank(question, texts, mode, self._question_reader)

    def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """Vectors [n, d] of texts, and how many tokens these have; for an index that is :attr:`dense`.

        Raises :class:`GeneralistError` for a text that cannot be embedded.
        """
        with self._asking:
            encoder = self.searcher.encoder
            return encoder.embed(texts), sum(map(encoder.count, texts))

    def _question_reader(self) -> QuestionReader:
        if self._reader is None:
            assert self.base is not None
            base = self.base
            self._reader = QuestionReader(self._loaded(lambda: load_network(base, self._device)))
        return self._reader

    def _open(self) -> tuple[Stamp, Searcher]:
        """What it was read from, and a searcher; all that a search reads of it is opened here."""
        for tries_left in reversed(range(_TRIES)):
            stamp = _stamp(self.folder)
            try:
                return stamp, self._make_searcher()
            except GeneralistError:
                if not tries_left or stamp == _stamp(self.folder):  # else it was changed meanwhile
                    raise
        raise AssertionError("the last try returns or raises")

    def _make_searcher(self) -> Searcher:
        collection = Collection.open(self.folder)
        manifest = collection.index.manifest
        learnt = manifest.base, manifest.generator, manifest.encoder
        if learnt != self._learnt:
            base = self._base_of(manifest.base)
            chats = base is not None and base.vocabulary is not None
            self._naming = DocumentIndex.open(self.folder) if chats else None
            self._models, self.base, self._reader = Models(collection.index, device=self._device), base, None
            self._learnt = learnt
        models = self._models

        def ask(automaton: TextAutomaton, questions: Sequence[Question], options: BeamOptions) -> list[Search]:
            with self._asking:  # one after the other: each takes all of the machine
                self._loaded(models.generator)
                return models.write(automaton, questions, options)

        searcher = Searcher(collection, ask, lambda: self._loaded(models.encoder))
        _ = searcher.words, searcher.collection.tokenizer, searcher.dense and searcher.vectors
        return searcher

    def _base_of(self, expected: Base) -> BaseModel | None:
        """The model that an index is in the tokens of, as far as it need not be loaded; None where it is not here."""
        try:
            base = load_base(expected.name)
            check_base(base, expected, self.folder)
            return base
        except GeneralistError as error:
            log.warning("%s: searched by words alone (%s)", self.name, error)
            return None

    def _loaded(self, load: Callable[[], T]) -> T:
        """A model; RuntimeError when it cannot be loaded, which is no mistake of whoever asks."""
        try:
            return load()
        except GeneralistError as error:
            raise RuntimeError(f"{self.name}: {error}") from error


def _stamp(folder: Path) -> Stamp:
    try:
        found = (folder / MANIFEST).stat()
    except OSError:
        return Stamp()
    return Stamp(found.st_ino, found.st_mtime_ns)
