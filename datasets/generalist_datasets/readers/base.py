"""What a reader is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from generalist_datasets.records import Problems, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a folder does not say of itself: where its pictures are, and how many depth levels make a metre."""

    images: Path | None = None
    depth_scale: float | None = None


Detect: TypeAlias = Callable[[Path], bool]
Read: TypeAlias = Callable[[Path, Problems, Options], Iterator[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A format of labelled images.

    ``detect(path)``: cheap (names and the first bytes of files), never raises, True only for this format.
    ``read(path, problems, options)``: one record an image, streamed; reports what is wrong to ``problems``
    and goes on. ``path`` is what the user named: a folder, or an annotation file.
    """

    name: str
    summary: str
    detect: Detect
    read: Read
