"""Answers that are known before the language model writes anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from generalist.types.outputs import Output


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What something else than the language model sees on a request's last image.

    ``drawn``: names with what is drawn for each; ``text``: the whole answer where nothing is drawn.
    """

    drawn: tuple[tuple[str, tuple[Output, ...]], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """A reply that an engine says instead of writing one.

    ``outputs``: by the token that a payload begins with, what it draws, which tokens say less exactly.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    outputs: Mapping[int, Output] = field(default_factory=dict)
