"""Document identifiers: an automaton that lets a model write only those that exist.

A model finds a document by writing its identifier between ``<doc>`` and ``</doc>`` (generative retrieval, as in
GENRE: De Cao et al. 2021). The grammar allows any text there; the automaton allows only the continuations of
identifiers of one collection. Engines ask it three things, so that an index of whole documents
(``generalist.index``) can take the place of the trie.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from generalist.index import MANIFEST, TextAutomaton, open_index
from generalist.tokens import DOC_CLOSE, DOC_OPEN, Vocabulary
from generalist.types import GeneralistError

Int32s: TypeAlias = npt.NDArray[np.int32]

OUTSIDE, DEAD = -1, -2
_FORMAT = "generalist-identifiers-1"
_NAMES = ("first", "tokens", "targets")
_MOST_HEADER_BYTES = 1_000_000

TITLES = "#titles"
"""Behind the folder of an index: its titles are the identifiers, rather than all of its n-grams."""


class Automaton(Protocol):
    """What may be written next, as a state that each token moves on."""

    def start(self) -> int:
        """The state before the first token of a reply."""
        ...

    def advance(self, state: int, token: int) -> int:
        """The state behind ``token``, which may be any integer."""
        ...

    def allowed(self, state: int) -> Int32s | None:
        """The ids that may come next, ascending; None for every id. Empty when the text can only end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdentifierTrie:
    """The identifiers of a collection as a trie in flat arrays: N nodes, E edges, node 0 the root.

    The edges of node n are those from ``first[n]`` to ``first[n + 1]``, their ``tokens`` ascending. An edge leads to
    the node ``targets[e]``; one with the token ``close`` ends an identifier and leads :data:`OUTSIDE`.
    ``open`` and ``close`` are the ids of ``<doc>`` and ``</doc>`` in the vocabulary with ``vocab_hash``.
    """

    first: npt.NDArray[np.int64]
    tokens: Int32s
    targets: Int32s
    open: int
    close: int
    vocab_hash: str

    # --- the automaton ---

    def start(self) -> int:
        return OUTSIDE

    def advance(self, state: int, token: int) -> int:
        if state == OUTSIDE:
            return 0 if token == self.open else OUTSIDE
        if state == DEAD:
            return DEAD
        low, high = int(self.first[state]), int(self.first[state + 1])
        at = low + int(np.searchsorted(self.tokens[low:high], token))
        return int(self.targets[at]) if at < high and self.tokens[at] == token else DEAD

    def allowed(self, state: int) -> Int32s | None:
        if state == OUTSIDE:
            return None
        if state == DEAD:
            return np.empty(0, np.int32)
        return self.tokens[self.first[state] : self.first[state + 1]]

    # --- making and keeping ---

    @classmethod
    def build(cls, identifiers: Iterable[Sequence[int]], vocab: Vocabulary) -> IdentifierTrie:
        """A trie of token sequences, in any order, repeated ones counted once.

        Raises :class:`GeneralistError` for no identifiers, an empty one, or one that holds anything but text tokens.
        """
        rows = [np.asarray(row, np.int64) for row in identifiers]
        _check_rows(rows, vocab)
        close = vocab.structure[DOC_CLOSE]
        sources, tokens, targets, nodes = _edges(_padded(rows), close)
        order = np.lexsort((tokens, sources))
        first = np.zeros(nodes + 1, np.int64)
        np.cumsum(np.bincount(sources, minlength=nodes), out=first[1:])
        return cls(
            first=first,
            tokens=tokens[order].astype(np.int32),
            targets=targets[order].astype(np.int32),
            open=vocab.structure[DOC_OPEN],
            close=close,
            vocab_hash=vocab.hash,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; a reader never sees half of it."""
        from safetensors.numpy import save

        path = Path(path)
        part = path.with_name(f"{path.name}.part")
        info = {"open": self.open, "close": self.close, "vocab_hash": self.vocab_hash}
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _NAMES}
        # Not save_file, whose files only their owner may read.
        part.write_bytes(save(arrays, metadata={"format": _FORMAT, "identifiers": json.dumps(info)}))
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> IdentifierTrie:
        """Map a saved file into memory, where processes share it, and check all of it once.

        Raises :class:`GeneralistError` for a file that is missing, cut, or not what :meth:`save` writes.
        """
        path = Path(path)
        try:
            arrays, metadata = _map(path)
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}, not {_FORMAT!r}")
            info = json.loads(metadata["identifiers"])
            trie = cls(**arrays, open=int(info["open"]), close=int(info["close"]), vocab_hash=str(info["vocab_hash"]))
            trie._check()
        except OSError as error:
            reason = error.strerror or str(error)
            raise GeneralistError(f"{path}: cannot read the identifiers ({reason}); name an existing file") from error
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise GeneralistError(f"{path}: not a file of identifiers ({error}); write it anew") from error
        return trie

    def _check(self) -> None:
        """ValueError unless every state that can be reached from the root is inside the arrays."""
        nodes, edges = len(self.first) - 1, len(self.tokens)
        if self.first.dtype != np.int64 or self.tokens.dtype != np.int32 or self.targets.dtype != np.int32:
            raise ValueError("its arrays have other types")
        if nodes < 1 or len(self.targets) != edges or self.first[0] != 0 or self.first[-1] != edges:
            raise ValueError("its arrays do not fit together")
        if (np.diff(self.first) < 0).any():
            raise ValueError("its nodes are out of order")
        inside = (self.targets >= 0) & (self.targets < nodes)
        if not np.where(self.tokens == self.close, self.targets == OUTSIDE, inside).all():
            raise ValueError("an edge leads nowhere")
        falls = np.flatnonzero(np.diff(self.tokens) <= 0) + 1  # only a new node's first token may be smaller
        if not np.isin(falls, self.first).all():
            raise ValueError("its tokens are out of order")


def load_identifiers(path: str | Path) -> IdentifierTrie | TextAutomaton:
    """The identifiers in a file that :meth:`IdentifierTrie.save` wrote, or those of the index in a folder.

    Those of an index are the n-grams of its text; with :data:`TITLES` behind the folder, its titles. Loaded once in a
    process for as long as the file stays the same. Raises :class:`GeneralistError` for what cannot be read.
    """
    named = str(path)
    folder = Path(named.removesuffix(TITLES))
    try:
        is_index = folder.is_dir() and (folder / MANIFEST).is_file()
        found = (folder / MANIFEST if is_index else Path(named)).stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"{path}: cannot read the identifiers ({reason}); name an existing file") from error
    return (_load_index if is_index else _load_once)(named, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _load_once(path: str, changed: int, size: int) -> IdentifierTrie:
    return IdentifierTrie.load(path)


@lru_cache(maxsize=8)
def _load_index(path: str, changed: int, size: int) -> TextAutomaton:
    index = open_index(path.removesuffix(TITLES))
    if index.base.open is None:
        raise GeneralistError(
            f"{path}: this index is in the tokens of {index.base.name}, which cannot write <doc>; "
            "build it with --base nano or another checkpoint of this kind"
        )
    return index.automaton("titles" if path.endswith(TITLES) else "ngrams")


class HasVocabulary(Protocol):
    """Identifiers, or what names documents by them."""

    @property
    def vocab_hash(self) -> str: ...


def check_vocabulary(found: HasVocabulary, vocab: Vocabulary, path: str | Path) -> None:
    """Raises :class:`GeneralistError` when the identifiers of ``path`` are written in other tokens than the model's."""
    if found.vocab_hash != vocab.hash:
        raise GeneralistError(
            f"{str(path).removesuffix(TITLES)}: its identifiers are in vocabulary {found.vocab_hash}, the model's is "
            f"{vocab.hash}; make it anew for this model"
        )


# --- building ------------------------------------------------------------------------------------------


def _check_rows(rows: Sequence[npt.NDArray[np.int64]], vocab: Vocabulary) -> None:
    if not rows:
        raise GeneralistError("there are 0 identifiers; give at least one")
    text = np.zeros(vocab.size, bool)
    text[[i for i in range(vocab.size) if vocab.is_text(i)]] = True
    for number, row in enumerate(rows):
        if row.ndim != 1 or not len(row):
            raise GeneralistError(f"identifier {number} has no tokens; give each document an identifier of its own")
        wrong = row[(row < 0) | (row >= vocab.size) | ~text[row.clip(0, vocab.size - 1)]]
        if len(wrong):
            raise GeneralistError(f"identifier {number} holds {vocab.name(int(wrong[0]))}, which is no text; remove it")


def _padded(rows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """int64 [identifiers, longest], -1 behind the end; sorted, each once."""
    padded = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return np.unique(padded, axis=0)


def _edges(
    rows: npt.NDArray[np.int64], close: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """(source, token, target) of every edge, and the number of nodes; ``rows`` as :func:`_padded` makes them.

    Level by level: rows that share a prefix stand together, so a node begins where the prefix changes.
    """
    lengths = (rows >= 0).sum(1)
    differs = np.ones(rows.shape, bool)
    differs[1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
    node = np.zeros(len(rows), np.int64)  # of each row's prefix
    nodes = 1
    found: list[tuple[npt.NDArray[np.int64], ...]] = []
    for depth in range(rows.shape[1]):
        new = differs[:, depth] & (lengths > depth)
        places = nodes - 1 + np.cumsum(new)
        found.append((node[new], rows[new, depth], places[new]))
        node = np.where(lengths > depth, places, node)
        nodes += int(new.sum())
    found.append((node, np.full(len(rows), close), np.full(len(rows), OUTSIDE)))
    sources, tokens, targets = (np.concatenate(part) for part in zip(*found, strict=True))
    return sources, tokens, targets, nodes


# --- reading -------------------------------------------------------------------------------------------


def _map(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays of a safetensors file as views of the mapped file, and its metadata; ValueError if cut or altered."""
    # The library's own reader for numpy copies every array.
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= _MOST_HEADER_BYTES:
            raise ValueError("it does not begin like a safetensors file")
        header = json.loads(file.read(size))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays: dict[str, Any] = {}
    for name in _NAMES:
        dtype: np.dtype[Any] = np.dtype({"I64": "<i8", "I32": "<i4"}[header[name]["dtype"]])
        begin, end = header[name]["data_offsets"]
        (count,) = header[name]["shape"]
        if not 0 <= begin <= end <= len(mapped) - 8 - size or end - begin != count * dtype.itemsize:
            raise ValueError("it is cut short")
        arrays[name] = np.frombuffer(mapped, dtype, count=count, offset=8 + size + begin)
    return arrays, header.get("__metadata__", {})
