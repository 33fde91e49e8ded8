"""Our own dialect as text: what :mod:`generalist.reply` reads in tokens, written out by their names.

``The <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0102><loc_0200><loc_0481><loc_0733>) is asleep.`` Boxes and
points are drawn; masks and depth maps need the codecs of a checkpoint of ours, which has its own line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from generalist.dialects.dialect import Asked, Question, Reader, only_kinds
from generalist.dialects.tags import TagReader
from generalist.reply import Event, Issue, PhraseDone, StreamParser, TextDelta
from generalist.tokens import Vocabulary
from generalist.types import Box, Constraint, GeneralistError, Output, Point, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplets:
    """``vocabulary`` says which tags there are, and into how many parts a side is cut."""

    vocabulary: Vocabulary

    name = "triplets"

    @classmethod
    def load(cls, folder: Path | None) -> Triplets:
        """With the vocabulary of a checkpoint folder; :class:`GeneralistError` when it has none."""
        if folder is None:
            raise GeneralistError("the dialect 'triplets' needs the vocabulary of a checkpoint; name its folder")
        return cls(vocabulary=Vocabulary.load(folder))

    def ask(self, question: Question) -> Asked:
        only_kinds(self.name, question.visual_prompts, ())
        return Asked(text=question.text)

    def reader(self, question: Question) -> Reader:
        return _Reader(question, self.vocabulary)

    def constraint(self, question: Question) -> Constraint | None:
        return None


class _Reader(TagReader):
    """Turns names into tokens, and what the parser of tokens says back into characters."""

    def __init__(self, question: Question, vocabulary: Vocabulary) -> None:
        self._ids, tags, longest = _names(vocabulary)
        super().__init__(question, tags, longest=longest, dropped=frozenset())
        self._vocabulary = vocabulary
        self._parser = StreamParser(vocabulary)
        self._token_at: list[int] = []  # the character at which each token begins
        self._bracket = ""  # "[k" so far
        self._bracket_at = 0

    def on_text(self, text: str, at: int) -> None:
        """Text in pieces: "(" and ")" by themselves, ``[k]`` as the token of that name."""
        for place, character in enumerate(text):
            self._character(character, at + place)

    def on_tag(self, tag: str, at: int) -> None:
        self._give_up_bracket()
        self._token(self._ids[tag], at)

    def on_end(self, at: int) -> None:
        self._give_up_bracket()
        self._token_at.append(at)
        self._tell(self._parser.finish(), at)

    def _character(self, character: str, at: int) -> None:
        if self._bracket:
            if character.isascii() and character.isdigit() and len(self._bracket) < 3:
                self._bracket += character
                return
            if character == "]" and f"{self._bracket}]" in self._ids:
                token, self._bracket = self._ids[f"{self._bracket}]"], ""
                self._token(token, self._bracket_at)
                return
            self._give_up_bracket()
        if character == "[":
            self._bracket, self._bracket_at = character, at
        else:
            self._words(character, at)

    def _give_up_bracket(self) -> None:
        text, self._bracket = self._bracket, ""
        for place, character in enumerate(text):
            self._words(character, self._bracket_at + place)

    def _words(self, text: str, at: int) -> None:
        # A lone surrogate is in no vocabulary; a model's text cannot hold one, but this must not raise.
        for token in self._vocabulary.encode_text(text.encode("utf-8", "replace").decode()):
            self._token(token, at)

    def _token(self, token: int, at: int) -> None:
        self._token_at.append(at)
        self._tell(self._parser.feed(token), at + len(self._vocabulary.name(token)))

    def _tell(self, events: Sequence[Event], stop: int) -> None:
        for event in events:
            if isinstance(event, TextDelta):
                self.out.text(event.text)
            elif isinstance(event, Issue):
                at = self._token_at[min(event.issue.at, len(self._token_at) - 1)]
                self.out.issue(at, event.issue.expected, event.issue.got)
            elif isinstance(event, PhraseDone) and event.phrase.unit is not None:
                phrase, unit = event.phrase, event.phrase.unit
                for ref in event.phrase.unit.refs:
                    start = self._token_at[ref.tokens[0]]
                    output = self._output(unit.kind, ref)
                    if output is None:
                        self.out.issue(start, "a box or a point", unit.kind)
                    elif self.question.sizes is not None:
                        end = self._token_at[ref.tokens[1]] if ref.tokens[1] < len(self._token_at) else stop
                        self.out.draw(output, phrase.text, phrase.span, (start, end))

    def _output(self, kind: str, ref: Ref) -> Output | None:
        values = [self._vocabulary.loc_value(code) for code in ref.codes] if kind in ("box", "point") else []
        if kind == "box":
            (x1, x2), (y1, y2) = sorted(values[0::2]), sorted(values[1::2])
            return Box(xyxy=(x1, y1, x2, y2))
        return Point(xy=(values[0], values[1])) if kind == "point" else None


@lru_cache(maxsize=8)
def _names(vocabulary: Vocabulary) -> tuple[dict[str, int], re.Pattern[str], int]:
    """Ids by name, what the tags among them look like, and the length of the longest."""
    ids = {vocabulary.name(token): token for token in vocabulary.special_ids}
    tags = [name for name in ids if name.startswith("<")]
    return ids, re.compile("|".join(map(re.escape, tags))), max(map(len, tags))
