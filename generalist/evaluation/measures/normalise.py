"""Words as they are compared: what two people would call the same answer."""

from __future__ import annotations

import re

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_VALUES = {word: value for value, word in enumerate(_NUMBERS)}
_NOTHING = ("no", "none", "nothing")

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W_]+(?:-[^\W_]+)*")
_WHOLE = re.compile(r"\d{1,9}|\d{1,3}(?:,\d{3}){1,2}", re.ASCII)
_PREPOSITION = re.compile(r"\s(?:of|in|with|on|at|over|behind|made|wearing|sticking)\s")


def normalise(text: str) -> str:
    """An answer as VQA compares answers (Antol et al. 2015): lower case, no punctuation, no articles, digits for the
    words of numbers up to ten and "none".

    Unlike there, a hyphen is a space and an apostrophe nothing, and contractions stay as they are.
    ``"A fire-truck."`` -> ``"fire truck"``, ``"Two dogs"`` -> ``"2 dogs"``.
    """
    words = _WORD.findall(re.sub(r"['’]", "", text.casefold()).replace("-", " "))
    said = [_digits(word) for word in words if word not in _ARTICLES]
    return " ".join(said)


def _digits(word: str) -> str:
    if word == "none":
        return "0"
    value = _VALUES.get(word)
    return str(value) if value is not None and value <= 10 else word.replace(",", "")


def same_answer(said: str, expected: str) -> bool:
    """Whether two answers are the same but for what :func:`normalise` levels; no answer is none."""
    words = normalise(said)
    return bool(words) and words == normalise(expected)


def head_noun(text: str) -> str:
    """The word that says what a thing is: ``"A small red sphere."`` -> ``"sphere"``, ``"a glass of milk"`` ->
    ``"glass"``."""
    words = normalise(_PREPOSITION.split(text.casefold().strip(), maxsplit=1)[0]).split()
    return words[-1] if words else ""


def number_in(text: str) -> int | None:
    """The first whole number in a text, in digits or words up to twenty; "no", "none" and "nothing" are 0.

    None where there is no number, or the first one is not whole: ``"3.5"``, ``"-2"``.
    """
    text = text.casefold()
    for match in _WORD.finditer(text):
        word = match.group()
        if word in _VALUES or word in _NOTHING:
            return _VALUES.get(word, 0)
        if word[0].isdigit():
            negative = text[: match.start()].endswith(("-", "−"))  # noqa: RUF001
            return int(word.replace(",", "")) if _WHOLE.fullmatch(word) and not negative else None
    return None
