"""The limits and switches of the server. Every default is the safe one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from generalist.types import GeneralistError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the routes and the middlewares go by.

    Requests: ``max_body_bytes`` (413 above), ``body_timeout_s`` and ``body_min_rate``: a body has that many
    seconds, and one more for every so many bytes that have come (408 after; Apache's ``RequestReadTimeout``).
    ``max_json_values`` bounds what a body of that size may blow up to, ``max_text_chars`` all texts of a
    request together, ``max_messages`` its turns.

    Images: ``max_images`` a request, ``max_pixels`` of each and ``max_total_pixels`` of all of them together, drawn
    masks included: by an image's header, before it is decoded. ``allow_remote_images`` lets requests name http(s)
    images, which come through ``remote``: ``remote_timeout_s`` and ``remote_max_bytes`` bound one download, its
    redirects (``remote_max_redirects``) included. They come from public addresses and ``remote_ports`` only;
    ``remote_networks`` ("10.1.0.0/16") are allowed besides.

    Answers: ``max_n`` a request, ``max_tokens`` each, ``max_queue`` requests that may wait (503 above).

    Searches: ``max_queries`` a request of ``max_query_chars`` each; ``max_hit_chars`` of a hit's text are sent.
    ``max_texts`` are ordered or embedded at once, of ``max_texts_chars`` together. ``max_searches`` run side by side,
    ``max_search_queue`` more may wait (503 above).

    Who may ask: ``api_keys``, empty for everyone; ``allowed_hosts``, the names that a ``Host`` header may hold,
    empty for any; ``requests_per_minute`` of one key (of one address, without keys), None for any number.

    ``adapters_root``: the only folder that adapters are loaded from, None for no loading; ``max_adapters`` at once.
    ``indexes_root``: the only folder that indexes are opened from, None for none. ``drain_s``: how long accepted
    requests may take when the server is told to stop.
    """

    max_body_bytes: int = 20 * 1024 * 1024
    body_timeout_s: float = 20.0
    body_min_rate: int = 50_000
    max_json_values: int = 50_000
    max_text_chars: int = 100_000
    max_messages: int = 256

    max_images: int = 8
    max_pixels: int = 40_000_000
    max_total_pixels: int = 80_000_000
    allow_remote_images: bool = False
    remote_timeout_s: float = 10.0
    remote_max_bytes: int = 20 * 1024 * 1024
    remote_max_redirects: int = 3
    remote_ports: tuple[int, ...] = (80, 443)
    remote_networks: tuple[str, ...] = ()

    max_n: int = 8
    max_tokens: int = 2048
    max_queue: int = 64

    max_queries: int = 16
    max_query_chars: int = 10_000
    max_hit_chars: int = 20_000
    max_texts: int = 256
    max_texts_chars: int = 1_000_000
    max_searches: int = 2
    max_search_queue: int = 16

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    allowed_hosts: tuple[str, ...] = ()
    requests_per_minute: int | None = None

    adapters_root: Path | None = None
    max_adapters: int = 64
    indexes_root: Path | None = None
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            least = 0 if entry.name in ("remote_max_redirects", "drain_s", "max_queue", "max_search_queue") else 1e-3
            if isinstance(value, int | float) and not isinstance(value, bool) and not value >= least:
                raise GeneralistError(f"{entry.name} is {value}; use {'0 or more' if least == 0 else 'more than 0'}")
        if not all(key.isascii() and key.isprintable() and key.strip() == key != "" for key in self.api_keys):
            raise GeneralistError("an API key is empty or has spaces around it or signs that no header can carry")
