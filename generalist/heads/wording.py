"""What a question asks of a visual head, if it asks anything that a head can answer.

Only plain questions are taken, in the words of the tasks: "Detect all objects.", "Find the cats and every dog.", "How
many cats are there?". Anything else means more than names, and is left to the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Asked = Literal["detect", "box", "segment", "count"]

_QUESTIONS: tuple[tuple[Asked, re.Pattern[str]], ...] = (
    ("detect", re.compile(r"(?:detect|find|locate)\s+(.+)", re.IGNORECASE)),
    ("box", re.compile(r"where\s+(?:is|are)\s+(.+)", re.IGNORECASE)),
    ("segment", re.compile(r"segment\s+(.+)", re.IGNORECASE)),
    ("count", re.compile(r"how\s+many\s+(.+?)\s+(?:are|is)\s+there", re.IGNORECASE)),
)
_OF_TASK: Mapping[str, tuple[Asked, ...]] = {
    "chat": ("detect", "box", "segment", "count"),
    "detect": ("detect", "box"),
    "box": ("box", "detect"),
    "segment": ("segment",),
    "count": ("count",),
}
"""What a request of a task may ask for; the first also by names alone."""
_ARTICLES = re.compile(r"^(?:(?:all|every|each|any|the|a|an|of)\s+)+", re.IGNORECASE)
_THINGS = frozenset({"object", "objects", "thing", "things", "all"})
_WHOLE = "everything"
_AND = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)
_LONGEST = 500
"""Letters of a question that is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """``names``: the classes that are asked for; empty for all things, and with ``whole`` for all that there is."""

    asked: Asked
    names: tuple[str, ...] = ()
    whole: bool = False


def read_wish(text: str, task: str, said: Mapping[str, str]) -> Wish | None:
    """What ``text`` asks for in a request of ``task``; None for what is no plain question for these classes.

    ``said``: class by what it is called, in small letters.
    """
    allowed = _OF_TASK.get(task, ())
    words = " ".join(text.split()).rstrip(" .!?")
    if not allowed or not words or len(words) > _LONGEST:
        return None
    for asked, pattern in _QUESTIONS:
        if asked in allowed and (match := pattern.fullmatch(words)):
            return _wish(asked, match[1], said)
    return None if task == "chat" else _wish(allowed[0], words, said)


def _wish(asked: Asked, about: str, said: Mapping[str, str]) -> Wish | None:
    if (name := said.get(about.lower())) is not None:  # first: a class may be called anything
        return Wish(asked=asked, names=(name,))
    if about.lower() == _WHOLE:
        return Wish(asked=asked, whole=True)
    plain = [_ARTICLES.sub("", part).lower() for part in _AND.split(about)]
    if len(plain) == 1 and plain[0] in _THINGS:
        return Wish(asked=asked)
    names = _names(plain, said)
    return Wish(asked=asked, names=names) if names else None


def _names(parts: Sequence[str], said: Mapping[str, str]) -> tuple[str, ...]:
    """The classes of ``parts``, each once; empty if one of them is none."""
    found = [said.get(part) for part in parts]
    known = [name for name in found if name is not None]
    return tuple(dict.fromkeys(known)) if len(known) == len(found) else ()
