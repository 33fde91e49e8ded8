"""The stage in a browser, alone on a page: what is seen where, and what drawing on it gives."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from generalist.types import Box, DepthMap, Grounded, Mask, Output, Point
from generalist.visual import to_visual
from generalist_serving.demo.stage import Stage, colour, read_prompts, stage_image, stage_value

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

W, H = 320, 200
HOSTILE = "<img src=x onerror=window.hacked=1>"
RING = (230, 100, 60, 20)  # centre x, centre y, outer and inner radius of the mask


def ring() -> np.ndarray:
    y, x = np.mgrid[:H, :W]
    distance = np.hypot(x + 0.5 - RING[0], y + 0.5 - RING[1])
    return (distance <= RING[2]) & (distance > RING[3])


def visual() -> list[dict[str, Any]]:
    counts = coco.encode(np.asfortranarray(ring().astype(np.uint8)))["counts"].decode()
    depth = 1 + np.repeat(np.arange(W, dtype=np.float32)[None] / 40, H, axis=0)  # 1 m at the left to 9 m
    depth[:20, :20] = np.nan
    outputs: list[tuple[str, Output]] = [
        ("dog", Box(xyxy=(40 / W, 60 / H, 120 / W, 160 / H), score=0.93)),
        ("cat", Mask(size=(H, W), counts=counts, xyxy=(170 / W, 40 / H, 290 / W, 160 / H), score=0.7)),
        (HOSTILE, Point(xy=(80 / W, 20 / H), score=0.3)),
        ("room", DepthMap(values=depth)),
    ]
    return to_visual([Grounded(label=n, span=(0, 1), image=0, ref=0, output=o) for n, o in outputs], [(W, H)])


def grey(name: str = "street.png") -> Any:
    return stage_image(Image.new("RGB", (W, H), (128, 128, 128)), name)


def square() -> dict[str, Any]:
    """A mask of 40 x 40 pixels from (100, 60) on."""
    picture = Image.new("RGBA", (W, H))
    picture.paste((255, 255, 255, 255), (100, 60, 140, 100))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"type": "mask", "png": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}


GIVEN = [square(), {"type": "point", "point": [9, 8], "label": 1}, {"type": "point", "point": [5, 4], "label": 0}]
GATE = threading.Semaphore(0)


def stream() -> Iterator[Any]:
    """Like an answer that streams, a unit each time the gate opens, knowing nothing of what is being drawn."""
    image, units = grey(), visual()
    for count in range(len(units) + 1):
        yield stage_value(image, units[:count])
        GATE.acquire(timeout=20)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    gr = pytest.importorskip("gradio")
    with gr.Blocks(title="Stage", analytics_enabled=False) as blocks:
        stage = Stage(stage_value(grey(), visual()), elem_id="stage")
        out = gr.Textbox(label="Prompts", elem_id="out")
        gr.Button("Read", elem_id="read").click(lambda value: json.dumps(value["prompts"]), stage, out)
        gr.Button("Stream", elem_id="stream").click(stream, None, stage, show_progress="hidden")
        for name, value in {
            "Other": stage_value(grey("other.png")),
            "Give": stage_value(grey(), prompts=GIVEN),
            "Nothing": None,
            "Named": stage_value(grey(HOSTILE), visual()),
            "Older": {**stage_value(grey("older.png")), "at": 1},
            "Newer": {**stage_value(grey("newer.png")), "at": 2},
            "Newest": {**stage_value(grey("newest.png")), "at": 3},
            "Drawn": {**stage_value(grey(), prompts=GIVEN[1:]), "drawing": "a"},
            "Redrawn": {**stage_value(grey(), prompts=GIVEN[1:]), "drawing": "b"},
        }.items():
            gr.Button(name, elem_id=name.lower()).click(lambda value=value: value, None, stage)
    theme = gr.themes.Base(font=["system-ui"], font_mono=["monospace"])  # Gradio's own are fetched from outside
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, theme=theme, server_name="127.0.0.1")
    yield url
    blocks.close()


@pytest.fixture
def stage(page: Page, address: str) -> Page:
    return opened(page, address)


def opened(page: Page, address: str) -> Page:
    page.goto(address)
    page.locator(".frame .shown").wait_for()
    page.wait_for_function("document.querySelector('.frame .shown').naturalWidth > 0")
    return page


def at(page: Page, x: float, y: float, within: str = ".frame") -> tuple[float, float]:
    """Where pixel (x, y) of the picture is in the window."""
    box = page.locator(within).bounding_box()
    assert box is not None
    return box["x"] + x / W * box["width"], box["y"] + y / H * box["height"]


def choose(page: Page, tool: str) -> None:
    page.locator(".choices label", has_text=tool).click()


def drag(page: Page, *places: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place), steps=4)
    page.mouse.up()


def prompts(page: Page) -> list[dict[str, Any]]:
    """What a listener in Python gets."""
    page.locator("#out textarea").evaluate("node => { node.value = ''; node.dispatchEvent(new Event('input')); }")
    page.locator("#read").click()
    page.wait_for_function("document.querySelector('#out textarea').value !== ''")
    return json.loads(page.locator("#out textarea").input_value())


def shot(page: Page, selector: str = ".frame") -> np.ndarray:
    """int[H, W, 3]: what is seen, in pixels of the picture."""
    picture = Image.open(io.BytesIO(page.locator(selector).screenshot(animations="disabled"))).convert("RGB")
    return np.asarray(picture.resize((W, H), Image.Resampling.BOX)).astype(int)


def painted(prompt: dict[str, Any]) -> np.ndarray:
    (read,) = read_prompts([prompt], (W, H))
    assert read.bitmap is not None
    return read.bitmap


def slide(locator: Locator, value: float) -> None:
    locator.evaluate("(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", value)


# --- masks: the script's own reading of COCO's run lengths ------------------------------------------------


def random_mask(height: int, width: int, share: float) -> np.ndarray:
    coarse = np.random.default_rng(height).random((-(-height // 5), -(-width // 5))) < share
    return coarse.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (200, 3), (1500, 2900)])
def test_masks_are_read_to_the_pixel(page: Page, size: tuple[int, int], share: float) -> None:
    bitmap = random_mask(*size, share)
    rle = {"size": size, "counts": coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))["counts"].decode()}
    script = (files("generalist_serving.demo.stage") / "2_masks.js").read_text("utf-8")
    bits, step, path = page.evaluate(
        f"rle => {{ {script} const mask = readMask(rle); const [height, width] = rle.size;"
        "return [mask.bits.join(''), mask.step, maskOutline(mask, { width, height })]; }",
        rle,
    )
    expected = bitmap[::step, ::step]
    assert step == -(-max(size) // 1024)
    assert np.array_equal(np.array(list(bits), int).reshape(expected.shape), expected)
    if step == 1:  # else the last row and column are cut at the picture's edge
        assert area_inside(path) == bitmap.sum()


def area_inside(path: str) -> float:
    """Of closed outlines; holes run the other way round and count against it."""
    area = 0.0
    for outline in path.split("Z")[:-1]:
        x, y = np.array([corner.split() for corner in outline.removeprefix("M").split("L")], float).T
        area += (np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    return area


# --- seeing ---------------------------------------------------------------------------------------------


def test_drawings_are_seen_where_the_objects_are(stage: Page) -> None:
    slide(stage.locator(".opacity input"), 100)
    seen = shot(stage)
    inside = np.abs(seen - list(bytes.fromhex(colour(1)[1:]))).sum(axis=2) < 60
    y, x = np.mgrid[:H, :W]
    edge = np.abs(np.hypot(x + 0.5 - RING[0], y + 0.5 - RING[1])[..., None] - RING[2:4]).min(axis=2) < 4
    assert (inside == ring())[~edge & (y > 40)].mean() > 0.99
    red = np.abs(seen - list(bytes.fromhex(colour(0)[1:]))).sum(axis=2) < 120
    assert red[70:150, 38:43].any(axis=1).all() and red[70:150, 118:123].any(axis=1).all()
    assert red[158:163, 50:110].any(axis=0).all() and not red[70:150, 50:110].any()


def test_opacity_fades_masks_only(stage: Page) -> None:
    slide(stage.locator(".opacity input"), 0)
    seen = shot(stage)
    assert np.abs(seen[100, 265] - 128).max() < 4
    assert np.abs(seen[110, 38:43] - 128).max() > 40


def test_names_and_numbers_stand_beside_colours(stage: Page) -> None:
    assert stage.locator(".tag").all_inner_texts() == ["1\ndog 0.93", "2\ncat 0.70", f"3\n{HOSTILE} 0.30"]
    dashes = stage.locator(".shapes .line").evaluate_all("nodes => nodes.map(n => n.getAttribute('stroke-dasharray'))")
    assert len(set(dashes)) == 2
    assert stage.locator("img.shown").get_attribute("alt") == (
        f"Picture with 4 drawings: box dog, mask cat, point {HOSTILE}, depth room"
    )


def test_text_of_models_and_files_is_never_markup(stage: Page) -> None:
    stage.locator("#named").click()
    stage.locator(".name", has_text=HOSTILE).wait_for()
    stage.locator(".listing summary").click()
    assert stage.locator(".listing td", has_text=HOSTILE).count() == 1
    assert stage.locator(".unit", has_text=HOSTILE).count() == 1
    assert stage.locator("#stage [onerror]").count() == 0
    assert stage.evaluate("window.hacked") is None


def test_the_threshold_hides_what_is_less_sure(stage: Page) -> None:
    slide(stage.locator(".threshold input"), 0.8)
    assert stage.locator(".unit:visible .words").all_inner_texts() == ["dog", "room"]  # a depth map has no score
    assert stage.locator(".tag:visible").all_inner_texts() == ["1\ndog 0.93"]
    assert "2 drawings: box dog, depth room" in (stage.locator("img.shown").get_attribute("alt") or "")
    assert np.abs(shot(stage)[100, 265] - 128).max() < 4
    slide(stage.locator(".threshold input"), 0)
    assert stage.locator(".unit:visible").count() == 4


def test_the_table_tells_the_same_in_pixels(stage: Page) -> None:
    stage.locator(".listing summary").click()
    rows = stage.locator(".listing tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    assert cells[0] == ["1", "box", "dog", "0.93", "40, 60, 120, 160", "8000"]
    assert cells[1] == ["2", "mask", "cat", "0.70", "170, 40, 290, 160", str(ring().sum())]
    assert cells[3][1:5] == ["depth", "room", "not known", "1.00 m to 8.97 m"]
    assert stage.locator(".listing caption").count() == 1


def test_highlights_go_both_ways(stage: Page) -> None:
    stage.evaluate("document.addEventListener('generalist:highlight', e => (window.heard ??= []).push(e.detail))")
    stage.locator(".unit").nth(1).focus()
    assert stage.evaluate("window.heard.at(-1)") == {"unit": 1, "stage": "stage"}
    assert stage.locator(".unit.lit .words").all_inner_texts() == ["cat"]
    stage.locator(".unit").nth(1).blur()
    assert stage.evaluate("window.heard.at(-1).unit") is None
    stage.mouse.move(*at(stage, 80, 110))
    assert stage.evaluate("window.heard.at(-1).unit") == 0

    send = "detail => document.dispatchEvent(new CustomEvent('generalist:highlight', { detail }))"
    stage.evaluate(send, {"unit": 1})
    assert stage.locator(".tag.lit").all_inner_texts() == ["2\ncat 0.70"]
    assert stage.locator(".tag.dim").count() == 1 + 1
    stage.evaluate(send, {"unit": 0, "stage": "another"})
    assert stage.locator(".tag.lit").all_inner_texts() == ["2\ncat 0.70"]
    stage.evaluate(send, {"unit": None})
    assert stage.locator(".lit, .dim").count() == 0


def test_a_click_keeps_a_unit_lit(stage: Page) -> None:
    button = stage.locator(".unit").first
    button.click()
    stage.mouse.move(5, 5)
    assert button.get_attribute("aria-pressed") == "true"
    assert stage.locator(".unit.lit .words").all_inner_texts() == ["dog"]
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


# --- depth ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", [".frame", ".probe"])
def test_the_depth_under_the_pointer_is_told(stage: Page, within: str) -> None:
    stage.mouse.move(*at(stage, 200, 100, within))
    told = stage.locator(".reading").inner_text()
    assert told.startswith("x 200, y 100: ") and told.endswith(" m")
    assert float(told.split()[-2]) == pytest.approx(1 + 200 / 40, abs=W / 96 / 40)  # of a cell of the grid
    stage.mouse.move(*at(stage, 5, 5, within))
    assert stage.locator(".reading").inner_text().endswith("not known")


def test_the_crosshair_moves_by_keyboard(stage: Page) -> None:
    stage.locator(".probe").focus()
    reading = stage.locator(".reading")
    assert reading.inner_text().startswith("x 160, y 100: ")
    before = float(reading.inner_text().split()[-2])
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowDown"):
        stage.keyboard.press(key)
    assert reading.inner_text().startswith("x 193, y 103: ")
    assert float(reading.inner_text().split()[-2]) > before + 0.5
    assert reading.get_attribute("aria-live") == "polite"


def test_depth_blends_over_the_picture(stage: Page) -> None:
    before = shot(stage)[190, 10]
    slide(stage.locator(".blending input"), 100)
    after = shot(stage)
    assert np.abs(before - 128).max() < 4 and np.abs(after[190, 10] - 128).max() > 60
    assert after[190, 10].sum() > after[190, 150].sum() + 60 > after[190, 310].sum() + 120  # nearer is lighter
    assert np.abs(after[4, 4] - 128).max() < 4  # not known: the picture itself


# --- drawing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options"),
    [
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 420, "height": 800}},
        {"viewport": {"width": 900, "height": 700}, "device_scale_factor": 3},
    ],
    ids=["wide", "narrow", "dense"],
)
def test_a_box_by_two_clicks_is_the_same_at_every_size(
    new_page: Callable[..., Page], address: str, options: dict[str, Any]
) -> None:
    page = opened(new_page(**options), address)
    choose(page, "Box")
    page.mouse.click(*at(page, 200, 150))
    page.mouse.move(*at(page, 100, 100))
    assert page.locator(".drawn .line").count() == 1  # a rubber band
    page.mouse.click(*at(page, 30, 40))
    assert prompts(page) == [{"type": "box", "box": [30, 40, 200, 150]}]


def test_a_box_by_dragging_and_escape(stage: Page) -> None:
    choose(stage, "Box")
    stage.mouse.click(*at(stage, 10, 10))
    stage.keyboard.press("Escape")
    assert stage.locator(".drawn .line").count() == 0
    drag(stage, (20, 30), (60, 70))
    assert prompts(stage) == [{"type": "box", "box": [20, 30, 60, 70]}]
    stage.mouse.click(*at(stage, 100, 100))
    stage.mouse.click(*at(stage, 100, 150))
    assert "empty" in stage.locator(".hint").inner_text()
    assert len(prompts(stage)) == 1


def test_points_undo_and_clear(stage: Page) -> None:
    assert stage.locator(".undo").is_disabled()
    choose(stage, "Point")
    for place in ((10, 20), (300, 190)):
        stage.mouse.click(*at(stage, *place))
    assert prompts(stage) == [
        {"type": "point", "point": [10, 20], "label": 1},
        {"type": "point", "point": [300, 190], "label": 1},
    ]
    assert stage.locator(".mark").all_inner_texts() == ["1", "2"]
    assert stage.locator(".prompts li").all_inner_texts() == ["point 10, 20", "point 300, 190"]
    stage.locator(".undo").click()
    assert [p["point"] for p in prompts(stage)] == [[10, 20]]
    stage.locator(".clear").click()
    assert prompts(stage) == [] and stage.locator(".mark").count() == 0


def test_points_that_exclude_are_told_apart_without_colour(stage: Page) -> None:
    choose(stage, "Point")
    stage.mouse.click(*at(stage, 10, 20))
    choose(stage, "Exclude")
    assert "do not mean" in stage.locator(".hint").inner_text()
    stage.mouse.click(*at(stage, 300, 190))
    stage.get_by_label("x", exact=True).fill("40")
    stage.get_by_label("y", exact=True).fill("50.5")
    stage.locator(".numbers button").click()
    drawn = [([10, 20], 1), ([300, 190], 0), ([40, 50.5], 0)]
    assert prompts(stage) == [{"type": "point", "point": place, "label": label} for place, label in drawn]
    assert stage.locator(".mark").all_inner_texts() == ["1", "\u22122", "\u22123"]
    assert stage.locator(".prompts li").all_inner_texts() == [
        "point 10, 20",
        "excluded point 300, 190",
        "excluded point 40, 50.5",
    ]
    stage.locator(".undo").click()
    assert [p["label"] for p in prompts(stage)] == [1, 0]


def test_the_edge_of_the_picture_is_the_last_place(stage: Page) -> None:
    choose(stage, "Box")
    drag(stage, (200, 150), (W + 50, H + 30))
    assert prompts(stage) == [{"type": "box", "box": [200, 150, W, H]}]


def test_a_scribble_is_paint_along_its_path(stage: Page) -> None:
    choose(stage, "Scribble")
    slide(stage.locator(".brush input"), 10)
    drag(stage, (50, 50), (150, 50), (150, 120))
    (prompt,) = prompts(stage)
    bitmap = painted(prompt)
    assert prompt["type"] == "scribble" and bitmap.shape == (H, W)
    assert bitmap[50, 50:150].all() and bitmap[50:120, 150].all()
    assert not bitmap[80, 60:140].any() and not bitmap[:44].any() and not bitmap[126:].any()
    assert np.abs(shot(stage)[50, 100] - 128).max() > 40


def test_a_mask_grows_is_erased_and_comes_back(stage: Page) -> None:
    choose(stage, "Mask")
    slide(stage.locator(".brush input"), 20)
    drag(stage, (100, 100), (200, 100))
    drag(stage, (100, 130), (200, 130))
    both = painted(*prompts(stage))
    assert both[100, 100:200].all() and both[130, 100:200].all() and not both[50].any()
    choose(stage, "Eraser")
    drag(stage, (80, 130), (220, 130))
    erased = painted(*prompts(stage))
    assert erased[98, 100:200].all() and not erased[125:135].any()
    stage.locator(".undo").click()
    assert np.array_equal(painted(*prompts(stage)), both)


def test_a_mask_that_is_erased_is_no_prompt(stage: Page) -> None:
    choose(stage, "Eraser")
    drag(stage, (60, 60), (70, 60))
    assert "no mask" in stage.locator(".hint").inner_text()
    choose(stage, "Mask")
    drag(stage, (60, 60), (70, 60))
    assert len(prompts(stage)) == 1
    choose(stage, "Eraser")
    slide(stage.locator(".brush input"), 40)
    drag(stage, (60, 60), (70, 60))
    assert prompts(stage) == []


def test_numbers_are_the_keyboards_way(stage: Page) -> None:
    stage.locator(".choices input").first.focus()
    stage.keyboard.press("ArrowRight")
    for key in ("Tab", "1", "2", "Tab", "3", "4", "Enter"):
        stage.keyboard.press(key)
    assert prompts(stage) == [{"type": "point", "point": [12, 34], "label": 1}]
    stage.locator(".choices input:checked").focus()
    stage.keyboard.press("ArrowRight")  # to the points that exclude
    stage.keyboard.press("ArrowRight")
    for name, number in {"x1": "100", "y1": "90", "x2": "20", "y2": "10.5"}.items():
        stage.get_by_label(name, exact=True).fill(number)
    stage.locator(".numbers button").click()
    assert prompts(stage)[1] == {"type": "box", "box": [20, 10.5, 100, 90]}


@pytest.mark.parametrize("number", ["", "-1", "321"])
def test_a_number_outside_the_picture_is_refused_in_words(stage: Page, number: str) -> None:
    choose(stage, "Point")
    stage.get_by_label("x", exact=True).fill(number)
    stage.get_by_label("y", exact=True).fill("5")
    stage.locator(".numbers button").click()
    assert stage.locator(".hint").inner_text() == f"x is {number or 'empty'}; use a number from 0 to 320"
    assert prompts(stage) == []


# --- values that come in --------------------------------------------------------------------------------


def test_what_is_drawn_survives_units_that_stream_in(stage: Page) -> None:
    stage.locator("#stream").click()
    stage.locator(".unit").first.wait_for(state="detached")
    choose(stage, "Point")
    stage.mouse.click(*at(stage, 30, 40))
    GATE.release()
    stage.locator(".unit").first.focus()
    for number in (1, 2, 3):
        GATE.release()
        stage.locator(".unit").nth(number).wait_for()
    GATE.release()
    assert stage.locator(".unit:focus .words").all_inner_texts() == ["dog"]  # nor does the focus get lost
    assert prompts(stage) == [{"type": "point", "point": [30, 40], "label": 1}]
    assert stage.locator(".mark").count() == 1


def test_another_picture_begins_anew(stage: Page) -> None:
    choose(stage, "Point")
    stage.mouse.click(*at(stage, 30, 40))
    stage.locator("#other").click()
    stage.locator(".name", has_text="other.png").wait_for()
    assert stage.locator("img.shown").get_attribute("alt") == "Picture without drawings"


def test_prompts_that_are_given_are_shown_and_can_be_changed(stage: Page) -> None:
    stage.locator("#give").click()
    stage.locator(".prompts li", has_text="point 9, 8").wait_for()
    assert prompts(stage) == GIVEN
    assert np.abs(shot(stage)[80, 120] - 128).max() > 40
    choose(stage, "Eraser")
    slide(stage.locator(".brush input"), 20)
    drag(stage, (120, 50), (120, 110))
    erased = painted(prompts(stage)[0])
    assert erased[80, 102:108].all() and erased[80, 132:138].all() and not erased[60:100, 112:128].any()
    stage.locator(".undo").click()
    assert np.array_equal(painted(prompts(stage)[0]), painted(GIVEN[0]))
    stage.locator(".undo").click()
    assert prompts(stage) == GIVEN[:-1]


def test_a_value_that_was_overtaken_is_left_out(stage: Page) -> None:
    stage.evaluate("""() => {
        const name = document.querySelector(".name");
        window.names = [];
        const told = () => window.names.push(name.textContent.split(" ")[0]);
        new MutationObserver(told).observe(name, { childList: true });
    }""")
    for given in ("newer", "older", "newest"):
        stage.locator(f"#{given}").click()
        stage.wait_for_timeout(300)  # so that they come in this order
    stage.locator(".name", has_text="newest.png").wait_for()
    assert stage.evaluate("window.names") == ["newer.png", "newest.png"]


def test_prompts_of_one_name_are_loaded_once(stage: Page) -> None:
    stage.locator("#drawn").click()
    stage.locator(".prompts li", has_text="point 9, 8").wait_for()
    stage.locator(".undo").click()
    stage.locator("#drawn").click()
    stage.wait_for_timeout(300)
    assert prompts(stage) == GIVEN[1:-1]
    stage.locator("#redrawn").click()
    stage.locator(".prompts li", has_text="excluded point 5, 4").wait_for()
    assert prompts(stage) == GIVEN[1:]


def test_no_picture_is_said_and_offers_no_tools(stage: Page) -> None:
    stage.locator("#nothing").click()
    stage.locator(".empty").wait_for()
    assert not stage.locator(".tools").is_visible() and not stage.locator(".views").is_visible()
    assert stage.locator(".unit").count() == 0


# --- accessible -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    new_page: Callable[..., Page], address: str, axe_findings: Callable[..., list[str]], theme: str
) -> None:
    page = opened(new_page(color_scheme=theme), f"{address}?__theme={theme}")
    page.locator(".listing summary").click()
    for tool in ("Look", "Scribble", "Box"):
        choose(page, tool)
    drag(page, (20, 30), (60, 70))
    page.locator(".prompts li").wait_for()
    assert axe_findings(page, "#stage") == []


def test_every_control_can_be_reached_and_shows_its_focus(stage: Page) -> None:
    stage.locator(".choices input").first.focus()
    reached = set()
    for _ in range(12):
        stage.keyboard.press("Tab")
        reached.add(stage.evaluate("document.activeElement.closest('label, button, .probe, summary').className"))
        width = "getComputedStyle(document.activeElement.matches('.choices input') ? document.activeElement"
        shown = stage.evaluate(f"{width}.nextElementSibling : document.activeElement).outlineStyle")
        assert shown != "none"
        if stage.evaluate("document.activeElement.localName") == "summary":
            break
    assert {"probe", "slider opacity", "slider threshold", "slider blending", "unit"} <= {
        name.split(" lit")[0] for name in reached
    }


def test_a_painting_is_the_pictures_size_whatever_its_preview(stage: Page) -> None:
    choose(stage, "Mask")
    drag(stage, (60, 60), (70, 60))
    (prompt,) = prompts(stage)
    assert Image.open(io.BytesIO(base64.b64decode(prompt["png"].partition(",")[2]))).size == (W, H)
