"""What a server runs prompts on: an engine that answers many requests at once, piece by piece.

``batching`` makes one of the transformers engine, ``vllm_backend`` of vLLM's asynchronous engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from generalist.engine import UnknownAdapter
from generalist.types import Likeliest, Prompt, Sampling, Usage

__all__ = ["Backend", "Busy", "Piece", "UnknownAdapter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The tokens that a reply grew by, with their log-probabilities.

    The last piece has ``finish_reason`` and may hold no tokens; the end token is not part of it. ``usage`` so far is
    told with the last piece at the latest. ``top_logprobs``: where ``Sampling.top_logprobs`` asks for them, the
    likeliest tokens of each of these steps, one entry a token; empty from a backend that cannot tell.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: Literal["stop", "length"] | None = None
    usage: Usage | None = None
    top_logprobs: tuple[Likeliest, ...] = ()


class Busy(Exception):
    """The queue is full; the server answers 503 and says after how many ``seconds`` to try again."""

    def __init__(self, seconds: int = 1) -> None:
        super().__init__(f"the server is busy; try again in {seconds} s")
        self.seconds = seconds


class Backend(Protocol):
    """Answers prompts. All methods are called from one event loop."""

    async def check(self, prompt: Prompt) -> None:
        """Raise :class:`GeneralistError` for a prompt that cannot be run (too long, an unknown adapter, ...)."""
        ...

    def run(self, prompt: Prompt, sampling: Sampling) -> AsyncIterator[Piece]:
        """The reply, as it is written; the last piece says how it ended. Closing the iterator stops the work.

        Raises what ``check`` raises, and :class:`Busy`, at the first step.
        """
        ...

    @property
    def adapters(self) -> Mapping[str, str]:
        """Name -> folder of every adapter that is loaded."""
        ...

    async def load_adapter(self, name: str, folder: str) -> None:
        """Make an adapter usable under a name; :class:`GeneralistError` when it cannot be."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter; :class:`UnknownAdapter` when there is none of that name."""
        ...

    @property
    def waiting(self) -> int:
        """How many prompts wait for their turn."""
        ...

    @property
    def running(self) -> int:
        """How many prompts are being answered."""
        ...

    async def close(self) -> None:
        """End all work and free what is held."""
        ...
