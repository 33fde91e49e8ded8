"""A backend that says what it is told, piece by piece: the whole server without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from generalist.tokens import Vocabulary
from generalist.types import GeneralistError, Prompt, Sampling, Usage
from generalist_serving.backend import Busy, Piece, UnknownAdapter

from ..generalist.scripted_model import DOG, NOTHING, scripted

__all__ = ["DOG", "NOTHING", "Ids", "ScriptedBackend", "scripted_line"]

Ids = Callable[[str], list[int]]


class ScriptedBackend:
    """Answers run after run with ``replies`` (token ids without the end token), over and over.

    ``piece``: tokens a piece. ``delay``: seconds before each piece. ``capacity``: how many runs may be under way
    before the next one meets :class:`Busy`. ``fails_at``: the piece at which a run raises RuntimeError.
    All of these, and ``replies``, may be changed between requests.
    ``prompts`` and ``samplings`` record what was asked; ``finished`` and ``cancelled`` count how runs ended.
    """

    def __init__(
        self,
        replies: Sequence[Sequence[int]],
        *,
        logprob: float = -0.1,
        piece: int = 1,
        delay: float = 0.0,
        capacity: int | None = None,
        fails_at: int | None = None,
        max_prompt_tokens: int = 2000,
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        self.replies = [tuple(reply) for reply in replies]
        self.logprob = logprob
        self.piece = piece
        self.delay = delay
        self.capacity = capacity
        self.fails_at = fails_at
        self.max_prompt_tokens = max_prompt_tokens
        self._adapters = dict(adapters or {})
        self.prompts: list[Prompt] = []
        self.samplings: list[Sampling] = []
        self.running = 0
        self.waiting = 0
        self.finished = 0
        self.cancelled = 0
        self.closed = False

    @property
    def adapters(self) -> Mapping[str, str]:
        return dict(self._adapters)

    async def check(self, prompt: Prompt) -> None:
        if prompt.adapter is not None and prompt.adapter not in self._adapters:
            raise UnknownAdapter(f"there is no adapter {prompt.adapter!r}; load it first")
        if len(prompt.token_ids) > self.max_prompt_tokens:
            raise GeneralistError(
                f"the prompt is {len(prompt.token_ids)} tokens long; use at most {self.max_prompt_tokens}"
            )

    async def run(self, prompt: Prompt, sampling: Sampling) -> AsyncIterator[Piece]:
        await self.check(prompt)
        if self.capacity is not None and self.running >= self.capacity:
            raise Busy(7)
        reply = self.replies[len(self.prompts) % len(self.replies)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        self.running += 1
        ended = False
        try:
            for number, piece in enumerate(self._pieces(prompt, reply, sampling)):
                await asyncio.sleep(self.delay)
                if number == self.fails_at:
                    raise RuntimeError("the scripted failure")
                # A reader may stop at the last piece, without asking for what comes behind it.
                ended = piece.finish_reason is not None
                yield piece
        except RuntimeError:
            ended = True
            raise
        finally:
            self.running -= 1
            self.finished += ended
            self.cancelled += not ended

    def _pieces(self, prompt: Prompt, reply: Sequence[int], sampling: Sampling) -> list[Piece]:
        ids = reply[: sampling.max_new_tokens]
        starts = range(0, len(ids), self.piece)
        pieces = [self._piece(ids[at : at + self.piece], sampling.top_logprobs) for at in starts]
        usage = Usage(prompt_tokens=len(prompt.token_ids), completion_tokens=len(ids))
        last = Piece(finish_reason="stop" if len(ids) == len(reply) else "length", usage=usage)
        return [*pieces, last]

    def _piece(self, ids: Sequence[int], top: int) -> Piece:
        """Each token with the ones behind it in the vocabulary, each less likely than the last."""
        likeliest = tuple(tuple((token + n, self.logprob - n) for n in range(top)) for token in ids) if top else ()
        return Piece(token_ids=tuple(ids), logprobs=(self.logprob,) * len(ids), top_logprobs=likeliest)

    async def load_adapter(self, name: str, folder: str) -> None:
        self._adapters[name] = folder

    async def unload_adapter(self, name: str) -> None:
        if name not in self._adapters:
            raise UnknownAdapter(f"there is no adapter {name!r}; nothing was unloaded")
        del self._adapters[name]

    async def close(self) -> None:
        self.closed = True


def scripted_line(vocab: Vocabulary, *, docs: bool = False):
    """The line of a stand-in model: real prompts, parsing and drawing; no weights, no codecs."""
    return scripted(vocab, [[vocab.eos]], docs=docs)[0].line
