"""Molmo and Molmo 2: points as tags in the text.

Molmo: ``<point x="63.5" y="44.5" alt="the peak">the peak</point>``, several in ``<points x1=".." y1=".." x2=..>``,
0 to 100 of each side. Molmo 2: ``<points coords="1 1 0635 0445 2 0100 0200">``, the image's number and then number,
x and y of each point, 0 to 1000. (The models' cards.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from generalist.dialects.dialect import Asked, Question, Reader, only_kinds, refuse
from generalist.dialects.geometry import read_point
from generalist.dialects.tags import TagReader
from generalist.types import Constraint, Point

_EDGE, _EDGE_OF_COORDS = 100, 1000
_LONGEST = 20_000
_TAGS = re.compile(r"<points?(?:\s[^<>]*)?>|</points?>|<\|endoftext\|>|<\|im_end\|>")
_ATTRIBUTE = re.compile(r'([a-z]+)([0-9]*)\s*=\s*"([^"]*)"')
_NUMBER = re.compile(r"\s*-?[0-9]+(?:\.[0-9]*)?\s*")
_GROUPS = re.compile(r"[\t:,;]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Molmo:
    """It points and counts; it draws no boxes."""

    name = "molmo"
    tasks = ("chat", "point", "caption", "count")

    def ask(self, question: Question) -> Asked:
        if question.task not in self.tasks:
            raise refuse(self.name, question.task, self.tasks)
        only_kinds(self.name, question.visual_prompts, ())
        return Asked(text=f"Point to {question.thing}." if question.task == "point" else question.text)

    def reader(self, question: Question) -> Reader:
        return _Reader(question)

    def constraint(self, question: Question) -> Constraint | None:
        return None


class _Reader(TagReader):
    """The text between the tags is the label; points come with the closing tag, or where that is missing."""

    def __init__(self, question: Question) -> None:
        super().__init__(question, _TAGS, longest=_LONGEST, dropped=frozenset(["<|endoftext|>", "<|im_end|>"]))
        self._open = ""  # the tag that waits for its end
        self._open_at = 0
        self._label_at = 0

    def on_text(self, text: str, at: int) -> None:
        self.out.text(text)

    def on_tag(self, tag: str, at: int) -> None:
        if self.question.sizes is None:
            self.out.text(tag)
        elif tag.startswith("</"):
            if not self._open:
                self.out.issue(at, "<point> before its end", tag)
                return
            if tag[2:-1] != _name(self._open):
                self.out.issue(at, f"</{_name(self._open)}>", tag)
            self._draw(at + len(tag))
        else:
            self._end_open(at, tag)
            self._open, self._open_at, self._label_at = tag, at, self.out.length
            if tag.endswith("/>"):
                self._draw(at + len(tag))

    def on_end(self, at: int) -> None:
        self._end_open(at, "the end")

    def _end_open(self, at: int, got: str) -> None:
        if self._open:
            self.out.issue(at, f"</{_name(self._open)}>", got)
            self._draw(self._open_at + len(self._open), labelled=False)

    def _draw(self, stop: int, *, labelled: bool = True) -> None:
        """Draw the points of the open tag; their label is what was written in it, else its ``alt``."""
        tag, self._open = self._open, ""
        attributes = {(m[1], m[2]): m[3] for m in _ATTRIBUTE.finditer(tag)}
        written = self.out.since(self._label_at) if labelled else ""
        label = written.strip()
        start = self._label_at + len(written) - len(written.lstrip())
        span = (start, start + len(label))
        points = self._points(attributes)
        if not points:
            self.out.issue(self._open_at, 'coordinates such as x="10.0" y="20.0"', tag)
        if not label and points:
            label = attributes.get(("alt", ""), "") or self.question.thing
            span = self.out.listed(label) if labelled else span
        for point in points:
            self.out.draw(point, label, span, (self._open_at, stop))

    def _points(self, attributes: dict[tuple[str, str], str]) -> list[Point]:
        if ("coords", "") in attributes:
            return self._of_coords(attributes["coords", ""])
        pairs = [(x, attributes.get(("y", number))) for (axis, number), x in attributes.items() if axis == "x"]
        found: list[Point] = []
        for x, y in pairs:
            if y is None or not (_NUMBER.fullmatch(x) and _NUMBER.fullmatch(y)):
                self.out.issue(self._open_at, "a number for x and one for y", f"{x}, {y}")
                continue
            point = read_point([float(x), float(y)], (_EDGE, _EDGE), self.out, self._open_at)
            found += [] if point is None else [point]
        return found

    def _of_coords(self, coords: str) -> list[Point]:
        assert self.question.sizes is not None
        found: list[Point] = []
        for group in _GROUPS.split(coords):
            words = group.split()
            if not words:
                continue
            if len(words) % 3 != 1 or not all(_NUMBER.fullmatch(word) for word in words):
                self.out.issue(self._open_at, "an image's number, then number, x and y of each point", group)
            if self.question.sizes.image and words[0] != str(self.question.sizes.image + 1):
                self.out.issue(self._open_at, f"points on image {self.question.sizes.image + 1}", group)
                continue
            for k in range(1, len(words) - 2, 3):
                x, y = words[k + 1 : k + 3]
                if _NUMBER.fullmatch(x) and _NUMBER.fullmatch(y):
                    edges = (_EDGE_OF_COORDS, _EDGE_OF_COORDS)
                    point = read_point([float(x), float(y)], edges, self.out, self._open_at)
                    found += [] if point is None else [point]
        return found


def _name(tag: str) -> str:
    return "points" if tag.startswith("<points") else "point"
