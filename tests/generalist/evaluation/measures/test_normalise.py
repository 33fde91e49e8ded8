from __future__ import annotations

import pytest

from generalist.evaluation.measures.normalise import head_noun, normalise, number_in, same_answer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Yes.", "yes"),
        ("  The  red, metal sphere. ", "red metal sphere"),
        ("A fire-truck", "fire truck"),
        ("Two dogs", "2 dogs"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("It's the men's room", "its mens room"),
        ("1,000.", "1000"),
        ("3.5 m", "3.5 m"),
        ("the", ""),
        ("...", ""),
        ("ÉTÉ", "été"),
    ],
)
def test_normalise(text: str, words: str) -> None:
    assert normalise(text) == words


def test_no_answer_is_none() -> None:
    assert same_answer("red", "Red.")
    assert not same_answer("", "")
    assert not same_answer("reddish", "Red.")


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("A small red metal sphere.", "sphere"),
        ("a glass of milk", "glass"),
        ("A person in a bed", "person"),
        ("Fire truck.", "truck"),
        ("", ""),
    ],
)
def test_head_noun(text: str, noun: str) -> None:
    assert head_noun(text) == noun


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        ("There are three dogs and 2 cats.", 3),
        ("Nineteen", 19),
        ("1,200 of them", 1200),
        ("No dogs.", 0),
        ("There are none", 0),
        ("0", 0),
        ("a few", None),
        ("3.5", None),
        ("-2", None),
        ("twenty-one", None),
        ("9" * 5000, None),
        ("²", None),
        ("", None),
    ],
)
def test_number_in(text: str, number: int | None) -> None:
    assert number_in(text) == number
