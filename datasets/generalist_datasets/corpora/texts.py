"""A folder of text, Markdown and PDF files: each is a document, its id the path within the folder.

A title is the first heading of a Markdown file, what a PDF says of itself, or else the file's name. There are no
queries and no judgements.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.corpora.base import CorpusFormat
from generalist_datasets.corpora.trec import part_of
from generalist_datasets.readers.json_stream import open_regular
from generalist_datasets.readers.pairs import walk
from generalist_datasets.records import Document, Judgement, Problems, Query, Where

_PLAIN, _MARKDOWN, _PDF = (".txt", ".text", ".rst"), (".md", ".markdown"), (".pdf",)
_SUFFIXES = (*_PLAIN, *_MARKDOWN, *_PDF)
_OTHER = (".json", ".jsonl", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".parquet", ".jpg", ".jpeg", ".png", ".npy")
"""A folder with any of these is a data set of another kind, whose labels may be text files too."""
_DETECTED_FOLDERS, _DETECTED_FILES = 16, 40
_MOST_BYTES = 64 * 2**20
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n---[ \t]*\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextsCorpus:
    """The files in ``root``, or that one file."""

    root: Path

    def documents(self, problems: Problems) -> Iterator[Document]:
        for file in _files(self.root):
            id = file.name if file == self.root else file.relative_to(self.root).as_posix()
            document = _read(file, id, problems)
            if document is not None:
                yield document

    def queries(self, problems: Problems) -> Iterator[Query]:
        return iter(())

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        return iter(())


def _detect(path: Path) -> bool:
    """Only text, as far as the first folders show; label files of pictures are text, too."""
    if os.path.isfile(path):
        return path.suffix.lower() in (*_MARKDOWN, *_PDF)
    folders = islice(walk(path, (*_SUFFIXES, *_OTHER)), _DETECTED_FOLDERS)
    files = [folder / name for folder, names in folders for name in names]
    if not files or any(file.suffix.lower() in _OTHER for file in files):
        return False
    return not any(part_of(file) for file in files[:_DETECTED_FILES] if file.suffix.lower() in _PLAIN)


def _open(path: Path) -> TextsCorpus:
    if next(_files(path), None) is None:
        raise GeneralistError(f"{path}: no text, Markdown or PDF file there; name a folder with {', '.join(_SUFFIXES)}")
    return TextsCorpus(path)


FORMAT = CorpusFormat(name="texts", summary="a folder of text, Markdown and PDF files", detect=_detect, open=_open)


def _files(root: Path) -> Iterator[Path]:
    if os.path.isfile(root):
        yield root
        return
    for folder, names in walk(root, _SUFFIXES):
        yield from (folder / name for name in names)


def _read(file: Path, id: str, problems: Problems) -> Document | None:
    """A file's document; None, and a problem, for one that cannot be read or says nothing."""
    where = Where(file=file)
    try:
        with open_regular(file) as stream:
            if os.fstat(stream.fileno()).st_size > _MOST_BYTES:
                problems.error("file too long", where, f"more than {_MOST_BYTES >> 20} MiB")
                return None
            title, text = _pdf(file) if file.suffix.lower() in _PDF else _plain(stream.read(), file, problems)
    except OSError as error:
        problems.unreadable(file, error)
        return None
    except Exception as error:  # pypdf raises whatever a damaged file makes it stumble over
        problems.error("unreadable file", where, " ".join(str(error).split())[:200] or type(error).__name__)
        return None
    # A name that is not UTF-8 and text that is not Unicode have no place in an index.
    id, title, text = (part.encode("utf-8", "replace").decode() for part in (id, title, text))
    if not text.strip():
        problems.warn("empty text", where, "left out")
        return None
    return Document(id=id, text=text, title=" ".join(title.split()) or file.stem)


def _plain(data: bytes, file: Path, problems: Problems) -> tuple[str, str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.warn("not UTF-8 text", Where(file=file), "read as Latin-1")
        text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\0", "")
    if file.suffix.lower() not in _MARKDOWN:
        return file.stem, text
    text = _FRONT_MATTER.sub("", text, count=1)
    heading = _HEADING.search(text)
    return heading[1] if heading else file.stem, text


def _pdf(file: Path) -> tuple[str, str]:
    """The title and the text of a PDF, a blank line between pages."""
    import logging

    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with PdfReader(file) as reader:
        title = (reader.metadata.title if reader.metadata else None) or file.stem
        return title, "\n\n".join(page.extract_text() for page in reader.pages)
