"""From the pieces of one reply to what it says, up to a stop string."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from generalist.dialects import Drawn
from generalist.reply import PhraseDone, PlanDone, TextDelta
from generalist.types import Reply, Usage
from generalist_serving.backend import Piece
from generalist_serving.events import End, FinishReason, Plan, Token
from generalist_serving.readings import Drawable, Read, Reading
from generalist_serving.stops import StopGate

Item: TypeAlias = str | Plan | Drawable | Token
"""Clean text, the plan, what is to be drawn, or a token: in the order in which they became known."""

_LEAST_LOGPROB = -9999.0
"""What OpenAI's API says of a token that is all but impossible; JSON has no infinity."""


class Writer:
    """Reads a reply's pieces; ``over`` once a stop string was met, after which nothing is taken.

    ``tokens`` asks for :class:`Token` items.
    """

    def __init__(self, reading: Reading, stop: Sequence[str], *, tokens: bool) -> None:
        self._reading = reading
        self._tokens = tokens
        self._gate: StopGate[Plan | Drawable | Token] = StopGate(stop)
        self._count = 0  # tokens taken
        self._read = 0  # characters of clean text, those held back included
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None

    @property
    def over(self) -> bool:
        return self._gate.stopped

    def feed(self, piece: Piece) -> list[Item]:
        """Take a piece; what is certain now."""
        items: list[Item] = []
        tops = piece.top_logprobs or ((),) * len(piece.token_ids)
        for token, logprob, top in zip(piece.token_ids, piece.logprobs, tops, strict=True):
            if self.over:
                break
            self._count += 1
            passed = self._pass(self._reading.feed(token, logprob))
            if self._tokens:
                likeliest = tuple(self._token(*one) for one in top)
                passed += self._gate.item(self._read, replace(self._token(token, logprob), top=likeliest))
                # Tokens before what they say, so that a stream can send both at once.
                passed.sort(key=lambda item: not isinstance(item, Token))
            items += passed
        self._usage = piece.usage or self._usage
        self._finish = piece.finish_reason or self._finish
        return items

    def finish(self) -> list[Item]:
        """No more pieces come; what was held back."""
        items = self._pass(self._reading.finish())
        return items + self._gate.finish()

    def end(self, prompt_tokens: int) -> End:
        """How the reply ended; ``prompt_tokens`` is said of the prompt where no piece has told its length."""
        if self._finish is None and not self.over:
            raise RuntimeError("internal error: the engine ended a reply without saying how")
        whole, length = self._reading.reply(), self._gate.length
        reply = Reply(
            text=whole.text[:length],
            phrases=tuple(phrase for phrase in whole.phrases if phrase.span[1] <= length),
            plan=whole.plan,
            issues=whole.issues,
        )
        prompt = self._usage.prompt_tokens if self._usage else prompt_tokens
        usage = Usage(prompt_tokens=prompt, completion_tokens=self._count)
        finish: FinishReason = "stop" if self.over else self._finish or "stop"
        return End(finish_reason=finish, usage=usage, reply=reply, scores=self._reading.scores(reply))

    def _pass(self, events: Iterable[Read]) -> list[Item]:
        items: list[Item] = []
        for event in events:
            match event:
                case TextDelta(text=text):
                    self._read += len(text)
                    items += self._gate.text(text)
                case PhraseDone(phrase=phrase) if phrase.unit is not None:
                    items += self._gate.item(phrase.span[1], phrase)
                case Drawn(item=item):
                    items += self._gate.item(item.span[1], event)
                case PlanDone(plan=plan):
                    items += self._gate.item(self._read, Plan(plan=plan))
        return items

    def _token(self, token: int, logprob: float) -> Token:
        text, data = self._reading.named(token)
        finite = max(logprob, _LEAST_LOGPROB) if not math.isnan(logprob) else _LEAST_LOGPROB
        return Token(text=text, data=data, logprob=min(finite, 0.0))
