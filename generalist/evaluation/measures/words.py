"""Answers in words: counts, short answers, names of what was marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.geometry import way_of_asking
from generalist.evaluation.measures.masks import by_way, counts_by_way
from generalist.evaluation.measures.normalise import head_noun, normalise, number_in, same_answer
from generalist.evaluation.measures.trivial import Floors, answer, commonest, floors_of

COUNT, COUNT_MANY, COUNT_ERROR = "count accuracy", "count accuracy, two or more", "count MAE"
VQA = "VQA accuracy"
NAME, NOUN = "name accuracy", "noun accuracy"

# --- counts --------------------------------------------------------------------------------------------


def _judge_count(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``right``: the number in the reply is the true one. ``error``: how far it is off; no number counts as 0, and
    is off by one at least. ``many``: there are two or more."""
    truth, said = number_in(case.sample.text), number_in(outcome.text)
    true = truth or 0
    error = max(true, 1) if said is None else abs(said - true)
    return {"right": said is not None and said == truth, "error": error, "many": true >= 2}


def _combine_count(kept: Sequence[Any]) -> dict[str, float]:
    figures = {COUNT: float(np.mean([one["right"] for one in kept]))}
    if many := [one["right"] for one in kept if one["many"]]:
        figures[COUNT_MANY] = float(np.mean(many))
    return {**figures, COUNT_ERROR: float(np.mean([float(one["error"]) for one in kept]))}


def _count_floors(cases: Sequence[Case]) -> Floors:
    """Always the commonest count; of those of two or more, where only these are asked about."""
    many = [case for case in cases if (number_in(case.sample.text) or 0) >= 2]
    of_all, of_many = _always_a_count(cases), _always_a_count(many)
    return {**of_all, **{figure: floor for figure, floor in of_many.items() if figure == COUNT_MANY}}


def _always_a_count(cases: Sequence[Case]) -> Floors:
    text = str(commonest((number_in(case.sample.text) or 0 for case in cases), 0))
    return floors_of(f"always {text}", cases, lambda case: answer(case, text), _judge_count, _combine_count)


COUNTING = Measure(
    group="count",
    judge=_judge_count,
    combine=_combine_count,
    quality=lambda kept: 1 / (1 + float(kept["error"])),
    floors=_count_floors,
    counts=lambda kept: {COUNT_MANY: sum(one["many"] for one in kept)},
    lower_is_better=frozenset({COUNT_ERROR}),
)

# --- short answers -------------------------------------------------------------------------------------


def judge_words(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``right``: the reply is the expected one; see :func:`~.normalise.normalise`."""
    return {"right": same_answer(outcome.text, case.sample.text)}


def _combine_choice(kept: Sequence[Any]) -> dict[str, float]:
    return {VQA: float(np.mean([one["right"] for one in kept]))}


def _choice_floors(cases: Sequence[Case]) -> Floors:
    answers: defaultdict[object, list[str]] = defaultdict(list)
    for case in cases:
        answers[case.sample.meta.get("ability")].append(normalise(case.sample.text))
    common = {ability: commonest(texts, "") for ability, texts in answers.items()}
    return floors_of(
        "commonest answer to its kind of question",
        cases,
        lambda case: answer(case, common[case.sample.meta.get("ability")]),
        judge_words,
        _combine_choice,
    )


CHOICE = Measure(
    group="choice",
    judge=judge_words,
    combine=_combine_choice,
    quality=lambda kept: float(kept["right"]),
    floors=_choice_floors,
)

# --- names of what was marked --------------------------------------------------------------------------


def _judge_name(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``name``: the reply is the expected one, article and case aside. ``noun``: it ends in the name of the kind of
    thing, if ``meta["facts"]`` tells that, else it has the same head noun. ``way``: how was asked."""
    right, noun, said = same_answer(outcome.text, case.sample.text), _noun(case), normalise(outcome.text)
    same_noun = f" {said}".endswith(f" {noun}") or head_noun(outcome.text) == noun
    return {"name": right, "noun": right or (bool(noun) and same_noun), "way": way_of_asking(case)}


def _noun(case: Case) -> str:
    facts = case.sample.meta.get("facts")
    if isinstance(facts, list | tuple) and len(facts) == 1:
        return normalise(str(facts[0]))
    return head_noun(case.sample.text)


def _combine_name(kept: Sequence[Any]) -> dict[str, float]:
    def figures(some: Sequence[Any]) -> dict[str, float]:
        names = {NAME: "name", NOUN: "noun"}
        return {figure: float(np.mean([one[key] for one in some])) for figure, key in names.items()}

    return by_way(kept, figures)


def _name_floors(cases: Sequence[Case]) -> Floors:
    name = commonest((normalise(case.sample.text) for case in cases), "")
    noun = commonest((_noun(case) for case in cases), "")
    of_name, of_noun = (
        floors_of(f"always {text!r}", cases, lambda case, text=text: answer(case, text), _judge_name, _combine_name)  # type: ignore[misc]
        for text in (name, noun)
    )
    return {**of_name, **{figure: floor for figure, floor in of_noun.items() if figure.startswith(NOUN)}}


REGION_NAME = Measure(
    group="region_name",
    judge=_judge_name,
    combine=_combine_name,
    quality=lambda kept: (float(kept["name"]) + float(kept["noun"])) / 2,
    floors=_name_floors,
    counts=lambda kept: counts_by_way(kept, (NAME, NOUN)),
)
