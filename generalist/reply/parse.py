"""From token ids to a reply, one token at a time; whatever the ids, nothing raises.

What the model says stays: prose and phrase labels are text, also where the grammar was left.
Codes that do not make up a whole payload are dropped, and every departure from the grammar is
an issue at its token offset (a run of stray tokens is one issue, at its first).
Text inside a tag that another tag interrupts is prose again; where the end cuts it off it is dropped.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from dataclasses import replace

from generalist.grammar import read_plan_line
from generalist.reply.events import Event, Issue, PhraseDone, PlanDone, TextDelta
from generalist.reply.unit import UnitParser, shown
from generalist.tokens import PHRASE_CLOSE, PHRASE_OPEN, TASK_CLOSE, TASK_OPEN, UNIT_OPEN, Vocabulary
from generalist.types import ParseIssue, Phrase, PlanItem, Reply, Unit


def parse(ids: Iterable[int], vocab: Vocabulary) -> Reply:
    """The reply that ``ids`` say; never raises, whatever the integers.

    A reply without ``issues`` is one that :func:`encode` can write. ``Phrase.tokens`` are the
    offsets of its label; ``Ref.tokens`` those of its codes, without ``[k]``, ``<doc>`` and ``</doc>``.
    """
    parser = StreamParser(vocab)
    for token in ids:
        parser.feed(token)
    parser.finish()
    return parser.reply()


class StreamParser:
    """Parses a reply as it is written: ``feed`` every token, then ``finish``.

    A state is the method that takes the next token. "(" is held back for one token, since a
    unit may begin with it.
    """

    def __init__(self, vocab: Vocabulary) -> None:
        self._vocab = vocab
        self._open = {vocab.structure[n] for n in (PHRASE_OPEN, TASK_OPEN, UNIT_OPEN)}
        self._phrase_open, self._phrase_close = vocab.structure[PHRASE_OPEN], vocab.structure[PHRASE_CLOSE]
        self._task_open, self._task_close = vocab.structure[TASK_OPEN], vocab.structure[TASK_CLOSE]
        self._unit_open = vocab.structure[UNIT_OPEN]
        self._state: Callable[[int], None] = self._in_text
        self._at = 0
        self._held = False  # a "(" that is not yet text
        self._stray_at = -2
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text: list[str] = []
        self._length = 0  # characters of self._text
        self._label = Phrase(text="", span=(0, 0))  # of the current phrase; its text is known once it is closed
        self._label_piece = 0  # where in self._text it begins
        self._unit: UnitParser | None = None
        self._plan_tokens: list[tuple[int, bytes]] = []
        self._phrases: list[Phrase] = []
        self._plan: tuple[PlanItem, ...] | None = None
        self._issues: list[ParseIssue] = []
        self._events: list[Event] = []

    def feed(self, token_id: int) -> list[Event]:
        """Take the next token; what became known through it, in order."""
        self._events = []
        self._state(int(token_id))
        self._at += 1
        return self._events

    def finish(self) -> list[Event]:
        """Say that no more tokens come; call it once. Returns what is still due."""
        self._events = []
        if self._state == self._in_phrase:
            self._report("</Phrase>", "the end")
        elif self._state == self._in_plan:
            self._close_plan()
            self._report("</Task>", "the end")
        elif self._state == self._in_unit:
            assert self._unit is not None
            self._unit.end(self._at)
            self._take_unit()
        elif self._state == self._after_phrase:
            self._done(None)
        self._release()
        self._flush()
        return self._events

    def reply(self) -> Reply:
        """What is known so far."""
        return Reply(
            text="".join(self._text), phrases=tuple(self._phrases), plan=self._plan, issues=tuple(self._issues)
        )

    # --- states ---

    def _in_text(self, token: int) -> None:
        if self._take_text(token):
            return
        if token == self._unit_open:
            self._report("<Phrase> before a unit", shown(token, self._vocab))
            self._held = False
            self._open_label()
            self._close_label(self._at)
            self._begin_unit()
            return
        self._release()
        if token == self._phrase_open:
            self._open_label()
            self._state = self._in_phrase
        elif token == self._task_open:
            self._begin_plan()
        else:
            self._stray("text or <Phrase>", token)

    def _in_phrase(self, token: int) -> None:
        if self._take_text(token):
            return
        if token == self._phrase_close:
            self._release()
            self._close_label(self._at)
            if not self._label.text:
                self._report("text in <Phrase>", shown(token, self._vocab))
            self._state = self._after_phrase
        elif token == self._unit_open:
            self._report("</Phrase>", shown(token, self._vocab))
            self._close_label(self._at - self._held)
            self._held = False
            self._begin_unit()
        elif token in self._open:
            # Without its end the label may be half a sentence: its text stays, the phrase does not.
            self._report("</Phrase>", shown(token, self._vocab))
            self._enter_text(token)
        else:
            self._stray("text or </Phrase>", token)

    def _after_phrase(self, token: int) -> None:
        if token == self._vocab.open_paren and not self._held:
            self._held = True
        elif token == self._unit_open:
            if not self._held:
                self._report("( before a unit", shown(token, self._vocab))
            self._held = False
            self._begin_unit()
        else:
            self._done(None)
            self._enter_text(token)

    def _in_unit(self, token: int) -> None:
        assert self._unit is not None
        taken = self._unit.feed(token, self._at)
        if self._unit.finished:
            self._take_unit()
        if not taken:
            self._enter_text(token)

    def _in_plan(self, token: int) -> None:
        data = self._vocab.text_bytes(token)
        if data is not None:
            self._plan_tokens.append((self._at, data))
        elif token == self._task_close:
            self._close_plan()
            self._state = self._in_text
        elif token in self._open:
            prose = self._close_plan()
            self._report("</Task>", shown(token, self._vocab))
            self._write(prose)
            self._enter_text(token)
        else:
            self._stray("a line of the plan", token)

    def _enter_text(self, token: int) -> None:
        self._state = self._in_text
        self._in_text(token)

    # --- text ---

    def _take_text(self, token: int) -> bool:
        """Write a text token, or hold a "(" back; False when it is no text."""
        if token == self._vocab.open_paren:
            self._release()
            self._held = True
            return True
        data = self._vocab.text_bytes(token)
        if data is None:
            return False
        self._release()
        self._write(data)
        return True

    def _release(self) -> None:
        """The "(" held back is text after all."""
        if self._held:
            self._held = False
            self._write(b"(")

    def _write(self, data: bytes) -> None:
        self._emit_text(self._utf8.decode(data))

    def _flush(self) -> None:
        """End a run of text: bytes that wait for the rest of a character become U+FFFD."""
        self._emit_text(self._utf8.decode(b"", True))

    def _emit_text(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._length += len(text)
            self._events.append(TextDelta(text=text))

    # --- phrases and units ---

    def _open_label(self) -> None:
        self._flush()
        self._label = Phrase(text="", span=(self._length, self._length), tokens=(self._at + 1, self._at + 1))
        self._label_piece = len(self._text)

    def _close_label(self, token_stop: int) -> None:
        self._flush()
        start, token_start = self._label.span[0], self._label.tokens[0]
        self._label = Phrase(
            text="".join(self._text[self._label_piece :]),
            span=(start, self._length),
            tokens=(token_start, max(token_start, token_stop)),
        )

    def _begin_unit(self) -> None:
        self._unit = UnitParser(self._vocab)
        self._state = self._in_unit

    def _take_unit(self) -> None:
        """A unit is over: its issues, its phrase, and what turned out to be prose."""
        assert self._unit is not None
        unit, self._unit = self._unit, None
        for issue in unit.issues:
            self._issues.append(issue)
            self._events.append(Issue(issue=issue))
        self._done(unit.unit())
        self._write(unit.prose)
        self._state = self._in_text

    def _done(self, unit: Unit | None) -> None:
        if not self._label.text and unit is None:
            return
        phrase = replace(self._label, unit=unit)
        self._phrases.append(phrase)
        self._events.append(PhraseDone(phrase=phrase))

    # --- plan ---

    def _begin_plan(self) -> None:
        self._flush()
        if self._text or self._phrases or self._plan is not None:
            self._report("the plan at the start, once", self._vocab.name(self._task_open))
        self._plan_tokens = []
        self._state = self._in_plan

    def _close_plan(self) -> bytes:
        """Read the plan's lines; the ones that are none are issues and are returned as text."""
        items: list[PlanItem] = []
        other: list[bytes] = []
        for at, line in self._plan_lines():
            item = read_plan_line(line.decode("utf-8", "replace"))
            if item is not None:
                items.append(item)
            else:
                other.append(line)
                self._report("- Name: NAME Unit: KIND Num: N", repr(line.decode("utf-8", "replace")), at)
        if self._plan is None:
            self._plan = tuple(items)
            self._events.append(PlanDone(plan=self._plan))
        return b"\n".join(other)

    def _plan_lines(self) -> list[tuple[int, bytes]]:
        """Every line with the offset of the token it begins in."""
        if not self._plan_tokens:
            return []
        starts = [self._plan_tokens[0][0]]
        for at, data in self._plan_tokens:
            starts += [at] * data.count(b"\n")
        lines = b"".join(data for _, data in self._plan_tokens).split(b"\n")
        return list(zip(starts, lines, strict=True))

    # --- issues ---

    def _stray(self, expected: str, token: int) -> None:
        """Report a token that is skipped, unless the one before it was skipped too."""
        if self._stray_at != self._at - 1:
            self._report(expected, shown(token, self._vocab))
        self._stray_at = self._at

    def _report(self, expected: str, got: str, at: int | None = None) -> None:
        issue = ParseIssue(at=self._at if at is None else at, expected=expected, got=got)
        self._issues.append(issue)
        self._events.append(Issue(issue=issue))
