"""PaliGemma 1 and 2: ``<loc0102><loc0200><loc0481><loc0733> cat ; ...``, y before x, 0 to 1023 of each side.

A mask follows its box as 16 codes, ``<seg000>`` to ``<seg127>`` (PaliGemma, arXiv 2407.07726). The codes need the
decoder that Google publishes with the model, a file ``vae-oid.npz``; without it their box is drawn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from generalist.dialects.dialect import Asked, Question, Reader, only_kinds, refuse
from generalist.dialects.geometry import crop_mask, read_xyxy
from generalist.dialects.seg_codec import SegCodec
from generalist.dialects.tags import TagReader
from generalist.dialects.writer import MAX_LABEL
from generalist.types import Box, Constraint, Output

CODEC_FILE = "vae-oid.npz"
BINS = 1024
CODES, ENTRIES = 16, 128

_TAGS = re.compile(r"<loc[0-9]{4}>|<seg[0-9]{3}>|<eos>|<bos>|<pad>")
_DROPPED = frozenset(["<eos>", "<bos>", "<pad>"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Paligemma:
    """``codec`` draws masks; None draws their boxes."""

    codec: SegCodec | None = None

    name = "paligemma"
    tasks = ("chat", "detect", "box", "segment", "caption", "count")

    @classmethod
    def load(cls, folder: Path | None) -> Paligemma:
        """With the codec of a checkpoint folder, if it has one."""
        file = None if folder is None else folder / CODEC_FILE
        return cls(codec=SegCodec.load(file) if file is not None and file.is_file() else None)

    def ask(self, question: Question) -> Asked:
        if question.task not in self.tasks:
            raise refuse(self.name, question.task, self.tasks)
        only_kinds(self.name, question.visual_prompts, ())
        if question.task in ("detect", "box", "segment"):
            verb = "segment" if question.task == "segment" else "detect"
            return Asked(text=f"{verb} {question.thing}")
        if question.task == "caption":
            return Asked(text="caption en")
        if question.task == "chat" and re.match(
            r"(detect|segment|caption|cap|describe|ocr|answer|question)\b", question.text
        ):
            return Asked(text=question.text)
        return Asked(text=f"answer en {question.text}")

    def reader(self, question: Question) -> Reader:
        return _Reader(question, self.codec)

    def constraint(self, question: Question) -> Constraint | None:
        if question.sizes is None or question.task not in ("detect", "box", "segment"):
            return None
        codes = f' seg{{{CODES}}} " "' if question.task == "segment" else ' " "'
        digits = "[0-9]" * 3
        grammar = (
            f'root ::= unit (" ; " unit)*\nunit ::= loc loc loc loc{codes} label\n'
            f'loc ::= "<loc" ("0" {digits} | "10" ("0" [0-9] | "1" [0-9] | "2" [0-3])) ">"\n'
            'seg ::= "<seg" ("0" [0-9] [0-9] | "1" ([0-1] [0-9] | "2" [0-7])) ">"\n'
            "label ::= [a-zA-Z] [a-zA-Z \\-]{0,60}\n"
        )
        return Constraint(grammar=grammar)


class _Reader(TagReader):
    """Gathers locations, codes and a label, up to ";", a line break, or the next location."""

    def __init__(self, question: Question, codec: SegCodec | None) -> None:
        super().__init__(question, _TAGS, longest=10, dropped=_DROPPED)
        self._codec = codec
        self._start = 0
        self._locs: list[int] = []
        self._segs: list[int] = []
        self._label = ""
        self._labelled = False
        self._separator = False  # behind a unit: ";" and blanks

    def on_tag(self, tag: str, at: int) -> None:
        if self.question.sizes is None:
            self.out.text(tag)
            return
        is_loc = tag.startswith("<loc")
        if self._labelled and (self._label.strip() or len(self._locs) == 4):
            self._finish(at)
        if is_loc and self._segs:
            self._finish(at)
        if not self._locs:
            if not is_loc:
                self.out.issue(at, "<loc0000> to <loc1023> before codes", tag)
                return
            self._start = at
        self._label, self._labelled = "", False
        (self._locs if is_loc else self._segs).append(int(tag[4:-1]))

    def on_text(self, text: str, at: int) -> None:
        for place, character in enumerate(text):
            self._character(character, at + place)

    def on_end(self, at: int) -> None:
        self._finish(at)

    def _character(self, character: str, at: int) -> None:
        if not self._locs:
            if self._separator and (character.isspace() or character == ";"):
                return
            self._separator = False
            self.out.text(character)
        elif character in ";\n":
            self._finish(at)
        elif len(self._label) == MAX_LABEL:
            self.out.issue(at, "; behind a label", character)
            self._finish(at)
            self._character(character, at)
        else:
            self._label += character
            self._labelled = True

    def _finish(self, at: int) -> None:
        """The unit is over: draw it."""
        if not self._locs:
            return
        locs, segs, start = self._locs, self._segs, self._start
        label = self._label.strip()
        self._locs, self._segs, self._label, self._labelled, self._separator = [], [], "", False, True
        span = self.out.listed(label) if label else (self.out.length, self.out.length)
        if len(locs) != 4:
            self.out.issue(start, "4 locations", f"{len(locs)}")
            return
        drawn = self._drawn(locs, segs, start)
        if drawn is None:
            return
        if not label:
            label = self.question.thing
            span = self.out.listed(label)
        self.out.draw(drawn, label, span, (start, at))

    def _drawn(self, locs: list[int], segs: list[int], at: int) -> Output | None:
        xyxy = read_xyxy(locs, (BINS, BINS), self.out, at, y_first=True)
        if xyxy is None:
            return None
        if not segs:
            return Box(xyxy=xyxy)
        if len(segs) != CODES or max(segs) >= ENTRIES:
            self.out.issue(at, f"{CODES} codes <seg000> to <seg127>", f"{len(segs)} codes up to {max(segs)}")
            return Box(xyxy=xyxy)
        if self._codec is None:
            self.out.issue(at, f"{CODEC_FILE} in the model's folder, to draw masks", "16 codes of a mask")
            return Box(xyxy=xyxy)
        assert self.question.sizes is not None
        return crop_mask(self._codec.decode(segs), xyxy, self.question.sizes.submitted)
