"""What runs a model: an engine knows token ids and images, and nothing of text, grammar or geometry.

``scripted`` replays given replies (tests), ``transformers_engine`` runs a checkpoint in this process.
Neither is imported here, so that naming the protocol costs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from generalist.types import GeneralistError, Generation, Prompt, Sampling


class UnknownAdapter(GeneralistError):
    """No adapter of that name is loaded; the server answers 404."""


def not_loaded(name: str, loaded: Iterable[str]) -> UnknownAdapter:
    """The error of an engine that has these adapters and was asked for ``name``."""
    if known := sorted(loaded):
        return UnknownAdapter(f"adapter {name!r} is not loaded; use one of {', '.join(known)}")
    return UnknownAdapter(f"adapter {name!r} is not loaded; this engine runs the base model alone")


class Engine(Protocol):
    """Turns prompts into token ids.

    Both methods raise :class:`~generalist.types.GeneralistError` for a prompt that cannot be run
    (too long, images and ``<image>`` tokens that do not match, or :class:`UnknownAdapter`).
    """

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """One generation for each prompt, in order; what a row gets does not depend on its neighbours."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """The token ids that ``generate([prompt], sampling)`` returns, one by one as they are chosen.

        A prompt that cannot be run is refused by the call itself, not by the first ``next``.
        Closing the iterator stops the work.
        """
        ...
