"""Pictures inside of annotation files, as ``data:`` URLs: written to the cache, since a record's images are files."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from generalist.types import GeneralistError
from generalist_datasets.assets import cache_folder
from generalist_datasets.readers.fields import show
from generalist_datasets.readers.json_stream import Defect

MOST_BYTES = 24 * 2**20
"""Of one decoded picture."""

_HEADER = re.compile(r"data:image/([a-zA-Z0-9.+-]{1,40})((?:;[^,;]{0,100}){0,4}),")
_SUFFIXES = {
    "png": ".png",
    "jpeg": ".jpg",
    "jpg": ".jpg",
    "webp": ".webp",
    "gif": ".gif",
    "bmp": ".bmp",
    "tiff": ".tiff",
    "avif": ".avif",
}


def save_data_url(url: str) -> Path:
    """The file in the cache with what ``url`` holds, named after its content and written on first use.

    Raises:
        Defect: not an image, not base64, or more than ``MOST_BYTES``.
        GeneralistError: the cache cannot be written.
    """
    data, suffix = _decode(url)
    target = cache_folder() / "embedded" / f"{hashlib.sha256(data).hexdigest()}{suffix}"
    if target.is_file():
        return target
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise GeneralistError(
            f"{target.parent}: cannot write pictures from data URLs there ({reason}); set GENERALIST_CACHE"
        ) from error
    return target


def _decode(url: str) -> tuple[bytes, str]:
    header = _HEADER.match(url)
    suffix = _SUFFIXES.get(header[1].lower()) if header else None
    if header is None or suffix is None:
        raise Defect("not an image", f"{show(url[:80])} is no data URL of a picture")
    body = url[header.end() :]
    if len(body) > MOST_BYTES * 4 // 3 + 4:
        raise Defect("not an image", f"a data URL of more than {MOST_BYTES // 2**20} MiB")
    try:
        data = _body(body, is_base64=header[2].lower().endswith(";base64"))
    except ValueError as error:
        raise Defect("not an image", f"a data URL whose base64 is damaged ({error})") from None
    if not data:
        raise Defect("not an image", "a data URL without content")
    return data, suffix


def _body(text: str, *, is_base64: bool) -> bytes:
    if not is_base64:
        return unquote_to_bytes(text)
    return base64.b64decode("".join(text.split()), validate=True)  # some writers break the lines
