"""DeepSeek-VL2: ``<|ref|>the giraffe<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>``, 0 to 999 of each side.

``<|ref|>`` in the question asks for boxes of a thing, ``<|grounding|>`` for an answer with boxes in it
(deepseek-ai/DeepSeek-VL2, its card and issues 58, 96 and 100).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from generalist.dialects.dialect import Asked, Question, Reader, only_kinds, refuse
from generalist.dialects.geometry import read_box
from generalist.dialects.tags import TagReader
from generalist.types import Constraint

EDGE = 999

_REF, _REF_END, _DET, _DET_END = "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"
_BAR = "\uff5c"  # the full-width "|" of its marks for the beginning and the end of a sentence
_SENTENCE = tuple(f"<{_BAR}{end}\u2581of\u2581sentence{_BAR}>" for end in ("begin", "end"))
_DROPPED = ("<|grounding|>", *_SENTENCE, "<|Assistant|>", "<|User|>")
_TAGS = re.compile("|".join(map(re.escape, (_REF, _REF_END, _DET, _DET_END, *_DROPPED))))
_LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepseekVl2:
    """It draws boxes."""

    name = "deepseek_vl2"
    tasks = ("chat", "detect", "box", "caption", "count")

    def ask(self, question: Question) -> Asked:
        if question.task not in self.tasks:
            raise refuse(self.name, question.task, self.tasks)
        only_kinds(self.name, question.visual_prompts, ())
        if question.task in ("detect", "box"):
            return Asked(text=f"{_REF}{question.thing}{_REF_END}.")
        return Asked(text=question.text)

    def reader(self, question: Question) -> Reader:
        return _Reader(question)

    def constraint(self, question: Question) -> Constraint | None:
        if question.sizes is None or question.task not in ("detect", "box"):
            return None
        grammar = (
            f'root ::= "{_REF}" label "{_REF_END}{_DET}[" box (", " box)* "]{_DET_END}"\n'
            'box ::= "[" number ", " number ", " number ", " number "]"\n'
            "number ::= [0-9] | [1-9] [0-9] | [1-9] [0-9] [0-9]\n"
            "label ::= [a-zA-Z] [a-zA-Z \\-]{0,60}\n"
        )
        return Constraint(grammar=grammar)


class _Reader(TagReader):
    """A box is drawn with the bracket that closes it."""

    def __init__(self, question: Question) -> None:
        super().__init__(question, _TAGS, longest=24, dropped=frozenset(_DROPPED))
        self._label_at: int | None = None  # in the clean text, within <|ref|>
        self._span: tuple[int, int] | None = None
        self._label = ""
        self._in_boxes = False
        self._numbers: list[float] = []
        self._digits = ""
        self._start: int | None = None  # of the box under way
        self._stray = False

    def on_text(self, text: str, at: int) -> None:
        if self._in_boxes:
            for place, character in enumerate(text):
                self._character(character, at + place)
        else:
            if text.strip() and self._label_at is None:
                self._span = None
            self.out.text(text if self.out.length else text.lstrip())

    def on_tag(self, tag: str, at: int) -> None:
        if self.question.sizes is None:
            self.out.text(tag)
        elif tag == _REF:
            self._end_boxes(at, tag)
            if self._label_at is not None:
                self.out.issue(at, _REF_END, tag)
            elif self._span is not None and not self.out.since(self.out.length - 1).isspace():
                self.out.text(", ")
            self._label_at = self.out.length
        elif tag == _REF_END:
            if self._label_at is None:
                self.out.issue(at, f"{_REF} before {_REF_END}", tag)
            self._close_label()
        elif tag == _DET:
            self._open_boxes(tag, at)
        elif not self._in_boxes:
            self.out.issue(at, f"{_DET} before {_DET_END}", tag)
        else:
            self._in_boxes = False
            self._end_box(at, tag)

    def on_end(self, at: int) -> None:
        if self._label_at is not None:
            self.out.issue(at, _REF_END, "the end")
        self._end_boxes(at, "the end")

    def _close_label(self) -> None:
        if self._label_at is None:
            return
        written = self.out.since(self._label_at)
        self._label = written.strip()
        start = self._label_at + len(written) - len(written.lstrip())
        self._span, self._label_at = (start, start + len(self._label)), None

    def _open_boxes(self, tag: str, at: int) -> None:
        if self._label_at is not None:
            self.out.issue(at, _REF_END, tag)
            self._close_label()
        self._end_boxes(at, tag)
        if self._span is None:
            self._label = self.question.thing
            self._span = self.out.listed(self._label)
        self._in_boxes, self._stray = True, False

    def _end_boxes(self, at: int, got: str) -> None:
        if self._in_boxes:
            self._in_boxes = False
            self.out.issue(at, _DET_END, got)
            self._numbers, self._digits, self._start = [], "", None

    # --- [[x1, y1, x2, y2], ...] ---

    def _character(self, character: str, at: int) -> None:
        if character.isascii() and (character.isdigit() or character in ".-"):
            self._digits += character if len(self._digits) < _LONGEST_NUMBER else ""
            return
        self._end_number(at)
        if character == "[":
            if self._numbers:
                self.out.issue(at, "]", "[")
            self._numbers, self._start = [], at
        elif character == "]":
            self._end_box(at + 1, character)
        elif not character.isspace() and character != "," and not self._stray:
            self._stray = True
            self.out.issue(at, "numbers, commas and brackets", character)

    def _end_number(self, at: int) -> None:
        if not self._digits:
            return
        try:
            self._numbers.append(float(self._digits))
        except ValueError:
            self.out.issue(at, "a number", self._digits)
        self._digits = ""

    def _end_box(self, stop: int, got: str) -> None:
        self._end_number(stop)
        numbers, start = self._numbers, self._start
        self._numbers, self._start = [], None
        if start is None or got != "]" or not numbers:
            if numbers:
                self.out.issue(stop, "[4 numbers]", f"{numbers}")
            return
        assert self._span is not None
        box = read_box(numbers, (EDGE, EDGE), self.out, start)
        if box is not None:
            self.out.draw(box, self._label, self._span, (start, stop))
