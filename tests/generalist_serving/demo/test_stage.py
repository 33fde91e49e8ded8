"""The stage's value, colours and prompts, without a page."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generalist.draw import COLOURS
from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded
from generalist.visual import to_visual
from generalist_serving.demo.stage import Stage, colour, ink, read_prompts, stage_image, stage_value

SIZE = (64, 48)


def picture_of(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def depth_visual(values: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    depth = DepthMap(values=values.astype(np.float32), **options)
    return to_visual([Grounded(label="depth", span=(0, 1), image=0, ref=0, output=depth)], [values.shape[::-1]])


def painted(size: tuple[int, int] = SIZE, kind: str = "mask") -> dict[str, Any]:
    picture = Image.new("RGBA", size)
    picture.putpixel((3, 2), (255, 0, 0, 255))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"type": kind, "png": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}


# --- colours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(COLOURS)))
def test_ink_is_legible_on_every_colour(index: int) -> None:
    def luminance(hexadecimal: str) -> float:
        linear = [int(hexadecimal[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(colour(index)), luminance(ink(index))))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_colours_repeat_and_neighbours_differ() -> None:
    assert colour(len(COLOURS)) == colour(0)
    assert all(colour(index) != colour(index + 1) for index in range(100))


# --- value ----------------------------------------------------------------------------------------------


def test_a_value_is_json_and_says_what_lies_on_the_picture() -> None:
    items = [
        Grounded(label="a", span=(0, 1), image=0, ref=0, output=Box(xyxy=(0, 0, 0.5, 0.5), score=0.5)),
        Grounded(label="b", span=(0, 1), image=1, ref=0, output=Box(xyxy=(0, 0, 1, 1))),
        Grounded(label="c", span=(0, 1), image=9, ref=0, output=DocHit(doc_id="d")),
    ]
    visual = to_visual(items, [SIZE, (10, 10)])
    value = stage_value(Image.new("RGB", SIZE), visual, image_index=0)
    assert json.loads(json.dumps(value)) == value
    assert [unit["label"] for unit in value["units"]] == ["a", "c"]
    assert value["units"][0]["box"] == [0, 0, 32, 24]
    assert value["prompts"] is None and value["depth"] is None
    assert len(stage_value(None, visual)["units"]) == 3


def test_a_large_picture_is_sent_smaller_and_keeps_its_pixels() -> None:
    image = stage_image(Image.new("RGB", (5000, 2500), "red"), "a.jpg")
    assert (image["width"], image["height"], image["name"]) == (5000, 2500, "a.jpg")
    assert picture_of(image["url"]).size == (2048, 1024)


def test_a_small_picture_is_sent_as_it_is() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    assert np.array_equal(picture_of(stage_image(noise)["url"]), noise)


@pytest.mark.parametrize(
    ("shape", "size"), [((300, 400), [72, 96]), ((48, 64), [48, 64]), ((1, 9000), [1, 96]), ((9000, 2), [96, 1])]
)
def test_depth_values_are_those_of_the_pixels_under_them(shape: tuple[int, int], size: list[int]) -> None:
    values = np.linspace(1, 9, shape[0] * shape[1]).reshape(shape)
    depth = stage_value(None, depth_visual(values))["depth"]
    assert depth is not None and depth["size"] == size
    rows, columns = size
    grid = np.array(depth["values"]).reshape(size)
    row, column = rows // 2, columns // 3
    under = values[int((row + 0.5) * shape[0] / rows), int((column + 0.5) * shape[1] / columns)]
    assert grid[row, column] == pytest.approx(under, abs=2e-3)
    assert (depth["unit"], depth["min"], depth["max"]) == ("metre", 1, 9)


def test_unknown_depth_has_no_value_and_no_colour() -> None:
    values = np.full((4, 4), 2.0)
    values[0, 0] = math.nan
    depth = stage_value(None, depth_visual(values, unit="relative"))["depth"]
    assert depth is not None and depth["values"][:2] == [None, 2.0]
    preview = np.asarray(picture_of(depth["preview"]))
    assert preview.shape == (4, 4, 4) and preview[0, 0, 3] == 0 and preview[1, 1, 3] == 255


def test_farther_is_darker_all_the_way() -> None:
    depth = stage_value(None, depth_visual(np.linspace(0.1, 90, 256)[None]))["depth"]
    assert depth is not None
    grey = np.asarray(picture_of(depth["preview"]).convert("L")).astype(int)[0]
    assert (np.diff(grey) <= 0).all() and grey[0] - grey[-1] > 150


def test_the_png_of_a_depth_map_is_not_sent_twice() -> None:
    assert "png16" not in stage_value(None, depth_visual(np.ones((4, 4))))["units"][0]


@pytest.mark.parametrize("png16", ["", "AAAA", "not base64", base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()])
def test_a_depth_map_that_is_none_is_one_line(png16: str) -> None:
    visual = depth_visual(np.ones((4, 4)))
    with pytest.raises(GeneralistError, match="depth map 0"):
        stage_value(None, [{**visual[0], "png16": png16}])


# --- prompts --------------------------------------------------------------------------------------------


def test_what_was_drawn_becomes_prompts() -> None:
    drawn = [
        {"type": "point", "point": [32, 12], "label": 1},
        {"type": "point", "point": [16, 12], "label": 0},
        {"type": "box", "box": [0, 0, 32, 48.0]},
        painted(kind="scribble"),
        painted(),
    ]
    point, excluded, box, scribble, mask = read_prompts(drawn, SIZE)
    assert point.xy == (0.5, 0.25) and not point.excludes
    assert excluded.xy == (0.25, 0.25) and excluded.excludes
    assert box.xyxy == (0, 0, 0.5, 1)
    assert (scribble.kind, mask.kind) == ("scribble", "mask")
    assert mask.bitmap is not None and np.argwhere(mask.bitmap).tolist() == [[2, 3]]


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_drawn_is_no_prompt(nothing: object) -> None:
    assert read_prompts(nothing, SIZE) == ()


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("a string", "the list"),
        ({"type": "point"}, "the list"),
        ([7], "0"),
        ([{"type": "circle"}], "type"),
        ([{"type": "point", "point": [1]}], "point"),
        ([{"type": "point", "point": [1, float("nan")]}], "drawn prompts"),
        ([{"type": "point", "point": [1, 1], "label": 2}], "label"),
        ([{"type": "point", "point": [65, 1]}], "outside the image of 64x48"),
        ([{"type": "box", "box": [5, 5, 5, 9]}], "empty"),
        ([{"type": "box", "box": [1, 2, 3, 4], "more": 1}], "more"),
        ([{"type": "box", "box": [1, 2, 3, 4], "two\nlines": 1}], "two lines"),
        ([{"type": "point", "point": [1, 1]}] * 65, "64"),
        ([{"type": "mask", "png": "https://example.org/a.png"}], "not a PNG"),
        ([{"type": "mask", "png": "data:image/png;base64,AAAA"}], "not a PNG"),
        ([painted((65, 48))], "65x48"),
    ],
)
def test_hostile_prompts_are_one_line(entries: object, says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as caught:
        read_prompts(entries, SIZE)
    assert "\n" not in str(caught.value)


def test_an_empty_painting_is_one_line() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", SIZE).save(buffer, "PNG")
    entry = {"type": "mask", "png": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}
    with pytest.raises(GeneralistError, match="nothing is drawn"):
        read_prompts([entry], SIZE)


# --- component ------------------------------------------------------------------------------------------


def test_the_templates_hold_nothing_that_a_value_could_get_into() -> None:
    stage = Stage()
    for template in (stage.html_template, stage.css_template):
        assert not any(sign in template for sign in ("${", "{{", "`", "\\"))
    assert "innerHTML" not in stage.js_on_load and "insertAdjacentHTML" not in stage.js_on_load


def test_importing_the_stage_writes_nothing_beside_it() -> None:
    import generalist_serving.demo.stage as package

    assert list(Path(package.__file__).parent.glob("*.pyi")) == []
