"""Reads answers that are prose with JSON in it: Qwen's, Gemini's, and that of whoever is asked for JSON.

The clean text is the prose with the labels in the place of the JSON. What stands in brackets and
draws nothing is prose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generalist.dialects.dialect import Question, Reader
from generalist.dialects.geometry import Scale, numbers, read_box, read_point
from generalist.dialects.json_scanner import MAX_HELD, Found, JsonScanner, Left, Slip
from generalist.dialects.writer import Writer
from generalist.types import Box, Output

FENCE = "```"
_LONGEST_FENCE = 24
"""Characters of "```json" and the blanks behind it."""

DrawMask = Callable[[Mapping[str, Any], Box, Question, Writer, int], Output | None]
"""(object, its box, question, out, offset) -> the mask that an object holds, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """How objects call what they hold; the first name is the one that is asked for."""

    box: tuple[str, ...]
    point: tuple[str, ...]
    label: tuple[str, ...] = ("label", "name", "class", "category", "text_content", "object", "text")
    score: tuple[str, ...] = ("score", "confidence")
    y_first: bool = False


class JsonReader(Reader):
    """``scale``: the numbers that stand for the right and the lower edge of the image."""

    def __init__(self, question: Question, keys: Keys, scale: Scale, draw_mask: DrawMask | None = None) -> None:
        super().__init__(question)
        self._keys, self._scale, self._draw_mask = keys, scale, draw_mask
        self._scanner = JsonScanner()
        self._at = 0
        self._held: list[str] = []  # of the fence, the brackets or what follows them: text, unless they draw
        self._state: Callable[[str], None] = self._in_prose
        self._fenced = False
        self._drew = False
        self._slips: list[Slip] = []  # not yet reported: prose in brackets has none

    def take(self, text: str) -> None:
        for character in text:
            if self._state == self._in_prose and character not in "`[{":
                self.out.text(character)
            else:
                self._state(character)
            self._at += 1

    def end(self) -> None:
        if self._scanner.open:
            for item in self._scanner.end(self._at):
                self._known(item)
        if self._held and self._state != self._behind:
            self._release()

    # --- states: each takes a character ---

    def _in_prose(self, character: str) -> None:
        if character not in "`[{" or self.question.sizes is None:
            self.out.text(character)
            return
        self._held = [character]
        self._fenced = character == "`"
        self._state = self._in_fence
        if character == "{":
            self._begin(character, self._at)
        elif character == "[":
            self._state = self._behind_bracket

    def _behind_bracket(self, character: str) -> None:
        """A word behind "[" makes it prose."""
        if character.isalpha() or character in "^!":
            self._release()
            self._in_prose(character)
            return
        self._begin("[", self._at - 1)
        self._in_json(character)

    def _in_fence(self, character: str) -> None:
        """Three backticks, a word and blanks may stand before JSON."""
        held = "".join(self._held)
        if character in "{[" and held.startswith(FENCE):
            self._held.append(character)
            self._begin(character, self._at)
        elif len(held) < _LONGEST_FENCE and (
            character == "`" if len(held) < len(FENCE) else character.isalnum() or character.isspace()
        ):
            self._held.append(character)
        else:
            self._release()
            self._in_prose(character)

    def _begin(self, character: str, at: int) -> None:
        self._state = self._in_json
        self._drew = False
        self._slips = []
        for item in self._scanner.feed(character, at):
            self._known(item)

    def _in_json(self, character: str) -> None:
        if not self._drew:
            self._held.append(character)
        for item in self._scanner.feed(character, self._at):
            self._known(item)
        if len(self._held) > MAX_HELD and self._state == self._in_json and not self._drew:
            self._scanner = JsonScanner()
            self._release()

    def _behind(self, character: str) -> None:
        """Behind JSON that drew: its fence ends, and blanks go with it."""
        if character.isspace() or (self._fenced and character == "`" and self._held.count("`") < len(FENCE)):
            self._held.append(character)
            return
        blanks = "".join(self._held).replace("`", "")
        self._held = []
        self._state = self._in_prose
        if self.out.length:
            self.out.text(blanks or " " * character.isalnum())
        self._in_prose(character)

    # --- findings ---

    def _known(self, item: Found | Slip | Left) -> None:
        if isinstance(item, Slip):
            self._slips.append(item)
            if self._drew:
                self._report()
        elif isinstance(item, Left):
            self._leave(item)
        elif isinstance(item.value, dict):
            self._object(item.value, item)
        else:
            self._list(item.value, item)

    def _leave(self, left: Left) -> None:
        if self._drew or (left.closed and self.question.draws and self._is_empty()):
            self._held = []
            self._state = self._behind
        else:
            self._release()

    def _is_empty(self) -> bool:
        """ "[]": there is nothing to draw."""
        inner = "".join(self._held).lstrip("`").removeprefix("json").strip()
        return inner in ("[]", "{}")

    def _release(self) -> None:
        """What was held is prose."""
        text, self._held = "".join(self._held), []
        self._state = self._in_prose
        self.out.text(text)
        if self.question.draws:
            self._report()
        self._slips = []

    def _report(self) -> None:
        for slip in self._slips:
            self.out.issue(slip.at, slip.expected, slip.got)
        self._slips = []

    def _object(self, value: Mapping[str, Any], found: Found) -> None:
        """Draw what an object holds: a box or boxes (with their mask), else a point or points."""
        boxes, points = _first(value, self._keys.box), _first(value, self._keys.point)
        drawn: list[Output] = []
        if boxes is not None:
            self._data()
            for box in self._read_all(boxes, 4, found.start):
                mask = self._draw_mask(value, box, self.question, self.out, found.start) if self._draw_mask else None
                drawn.append(mask or box)
        elif points is not None:
            self._data()
            drawn += self._read_points(points, found.start)
        if drawn:
            self._draw(drawn, _label(value, self._keys.label), _score(value, self._keys.score), found)

    def _list(self, value: Sequence[Any], found: Found) -> None:
        """Bare numbers in a list are a box or a point where one was asked for."""
        if found.in_object or not self.question.draws:
            return
        wanted = 2 if self.question.task == "point" else 4
        if len(value) != wanted or numbers(value) is None:
            return
        self._data()
        drawn = self._read_points(value, found.start) if wanted == 2 else self._read_all(value, 4, found.start)
        self._draw(drawn, "", None, found)

    def _read_all(self, value: Any, count: int, at: int) -> list[Box]:
        read = (read_box(one, self._scale, self.out, at, y_first=self._keys.y_first) for one in _each(value))
        return [box for box in read if box is not None]

    def _read_points(self, value: Any, at: int) -> list[Output]:
        read = (read_point(one, self._scale, self.out, at, y_first=self._keys.y_first) for one in _each(value))
        return [point for point in read if point is not None]

    def _data(self) -> None:
        """The brackets hold drawings: they are no prose."""
        if not self._drew:
            self._drew = True
            self._held = []
            self._report()

    def _draw(self, outputs: Sequence[Output], label: str, score: float | None, found: Found) -> None:
        label = label or self.question.thing
        span = self.out.listed(label)
        for output in outputs:
            self.out.draw(replace(output, score=score), label, span, (found.start, found.stop))


def _first(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _each(value: Any) -> Sequence[Any]:
    """One group of numbers, or each of several."""
    return value if isinstance(value, list) and value and all(isinstance(one, list) for one in value) else [value]


def _label(value: Mapping[str, Any], names: Sequence[str]) -> str:
    found = _first(value, names)
    return found if isinstance(found, str) else f"{found:g}" if isinstance(found, float) else ""


def _score(value: Mapping[str, Any], names: Sequence[str]) -> float | None:
    found = _first(value, names)
    return found if isinstance(found, float) and 0 <= found <= 1 else None
