"""Cutting text into passages (paragraphs) and sentences, by rules that need no language model."""

from __future__ import annotations

import re

_BREAK = re.compile(r"\n[^\S\n]*\n\s*")
_OPENING = "\"'“\N{LEFT SINGLE QUOTATION MARK}«([*_"
_CLOSING = "\"'”’»)\\]*_"
_END = re.compile(
    rf"[.!?…][{_CLOSING}]*(?P<gap>\s)(?=[{re.escape(_OPENING)}]*[^\W_a-zß-öø-ÿ])"  # an end, then no small letter
    r"|(?<=\s)[.!?](?P<apart>\s)"  # an end that stands apart
    r"|[。！？](?P<none>)"  # noqa: RUF001 - languages without spaces
)


def passages(text: str) -> list[list[str]]:
    """The sentences of every paragraph, white space made single spaces; paragraphs are what blank lines part.

    >>> passages("One is. Two  is.\\n\\nThree.")
    [['One is.', 'Two is.'], ['Three.']]
    """
    cut = (" ".join(part.split()) for part in _BREAK.split(text))
    return [sentences(part) for part in cut if part]


def sentences(text: str) -> list[str]:
    """The sentences of a line of text, without the spaces between them."""
    ends = [found.start(found.lastgroup or 0) for found in _END.finditer(text)]
    parts = (text[begin:end].strip() for begin, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [part for part in parts if part]
