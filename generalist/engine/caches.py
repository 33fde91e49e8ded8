"""Keeping what is costly to compute twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from torch import Tensor

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """The ``capacity`` values used last; none at all with 0. Safe to share between threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)

    def __len__(self) -> int:
        return len(self._items)


def pixel_digest(pixels: Tensor) -> bytes:
    """16 bytes that identify the pixels of an image as the vision tower gets them: float32[3, H, W].

    Of the content and not of the object: an image that was drawn on since is another image. And of the
    resized pixels, because reading those of a large photograph takes longer than shrinking it.
    """
    return hashlib.blake2b(pixels.contiguous().numpy().data, digest_size=16).digest()
