"""An index on disk: parts that are never changed, and one small file that says which of them count.

Sizes are looked at when an index is opened, every byte by :func:`check_index`. ``writer`` changes an index.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generalist.index.automaton import TextAutomaton, What
from generalist.index.segment import Segment
from generalist.types import GeneralistError

FORMAT = "generalist-index-1"
MANIFEST = "index.json"
OPTIONAL = ("words", "generator", "encoder", "vectors")
ARRAYS = ("tokens", "suffixes", "first", "starts", "names", "name_ends")
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Whose tokens the text is in. ``open`` and ``close`` are the ids of ``<doc>`` and ``</doc>``, if it has them."""

    name: str
    vocab_hash: str
    vocabulary_size: int
    open: int | None = None
    close: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A folder of files that are written once; ``files``: name -> (bytes, SHA-256)."""

    folder: str
    files: dict[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(size for size, _ in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``index.json`` says.

    ``words``: the lexical index. ``generator``, ``encoder``: what the base has learnt, as LoRA adapters, for writing
    identifiers and for ``vectors``. ``trust``: how much a ranking by identifiers counts beside one by words, and
    ``dense_trust`` one by vectors, as it was found on questions with known answers; 0 while nobody has looked.
    """

    base: Base
    tokenizer: Part
    segments: tuple[Part, ...] = ()
    words: Part | None = None
    generator: Part | None = None
    encoder: Part | None = None
    vectors: Part | None = None
    trust: float = 0.0
    dense_trust: float = 0.0
    number: int = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.tokenizer, *self.segments, *self.optional.values())

    @property
    def optional(self) -> dict[str, Part]:
        """The parts that are there of those that an index can lack."""
        return {name: part for name in OPTIONAL if (part := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """An open index; ``segments`` are views of mapped files."""

    folder: Path
    manifest: Manifest
    segments: tuple[Segment, ...]

    @property
    def base(self) -> Base:
        return self.manifest.base

    @property
    def tokens(self) -> int:
        """How many there are, marks included."""
        return sum(len(segment.suffixes) for segment in self.segments)

    def automaton(self, what: What = "ngrams") -> TextAutomaton:
        """Follows what is in the index now."""
        base = self.base
        return TextAutomaton(self.segments, vocab_hash=base.vocab_hash, open=base.open, close=base.close, what=what)

    @property
    def documents(self) -> int:
        return sum(segment.documents for segment in self.segments)


# --- reading -------------------------------------------------------------------------------------------


def open_index(folder: str | Path) -> Index:
    """Map an index into memory; :class:`GeneralistError` for what is missing, cut, or no index."""
    folder = Path(folder)
    for tries_left in reversed(range(_TRIES)):
        manifest = read_manifest(folder)
        try:
            for part in manifest.parts:
                _check_sizes(folder, part)
            segments = tuple(read_segment(folder, part, manifest.base) for part in manifest.segments)
            return Index(folder=folder, manifest=manifest, segments=segments)
        except FileNotFoundError as error:
            # Another process may have replaced a part since the manifest was read.
            if not tries_left and read_manifest(folder).number == manifest.number:
                raise _damaged(folder, f"{Path(error.filename).name} is missing") from error
    raise _damaged(folder, "it is changed all the time")


def read_manifest(folder: Path) -> Manifest:
    """What counts in a folder; :class:`GeneralistError` when that is no index."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise GeneralistError(
                f"{folder}: its format is {str(content.get('format'))[:100]!r}, not {FORMAT!r}; build the index anew"
            )
        if content.pop("sha256") != digest_of(content):
            raise _damaged(folder, f"{MANIFEST} was changed")
        return Manifest(
            base=Base(**content["base"]),
            tokenizer=_part(content["tokenizer"]),
            segments=tuple(map(_part, content["segments"])),
            **{name: _part(content[name]) for name in OPTIONAL if content.get(name) is not None},
            trust=float(content["trust"]),
            dense_trust=float(content.get("dense_trust", 0.0)),
            number=int(content["number"]),
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GeneralistError(f"{folder}: no index there; make one with `generalist index build`") from error
    except OSError as error:
        raise GeneralistError(f"{folder}: cannot read the index ({error.strerror}); check the folder") from error
    except GeneralistError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read") from error


def check_index(folder: str | Path) -> Index:
    """Open an index and compare every byte with its checksum; :class:`GeneralistError` for the first that differs."""
    index = open_index(folder)
    for part in index.manifest.parts:
        for name, (_, expected) in part.files.items():
            if digest_of_file(index.folder / part.folder / name) != expected:
                raise _damaged(index.folder, f"{part.folder}/{name} was changed")
    return index


def _part(content: dict[str, Any]) -> Part:
    files = {str(name): (int(size), str(digest)) for name, (size, digest) in content["files"].items()}
    names = [str(content["folder"]), *files]
    if any(Path(name).name != name or name in ("", ".", "..") for name in names):
        raise ValueError("a part lies outside the folder")
    return Part(folder=names[0], files=files)


def _check_sizes(folder: Path, part: Part) -> None:
    for name, (expected, _) in part.files.items():
        found = (folder / part.folder / name).stat().st_size
        if found != expected:
            raise _damaged(folder, f"{part.folder}/{name} has {found:,} bytes, not {expected:,}")


def read_segment(folder: Path, part: Part, base: Base) -> Segment:
    """A segment of the index in ``folder``, mapped; :class:`GeneralistError` when it is not what was written."""
    try:
        arrays = {name: _map(folder / part.folder / f"{name}.npy") for name in ARRAYS}
        segment = Segment(**arrays)
        segment.check()
        if segment.vocabulary_size != base.vocabulary_size:
            raise ValueError("it is in another vocabulary")
        return segment
    except (ValueError, TypeError, EOFError, OverflowError) as error:
        raise _damaged(folder, f"{part.folder}: {' '.join(str(error).split())[:100]}") from error


def _map(file: Path) -> Any:
    found = np.load(file, mmap_mode="r", allow_pickle=False)
    if found.ndim != 1:
        raise ValueError(f"{file.name} is not a list")
    return found.view(np.ndarray)  # the same mapped memory, without the cost that memmap adds to every slice


def _damaged(folder: Path, what: str) -> GeneralistError:
    return GeneralistError(f"{folder}: the index is damaged ({what}); build it anew")


def digest_of(content: dict[str, Any]) -> str:
    """Of a manifest without its own digest."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_file(file: Path) -> str:
    """SHA-256 of its bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
