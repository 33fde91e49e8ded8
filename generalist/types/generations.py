"""What an engine returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Likeliest: TypeAlias = tuple[tuple[int, float], ...]
"""The likeliest tokens of a step and their log-probabilities, best first; fewer where the grammar allows fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts. ``prompt_tokens`` counts every position an image takes."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What an engine returns.

    ``token_ids`` without the end token; ``logprobs`` (natural log, same length) are the model's
    own over what the grammar allows: a token that it forces has log-probability 0. Identifiers narrow
    the choice but not what is counted, so that a document which the model does not believe in scores low
    even where no other is left (as GENRE scores them).

    ``top_logprobs``: the same of each step's likeliest tokens, where ``Sampling.top_logprobs`` asks for them and the
    engine can tell; else empty.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    usage: Usage = Usage()
    top_logprobs: tuple[Likeliest, ...] = ()
