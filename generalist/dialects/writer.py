"""What comes out of reading an answer: clean text, drawings tied to their words, issues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from generalist.reply.events import Issue, TextDelta
from generalist.types import Grounded, Output, ParseIssue, Phrase, Reply

MAX_DRAWINGS = 1000
"""Of one answer; a model that repeats itself draws no more than this."""
MAX_ISSUES = 100
"""Of one answer that are kept."""
MAX_LABEL = 200
"""Characters of a label; what a model writes behind them is no name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """A whole drawing. ``source`` = [start, stop) of what drew it, in characters of the answer as written."""

    item: Grounded
    source: tuple[int, int]


Event: TypeAlias = TextDelta | Drawn | Issue


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A whole answer. ``ParseIssue.at`` counts characters of the answer as the model wrote it."""

    text: str = ""
    drawn: tuple[Drawn, ...] = ()
    issues: tuple[ParseIssue, ...] = ()

    @property
    def outputs(self) -> tuple[Grounded, ...]:
        return tuple(one.item for one in self.drawn)

    @property
    def reply(self) -> Reply:
        """Text, phrases and issues. The phrases have no units: these hold codes of our vocabulary alone."""
        spans = dict.fromkeys((item.span, item.label) for item in self.outputs if item.span[0] < item.span[1])
        phrases = tuple(Phrase(text=label, span=span) for span, label in sorted(spans))
        return Reply(text=self.text, phrases=phrases, issues=self.issues)


class Writer:
    """Gathers a :class:`Reading` and the events that lead to it."""

    def __init__(self, image: int) -> None:
        self._image = image
        self._pieces: list[str] = []
        self.length = 0  # characters of the clean text
        self._drawn: list[Drawn] = []
        self._refs: dict[tuple[tuple[int, int], str], int] = {}
        self._issues: list[ParseIssue] = []
        self._events: list[Event] = []
        self._fresh: list[str] = []  # text that is in no event yet
        self._full = False
        self._listing = False

    @property
    def full(self) -> bool:
        """Whether no more drawings are taken."""
        return len(self._drawn) >= MAX_DRAWINGS

    def text(self, text: str) -> None:
        """More of the clean text."""
        if text:
            self._listing = False
            self._write(text)

    def listed(self, label: str) -> tuple[int, int]:
        """Write the next label of a list ("dog, cat"); its span."""
        label = _short(label)
        if self._listing and label:
            self._write(", ")
        start = self.length
        self._write(label)
        self._listing = self._listing or bool(label)
        return start, self.length

    def draw(self, output: Output, label: str, span: tuple[int, int], source: tuple[int, int]) -> None:
        """A drawing for the words at ``span``; beyond MAX_DRAWINGS an issue instead, once."""
        if self.full:
            if not self._full:
                self._full = True
                self.issue(source[0], f"at most {MAX_DRAWINGS} drawings", "one more")
            return
        label = _short(label)
        ref = self._refs[span, label] = self._refs.get((span, label), -1) + 1
        item = Grounded(label=label, span=span, image=self._image, ref=ref, output=output)
        self._drawn.append(Drawn(item=item, source=source))
        self._tell(self._drawn[-1])

    def issue(self, at: int, expected: str, got: str) -> None:
        """The answer left the dialect at character ``at``."""
        if len(self._issues) == MAX_ISSUES:
            return
        shown = got if len(got) <= 80 else f"{got[:77]}..."
        self._issues.append(ParseIssue(at=at, expected=expected, got=shown))
        self._tell(Issue(issue=self._issues[-1]))

    def since(self, start: int) -> str:
        """The clean text from a character on."""
        left, pieces = self.length - start, []
        for piece in reversed(self._pieces):
            if left <= 0:
                break
            pieces.append(piece[-left:] if left < len(piece) else piece)
            left -= len(piece)
        return "".join(reversed(pieces))

    def drain(self) -> list[Event]:
        """The events since the last call."""
        self._flush()
        events, self._events = self._events, []
        return events

    def reading(self) -> Reading:
        return Reading(text="".join(self._pieces), drawn=tuple(self._drawn), issues=tuple(self._issues))

    def _write(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self.length += len(text)
            self._fresh.append(text)

    def _tell(self, event: Event) -> None:
        self._flush()
        self._events.append(event)

    def _flush(self) -> None:
        """One event for a run of text, however it was written."""
        if self._fresh:
            self._events.append(TextDelta(text="".join(self._fresh)))
            self._fresh = []


def _short(label: str) -> str:
    """A label on one line, not too long."""
    return " ".join(label.split())[:MAX_LABEL].rstrip()
