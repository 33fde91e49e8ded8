"""From the pieces of one reply to what it says, up to a stop string."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from generalist.reply import Event as ParserEvent
from generalist.reply import PhraseDone, PlanDone, StreamParser, TextDelta
from generalist.tokens import Vocabulary
from generalist.types import Phrase, Reply, Usage
from generalist_serving.backend import Piece
from generalist_serving.events import End, FinishReason, Plan, Token
from generalist_serving.stops import StopGate

Item: TypeAlias = str | Plan | Phrase | Token
"""Clean text, the plan, a phrase with its unit, or a token: in the order in which they became known."""

_LEAST_LOGPROB = -9999.0
"""What OpenAI's API says of a token that is all but impossible; JSON has no infinity."""


class Writer:
    """Reads a reply's pieces; ``over`` once a stop string was met, after which nothing is taken.

    ``logprobs`` are those of all tokens so far. ``tokens`` asks for :class:`Token` items.
    """

    def __init__(self, vocabulary: Vocabulary, stop: Sequence[str], *, tokens: bool) -> None:
        self.logprobs: list[float] = []
        self._vocabulary = vocabulary
        self._tokens = tokens
        self._parser = StreamParser(vocabulary)
        self._gate: StopGate[Plan | Phrase | Token] = StopGate(stop)
        self._read = 0  # characters of clean text, those held back included
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None

    @property
    def over(self) -> bool:
        return self._gate.stopped

    def feed(self, piece: Piece) -> list[Item]:
        """Take a piece; what is certain now."""
        items: list[Item] = []
        for token, logprob in zip(piece.token_ids, piece.logprobs, strict=True):
            if self.over:
                break
            self.logprobs.append(logprob)
            passed = self._pass(self._parser.feed(token))
            if self._tokens:
                passed += self._gate.item(self._read, self._token(token, logprob))
                # Tokens before what they say, so that a stream can send both at once.
                passed.sort(key=lambda item: not isinstance(item, Token))
            items += passed
        self._usage = piece.usage or self._usage
        self._finish = piece.finish_reason or self._finish
        return items

    def finish(self) -> list[Item]:
        """No more pieces come; what was held back."""
        items = self._pass(self._parser.finish())
        return items + self._gate.finish()

    def end(self, prompt_tokens: int) -> End:
        """How the reply ended; ``prompt_tokens`` is said of the prompt where no piece has told its length."""
        if self._finish is None and not self.over:
            raise RuntimeError("internal error: the engine ended a reply without saying how")
        whole, length = self._parser.reply(), self._gate.length
        reply = Reply(
            text=whole.text[:length],
            phrases=tuple(phrase for phrase in whole.phrases if phrase.span[1] <= length),
            plan=whole.plan,
            issues=whole.issues,
        )
        prompt = self._usage.prompt_tokens if self._usage else prompt_tokens
        usage = Usage(prompt_tokens=prompt, completion_tokens=len(self.logprobs))
        return End(finish_reason="stop" if self.over else self._finish or "stop", usage=usage, reply=reply)

    def _pass(self, events: Iterable[ParserEvent]) -> list[Item]:
        items: list[Item] = []
        for event in events:
            match event:
                case TextDelta(text=text):
                    self._read += len(text)
                    items += self._gate.text(text)
                case PhraseDone(phrase=phrase) if phrase.unit is not None:
                    items += self._gate.item(phrase.span[1], phrase)
                case PlanDone(plan=plan):
                    items += self._gate.item(self._read, Plan(plan=plan))
        return items

    def _token(self, token: int, logprob: float) -> Token:
        data = self._vocabulary.text_bytes(token)
        text = self._vocabulary.name(token) if data is None else data.decode("utf-8", "replace")
        finite = max(logprob, _LEAST_LOGPROB) if not math.isnan(logprob) else _LEAST_LOGPROB
        return Token(text=text, data=data, logprob=min(finite, 0.0))
