"""The tab Inspect in Chromium: a labelled folder over a server of scripted replies, attention by a tiny model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from generalist.pipeline import Generalist
from generalist.tokens import Vocabulary

from ...generalist import conftest
from ..scripted_backend import Ids, scripted_line
from .labelled_folder import HOSTILE, PICTURES, PaintedBackend, labelled_folder
from .scripted_demo import World, expect, scripted_demo, sleep_at, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from generalist.model import Checkpoint
    from generalist_serving.demo.inspect import Looker

pytest.importorskip("gradio", reason="gradio is not installed")


tiny_checkpoint = conftest.tiny_checkpoint


@contextmanager
def inspecting(vocab: Vocabulary, ids: Ids, folder: Path, looker: Looker | None) -> Iterator[World]:
    from generalist_serving.demo.inspect import find_folders

    with scripted_demo(vocab, folders=find_folders([labelled_folder(folder)]), looker=looker) as world:
        # The service has this very object, so that it becomes another kind of backend in its place.
        painted = PaintedBackend(ids)
        world.backend.__class__ = PaintedBackend
        vars(world.backend).update(vars(painted))
        yield world


@pytest.fixture(scope="module")
def world(
    vocab: Vocabulary, ids: Ids, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    from generalist.engine.transformers_engine import TransformersEngine
    from generalist_serving.demo.inspect import Looker

    engine = TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, vocab)
    looker = Looker()
    looker.use(Generalist(engine, scripted_line(vocab)))
    with inspecting(vocab, ids, tmp_path_factory.mktemp("labelled"), looker) as world:
        yield world


def open_inspect(page: Page, world: World) -> None:
    visit(page, world.url)
    page.get_by_role("tab", name="Inspect").click()
    expect(page.get_by_label("Model to inspect")).to_have_value("nano")


def run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#inspect-plots .status").get_by_text(f"Done: {len(PICTURES)} pictures.").wait_for()


def settle(page: Page) -> None:
    """No toast, and no fading in: axe would take half-faded words for pale ones."""
    page.wait_for_function("document.getAnimations().every((one) => one.playState !== 'running')")


def test_a_run_fills_the_plots_and_a_point_shows_its_picture(
    new_page: Callable[..., Page], world: World, axe_findings: Callable[[Page], list[str]]
) -> None:
    page = new_page(color_scheme="light")
    open_inspect(page, world)
    run(page)
    points = page.locator("#inspect-plots .point")
    expect(points).to_have_count(sum(len(things) for things, _ in PICTURES.values()))
    expect(page.locator("#inspect-plots .status")).to_contain_text(
        "4 of 7 things found under the right name (57%), 7 drawings, 57% of them right."
    )
    sleep_at(page, "#inspect-truth .units li", 1)
    top = page.locator('.point[data-key="4/0"]')  # with two others below
    for pressed in ("4/0", "0/0", "2/0"):
        top.click()
        page.locator(f'.point[data-key="{pressed}"][aria-pressed="true"]').wait_for()
    page.locator("#inspect-truth .name").get_by_text("confused.png").wait_for()
    expect(page.locator("#inspect-truth .units .words")).to_have_text(["dog"])
    expect(page.locator("#inspect-found .units .words")).to_have_text(["cat"])
    expect(page.locator('.point[aria-pressed="true"]')).to_have_count(1)
    page.locator("#inspect-plots details.things summary").click()
    expect(page.locator("#inspect-plots .things tbody tr")).to_have_count(points.count())
    page.locator("#inspect-plots details.confusion summary").click()
    cells = page.locator("#inspect-plots .confusion tbody tr").first.locator("td")
    expect(cells).to_have_text(["3", "1", "0", "0", "0"])
    expect(cells.first).to_be_visible()
    settle(page)
    assert axe_findings(page) == []


def test_by_keyboard_from_the_plot_to_the_heat_map(
    new_page: Callable[..., Page], world: World, axe_findings: Callable[[Page], list[str]]
) -> None:
    page = new_page(color_scheme="dark")
    open_inspect(page, world)
    run(page)
    points = page.locator("#inspect-plots .point")
    expect(points).to_have_count(sum(len(things) for things, _ in PICTURES.values()))
    expect(points.first).to_have_attribute("tabindex", "0")
    points.first.focus()
    for key, point in (("End", points.last), ("Home", points.first), ("ArrowRight", points.nth(1))):
        page.keyboard.press(key)
        expect(point).to_be_focused()
    expect(page.locator('.point[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Enter")
    look = page.get_by_role("button", name="Show where the model looked")
    expect(look).to_be_enabled()
    look.press("Enter")
    tokens = page.get_by_role("listbox", name="Tokens of the answer")
    tokens.wait_for()
    heat = page.locator("#inspect-heat canvas")
    expect(heat).to_have_js_property("width", 2)
    expect(heat).to_have_js_property("height", 2)
    tokens.focus()
    page.keyboard.press("Home")
    expect(page.locator("#inspect-heat .told")).to_have_text(re.compile("^Token 1 of "))
    expect(heat).to_have_attribute("aria-label", re.compile("^Heat map of "))
    told, pixels = heat.get_attribute("aria-label") or "", heat.evaluate("(one) => one.toDataURL()")
    page.keyboard.press("ArrowRight")
    expect(page.locator('#inspect-heat [aria-selected="true"]')).to_have_id("heat-token-1")
    expect(heat).not_to_have_attribute("aria-label", told)
    assert pixels != heat.evaluate("(one) => one.toDataURL()")
    settle(page)
    assert axe_findings(page) == []


def test_hostile_names_are_words(page: Page, world: World) -> None:
    open_inspect(page, world)
    run(page)
    last = len(PICTURES) - 1
    page.locator(f'.point[data-key="{last}/0"]').focus()
    expect(page.locator("#inspect-plots .reading")).to_contain_text(HOSTILE)
    page.keyboard.press("Enter")
    page.locator("#inspect-truth .units").get_by_text(HOSTILE).wait_for()
    page.get_by_label("Answer to look into").click()
    expect(page.locator("#inspect-plots .classes")).to_contain_text(HOSTILE)
    assert page.locator("img[src=x]").count() == 0 and page.title() == "Generalist"


def test_a_run_can_be_cancelled_and_goes_on_where_it_was(page: Page, world: World) -> None:
    open_inspect(page, world)
    world.backend.delay = 2
    try:
        page.get_by_role("button", name="Run", exact=True).click()
        page.locator("#inspect-plots progress").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.locator("#inspect-plots .status").get_by_text("Stopped after").wait_for()
    finally:
        world.backend.delay = 0
    run(page)


def test_classes_can_be_left_out_of_the_plot(page: Page, world: World) -> None:
    open_inspect(page, world)
    run(page)
    page.get_by_label("Plot dog", exact=True).uncheck()
    expect(page.locator("#inspect-plots .point")).to_have_count(3)
    page.get_by_label("Plot dog", exact=True).check()
    expect(page.locator("#inspect-plots .point")).to_have_count(7)


def test_without_the_model_one_sentence_says_what_it_needs(
    browser: Browser, page: Page, vocab: Vocabulary, ids: Ids, tmp_path: Path
) -> None:
    with inspecting(vocab, ids, tmp_path, None) as world:
        open_inspect(page, world)
        run(page)
        page.locator('.point[data-key="1/0"]').click()
        page.locator("#inspect-heat .note").get_by_text("start the demo without --url").wait_for()
        expect(page.get_by_role("button", name="Show where the model looked")).to_be_disabled()
        page.goto("about:blank")


def test_without_a_folder_there_is_no_tab(browser: Browser, page: Page, vocab: Vocabulary) -> None:
    with scripted_demo(vocab) as world:
        visit(page, world.url)
        expect(page.get_by_role("tab")).to_have_text(["Chat", "Compare"])
        page.goto("about:blank")
