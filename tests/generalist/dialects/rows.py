"""What the tests of the dialects share: tables of answers, and what they draw in pixels of one image."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from generalist.dialects import Dialect, Question, Reading, Sizes, parse
from generalist.types import Box, Grounded, Mask, Point

SIZES = Sizes(submitted=(1000, 500), resized=(500, 250))

DETECT = Question(text="Detect dogs.", task="detect", sizes=SIZES)
BOX = Question(text="Where is the dog?", task="box", sizes=SIZES)
POINT = Question(text="Point to the dog.", task="point", sizes=SIZES)
SEGMENT = Question(text="Segment the dog.", task="segment", sizes=SIZES)
CAPTION = Question(text="Describe the image.", task="caption", sizes=SIZES)
CHAT = Question(text="What is in the image?", sizes=SIZES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``drawn`` = "label kind numbers; ..." in pixels of a 1000x500 image, of a mask its box; ``clean``: the text."""

    answer: str
    drawn: str
    question: Question = DETECT
    clean: str | None = None


def documented(answer: str, drawn: str, question: Question = DETECT, clean: str | None = None) -> object:
    return pytest.param(Row(answer=answer, drawn=drawn, question=question, clean=clean), id=answer[:40])


malformed = documented
"""The same with a defect, which is named in a comment beside it."""


def check(row: Row, dialect: Dialect, *, issues: bool) -> None:
    """Read ``row.answer`` and compare, numbers within a pixel; a malformed one must report issues."""
    reading = parse(dialect, row.answer, row.question)
    found, wanted = [_shown(item) for item in reading.outputs], _wanted(row.drawn)
    assert [one[:2] for one in found] == [one[:2] for one in wanted], reading
    for (label, _, numbers), (_, _, expected) in zip(found, wanted, strict=True):
        assert numbers == pytest.approx(expected, abs=1), label
    if row.clean is not None:
        assert reading.text == row.clean
    assert bool(reading.issues) == issues, reading.issues
    _check_whole(reading, row)


def _check_whole(reading: Reading, row: Row) -> None:
    """Spans hold their labels, offsets lie in the answer."""
    for item in reading.outputs:
        start, stop = item.span
        assert 0 <= start <= stop <= len(reading.text)
        assert start == stop or " ".join(reading.text[start:stop].split()) == item.label
    for drawn in reading.drawn:
        assert 0 <= drawn.source[0] < drawn.source[1] <= len(row.answer)
    assert all(0 <= issue.at <= len(row.answer) for issue in reading.issues)


def _shown(item: Grounded) -> tuple[str, str, list[float]]:
    width, height = SIZES.submitted
    output = item.output
    if isinstance(output, Point):
        return item.label, "point", [output.xy[0] * width, output.xy[1] * height]
    assert isinstance(output, Box | Mask)
    kind = "box" if isinstance(output, Box) else "mask"
    return item.label, kind, [v * (width, height)[axis % 2] for axis, v in enumerate(output.xyxy)]


def _wanted(drawn: str) -> list[tuple[str, str, list[float]]]:
    rows = []
    for one in filter(None, (part.strip() for part in drawn.split(";"))):
        words = one.split()
        at = next(k for k, word in enumerate(words) if word in ("box", "point", "mask"))
        rows.append((" ".join(words[:at]), words[at], [float(word) for word in words[at + 1 :]]))
    return rows
