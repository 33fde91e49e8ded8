"""The model that ships: the main job, on the sample images, is done right."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from generalist.pipeline import Generalist
from generalist.visual import box_prompt

SAMPLES = Path(__file__).resolve().parents[2] / "datasets" / "samples"
SIZE = (640, 480)


@pytest.fixture(scope="module")
def nano() -> Generalist:
    return Generalist.from_pretrained(device="cpu")


def iou(a: tuple[float, ...], pixels: tuple[int, ...]) -> float:
    b = tuple(v / SIZE[axis % 2] for axis, v in enumerate(pixels))
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def where(name: str, label: str) -> tuple[int, ...]:
    """The box of what a sample shows once, in pixels."""
    with (SAMPLES / "boxes.csv").open(encoding="utf-8") as file:
        (row,) = (row for row in csv.DictReader(file) if (row["image"], row["label"]) == (name, label))
    return tuple(int(row[key]) for key in ("x1", "y1", "x2", "y2"))


def test_a_named_thing_is_segmented_where_it_is(nano: Generalist) -> None:
    answer = nano.segment(SAMPLES / "orchard.png", "the red apple")
    (mask,) = answer.masks
    assert answer.text == "red apple"
    assert mask.size == (480, 640)
    assert iou(mask.xyxy, where("orchard.png", "red apple")) > 0.6


def test_what_is_absent_is_not_drawn(nano: Generalist) -> None:
    answer = nano.segment(SAMPLES / "orchard.png", "the police car")
    assert answer.outputs == () and "no police car" in answer.text


def test_objects_are_detected_by_name(nano: Generalist) -> None:
    answer = nano.detect(SAMPLES / "street.png")
    found = {grounded.label for grounded in answer.outputs}
    assert len(found & {"bus", "car", "bicycle", "dog", "traffic light"}) >= 2


def test_a_drawn_box_is_named(nano: Generalist) -> None:
    drawn = box_prompt(where("desk.png", "potted plant"), SIZE)
    assert "potted plant" in nano.ask(SAMPLES / "desk.png", "What is this?", visual_prompts=[drawn]).text.lower()


def test_depth_grows_towards_the_horizon(nano: Generalist) -> None:
    depth = nano.depth(SAMPLES / "street.png").depth
    assert depth is not None and depth.values.shape == (480, 640)
    assert depth.values[:100, 300:500].mean() > 2 * depth.values[-40:, :300].mean()


def test_the_shipped_files_stay_small() -> None:
    from generalist.pipeline import shipped_models

    assert sum(path.stat().st_size for path in shipped_models()["nano"].iterdir()) < 40 * 2**20
