"""Which questions a head takes for its own, and which it leaves to the model."""

from __future__ import annotations

import pytest

from generalist.heads.wording import Wish, read_wish

SAID = {
    "red cell": "red cell", "red cells": "red cell", "platelets": "Platelets", "dog and cat": "dog and cat",
    "the end": "the end",
}  # fmt: skip


@pytest.mark.parametrize("text, task, wish", [
    ("Detect all objects.", "detect", Wish(asked="detect")),
    ("detect everything", "chat", Wish(asked="detect", whole=True)),
    ("Find all the red cells!", "chat", Wish(asked="detect", names=("red cell",))),
    ("Locate platelets,  Red Cells and platelets.", "chat", Wish(asked="detect", names=("Platelets", "red cell"))),
    ("Detect dog and cat.", "detect", Wish(asked="detect", names=("dog and cat",))),
    ("Detect the end.", "detect", Wish(asked="detect", names=("the end",))),
    ("Where is the red cell?", "box", Wish(asked="box", names=("red cell",))),
    ("Segment everything.", "segment", Wish(asked="segment", whole=True)),
    ("How many red cells are there?", "count", Wish(asked="count", names=("red cell",))),
    ("red cells", "detect", Wish(asked="detect", names=("red cell",))),  # the task says the rest
    ("Platelets", "segment", Wish(asked="segment", names=("Platelets",))),
])  # fmt: skip
def test_plain_questions(text: str, task: str, wish: Wish) -> None:
    assert read_wish(text, task, SAID) == wish


@pytest.mark.parametrize("text, task", [
    ("Detect the largest red cell.", "detect"),
    ("Detect red cells and dogs.", "detect"),  # half of it would be a wrong answer
    ("Detect all objects.", "segment"),
    ("Detect all objects.", "caption"),
    ("Describe the image.", "chat"),
    ("red cells", "chat"),
    ("Is there a red cell?", "chat"),
    ("Detect .", "detect"),
    ("", "detect"),
    ("   ", "chat"),
    ("Detect " + "a " * 100_000 + "red cell", "detect"),
    ("Detect red cells. Then sing.", "detect"),
])  # fmt: skip
def test_all_else_is_the_models(text: str, task: str) -> None:
    assert read_wish(text, task, SAID) is None
