from __future__ import annotations

import pytest

from generalist.documents.sentences import passages, sentences

CUT = {
    "One is. Two is! Three?": ["One is.", "Two is!", "Three?"],
    'He said "Go." Then he went.': ['He said "Go."', "Then he went."],
    "It costs 3.50 euros, e.g. here.": ["It costs 3.50 euros, e.g. here."],
    "in a flow . the plate is flat .": ["in a flow .", "the plate is flat ."],
    "次の文。その次。": ["次の文。", "その次。"],
    "Élan vital. Ähre. ñu": ["Élan vital.", "Ähre. ñu"],
    "no end": ["no end"],
    "...": ["..."],
    "": [],
}


@pytest.mark.parametrize("text", CUT)
def test_sentences(text: str) -> None:
    assert sentences(text) == CUT[text]


def test_passages_are_parted_by_blank_lines() -> None:
    assert passages("A b.\nC d.\n \t\nE\n\n\n\nf") == [["A b.", "C d."], ["E"], ["f"]]
    assert passages(" \n\n ") == []
