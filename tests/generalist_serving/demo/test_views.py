"""What the page is told to show: phrases with their units, details, links; whatever a server sends."""

from __future__ import annotations

from typing import Any

import pytest

from generalist.tasks import TASKS
from generalist.types import ParseIssue, PlanItem, Usage
from generalist_serving.client import ClientAnswer, ModelInfo, ScoredToken
from generalist_serving.demo import views
from generalist_serving.demo.conversations import Conversation, Question

from .test_conversations import answered, picture


def entry(index: int, start: int, stop: int, **more: Any) -> dict[str, Any]:
    box = {"index": index, "type": "box", "image": 0, "label": "x", "span": [start, stop], "box": [1, 2, 3, 4]}
    return {**box, "score": 0.5, **more}


def test_a_phrase_with_several_units() -> None:
    pieces = views.segments("Two dogs 🐕 and a cat", [entry(0, 4, 8), entry(1, 4, 8), entry(2, 15, 20)])
    assert [(p["text"], p["units"]) for p in pieces] == [
        ("Two ", []),
        ("dogs", [0, 1]),
        (" 🐕 and ", []),
        ("a cat", [2]),
    ]


@pytest.mark.parametrize("span", [(3, 2), (0, 99), (-4, 2), (2, 2), (1, 3)])
def test_spans_that_do_not_fit_lose_no_words(span: tuple[int, int]) -> None:
    pieces = views.segments("A dog.", [entry(0, 0, 2), entry(1, *span)])
    assert "".join(piece["text"] for piece in pieces) == "A dog."


def test_a_turn() -> None:
    talk = Conversation()
    talk.add([picture("dog.png")])
    drawn = (
        {"type": "box", "box": [1, 2, 3.5, 4]},
        {"type": "mask", "png": "data:..."},
        {"type": "point", "point": [1, 2], "label": 0},
    )
    turn = talk.ask(Question(words="dogs", task="detect", model="cats", prompts=drawn, picture=talk.shown))
    assert views.transcript(talk)["turns"][0]["details"] is None
    turn.state, turn.text, turn.visual, turn.seconds = "done", "A dog.", [entry(0, 2, 5)], 1.25
    turn.plan = (PlanItem(name="dog", kind="box", num=1),)
    turn.answer = ClientAnswer(
        text="A dog.",
        usage=Usage(prompt_tokens=3, completion_tokens=4),
        issues=(ParseIssue(at=2, expected="loc", got="text"),),
        finish_reason="length",
        model="cats",
        tokens=(ScoredToken(text="A", logprob=-0.123456),),
    )
    (shown,) = views.transcript(talk)["turns"]
    assert shown["question"] == "Detect dogs." and shown["drawn"] == [
        "box 1, 2, 3.5, 4",
        "mask",
        "excluded point 1, 2",
    ]
    assert (shown["task"], shown["model"], shown["last"]) == ("Find all", "cats", True)
    assert [link["label"] for link in shown["downloads"]] == ["Overlay", "COCO"]
    assert shown["details"] == {
        "plan": ["1 × dog (box)"],
        "usage": "3 tokens read, 4 written · 1.2 s · cut at its limit · cats",
        "issues": ["at token 2: expected loc, got text"],
        "tokens": [["A", -0.1235]],
    }


def test_only_the_last_question_can_be_changed() -> None:
    talk = Conversation()
    answered(talk, "First?")
    answered(talk, "Second?")
    assert [turn["last"] for turn in views.transcript(talk)["turns"]] == [False, True]
    assert [turn["last"] for turn in views.transcript(talk, editable=False)["turns"]] == [False, False]


def test_the_stage_shows_what_lies_on_its_picture() -> None:
    talk = Conversation()
    talk.add([picture("dog.png"), picture("cat.png")])
    turn = answered(talk, "Compare.")
    turn.visual = [entry(0, 0, 1), entry(1, 0, 1, image=1)]
    value = views.stage(talk)
    assert value["image"] is not None and value["image"]["name"] == "cat.png"
    assert [unit["index"] for unit in value["units"]] == [1]
    assert views.stage(Conversation())["image"] is None


def test_what_the_visitor_is_to_have_drawn_has_a_name_of_its_own() -> None:
    talk = Conversation()
    before, again = views.stage(talk), views.stage(talk)
    assert (before["prompts"], before["drawing"]) == (again["prompts"], again["drawing"]) == ([], talk.drawing)
    talk.draw([{"type": "point", "point": [1, 2]}])
    drawn = views.stage(talk)
    assert drawn["prompts"] == [{"type": "point", "point": [1, 2]}] and drawn["drawing"] != before["drawing"]
    talk.ask(Question(words="What is this?"))
    assert views.stage(talk)["prompts"] == [] and views.stage(talk)["drawing"] != drawn["drawing"]


def test_what_is_made_later_is_newer() -> None:
    talk = Conversation()
    made = [show(talk)["at"] for show in (views.stage, views.pictures, views.transcript, views.stage)]
    assert made == sorted(set(made))


def test_menus() -> None:
    assert [task for _, task in views.task_choices()] == list(TASKS) == list(views.HINTS)
    models = (ModelInfo(name="nano"), ModelInfo(name="cats", parent="nano"))
    assert views.model_choices(models) == [("nano", "nano"), ("cats (adapter)", "cats")]
