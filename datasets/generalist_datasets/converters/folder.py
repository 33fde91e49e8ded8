"""The folder that a converter writes: made beside its name, and renamed when it is whole."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.assets import cache_folder

MOST_SPLITS = 32
_PICTURES = "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a converter wrote: ``counts`` by name, ``files`` in the folder, and counts of what the form cannot hold."""

    counts: Mapping[str, int]
    files: tuple[str, ...]
    left_out: Mapping[str, int]


class OutFolder:
    """A folder that is being written; ``path`` is where it is until it is whole.

    A picture that is a file of the user's stays where it is: its name is relative to ``root`` where it is in there,
    and absolute elsewhere. Other pictures are written to ``images/``.
    """

    def __init__(self, path: Path, root: Path | None) -> None:
        self.path = path
        self.left_out: Counter[str] = Counter()
        self._root = None if root is None else os.path.abspath(root)
        self._splits: set[str] = set()

    def name_of(self, picture: Path) -> str:
        """How annotations name a picture that is a file."""
        path = os.path.abspath(picture)
        if _is_inside(path, os.path.abspath(cache_folder())):  # it came in a data URL
            return self._add(picture.name, lambda target: shutil.copyfile(picture, target))
        for root in (os.path.abspath(self.path), self._root):
            if root is not None and _is_inside(path, root):
                return Path(os.path.relpath(path, root)).as_posix()
        return path

    def save(self, picture: Image.Image) -> str:
        """Write a picture, once; how annotations name it."""
        digest = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
        return self._add(f"{digest[:32]}.png", lambda target: picture.save(target, compress_level=3))

    def save_bytes(self, name: str, data: bytes) -> Path:
        """Write a picture that is encoded already; the file."""
        return self.path / self._add(name, lambda target: target.write_bytes(data))

    def split_name(self, split: str) -> str:
        """``split`` as a part of a file's name."""
        name = re.sub(r"[^\w-]", "_", split)[:50]
        self._splits.add(name)
        if len(self._splits) > MOST_SPLITS:
            raise GeneralistError(f"there are more than {MOST_SPLITS} splits, such as {split[:50]!r}; use fewer")
        return name

    def _add(self, name: str, write: Callable[[Path], object]) -> str:
        target = self.path / _PICTURES / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            write(target)
        return f"{_PICTURES}/{name}"


@contextmanager
def new_folder(out: Path, root: Path | None = None) -> Iterator[OutFolder]:
    """``out`` while it is being written; nothing is left of it when that fails.

    Raises:
        GeneralistError: there is something at ``out``, or it cannot be written.
    """
    target = out.absolute()  # "." has no name of its own
    beside = target.parent / f".{target.name}.{os.getpid()}"
    try:
        if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
            raise GeneralistError(f"{out}: there is something already; name a new folder")
        if target.is_dir() and target.samefile("."):  # replaced, it would no longer be where the user's shell is
            raise GeneralistError(f"{out}: this is the current folder; name a new one")
        beside.mkdir(parents=True)
        yield OutFolder(beside, root)
        beside.rename(target)
    except OSError as error:
        reason = error.strerror or error
        raise GeneralistError(f"{out}: cannot write this folder ({reason}); name another one") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
