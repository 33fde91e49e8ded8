"""The tab Documents in Chromium: a small index behind a server of scripted replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from generalist.documents import build_index
from generalist.tokens import Vocabulary
from generalist_datasets.records import Document
from generalist_serving.index_root import find_indexes
from generalist_serving.indexes import Indexes

from ...generalist import conftest
from .scripted_demo import World, expect, picture_bytes, scripted_demo, sleep_at, visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from generalist.model import Checkpoint

pytest.importorskip("gradio", reason="gradio is not installed")

HOSTILE = '<img src=x onerror="document.title=1">'
DOCUMENTS = (
    Document(id="dog", title="The dog", text="The dog is asleep on a sofa. A sofa is red."),
    Document(id="cat", title="The cat", text="The cat is on a map. The map is a mask!"),
    Document(id=HOSTILE, title=f"Hostile {HOSTILE}", text=f"A kettle {HOSTILE} {{{{value}}}} ${{1+1}} and a teapot."),
    Document(id="long", title="", text="Nothing here. " * 60 + "A lighthouse stands at the end."),
)

tiny_checkpoint = conftest.tiny_checkpoint


@pytest.fixture(scope="module")
def world(vocab: Vocabulary, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("indexes")
    build_index(DOCUMENTS, root / "things", base=tiny_checkpoint.folder)
    build_index(DOCUMENTS[:1], root / "one", base=tiny_checkpoint.folder)
    indexes = Indexes(find_indexes(root), device="cpu")
    with scripted_demo(vocab, indexes=indexes, documents=True) as world:
        yield world


def open_documents(page: Page, world: World, index: str = "things (4)") -> None:
    visit(page, world.url)
    page.get_by_role("tab", name="Documents").click()
    menu = page.get_by_label("Index", exact=True)
    expect(menu).not_to_have_value("")
    if menu.input_value() != index:
        menu.click()
        page.get_by_role("option", name=index).click()
        expect(menu).to_have_value(index)
    page.get_by_label("Search by").click()
    page.get_by_role("option", name="Words").click()
    expect(page.get_by_label("Search by")).to_have_value("Words")


def search(page: Page, words: str) -> None:
    page.get_by_label("What to find").fill(words)
    page.get_by_role("button", name="Search").click()
    page.locator("#documents-hits .status").get_by_text(f"“{words}”").wait_for()


def settle(page: Page) -> None:
    """No fading in: axe would take half-faded words for pale ones."""
    page.wait_for_function("document.getAnimations().every((one) => one.playState !== 'running')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hit_has_its_words_marked(
    new_page: Callable[..., Page], world: World, axe_findings: Callable[[Page], list[str]], scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    open_documents(page, world)
    settle(page)
    assert axe_findings(page) == []
    search(page, "a red sofa")
    hits = page.locator("#documents-hits li")
    expect(hits.first.locator("h3")).to_have_text("The dog")
    expect(hits.first).to_contain_text("score")
    expect(hits.first.locator("mark").get_by_text("sofa", exact=True).first).to_be_visible()
    search(page, "lighthouse")
    expect(hits.locator("h3")).to_have_text(["long"])
    hits.first.locator("summary").press("Enter")
    expect(hits.first.locator("details mark")).to_have_text("lighthouse")
    expect(hits.first.locator("details mark")).to_be_visible()
    settle(page)
    assert axe_findings(page) == []


def test_hostile_documents_are_words(page: Page, world: World) -> None:
    open_documents(page, world)
    search(page, "kettle")
    shown = page.locator("#documents-hits li").first
    expect(shown).to_contain_text(f"Hostile {HOSTILE}")
    expect(shown).to_contain_text("{{value}} ${1+1}")
    assert page.locator("img[src=x]").count() == 0 and page.title() == "Generalist"


def test_by_keyboard_and_nothing_found(page: Page, world: World) -> None:
    open_documents(page, world)
    page.get_by_label("What to find").focus()
    page.keyboard.type("zebra")
    page.keyboard.press("Enter")
    page.locator("#documents-hits .status").get_by_text("Nothing was found for “zebra”").wait_for()
    expect(page.locator("#documents-hits li")).to_have_count(0)


def test_no_question(page: Page, world: World) -> None:
    open_documents(page, world)
    page.get_by_role("button", name="Search").click()
    page.get_by_test_id("toast-body").get_by_text("There is nothing to look for").wait_for()


def test_a_region_of_a_picture_is_asked_about(page: Page, world: World) -> None:
    """Words alone cannot look at it, which the server says; so what was drawn has reached it."""
    open_documents(page, world)
    picture = {"name": "dog.png", "mimeType": "image/png", "buffer": picture_bytes()}
    page.locator(".documents .pictures input[type=file]").set_input_files([picture])
    page.locator("#documents-stage img.shown").wait_for()
    page.locator("#documents-stage").get_by_text("Point", exact=True).click()
    page.locator("#documents-stage img.shown").click(position={"x": 20, "y": 20})
    page.locator("#documents-stage ol.prompts li").wait_for()
    page.get_by_role("button", name="Search").click()
    page.locator("#documents-hits .status").get_by_text("leave the image out").wait_for()
    page.get_by_role("button", name="Remove dog.png").click()
    expect(page.locator("#documents-stage img.shown:visible")).to_have_count(0)
    search(page, "sofa")
    expect(page.locator("#documents-hits li").first.locator("h3")).to_have_text("The dog")


def test_the_last_search_is_shown_on_a_page_that_is_slow(page: Page, world: World) -> None:
    open_documents(page, world)
    sleep_at(page, "#documents-hits mark", 2)
    for words in ("cat", "lighthouse"):
        page.get_by_label("What to find").fill(words)
        page.get_by_role("button", name="Search").click()
    page.locator("#documents-hits .status").get_by_text("“lighthouse”").wait_for()
    expect(page.locator("#documents-hits h3")).to_have_text(["long"])


def test_another_index(page: Page, world: World) -> None:
    open_documents(page, world)
    search(page, "sofa")
    page.get_by_label("Index", exact=True).click()
    page.get_by_role("option", name="one (1)").click()
    expect(page.locator("#documents-hits li")).to_have_count(0)
    search(page, "cat")
    expect(page.locator("#documents-hits li")).to_have_count(0)


def test_a_server_that_is_down_is_one_sentence(page: Page, world: World) -> None:
    open_documents(page, world)
    world.server.stop()
    try:
        page.get_by_label("What to find").fill("sofa")
        page.get_by_role("button", name="Search").click()
        page.locator("#documents-hits .status").get_by_text("The server cannot be reached").wait_for()
    finally:
        world.server.start()
    search(page, "sofa")
