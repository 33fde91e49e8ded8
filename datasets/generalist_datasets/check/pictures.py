"""The files behind a data set's pictures: is each there, whole, as large as it is said to be, and there only once?

Every picture's header, first and last bytes are looked at. All pixels are decoded only of a random sample of the
pictures, and of those whose end looks cut: decoding 100,000 photographs takes half an hour.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from generalist.images import Header, load_image, oriented_size, read_header
from generalist.types import GeneralistError
from generalist_datasets.check.digests import digest, file_digest, path_digest
from generalist_datasets.check.report import NO_SPLIT
from generalist_datasets.record_geometry import same_shape
from generalist_datasets.records import Problems, Record

DECODED = 1000
"""Pictures of the sample that is decoded whole."""

_MAX_CUT = 10_000
"""Pictures that look cut and are decoded as well; a folder with more of them is broken, and the rest tells no more."""

_END = 4096
"""Bytes at each end of a file that tell it from almost all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Met:
    """Where a picture was met first."""

    path: str
    split: str


class Pictures:
    """Looks at the pictures of records, one after another; keeps numbers, names and digests, no pixels."""

    def __init__(self, problems: Problems, *, seed: int = 0) -> None:
        self.problems = problems
        self.sizes: Counter[tuple[int, int]] = Counter()  # upright (W, H) -> pictures
        self.readable = 0
        self.decoded = 0
        self._paths: dict[bytes, str] = {}  # digest of a path -> its split
        self._ends: dict[bytes, _Met] = {}
        self._whole: dict[bytes, _Met] = {}
        self._read_whole: set[bytes] = set()  # keys of _ends whose first file is in _whole
        self._random = random.Random(seed)
        self._sample: list[Path] = []
        self._cut: list[Path] = []

    def look(self, record: Record) -> Header | None:
        """Look at a record's pictures; the header of the first one, None where it has none that can be read."""
        headers = [self._header(path, record) for path in record.images]
        if not headers or headers[0] is None:
            return None
        _compare_sizes(record, headers[0], self.problems)
        return headers[0]

    def finish(self) -> None:
        """Decode the sample, and whatever looks cut."""
        for path in dict.fromkeys([*self._sample, *self._cut]):
            self.decoded += 1
            try:
                load_image(path)
            except GeneralistError as error:
                self.problems.unreadable(path, error)

    def _header(self, path: Path, record: Record) -> Header | None:
        try:
            header = read_header(path)
            if self._is_new(path, record):
                self.readable += 1
                self.sizes[oriented_size(header.size, header.orientation)] += 1
                self._look_for_twin(path, record)
                self._choose(path)
            return header
        except (GeneralistError, OSError) as error:
            if os.path.exists(path):
                self.problems.unreadable(path, error)
            else:
                self.problems.error("missing image", record.where, str(path))
            return None

    def _is_new(self, path: Path, record: Record) -> bool:
        key = path_digest(path)
        before = self._paths.get(key)
        if before is None:
            self._paths[key] = record.split
            return True
        if before != record.split:
            detail = f"{path} is in {split_name(before)} and in {split_name(record.split)}"
            self.problems.warn("duplicate image across splits", record.where, detail)
        return False

    def _look_for_twin(self, path: Path, record: Record) -> None:
        """Report a file with the bytes of an earlier one; only files that are alike at both ends are read whole."""
        start, end, size = _ends(path)
        if _looks_cut(start, end) and len(self._cut) < _MAX_CUT:
            self._cut.append(path)
        here = _Met(path=str(path), split=record.split)
        key = digest(start, end, size.to_bytes(8, "little"))
        twin = self._ends.setdefault(key, here)
        if twin is here:
            return
        if size > 2 * _END:
            if key not in self._read_whole:
                self._read_whole.add(key)
                self._whole[file_digest(twin.path)] = twin
            twin = self._whole.setdefault(file_digest(path), here)
        if twin is not here:
            kind = "duplicate image" if twin.split == here.split else "duplicate image across splits"
            detail = f"{path} ({split_name(here.split)}) has the bytes of {twin.path} ({split_name(twin.split)})"
            self.problems.warn(kind, record.where, detail)

    def _choose(self, path: Path) -> None:
        """Reservoir sampling: every picture is as likely to be decoded as any other."""
        if len(self._sample) < DECODED:
            self._sample.append(path)
        elif (at := self._random.randrange(self.readable)) < DECODED:
            self._sample[at] = path


def split_name(split: str) -> str:
    """How a report calls a split; many data sets have none."""
    return split or NO_SPLIT


def _compare_sizes(record: Record, header: Header, problems: Problems) -> None:
    """What the annotations say of a picture's size against its file: another shape makes all coordinates wrong."""
    upright = oriented_size(header.size, header.orientation)
    if record.size is None or record.size in (header.size, upright):
        return
    detail = f"the annotations say {_by(record.size)}, {record.image} is {_by(header.size)}"
    report = problems.warn if same_shape(record.size, header.size) else problems.error
    report("size differs from the file", record.where, detail)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _looks_cut(start: bytes, end: bytes) -> bool:
    """A JPEG or PNG without its last marker."""
    if start.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in end
    return start.startswith(b"\x89PNG") and b"IEND" not in end


def _ends(path: Path) -> tuple[bytes, bytes, int]:
    """The first and last bytes of a file, and how many it has."""
    with path.open("rb") as file:
        start = file.read(_END)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        return start, file.read(_END), size
