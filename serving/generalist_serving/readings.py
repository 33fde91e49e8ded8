"""How one reply is read, whoever wrote it: from tokens to text, phrases and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from generalist.answer import Answer
from generalist.dialects import Drawn
from generalist.hub_line import HubLine
from generalist.line import Line
from generalist.reply import Issue, PhraseDone, PlanDone, StreamParser, TextDelta
from generalist.types import Grounded, Phrase, Prompt, Reply

Read: TypeAlias = TextDelta | PhraseDone | PlanDone | Issue | Drawn

Drawable: TypeAlias = Phrase | Drawn
"""What can be drawn: a phrase of ours with its codes, or what a dialect has read."""


class Reading(Protocol):
    """Reads one reply. ``finish`` and ``ground`` are called once, the latter for each drawable in order."""

    def feed(self, token: int, logprob: float) -> Sequence[Read]:
        """Take a token; what became known by it."""
        ...

    def finish(self) -> Sequence[Read]:
        """No more comes; what is still due."""
        ...

    def reply(self) -> Reply:
        """All that was read."""
        ...

    def ground(self, item: Drawable) -> list[Grounded]:
        """What it draws, scored by the reply so far. May take a while."""
        ...

    def scores(self, reply: Reply) -> tuple[tuple[float, ...], ...]:
        """Of the drawings of each phrase, by the whole reply; nothing where the first scores stay."""
        ...

    def named(self, token: int) -> tuple[str, bytes | None]:
        """A token by itself: its text and its bytes, or the name of a special one."""
        ...


def reading_of(line: Line | HubLine, prompt: Prompt) -> Reading:
    """How the reply to a prompt of a line is read."""
    return line.reading(prompt) if isinstance(line, HubLine) else GrammarReading(line, prompt)


class GrammarReading:
    """Reads a reply in our grammar."""

    def __init__(self, line: Line, prompt: Prompt) -> None:
        self._line = line
        self._prompt = prompt
        self._parser = StreamParser(line.vocabulary)
        self._logprobs: list[float] = []
        self._before: list[Phrase] = []

    def feed(self, token: int, logprob: float) -> Sequence[Read]:
        self._logprobs.append(logprob)
        return self._parser.feed(token)

    def finish(self) -> Sequence[Read]:
        return self._parser.finish()

    def reply(self) -> Reply:
        return self._parser.reply()

    def ground(self, item: Drawable) -> list[Grounded]:
        assert isinstance(item, Phrase)
        drawn = self._line.ground(item, self._prompt, self._logprobs, self._before)
        self._before.append(item)
        return drawn

    def scores(self, reply: Reply) -> tuple[tuple[float, ...], ...]:
        logprobs = () if self._prompt.given else self._logprobs  # what is given has scores of its own
        return tuple(self._line.scores.of(reply, logprobs))

    def named(self, token: int) -> tuple[str, bytes | None]:
        vocabulary = self._line.vocabulary
        data = vocabulary.text_bytes(token)
        return vocabulary.name(token) if data is None else data.decode("utf-8", "replace"), data


class SeenReading:
    """What a model that draws has answered by itself, without any token."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def feed(self, token: int, logprob: float) -> Sequence[Read]:
        return ()

    def finish(self) -> Sequence[Read]:
        drawn = (Drawn(item=item, source=(0, 0)) for item in self._answer.outputs)
        return TextDelta(text=self._answer.text), *drawn

    def reply(self) -> Reply:
        return self._answer.reply

    def ground(self, item: Drawable) -> list[Grounded]:
        assert isinstance(item, Drawn)
        return [item.item]

    def scores(self, reply: Reply) -> tuple[tuple[float, ...], ...]:
        return ((),) * len(reply.phrases)

    def named(self, token: int) -> tuple[str, bytes | None]:
        raise AssertionError("there are no tokens")
