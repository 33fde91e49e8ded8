"""What is asked about a picture, and that the answers are true."""

from __future__ import annotations

import numpy as np
from PIL import Image

from generalist_adapters.finetune.pictures import Picture, Region
from generalist_adapters.finetune.questions import Asked, Drawing, ask

IMAGE = Image.new("RGB", (40, 40))


def box(label: str, x: float) -> Region:
    return Region(label=label, xyxy=(x, 0.2, x + 0.1, 0.4))


def asked_often(picture: Picture, classes: tuple[str, ...], tasks: tuple[str, ...]) -> list[Asked]:
    return [one for seed in range(40) for one in ask(np.random.default_rng(seed), picture, classes, tasks)]


CELLS = Picture(id="p", image=IMAGE, boxes=(box("red", 0.7), box("blue", 0.4), box("red", 0.1)))


def test_lists_are_whole_and_go_from_left_to_right() -> None:
    whole = ask(np.random.default_rng(0), CELLS, ("red", "blue"), ("detect",))[0]
    drawings = [piece for piece in whole.answer if isinstance(piece, Drawing)]
    assert [d.label for d in drawings] == ["red", "blue"]
    assert [r.xyxy[0] for d in drawings for r in d.regions] == [0.1, 0.7, 0.4]
    assert whole.answer_text == "red [2 box], blue [1 box]"


def test_counts_and_denials_are_true() -> None:
    questions = asked_often(CELLS, ("red", "blue", "green"), ("detect", "count"))
    for one in questions:
        if one.task == "count":
            expected = "2" if "red" in one.text.lower() else "1" if "blue" in one.text.lower() else "0"
            assert one.answer == (expected,) and len(one.about) == int(expected)
        elif one.answer == ("There is no green.",):
            assert "green" in one.text
        else:
            assert all("green" not in piece for piece in one.answer if isinstance(piece, str))
    assert {one.task for one in questions} == {"detect", "count", "box"}
    assert any(one.answer == ("There is no green.",) for one in questions)
    assert "Detect all objects." in {one.text for one in questions}  # as an evaluation asks


def test_what_nobody_has_counted_is_neither_counted_nor_denied() -> None:
    crowd = Picture(id="p", image=IMAGE, boxes=(box("red", 0.1),), uncounted=frozenset({"red", "green"}))
    for one in asked_often(crowd, ("red", "green"), ("detect", "count")):
        assert one.task != "count" and "green" not in one.text


def test_empty_pictures() -> None:
    empty = Picture(id="p", image=IMAGE)
    answers = {one.answer for one in asked_often(empty, ("red",), ("detect", "segment", "caption", "depth", "point"))}
    assert answers == {("There is nothing.",), ("There is no red.",)}


def test_more_things_than_can_be_numbered() -> None:
    many = Picture(id="p", image=IMAGE, boxes=tuple(box("red", k / 100) for k in range(80)))
    (drawing,) = (
        p for p in ask(np.random.default_rng(0), many, ("red",), ("detect",))[0].answer if isinstance(p, Drawing)
    )
    assert len(drawing.regions) == 64
    assert list(drawing.regions) == sorted(drawing.regions, key=lambda r: r.xyxy[0])


def test_stuff_is_segmented_and_not_detected() -> None:
    mask = np.zeros((40, 40), bool)
    mask[20:] = True
    ground = Region(label="ground", xyxy=(0, 0.5, 1, 1), mask=mask, stuff=True)
    questions = asked_often(Picture(id="p", image=IMAGE, masks=(ground,)), ("ground",), ("segment",))
    assert "Segment everything." in {one.text for one in questions}
    assert {one.task for one in questions} == {"segment"}
