"""Making and changing indexes. Whatever happens on the way, the index in the folder stays what it was until the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from generalist.documents.bases import TOKENIZER, load_base, load_tokenizer
from generalist.documents.collection import Collection
from generalist.documents.opening import Models
from generalist.documents.sentences import passages
from generalist.documents.vectors import Vectors
from generalist.documents.words import Words
from generalist.index.segment import (
    DOCUMENT,
    PASSAGE,
    SENTENCE,
    Segment,
    Stream,
    make_segment,
    merge,
    token_type,
    without_documents,
)
from generalist.index.store import Index, Manifest, Part, open_index
from generalist.index.writer import Writer, writing
from generalist.types import GeneralistError
from generalist_datasets.records import Document

Progress = Callable[[int], object]
"""Told how many documents have been read."""

MOST_SEGMENTS = 8
"""With more, all become one: every step of a search looks into each of them."""
_BATCH = 512


def build_index(
    documents: Iterable[Document],
    folder: str | Path,
    *,
    base: str | Path = "nano",
    progress: Progress = lambda count: None,
) -> Index:
    """Make an index in a new folder, or in place of the one that is there.

    Args:
        documents: with ids of their own.
        folder: where.
        base: whose tokens the text is kept in: a shipped model, or the folder of a causal language model.
        progress: called as documents are read.

    Raises:
        GeneralistError: no or unfit documents, an unknown base, a folder that holds something else.
    """
    model = load_base(base)
    with writing(folder, new=True) as writer:
        texts: list[str] = []
        stream = _stream(documents, model.tokenizer, model.base.vocabulary_size, texts, progress)
        segment = make_segment(stream, model.base.vocabulary_size)
        tokenizer = writer.add("tokenizer", lambda place: model.tokenizer.save(str(place / TOKENIZER)))
        manifest = Manifest(base=model.base, tokenizer=tokenizer, segments=(writer.add_segment(segment),))
        _commit(writer, manifest, texts)
    return open_index(folder)


def add_documents(
    folder: str | Path, documents: Iterable[Document], *, progress: Progress = lambda count: None
) -> Index:
    """Add documents to an index; one whose id is there already takes that one's place.

    Raises :class:`GeneralistError` as :func:`build_index` does.
    """
    open_index(folder)
    with writing(folder) as writer:
        index = open_index(folder)
        size = index.base.vocabulary_size
        tokenizer = load_tokenizer(index.folder / index.manifest.tokenizer.folder)
        texts: list[str] = []
        new = make_segment(_stream(documents, tokenizer, size, texts, progress), size)
        kept = _without(writer, index, set(new.ids))
        vectors = _vectors(writer, index, kept, new)
        texts = [*_texts(index, kept), *texts]
        if len(kept) >= MOST_SEGMENTS:
            kept, new = [], merge([*(segment for _, segment in kept), new])
        parts = (*(part for part, _ in kept), writer.add_segment(new))
        _commit(writer, replace(index.manifest, segments=parts, vectors=vectors), texts)
    return open_index(folder)


def delete_documents(folder: str | Path, ids: Sequence[str]) -> Index:
    """Take documents out of an index; :class:`GeneralistError` for an id that it does not have."""
    open_index(folder)
    with writing(folder) as writer:
        index = open_index(folder)
        there = {id for segment in index.segments for id in segment.ids}
        missing = next((id for id in ids if id not in there), None)
        if missing is not None:
            raise GeneralistError(f"{folder}: there is no document {missing[:200]!r}; nothing was deleted")
        if len(there) == len(set(ids)):
            raise GeneralistError(f"{folder}: these are all {len(there)} documents; delete the folder instead")
        kept = _without(writer, index, set(ids))
        parts = tuple(part for part, _ in kept)
        manifest = replace(index.manifest, segments=parts, vectors=_vectors(writer, index, kept))
        _commit(writer, manifest, _texts(index, kept))
    return open_index(folder)


def set_trust(folder: str | Path, trust: float, dense_trust: float = 0.0) -> Index:
    """Say how much identifiers and vectors count beside words in this index; see ``evaluation.fit_trust``."""
    for one in (trust, dense_trust):
        if not 0 <= one < float("inf"):
            raise GeneralistError(f"the trust is {one}; use 0 or more")
    open_index(folder)
    with writing(folder) as writer:
        writer.commit(replace(open_index(folder).manifest, trust=trust, dense_trust=dense_trust))
    return open_index(folder)


def _without(writer: Writer, index: Index, ids: set[str]) -> list[tuple[Part, Segment]]:
    """The segments of an index without some documents, rewritten where they had any of them."""
    found: list[tuple[Part, Segment]] = []
    for part, segment in zip(index.manifest.segments, index.segments, strict=True):
        numbers = [number for number, id in enumerate(segment.ids) if id in ids]
        rest = without_documents(segment, numbers) if numbers else segment
        if rest is not None:
            found.append((writer.add_segment(rest) if numbers else part, rest))
    return found


def _vectors(
    writer: Writer, index: Index, kept: Sequence[tuple[Part, Segment]], new: Segment | None = None
) -> Part | None:
    """The vectors of what stays and what is new, where the index has any."""
    if index.manifest.vectors is None:
        return None
    vectors = Vectors.open(index.folder / index.manifest.vectors.folder)
    numbers = {id: number for number, id in enumerate(id for segment in index.segments for id in segment.ids)}
    if len(numbers) != vectors.documents:
        raise GeneralistError(f"{index.folder}: the index is damaged (vectors are missing); build it anew")
    rows = []
    if new is not None:
        encoder = Models(index).encoder()
        rows = list(encoder.embed_documents(Collection(index=replace(index, segments=(new,))).texts()))
    changed = vectors.changed([numbers[id] for _, segment in kept for id in segment.ids], rows)
    return writer.add("vectors", changed.save)


def _texts(index: Index, kept: Sequence[tuple[Part, Segment]]) -> Iterator[str]:
    """What the documents of some segments say."""
    collection = Collection(index=replace(index, segments=tuple(segment for _, segment in kept)))
    return (_words_of(title, text) for title, text in collection.texts())


def _commit(writer: Writer, manifest: Manifest, texts: Iterable[str]) -> None:
    """Make the index of words anew, as how rare a word is depends on all documents; then let everything count."""
    words = writer.add("words", lambda folder: Words.build(texts, folder))
    writer.commit(replace(manifest, words=words))


def _words_of(title: str, text: str) -> str:
    return f"{title}\n{text}"


# --- from documents to tokens --------------------------------------------------------------------------


def _stream(
    documents: Iterable[Document], tokenizer: Tokenizer, vocabulary_size: int, texts: list[str], progress: Progress
) -> Stream:
    """Documents as tokens and marks; what they say goes to ``texts``."""
    kind = token_type(vocabulary_size)
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    ids: dict[str, None] = {}
    rest = iter(documents)
    while batch := list(islice(rest, _BATCH)):
        for document in batch:
            _check(document, ids)
            ids[document.id] = None
            texts.append(_words_of(document.title, document.text))
        for tokens in _tokens(batch, tokenizer, vocabulary_size):
            parts.append(np.asarray(tokens, kind))
            lengths.append(len(tokens))
        progress(len(ids))
    return Stream(
        tokens=np.concatenate(parts) if parts else np.empty(0, kind),
        starts=np.cumsum([0, *lengths], dtype=np.int64)[:-1],
        ids=tuple(ids),
    )


def _check(document: Document, ids: dict[str, None]) -> None:
    if not document.id or document.id in ids:
        why = "is there twice" if document.id else "is empty"
        raise GeneralistError(f"the document id {document.id[:200]!r} {why}; give every document one of its own")
    try:
        f"{document.id}{document.title}{document.text}".encode()
    except UnicodeEncodeError as error:
        raise GeneralistError(
            f"document {document.id[:200]!r} holds {error.object[error.start]!r}, which is not Unicode text; remove it"
        ) from error


def _tokens(batch: Sequence[Document], tokenizer: Tokenizer, vocabulary_size: int) -> Iterator[list[int]]:
    """The stream of each document."""
    marks: list[int] = []
    texts: list[str] = []
    for document in batch:
        marks.append(vocabulary_size + DOCUMENT)
        texts.append(" ".join(document.title.split()))
        for passage in passages(document.text) or [[""]]:
            marks += [vocabulary_size + PASSAGE, *[vocabulary_size + SENTENCE] * (len(passage) - 1)]
            # Behind a space, as within running text, so that a word is written alike wherever it stands.
            texts += [f" {sentence}" if sentence else "" for sentence in passage]
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    current: list[int] = []
    for mark, sentence in zip(marks, encoded, strict=True):
        if mark == vocabulary_size + DOCUMENT and current:
            yield current
            current = []
        current.append(mark)
        current += sentence.ids
    if current:
        yield current
