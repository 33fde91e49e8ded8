"""Two models side by side, in Chromium, over a server of scripted replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from generalist.tokens import Vocabulary

from ..scripted_backend import Ids, ScriptedBackend
from .scripted_demo import (
    BOX,
    SIZE,
    World,
    ask_and_wait,
    expect,
    picture_bytes,
    scripted_demo,
    sleep_at,
    until,
    upload,
    visit,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

ADAPTERS = {"cats": "/nowhere"}


@pytest.fixture(scope="module")
def started(vocab: Vocabulary) -> Iterator[World]:
    with scripted_demo(vocab, ADAPTERS) as world:
        yield world


@pytest.fixture
def world(started: World, ids: Ids) -> World:
    until(lambda: started.backend.running == 0, "answers to the test before have ended")
    fresh = ScriptedBackend([ids(BOX)], adapters=ADAPTERS)
    vars(started.backend).update(vars(fresh))
    return started


def open_compare(page: Page, world: World) -> None:
    visit(page, world.url)
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_label("Right model")).to_have_value("cats (adapter)")
    picture = {"name": "dog.png", "mimeType": "image/png", "buffer": picture_bytes()}
    page.locator(".pictures input[type=file]").last.set_input_files([picture])
    page.locator("#stage-right img.shown").wait_for()


def test_the_same_question_to_both(
    new_page: Callable[..., Page], world: World, axe_findings: Callable[[Page], list[str]], ids: Ids
) -> None:
    page = new_page(color_scheme="dark")
    open_compare(page, world)
    page.get_by_label("Question for both").fill("Where is the dog?")
    page.get_by_role("button", name="Compare").click()
    for side in ("left", "right"):
        page.locator(f"#stage-{side} .units").get_by_text("dog").wait_for()
    until(lambda: world.backend.finished == 2, "both answer")
    assert sorted(str(prompt.adapter) for prompt in world.backend.prompts) == ["None", "cats"]
    assert all(prompt.images[0].size == SIZE for prompt in world.backend.prompts)
    expect(page.get_by_role("button", name="Compare")).to_be_enabled()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    assert axe_findings(page) == []
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("#stage-right img.shown:visible")).to_have_count(0)
    page.get_by_role("tab", name="Chat").click()
    upload(page, ("dog.png", picture_bytes()))
    ask_and_wait(page, "Where is the dog?")
    page.locator("#chat-stage .units").get_by_text("dog").wait_for()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("tab", name="Chat").click()
    ask_and_wait(page, "And now?")
    page.locator("#chat-stage .units").get_by_text("dog").wait_for()


def test_a_page_that_is_slow_ends_with_both_answers(page: Page, world: World) -> None:
    open_compare(page, world)
    page.locator("#stage-left").get_by_text("Point", exact=True).click()
    page.locator("#stage-left img.shown").click(position={"x": 20, "y": 20})
    page.locator("#stage-left ol.prompts li").wait_for()
    page.get_by_label("Question for both").fill("Where is the dog?")
    sleep_at(page, ".transcript li[data-turn]", 2)
    page.get_by_role("button", name="Compare").click()
    for side in ("left", "right"):
        page.locator(f"#stage-{side} .units").get_by_text("dog").wait_for()
    expect(page.get_by_role("button", name="Compare")).to_be_enabled()
    expect(page.locator(".sides ol.prompts li:visible")).to_have_count(0)
    expect(page.locator(".sides .transcript .words")).to_have_text(["The dog1 sits."] * 2)


def test_a_server_that_is_down_loses_nothing(page: Page, world: World) -> None:
    open_compare(page, world)
    world.server.stop()
    try:
        page.get_by_label("Question for both").fill("Where is the dog?")
        page.get_by_role("button", name="Compare").click()
        page.get_by_test_id("toast-body").get_by_text("The server cannot be reached").wait_for()
        expect(page.get_by_test_id("toast-body")).to_have_count(1)
        expect(page.get_by_role("button", name="Compare")).to_be_enabled()
        expect(page.get_by_label("Question for both")).to_have_value("Where is the dog?")
    finally:
        world.server.start()
