"""Kosmos-2: ``<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object>``.

The two indices are cells of a 32x32 grid, row by row: those of the upper left and the lower right corner (Kosmos-2,
arXiv 2306.14824). A corner is the centre of its cell, but of a box within one row or column its outer edge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from generalist.dialects.dialect import Asked, Question, Reader, only_kinds, refuse
from generalist.dialects.geometry import XYXY, read_xyxy
from generalist.dialects.tags import TagReader
from generalist.types import Box, Constraint

GRID = 32

_NEXT = "</delimiter_of_multi_objects/>"
_DROPPED = ("<grounding>", "<image>", "</image>", "<s>", "</s>", "<pad>", "<p>", "</p>")
_STRUCTURE = ("<phrase>", "</phrase>", "<object>", "</object>", _NEXT)
_TAGS = re.compile("|".join([r"<patch_index_[0-9]{1,4}>", *map(re.escape, (*_STRUCTURE, *_DROPPED))]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kosmos2:
    """``<grounding>`` before the question makes it draw."""

    name = "kosmos2"
    tasks = ("chat", "detect", "box", "caption", "count")

    def ask(self, question: Question) -> Asked:
        if question.task not in self.tasks:
            raise refuse(self.name, question.task, self.tasks)
        only_kinds(self.name, question.visual_prompts, ("box",))
        shown = "".join(_cells(prompt.xyxy) for prompt in question.visual_prompts if prompt.xyxy)
        if shown:
            return Asked(text=f"<grounding>Question: {question.text}<phrase> It</phrase>{shown} Answer:")
        if question.task in ("detect", "box"):
            return Asked(text=f"<grounding><phrase> {question.thing}</phrase>")
        if question.task == "caption":
            return Asked(text="<grounding>An image of")
        return Asked(text=f"<grounding>Question: {question.text} Answer:")

    def reader(self, question: Question) -> Reader:
        return _Reader(question)

    def constraint(self, question: Question) -> Constraint | None:
        """What follows the phrase of a question for boxes."""
        if question.sizes is None or question.task not in ("detect", "box"):
            return None
        grammar = (
            f'root ::= "<object>" pair ("{_NEXT}" pair)* "</object>"\npair ::= patch patch\n'
            'patch ::= "<patch_index_0" ([0-9] [0-9] [0-9]) ">" | "<patch_index_10" ([0-1] [0-9] | "2" [0-3]) ">"\n'
        )
        return Constraint(grammar=grammar)


def _cells(xyxy: XYXY) -> str:
    columns = [min(int(v * GRID), GRID - 1) for v in xyxy]
    first, last = columns[1] * GRID + columns[0], columns[3] * GRID + columns[2]
    return f"<object><patch_index_{first:04d}><patch_index_{last:04d}></object>"


def _corners(first: int, last: int) -> list[float]:
    """x1 y1 x2 y2 in cells."""
    x1, y1, x2, y2 = first % GRID, first // GRID, last % GRID, last // GRID
    if x1 == x2 or y1 == y2:
        return [x1, y1, x2 + 1, y2 + 1]
    return [x1 + 0.5, y1 + 0.5, x2 + 0.5, y2 + 0.5]


class _Reader(TagReader):
    """A box is drawn with its second index; the phrase before an object is its label."""

    def __init__(self, question: Question) -> None:
        super().__init__(question, _TAGS, longest=32, dropped=frozenset(_DROPPED))
        self._phrase_at: int | None = None  # in the clean text, while a phrase is open
        self._span = (0, 0)
        self._label = ""
        self._named = False  # a phrase has just been closed
        self._in_object = False
        self._indices: list[int] = []
        self._start = 0

    def on_text(self, text: str, at: int) -> None:
        if self._in_object:
            text = text.lstrip()
            if not text:
                return
            self.out.issue(at, "</object>", text[0])
            self._end_object()
        self._named = self._named and not text.strip()
        if not self.out.length:
            text = text.lstrip()
        self.out.text(text)

    def on_tag(self, tag: str, at: int) -> None:
        if self.question.sizes is None:
            self.out.text(tag)
        elif tag == "<phrase>":
            self._end_phrase(at, tag)
            self._end_object()
            self._phrase_at = self.out.length
        elif tag == "</phrase>":
            if self._phrase_at is None:
                self.out.issue(at, "<phrase> before </phrase>", tag)
            self._close_phrase()
        elif tag == "<object>":
            self._open_object(tag, at)
        elif tag == "</object>" or tag == _NEXT:
            self._end_pair(tag, at)
        else:
            self._index(int(tag[13:-1]), tag, at)

    def on_end(self, at: int) -> None:
        self._end_phrase(at, "the end")
        if self._in_object:
            self.out.issue(at, "</object>", "the end")

    # --- phrases ---

    def _close_phrase(self) -> None:
        if self._phrase_at is None:
            return
        written = self.out.since(self._phrase_at)
        self._label = written.strip()
        start = self._phrase_at + len(written) - len(written.lstrip())
        self._span = (start, start + len(self._label))
        self._phrase_at, self._named = None, True

    def _end_phrase(self, at: int, got: str) -> None:
        """A phrase without its end may be half a sentence: its text stays, the phrase does not."""
        if self._phrase_at is not None:
            self.out.issue(at, "</phrase>", got)
            self._phrase_at = None

    # --- objects ---

    def _open_object(self, tag: str, at: int) -> None:
        if self._phrase_at is not None:
            self.out.issue(at, "</phrase>", tag)
            self._close_phrase()
        if self._in_object:
            self.out.issue(at, "</object>", tag)
        elif not self._named:
            self._label = self.question.thing
            self._span = self.out.listed(self._label)
        self._in_object, self._indices = True, []

    def _end_pair(self, tag: str, at: int) -> None:
        if not self._in_object:
            self.out.issue(at, "<object>", tag)
            return
        if len(self._indices) % 2 or not self._indices:
            self.out.issue(at, "2 patch indices", f"{len(self._indices)}")
        self._indices = []
        if tag == "</object>":
            self._end_object()

    def _end_object(self) -> None:
        self._in_object, self._named, self._indices = False, False, []

    def _index(self, value: int, tag: str, at: int) -> None:
        if not self._in_object or value >= GRID * GRID:
            self.out.issue(at, "<patch_index_0000> to <patch_index_1023> in <object>", tag)
            return
        if not self._indices:
            self._start = at
        self._indices.append(value)
        if len(self._indices) == 2:
            xyxy = read_xyxy(_corners(*self._indices), (GRID, GRID), self.out, at)
            if xyxy is not None:
                self.out.draw(Box(xyxy=xyxy), self._label, self._span, (self._start, at + len(tag)))
        elif len(self._indices) > 2:
            self.out.issue(at, f"{_NEXT} between boxes", tag)
