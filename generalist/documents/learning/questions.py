"""Questions made from sentences by rules: no language model, no labels.

A phrase of a sentence, best a name or a number, is taken out and asked for (Lewis et al. 2019, "Unsupervised question
answering by cloze translation"): what stays is shortened, loses words and changes order, as nobody asks in the words
of the text. Some questions are a few words of a sentence, or a sentence beside it (inverse cloze: Lee et al. 2019).
The words that ask are English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from generalist.documents.learning.material import Material, without_links

Rng = np.random.Generator

KINDS = {"cloze": 0.7, "words": 0.2, "beside": 0.1}
"""How a question is made -> its share."""
_AROUND = (3, 9)
"""Words that stay on either side of what is asked for."""
_DROPPED, _SWAPPED, _BARE = 0.12, 0.1, 0.3
"""Shares of words that are lost, that change places, and that lose their ending."""
_NAMED = 0.6
"""How often a pronoun becomes the document's title, where it has one."""

_EDGES = "\"'“”\N{LEFT SINGLE QUOTATION MARK}’()[]{}<>,;:.!?*_`«»"
_NUMBER = re.compile(r"[$€£]?\d[\d,.]*(st|nd|rd|th|%|s)?")
_YEAR = re.compile(r"1\d{3}s?|20\d{2}s?")
_PRONOUNS = frozenset(("he", "she", "it", "they", "his", "her", "its", "their", "this", "these", "him", "them"))
_PLACE = frozenset(("in", "at", "from", "to", "near", "into"))
_BEFORE = _PLACE | {"on", "by", "of", "with", "for", "during", "since"}
_SMALL_WORDS = """
a an the and or of in on at by for with from to as is was are were be been has have had that which who whose this these
it its he she they his her their not but into than then also can may will would could should such there when where while
after before during about between over under up out if so no nor
"""
_SMALL = frozenset(_SMALL_WORDS.split())
_ASKING: dict[str, Sequence[str]] = {
    "year": ("When", "When", "What year", "In what year"),
    "number": ("How many", "How many", "How much", "What number of", "What percentage of"),
    "place": ("Where", "Where", "In what", "What place", "Which"),
    "name": ("Who", "Who", "What", "What", "Which", "What is the name of the one that"),
    "other": ("What", "What", "What", "Which", "What kind of", "How", "Why", "What type of"),
}
_HELPING = ("did", "does", "do", "is", "was", "were", "are", "")


def make_question(rng: Rng, material: Material, number: int, kind: str | None = None) -> str:
    """A question to which the sentence ``number`` speaks."""
    kind = kind or str(rng.choice(list(KINDS), p=list(KINDS.values())))
    sentence = material.sentences[number]
    if kind == "beside":
        others = material.neighbours(number)
        if others:
            return _stretch(rng, _words(material.sentences[others[int(rng.integers(len(others)))]].text), 6, 16)
        kind = "cloze"
    words = _words(sentence.text)
    if kind == "words" or len(words) < 4:
        return _few(rng, words)
    return _cloze(rng, words, material.titles[sentence.document])


def _words(text: str) -> list[str]:
    """Words with the punctuation behind them; without markup."""
    return [word for word in without_links(text).split() if word.strip(_EDGES)]


def _stretch(rng: Rng, words: Sequence[str], least: int, most: int) -> str:
    count = int(rng.integers(least, most + 1))
    begin = int(rng.integers(max(1, len(words) - count + 1)))
    return " ".join(word.strip(_EDGES) for word in words[begin : begin + count])


def _few(rng: Rng, words: Sequence[str]) -> str:
    """A few of the words that say something, mostly in order."""
    telling = [word.strip(_EDGES) for word in words if word.strip(_EDGES).lower() not in _SMALL]
    count = min(len(telling), int(rng.integers(3, 7)))
    chosen = sorted(rng.choice(len(telling), count, replace=False).tolist()) if telling else []
    return " ".join(_noisy(rng, [telling[k] for k in chosen]))


def _cloze(rng: Rng, words: list[str], title: str) -> str:
    begin, end, what = _asked_for(rng, words)
    left, right = words[:begin], words[end:]
    if left and left[-1].lower() in _BEFORE:
        if what == "name" and left[-1].lower() in _PLACE and rng.random() < 0.6:
            what = "place"
        if rng.random() < 0.7:
            left = left[:-1]
    left = _up_to_comma(rng, left[::-1])[: int(rng.integers(*_AROUND))][::-1]
    right = _up_to_comma(rng, right)[: int(rng.integers(*_AROUND))]
    parts = [*left, *right] if rng.random() < 0.7 else [*right, *left]
    body = [_plain(word, title, rng) for word in parts]
    asking = _ASKING[what][int(rng.integers(len(_ASKING[what])))]
    helping = _HELPING[int(rng.integers(len(_HELPING)))] if rng.random() < 0.6 else ""
    return " ".join(part for part in (asking, helping, *_noisy(rng, body)) if part) + "?"


def _asked_for(rng: Rng, words: Sequence[str]) -> tuple[int, int, str]:
    """The phrase that is taken out: where it begins and ends, and what it is."""
    found: list[tuple[int, int, str]] = []
    at = 0
    while at < len(words):
        bare = words[at].strip(_EDGES)
        if _NUMBER.fullmatch(bare):
            found.append((at, at + 1, "year" if _YEAR.fullmatch(bare) else "number"))
        elif bare[0].isupper() and bare.lower() not in _SMALL:
            end = at + 1
            while end < len(words) and words[end].strip(_EDGES)[0].isupper() and words[end - 1][-1] not in ",;:.":
                end += 1
            if at or end > 1:  # a sentence begins with a capital letter
                found.append((at, end, "name"))
            at = end - 1
        at += 1
    if found and rng.random() < 0.75:
        return found[int(rng.integers(len(found)))]
    telling = [k for k, word in enumerate(words) if word.strip(_EDGES).lower() not in _SMALL]
    at = int(rng.choice(telling or range(len(words))))
    return at, min(len(words), at + int(rng.integers(1, 4))), "other"


def _up_to_comma(rng: Rng, words: Sequence[str]) -> list[str]:
    """``words``, often only up to where a part of the sentence ends."""
    ends = (k for k, word in enumerate(words) if word[-1] in ",;:")
    end = next(ends, None)
    return list(words if end is None or end < 2 or rng.random() < 0.4 else words[: end + 1])


def _plain(word: str, title: str, rng: Rng) -> str:
    bare = word.strip(_EDGES)
    if title and bare.lower() in _PRONOUNS and rng.random() < _NAMED:
        return title
    return bare.lower() if bare.lower() in _SMALL else bare


def _noisy(rng: Rng, words: Sequence[str]) -> list[str]:
    kept = [word for word in words if rng.random() >= _DROPPED] or list(words)
    for at in range(len(kept) - 1):
        if rng.random() < _SWAPPED:
            kept[at], kept[at + 1] = kept[at + 1], kept[at]
    return [_bare(word) if rng.random() < _BARE else word for word in kept]


def _bare(word: str) -> str:
    """A word without what English puts at its end, roughly."""
    for ending in ("ing", "ed", "es", "s"):
        if word.islower() and word.endswith(ending) and len(word) > len(ending) + 3:
            return word.removesuffix(ending)
    return word
