"""Changing an index on disk.

``index.json`` is replaced at once, so whoever opens the folder sees all of a change or nothing of it, and a process
that is killed leaves the index as it was; what it had written is removed by the next writer.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from generalist.index.segment import Segment
from generalist.index.store import ARRAYS, FORMAT, MANIFEST, OPTIONAL, Manifest, Part, digest_of, digest_of_file
from generalist.types import GeneralistError

_LOCK = ".lock"
_KINDS = ("segment", "tokenizer", *OPTIONAL)
"""What parts there are; the folder of one is its kind and a number."""


class Writer:
    """The one process that changes an index; made by :func:`writing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        taken = [name.rpartition("-")[2] for name in os.listdir(folder)]
        self._number = max((int(end) for end in taken if end.isdecimal() and end.isascii()), default=0)

    def add(self, kind: str, write: Callable[[Path], object]) -> Part:
        """A new part: ``write`` fills the empty folder that it is given."""
        self._number += 1
        folder = self.folder / f"{kind}-{self._number:06d}"
        folder.mkdir()
        write(folder)
        files = {file.name: (file.stat().st_size, digest_of_file(file)) for file in sorted(folder.iterdir())}
        return Part(folder=folder.name, files=files)

    def add_segment(self, segment: Segment) -> Part:
        def write(folder: Path) -> None:
            for name in ARRAYS:
                np.save(folder / f"{name}.npy", getattr(segment, name))

        return self.add("segment", write)

    def commit(self, manifest: Manifest) -> Manifest:
        """From here on the folder holds ``manifest`` and nothing else."""
        self._number += 1
        manifest = replace(manifest, number=self._number)
        content = {"format": FORMAT, **asdict(manifest)}
        content = json.loads(json.dumps(content))
        content["sha256"] = digest_of(content)
        beside = self.folder / f"{MANIFEST}.part"
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        beside.replace(self.folder / MANIFEST)
        self.clean(manifest)
        return manifest

    def clean(self, manifest: Manifest | None) -> None:
        """Remove parts that nothing names: those that were replaced, or left by a writer that was killed."""
        named = set() if manifest is None else {part.folder for part in manifest.parts}
        for entry in os.scandir(self.folder):
            kind, _, number = entry.name.rpartition("-")
            if kind in _KINDS and number.isdecimal() and entry.name not in named:
                shutil.rmtree(entry.path, ignore_errors=True)


@contextmanager
def writing(folder: str | Path, *, new: bool = False) -> Iterator[Writer]:
    """Change the index in a folder, or with ``new`` make one there, in place of what may be there.

    Raises :class:`GeneralistError` where another process is at it, or the folder holds something else.
    """
    folder = Path(folder)
    try:
        if new:
            _check_free(folder)
            folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise GeneralistError(f"{folder}: another process is changing this index; wait for it") from error
            writer = Writer(folder)
            if new and not (folder / MANIFEST).exists():
                writer.clean(None)
            yield writer
    except (OSError, ValueError) as error:
        if isinstance(error, GeneralistError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"{folder}: cannot write the index ({reason}); choose another place") from error


def _check_free(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise GeneralistError(f"{folder}: this is a file; name a folder for the index")
    names = set(os.listdir(folder))
    if names and MANIFEST not in names and _LOCK not in names:
        raise GeneralistError(f"{folder}: this folder holds something else; name a new one for the index")
