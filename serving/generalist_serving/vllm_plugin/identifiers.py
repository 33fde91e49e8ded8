"""Document identifiers of a request inside vLLM: what both of its logits processors share.

A request names the file of its identifiers in ``SamplingParams.extra_args``, because the sampler may run in another
process than the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from generalist.identifiers import DEAD, Automaton, Int32s, load_identifiers
from generalist.types import GeneralistError

ARGUMENT = "generalist_identifiers"
"""The key of the file's path in ``extra_args`` (over HTTP: ``vllm_xargs``)."""

_log = logging.getLogger(__name__)
_trusted: set[str] | None = None


def restrict() -> None:
    """From now on refuse, in this process, every file that was not given to :func:`trust`.

    For servers: what a request names in ``vllm_xargs`` is a path of the server's.
    """
    global _trusted  # noqa: PLW0603 - vLLM makes its processors itself and hands them nothing of ours
    _trusted = set() if _trusted is None else _trusted


def trust(path: str) -> None:
    """Let requests use the identifiers of a file."""
    if _trusted is not None:
        _trusted.add(path)


def check(params: Any) -> None:
    """Raises :class:`GeneralistError` when the identifiers of SamplingParams ``params`` cannot be read."""
    path = (params.extra_args or {}).get(ARGUMENT)
    if path is None:
        return
    if not isinstance(path, str):
        raise GeneralistError(f"{ARGUMENT} is {path!r}; give the path of a file of identifiers")
    if _trusted is not None and path not in _trusted:
        raise GeneralistError(f"{ARGUMENT} is {path[:80]!r}, which this server does not offer; leave it out")
    load_identifiers(path)


class Follower:
    """Keeps up with the tokens of one reply; ``end`` is the id that ends it."""

    def __init__(self, automaton: Automaton, end: int) -> None:
        self.end = end
        self.read = 0
        self._automaton = automaton
        self._state = automaton.start()

    def follow(self, tokens: Sequence[int]) -> Int32s | None:
        """What may come behind ``tokens``, which come behind all that were given before; None is everything."""
        for token in tokens:
            self._state = self._automaton.advance(self._state, token)
        self.read += len(tokens)
        return self._automaton.allowed(self._state)


def follower(params: Any, default_end: int) -> Follower | None:
    """The follower of a new request, None when it has no identifiers."""
    path = (params.extra_args or {}).get(ARGUMENT)
    if path is None:
        return None
    end = getattr(params, "eos_token_id", None)
    automaton: Automaton
    try:
        automaton = load_identifiers(path)
    except GeneralistError as error:
        # It was there when the request came. To fail here would end every other request too.
        _log.error("a reply is cut short: %s", error)
        automaton = _Nothing()
    return Follower(automaton, default_end if end is None else end)


def end_token(vllm_config: Any) -> int:
    """The id that ends a text of the model."""
    found = vllm_config.model_config.hf_text_config.eos_token_id
    return int(found[0] if isinstance(found, list) else found)


class _Nothing:
    """Allows no token at all."""

    def start(self) -> int:
        return DEAD

    def advance(self, state: int, token: int) -> int:
        return DEAD

    def allowed(self, state: int) -> Int32s | None:
        import numpy as np

        return np.empty(0, np.int32)
