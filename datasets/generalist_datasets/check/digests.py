"""16 bytes that stand for many, so that a set of all that was seen stays small."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

_CHUNK = 1 << 20


def digest(*parts: bytes) -> bytes:
    """Of bytes, one after another."""
    return blake2b(b"".join(parts), digest_size=16).digest()


def path_digest(path: str | Path) -> bytes:
    """Of a file's place, whatever its bytes."""
    return digest(os.fsencode(os.path.abspath(path)))


def file_digest(path: str | Path) -> bytes:
    """Of a file's bytes; OSError where it cannot be read."""
    whole = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
    return whole.digest()
