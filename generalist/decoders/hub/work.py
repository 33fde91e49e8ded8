"""What the image encoder made of the last few images, and what drawing has cost."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from PIL import Image

T = TypeVar("T")

KEPT = 8
"""Images whose features are kept: some 15 MB each with SAM 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What has been done so far: ``encoded`` images, ``reused`` features, ``drawn`` masks or maps; seconds of each."""

    encoded: int = 0
    reused: int = 0
    drawn: int = 0
    load_s: float = 0.0
    encode_s: float = 0.0
    draw_s: float = 0.0


class Ledger:
    """Adds up a :class:`Work`."""

    def __init__(self) -> None:
        self.work = Work()

    def count(self, **more: int) -> None:
        """Add to counts, by their names."""
        self.work = replace(self.work, **{name: getattr(self.work, name) + by for name, by in more.items()})

    @contextmanager
    def timed(self, name: Literal["load_s", "encode_s", "draw_s"]) -> Iterator[None]:
        """Add the seconds that the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds: dict[str, Any] = {name: getattr(self.work, name) + time.perf_counter() - began}
            self.work = replace(self.work, **seconds)


class Features(Generic[T]):
    """What ``encode`` makes of images, kept for the ``most`` that were asked for last.

    Images are told apart by their pixels, as one that is read from a file again is another object.
    """

    def __init__(self, encode: Callable[[Image.Image], T], ledger: Ledger, most: int = KEPT) -> None:
        self._encode, self._ledger, self._most = encode, ledger, most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def of(self, image: Image.Image) -> T:
        """The features of an image."""
        key = _digest(image)
        if key in self._kept:
            self._kept.move_to_end(key)
            self._ledger.count(reused=1)
            return self._kept[key]
        with self._ledger.timed("encode_s"):
            made = self._encode(image)
        self._ledger.count(encoded=1)
        self._kept[key] = made
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return made

    def __len__(self) -> int:
        return len(self._kept)


def _digest(image: Image.Image) -> str:
    digest = hashlib.blake2b(repr((image.mode, image.size, image.getpalette())).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
