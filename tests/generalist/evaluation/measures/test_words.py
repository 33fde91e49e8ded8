from __future__ import annotations

from typing import Any

import pytest

from generalist.evaluation.cases import Case
from generalist.evaluation.measures.words import CHOICE, COUNTING, REGION_NAME
from generalist.types import VisualPrompt

from .making import case, said

# --- counts --------------------------------------------------------------------------------------------


def counted(true: int, reply: str) -> Any:
    return COUNTING.judge(case("count", text=str(true)), said(text=reply))


def test_counts() -> None:
    kept = [
        counted(1, "1"),
        counted(0, "There are no dogs."),
        counted(2, "three"),
        counted(4, "4 dogs"),
        counted(3, "?"),
    ]
    assert COUNTING.combine(kept) == pytest.approx(
        {"count accuracy": 3 / 5, "count accuracy, two or more": 1 / 3, "count MAE": (1 + 3) / 5}
    )
    assert [COUNTING.quality(one) for one in kept] == [1, 1, 0.5, 1, 0.25]


def test_no_number_is_off_by_one_at_least() -> None:
    assert COUNTING.combine([counted(0, "dogs")]) == {"count accuracy": 0, "count MAE": 1}


def test_floors_of_counts() -> None:
    cases = [case("count", text=text) for text in ("1", "1", "1", "2", "2", "3")]
    assert COUNTING.floors(cases) == {
        "count accuracy": ("always 1", 0.5),
        "count accuracy, two or more": ("always 2", pytest.approx(2 / 3)),
        "count MAE": ("always 1", pytest.approx((0 + 0 + 0 + 1 + 1 + 2) / 6)),
    }
    assert set(COUNTING.floors(cases[:3])) == {"count accuracy", "count MAE"}


# --- short answers -------------------------------------------------------------------------------------


def test_choices() -> None:
    kept = [
        CHOICE.judge(case("choice", text="Yes."), said(text="yes")),
        CHOICE.judge(case("choice", text="A cube."), said(text="The cube!")),
        CHOICE.judge(case("choice", text="Red."), said(text="Dark red.")),
        CHOICE.judge(case("choice", text="Red."), said()),
    ]
    assert CHOICE.combine(kept) == {"VQA accuracy": 0.5}
    assert [CHOICE.quality(one) for one in kept] == [1, 1, 0, 0]


def test_the_floor_of_choices_knows_the_kind_of_question() -> None:
    cases = [
        *(case("choice", text=text, ability="exists") for text in ("Yes.", "Yes.", "No.")),
        *(case("choice", text=text, ability="colour") for text in ("Red.", "Blue.", "red")),
    ]
    assert CHOICE.floors(cases) == {"VQA accuracy": ("commonest answer to its kind of question", pytest.approx(4 / 6))}


# --- names of what was marked --------------------------------------------------------------------------


def marked(kind: str, text: str, *facts: str) -> Case:
    prompt = VisualPrompt(kind=kind)  # type: ignore[arg-type]
    return case("region_name", text=text, prompt=prompt, **({"facts": facts} if facts else {}))


def test_names() -> None:
    sphere, truck = marked("box", "A small red metal sphere.", "sphere"), marked("point", "A fire truck.", "fire truck")
    kept = [
        REGION_NAME.judge(sphere, said(text="a small red metal sphere")),
        REGION_NAME.judge(sphere, said(text="A large blue sphere.")),
        REGION_NAME.judge(truck, said(text="A truck.")),
        REGION_NAME.judge(truck, said(text="A red fire truck.")),
    ]
    assert REGION_NAME.combine(kept) == {
        "name accuracy": 0.25, "noun accuracy": 0.75,
        "name accuracy, box prompt": 0.5, "noun accuracy, box prompt": 1,
        "name accuracy, point prompt": 0, "noun accuracy, point prompt": 0.5,
    }  # fmt: skip
    assert [REGION_NAME.quality(one) for one in kept] == [1, 0.5, 0, 0.5]


def test_a_noun_of_several_words_is_not_found_in_half_a_word() -> None:
    assert REGION_NAME.quality(REGION_NAME.judge(marked("box", "A hen.", "hen"), said(text="a kitchen"))) == 0


def test_without_facts_the_head_noun_tells() -> None:
    milk = marked("box", "A glass of milk.")
    assert REGION_NAME.quality(REGION_NAME.judge(milk, said(text="A tall glass."))) == 0.5
    assert REGION_NAME.quality(REGION_NAME.judge(milk, said(text="milk"))) == 0
    assert REGION_NAME.quality(REGION_NAME.judge(milk, said())) == 0


def test_floors_of_names() -> None:
    cases = [
        marked("box", "A dog.", "dog"), marked("box", "A dog.", "dog"),
        *(marked("point", f"A {colour} cube.", "cube") for colour in ("red", "blue", "green")),
    ]  # fmt: skip
    floors = REGION_NAME.floors(cases)
    assert floors["name accuracy"] == ("always 'dog'", 0.4)
    assert floors["name accuracy, box prompt"] == ("always 'dog'", 1)
    assert floors["noun accuracy"] == ("always 'cube'", 0.6)
    assert floors["noun accuracy, box prompt"] == ("always 'cube'", 0)
