"""Florence-2: a task token in, labels with ``<loc_0>`` to ``<loc_999>`` out, x before y, 1000 bins of each side.

``car<loc_53><loc_334><loc_933><loc_775>`` is a box, more locations are polygons where a mask was asked for and
corners of a quadrilateral for text; ``<poly>``, ``</poly>`` and ``<sep>`` separate them (Florence-2, arXiv 2311.06242,
and its processor in transformers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from generalist.dialects.dialect import Asked, Question, Reader, only_kinds, refuse
from generalist.dialects.geometry import XYXY, polygons_mask, read_xyxy
from generalist.dialects.tags import TagReader
from generalist.types import Box, Constraint, GeneralistError

BINS = 1000

_SPECIAL = ("<s>", "</s>", "<pad>", "<ground>", "<obj>", "<od>", "</od>", "<box>", "</box>", "<bbox>", "</bbox>")
_POLY, _POLY_END, _SEP, _AND = "<poly>", "</poly>", "<sep>", "<and>"
_TAGS = re.compile("|".join([r"<loc_[0-9]{1,4}>", *map(re.escape, (*_SPECIAL, _POLY, _POLY_END, _SEP, _AND))]))

_TASKS = {
    "detect": "<OPEN_VOCABULARY_DETECTION>",
    "box": "<CAPTION_TO_PHRASE_GROUNDING>",
    "segment": "<REFERRING_EXPRESSION_SEGMENTATION>",
    "caption": "<DETAILED_CAPTION>",
}
_EVERYTHING = "all objects"
_POLYGON_TOKENS = ("<REFERRING_EXPRESSION_SEGMENTATION>", "<REGION_TO_SEGMENTATION>")
_QUAD_TOKENS = ("<OCR_WITH_REGION>",)
_REGION_TOKENS = ("<REGION_TO_SEGMENTATION>", "<REGION_TO_CATEGORY>", "<REGION_TO_DESCRIPTION>", "<REGION_TO_OCR>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Florence2:
    """It knows no conversation: a question in chat must be one of its own tasks, such as ``<OCR>``."""

    name = "florence2"
    tasks = ("detect", "box", "segment", "caption", "chat (with a task token such as <OCR>)")

    def ask(self, question: Question) -> Asked:
        """A task token, with what it is about. A box drawn by the user asks what is in it."""
        only_kinds(self.name, question.visual_prompts, ("box",))
        if len(question.visual_prompts) > 1:
            raise GeneralistError(f"Florence-2 takes one box, and the question has {len(question.visual_prompts)}")
        region = "".join(_quantised(prompt.xyxy) for prompt in question.visual_prompts if prompt.xyxy)
        token = task_token(question)
        if region:
            return Asked(text=(token if token in _REGION_TOKENS else "<REGION_TO_DESCRIPTION>") + region)
        if question.task == "chat":
            if not token:
                raise GeneralistError(
                    f"Florence-2 has no answer to {question.text[:60]!r} in chat; use detect, segment, caption, or one "
                    "of its task tokens such as <OCR>"
                )
            return Asked(text=question.text.strip())
        if question.task not in _TASKS:
            raise refuse(self.name, question.task, self.tasks)
        return Asked(text=token if token in ("<OD>", _TASKS["caption"]) else f"{token}{question.thing}")

    def reader(self, question: Question) -> Reader:
        return _Reader(question)

    def constraint(self, question: Question) -> Constraint | None:
        """Labels with whole boxes; nothing for masks, whose polygons have any length."""
        if question.sizes is None or question.task not in ("detect", "box") or question.visual_prompts:
            return None
        grammar = (
            "root ::= unit+\nunit ::= label loc loc loc loc (loc loc loc loc)*\n"
            'loc ::= "<loc_" ([0-9] | [1-9] [0-9] | [1-9] [0-9] [0-9]) ">"\n'
            "label ::= [a-zA-Z] [a-zA-Z \\-]{0,60}\n"
        )
        return Constraint(grammar=grammar)


def task_token(question: Question) -> str:
    """The task token of a question: the one that its text begins with, or that of its task."""
    written = re.match(r"\s*(<[A-Z_]+>)", question.text)
    if written:
        return written[1]
    if question.task == "detect" and question.thing.lower() == _EVERYTHING:
        return "<OD>"
    return _TASKS.get(question.task, "")


def _quantised(xyxy: XYXY) -> str:
    return "".join(f"<loc_{min(int(v * BINS), BINS - 1)}>" for v in xyxy)


class _Reader(TagReader):
    """Text is a label until locations follow it; a label may have several boxes or polygons."""

    def __init__(self, question: Question) -> None:
        super().__init__(question, _TAGS, longest=12, dropped=frozenset(_SPECIAL))
        token = task_token(question)
        self._shape: Literal["box", "quad", "polygon"] = "box"
        if token in _POLYGON_TOKENS:
            self._shape = "polygon"
        elif token in _QUAD_TOKENS:
            self._shape = "quad"
        self._label_at = 0  # where the label begins in the clean text
        self._span: tuple[int, int] | None = None  # of the label, once locations follow it
        self._label = ""
        self._apart = False  # a comma is due before the next label
        self._run: list[int] = []
        self._polygons: list[list[float]] = []
        self._start = 0
        self._in_poly = False

    def on_text(self, text: str, at: int) -> None:
        if self._span is not None or not self.out.length:
            text = text.lstrip()
        if text:
            self._end_label(at)
            if self._apart:
                self.out.text(", ")
                self._apart, self._label_at = False, self.out.length
            self.out.text(text)

    def on_tag(self, tag: str, at: int) -> None:
        if self.question.sizes is None:
            self.out.text(tag)
        elif tag == _POLY:
            self._begin(at)
            self._end_shape(at)
            self._in_poly = True
        elif tag == _POLY_END:
            self._end_polygon()
            self._end_shape(at + len(tag))
            self._in_poly = False
        elif tag in (_SEP, _AND):
            self._end_polygon()
        else:
            self._location(int(tag[5:-1]), at, at + len(tag))

    def on_end(self, at: int) -> None:
        self._end_label(at)

    # --- shapes ---

    def _location(self, value: int, at: int, stop: int) -> None:
        self._begin(at)
        if not self._run and not self._polygons:
            self._start = at
        self._run.append(value)
        length = 8 if self._shape == "quad" else 4
        if self._shape != "polygon" and not self._in_poly and len(self._run) == length:
            self._draw_box(stop)

    def _begin(self, at: int) -> None:
        """The label is complete."""
        if self._span is not None:
            return
        written = self.out.since(self._label_at)
        self._label = written.strip()
        start = self._label_at + len(written) - len(written.lstrip())
        self._span = (start, start + len(self._label))
        if not self._label:
            self._label = self.question.thing
            self._span = self.out.listed(self._label)

    def _draw_box(self, stop: int) -> None:
        assert self._span is not None
        xs, ys = self._run[0::2], self._run[1::2]
        corners = [min(xs), min(ys), max(xs), max(ys)] if self._shape == "quad" else self._run
        centred = [value + 0.5 for value in corners]
        xyxy = read_xyxy(centred, (BINS, BINS), self.out, self._start)
        if xyxy is not None:
            self.out.draw(Box(xyxy=xyxy), self._label, self._span, (self._start, stop))
        self._run = []

    def _end_polygon(self) -> None:
        if self._run and (self._in_poly or self._shape == "polygon"):
            even = self._run[: len(self._run) // 2 * 2]
            self._polygons.append([(value + 0.5) / BINS for value in even])
            self._run = []

    def _end_shape(self, stop: int) -> None:
        """Draw the polygons so far; what is left over of a box is an issue."""
        if self._polygons:
            assert self._span is not None and self.question.sizes is not None
            mask = None if self.out.full else polygons_mask(self._polygons, self.question.sizes.submitted)
            if mask is None:
                self.out.issue(self._start, "a polygon of 3 corners and more", f"{len(self._polygons)} without")
            else:
                self.out.draw(mask, self._label, self._span, (self._start, stop))
        elif self._run:
            self.out.issue(self._start, "4 locations of a box", f"{len(self._run)}")
        self._run, self._polygons = [], []

    def _end_label(self, at: int) -> None:
        """Other text begins, or the end: what belongs to the label is over."""
        if self._span is None:
            return
        if self._in_poly:
            self.out.issue(at, _POLY_END, "text or the end")
            self._in_poly, self._run = False, []  # a polygon that is cut off is not sound
        self._end_polygon()
        self._end_shape(at)
        self._span, self._label_at = None, self.out.length
        self._apart = self.out.length > 0
