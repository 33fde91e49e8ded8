"""Captions: where it is known what is there, how much of that they name; elsewhere, how they agree with people's."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.cider import cider, cider_counts, plain_agreement
from generalist.evaluation.measures.trivial import Floors, answer, commonest, floors_of
from generalist_datasets.world.ask_lexicon import ATTRIBUTES
from generalist_datasets.world.concepts import CONCEPTS
from generalist_datasets.world.language import plural, units

RECALL, PRECISION, CIDER = "facts recall", "facts precision", "CIDEr"

Words = tuple[str, ...]

_LONGEST = 8
"""Words that a name may have."""
_ADJECTIVES = frozenset(value for values in ATTRIBUTES.values() for value in values)

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*|[^\w\s]")


def _judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``facts``, ``named`` and ``right``: how many facts there are, how many things are named, how many of these
    are facts. ``cider``: counts for the figure of that name. None where the case does not tell."""
    facts, references = _facts(case), _references(case)
    named = mentions(outcome.text, facts) if facts is not None else set()
    return {
        "facts": None if facts is None else len(facts),
        "named": len(named),
        "right": len(named.intersection(facts or ())),
        "cider": cider_counts(outcome.text, references) if references else None,
    }


def _facts(case: Case) -> frozenset[str] | None:
    """``meta["facts"]``, the names of what is there; else the labels of the targets; else None."""
    given = case.sample.meta.get("facts")
    if isinstance(given, list | tuple | set | frozenset):
        return frozenset(str(fact) for fact in given)
    return frozenset(target.label for target in case.sample.targets) or None


def _references(case: Case) -> list[str]:
    """``meta["references"]``; else, where there are no facts, the one caption of the sample."""
    given = case.sample.meta.get("references")
    if isinstance(given, list | tuple) and given:
        return [str(text) for text in given]
    return [case.sample.text] if _facts(case) is None else []


# --- what a text names ---------------------------------------------------------------------------------


def mentions(text: str, facts: Iterable[str]) -> set[str]:
    """Which ``facts`` a text names, in the singular or plural, and which other concepts of the world.

    Of names within each other only the longest counts: a "hot dog" names no dog, and, where that is no fact, is
    a concept that the text names in error. An "orange cone" names no orange.
    """
    forms = ChainMap(_forms(facts), _concept_forms())
    words = _words(text)
    found: set[str] = set()
    at = 0
    while at < len(words):
        count = _name_at(words, at, forms)
        if count and not (words[at] in _ADJECTIVES and count == 1 and _is_of_a_noun(words, at + 1, forms)):
            found.add(forms[tuple(words[at : at + count])])
        at += max(count, 1)
    return found


def _name_at(words: Sequence[str], at: int, forms: Mapping[Words, str]) -> int:
    """How many words the longest name has that begins at a place; 0 for none."""
    longest = min(_LONGEST, len(words) - at)
    return next((count for count in range(longest, 0, -1) if tuple(words[at : at + count]) in forms), 0)


def _is_of_a_noun(words: Sequence[str], at: int, forms: Mapping[Words, str]) -> bool:
    return at < len(words) and (words[at] in _ADJECTIVES or _name_at(words, at, forms) > 0)


def _words(text: str) -> list[str]:
    """Words and marks, in lower case."""
    return _WORD.findall(text.casefold())


def _forms(names: Iterable[str]) -> dict[Words, str]:
    """One and several of each: ``("glasses", "of", "milk")`` -> ``"glass of milk"``."""
    some = [name for name in names if name.strip()]
    several = {tuple(_words(form)): name for name in some for form in (plural(name), units(name))}
    forms = several | {tuple(_words(name)): name for name in some}  # "glasses" are no glass where both are names
    return {words: name for words, name in forms.items() if words}


@cache
def _concept_forms() -> dict[Words, str]:
    return _forms(concept.name for concept in CONCEPTS)


# --- figures -------------------------------------------------------------------------------------------


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    """Recall and precision over the facts of all cases together; CIDEr over the cases with references."""
    told = [one for one in kept if one["facts"] is not None]
    right = sum(one["right"] for one in told)
    figures: dict[str, float] = {}
    if facts := sum(one["facts"] for one in told):
        figures[RECALL] = right / facts
    if named := sum(one["named"] for one in told):
        figures[PRECISION] = right / named
    if captions := [one["cider"] for one in kept if one["cider"] is not None]:
        figures[CIDER] = cider(captions)
    return figures


def _quality(kept: Mapping[str, Any]) -> float:
    """F1 of the facts; agreement with the references where there are no facts."""
    if kept["facts"] is None:
        return min(plain_agreement(kept["cider"]), 1.0)
    total = kept["facts"] + kept["named"]
    return 2 * kept["right"] / total if total else 1.0


def _floors(cases: Sequence[Case]) -> Floors:
    """Always the commonest fact; always the commonest reference."""
    facts = sorted(fact for case in cases for fact in _facts(case) or ())
    fact = commonest(facts, "")
    reference = commonest((text for case in cases for text in _references(case)), "")
    of_fact = floors_of(f"always {fact!r}", cases, lambda case: answer(case, fact), _judge, _combine)
    of_text = floors_of("one caption for all", cases, lambda case: answer(case, reference), _judge, _combine)
    return {**of_fact, **{figure: floor for figure, floor in of_text.items() if figure == CIDER}}


CAPTION = Measure(group="caption", judge=_judge, combine=_combine, quality=_quality, floors=_floors)
