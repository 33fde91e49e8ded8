"""The tasks: their words, what they may draw, and what a wrong name says."""

from __future__ import annotations

import pytest

from generalist.tasks import TASKS, get_task, question
from generalist.types import KINDS, GeneralistError


def test_what_each_task_draws() -> None:
    assert {name: spec.emits for name, spec in TASKS.items()} == {
        "chat": KINDS,
        "detect": ("box",),
        "box": ("box",),
        "point": ("point",),
        "segment": ("mask",),
        "depth": ("depth",),
        "caption": (),
        "count": (),
    }


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("chat", "What is {this}?", "What is {this}?"),
        ("detect", "dogs", "Detect dogs."),
        ("box", "the dog", "Where is the dog?"),
        ("point", "the dog", "Point to the dog."),
        ("segment", "the {} dog", "Segment the {} dog."),
        ("count", "dogs", "How many dogs are there?"),
        ("depth", "", "Estimate the depth."),
        ("caption", " ", "Describe the image."),
    ],
)
def test_questions(name: str, text: str, expected: str) -> None:
    assert question(name, text) == expected


def test_unknown_task_lists_the_known() -> None:
    with pytest.raises(GeneralistError, match=r"no task 'segmnt'; use one of chat, .*segment"):
        get_task("segmnt")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_to_ask_about(text: str) -> None:
    with pytest.raises(GeneralistError, match="task 'detect' has nothing to ask about"):
        question("detect", text)


def test_text_that_a_task_does_not_take() -> None:
    with pytest.raises(GeneralistError, match="task 'depth' asks about the whole image, not about 'the dog'"):
        question("depth", "the dog")
