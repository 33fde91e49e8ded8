"""What a visitor does in the chat, in Chromium, over a server of scripted replies."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from generalist.tokens import Vocabulary
from generalist_serving.demo.stage import colour

from ..scripted_backend import Ids, ScriptedBackend
from .scripted_demo import (
    BOX,
    DEPTH,
    PLAN,
    SIZE,
    TWO,
    SharedPage,
    World,
    answers,
    ask,
    ask_and_wait,
    begin_anew,
    click_stage,
    expect,
    picture_bytes,
    scripted_demo,
    sleep_at,
    stage_pixel,
    until,
    upload,
    visit,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytest.importorskip("gradio", reason="gradio is not installed")

ADAPTERS = {"cats": "/nowhere"}
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


HEARS_LATE = """{
    const plain = window.fetch;
    window.fetch = async (asked, options) => {
        const response = await plain(asked, options);
        if (!String(asked.url ?? asked).includes("queue/data")) return response;
        const transform = async (piece, out) => {
            await new Promise((done) => setTimeout(done, 500));
            out.enqueue(piece);
        };
        return new Response(response.body.pipeThrough(new TransformStream({ transform })), response);
    };
}"""
"""What the server tells the page comes half a second late, message by message."""


@pytest.fixture(scope="module")
def started(vocab: Vocabulary) -> Iterator[World]:
    with scripted_demo(vocab, ADAPTERS) as world:
        yield world


@pytest.fixture
def world(started: World, ids: Ids) -> World:
    """With a backend that has been asked nothing yet, and says ``BOX``."""
    started.backend.delay = 0
    until(lambda: started.backend.running == 0, "answers to the test before have ended")
    fresh = ScriptedBackend([ids(PLAN + BOX)], adapters=ADAPTERS)
    vars(started.backend).update(vars(fresh))
    return started


@pytest.fixture(scope="module")
def shared(browser: Browser, started: World) -> Iterator[SharedPage]:
    shared = SharedPage(browser, started.url)
    yield shared
    shared.close()


@pytest.fixture
def opened(shared: SharedPage, fails: Callable[[], bool]) -> Iterator[Page]:
    """One page for most tests, since to load it takes longer than they do; a test that fails takes it along."""
    yield shared.page()
    thrown = shared.thrown
    if thrown or fails():
        shared.close()
    assert thrown == []


@pytest.fixture
def chat(opened: Page, world: World) -> Page:
    """A new conversation with one picture."""
    begin_anew(opened)
    upload(opened, ("dog.png", picture_bytes()))
    return opened


@pytest.fixture
def loaded(page: Page, world: World) -> Page:
    """The same on a page of its own, for what changes more than the conversation."""
    visit(page, world.url)
    upload(page, ("dog.png", picture_bytes()))
    return page


def last_prompt(world: World, vocab: Vocabulary) -> str:
    """What the model was asked last, as text with special tokens."""
    return "".join(
        vocab.name(one) if one in vocab.special_ids else vocab.decode_text([one])
        for one in world.backend.prompts[-1].token_ids
    )


def toast(page: Page) -> Locator:
    return page.get_by_test_id("toast-body")


# --- asking ------------------------------------------------------------------------------------------------


def test_upload_ask_and_see_the_box_where_the_thing_is(chat: Page, world: World) -> None:
    before = stage_pixel(chat, 82.5, 120)
    ask_and_wait(chat, "Where is the dog?")
    expect(answers(chat).last).to_have_text("The dog1 sits.")
    chat.locator("#chat-stage .units").get_by_text("dog").wait_for()
    expect(chat.locator("#chat-stage img.shown")).to_have_attribute("alt", re.compile("dog"))
    red = tuple(int(colour(0)[at : at + 2], 16) for at in (1, 3, 5))
    until(lambda: stage_pixel(chat, 82.5, 120) != before, "the box is drawn")
    edge = stage_pixel(chat, 82.5, 120)
    assert max(abs(a - b) for a, b in zip(edge, red, strict=True)) < 60, edge
    assert stage_pixel(chat, 20, 20) == (150, 160, 170)
    assert world.backend.prompts[-1].images[0].size == SIZE


def test_words_and_drawings_appear_while_the_answer_is_written(chat: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(BOX + " It is asleep and does not move at all."))]
    world.backend.delay = 0.15
    ask(chat, "Where is the dog?")
    chat.locator("#chat-stage .units").get_by_text("dog").wait_for()
    world.backend.delay = 2  # so that it is being written still, however slow the page is
    expect(chat.get_by_role("button", name="Stop")).to_be_enabled()
    expect(chat.get_by_role("button", name="Send")).to_be_disabled()
    assert "at all" not in answers(chat).last.inner_text()
    chat.get_by_role("button", name="Stop").click()
    chat.get_by_text("Stopped.").wait_for()


def test_a_page_that_is_slow_ends_with_the_whole_answer(chat: Page, world: World, vocab: Vocabulary, ids: Ids) -> None:
    chat.get_by_text("Point", exact=True).click()
    click_stage(chat, 80, 60)
    world.backend.replies = [tuple(ids(BOX + " It is asleep."))]
    sleep_at(chat, ".transcript li[data-turn]", 2)
    ask_and_wait(chat, "Where is the dog?")
    answers(chat).get_by_text("It is asleep.").wait_for()
    chat.locator("#chat-stage .units").get_by_text("dog").wait_for()
    expect(chat.locator("#chat-stage ol.prompts li:visible")).to_have_count(0)
    expect(chat.locator("#question textarea")).to_have_value("")
    expect(chat.get_by_role("button", name="Stop")).to_be_disabled()
    expect(chat.get_by_role("combobox", name="Conversation")).to_have_value("Where is the dog?")
    expect(chat.locator(".pictures .remove")).to_have_count(0)
    ask_and_wait(chat, "And now?")
    assert "<loc_" not in last_prompt(world, vocab).split("And now?")[1]


def test_a_point_that_excludes_is_asked_with_and_comes_back_with_its_question(
    chat: Page, world: World, vocab: Vocabulary
) -> None:
    chat.get_by_text("Exclude", exact=True).click()
    click_stage(chat, 80, 60)
    ask(chat, "Segment this.")
    toast(chat).get_by_text("every point excludes; draw what is meant, too").wait_for()
    chat.get_by_text("Point", exact=True).click()
    click_stage(chat, 240, 180)
    ask_and_wait(chat, "Segment this.")
    expect(chat.locator(".transcript li[data-turn]")).to_contain_text("excluded point")
    asked = last_prompt(world, vocab)
    assert re.search(r"<loc_0048><loc_0048>.* not.*<loc_0016><loc_0016>", asked), asked
    chat.get_by_role("button", name="Edit").click()
    expect(chat.locator("#chat-stage ol.prompts li")).to_have_count(2)
    expect(chat.locator("#chat-stage ol.prompts li").first).to_contain_text("excluded point")


def test_what_is_drawn_while_an_answer_is_written_stays(chat: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(BOX + " It is asleep."))]
    world.backend.delay = 0.05
    ask(chat, "Where is the dog?")
    answers(chat).get_by_text("The").wait_for()
    chat.get_by_text("Point", exact=True).click()
    click_stage(chat, 80, 60)
    chat.get_by_role("button", name="Retry").wait_for()
    expect(chat.locator("#chat-stage .units").get_by_text("dog")).to_be_visible()
    expect(chat.locator("#chat-stage ol.prompts li")).to_have_count(1)


def test_what_is_done_before_the_page_hears_of_what_was_done_before_is_not_lost(page: Page, world: World) -> None:
    page.add_init_script(HEARS_LATE)
    visit(page, world.url)
    page.wait_for_timeout(1000)  # all that goes on while it loads is heard of
    page.get_by_role("button", name="New", exact=True).click()
    page.wait_for_timeout(200)  # the answer is on its way
    upload(page, ("dog.png", picture_bytes()))


def test_stop_keeps_what_has_come(chat: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids("The dog is asleep." * 8))]
    world.backend.delay = 0.2
    ask(chat, "What is it doing?")
    answers(chat).get_by_text("The").wait_for()
    chat.get_by_role("button", name="Stop").click()
    chat.get_by_text("Stopped.").wait_for()
    until(lambda: world.backend.cancelled == 1, "the model stops")
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()


def test_another_conversation_while_an_answer_is_written(chat: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids("The dog is asleep." * 3))]
    world.backend.delay = 0.1
    ask(chat, "What is it doing?")
    answers(chat).get_by_text("The").wait_for()
    begin_anew(chat)
    until(lambda: world.backend.finished == 1, "the answer ends all the same")
    chat.wait_for_timeout(300)  # in which the page would hear of it
    expect(chat.locator(".transcript li[data-turn]")).to_have_count(0)
    chat.get_by_role("combobox", name="Conversation").click()
    chat.get_by_role("option", name="What is it doing?").first.click()
    expect(answers(chat).last).to_have_text("The dog is asleep." * 3)


def test_a_follow_up_on_the_same_picture(chat: Page, world: World, vocab: Vocabulary, ids: Ids) -> None:
    ask_and_wait(chat, "Where is the dog?")
    world.backend.replies = [tuple(ids(TWO))]
    ask_and_wait(chat, "And its nose?")
    asked = last_prompt(world, vocab)
    assert asked.index("Where is the dog?") < asked.index("The dog sits.") < asked.index("And its nose?")
    assert len(world.backend.prompts[-1].images) == 1
    expect(chat.locator("#chat-stage .units li")).to_have_count(2)
    chat.locator(".transcript li[data-turn]").first.get_by_role("button", name="Show").click()
    expect(chat.locator("#chat-stage .units li")).to_have_count(1)


def test_a_task_makes_a_sentence_of_a_name(chat: Page, world: World, vocab: Vocabulary) -> None:
    chat.get_by_label("Task", exact=True).click()
    chat.get_by_role("option", name="Outline").click()
    expect(chat.locator("#question textarea")).to_have_attribute("placeholder", re.compile("outline"))
    ask_and_wait(chat, "the dog")
    assert "Segment the dog." in last_prompt(world, vocab)


def test_a_depth_map_and_its_slider(chat: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(DEPTH))]
    ask_and_wait(chat, "How far is it?")
    chat.locator("#chat-stage figure.depth").wait_for()
    before = stage_pixel(chat, 20, 20)
    chat.get_by_label("Depth over picture").fill("100")
    until(lambda: stage_pixel(chat, 20, 20) != before, "the depth covers the picture")


# --- drawing -------------------------------------------------------------------------------------------------


def test_a_box_by_two_clicks_reaches_the_model(chat: Page, world: World, vocab: Vocabulary) -> None:
    chat.get_by_text("Box", exact=True).click()
    click_stage(chat, 80, 60)
    click_stage(chat, 160, 180)
    expect(chat.locator("#chat-stage ol.prompts li")).to_have_count(1)
    ask_and_wait(chat, "What is this?")
    numbers = [int(found) for found in re.findall(r"<loc_(\d+)>", last_prompt(world, vocab))]
    assert [abs(a - b) <= 1 for a, b in zip(numbers, (16, 16, 32, 48), strict=True)] == [True] * 4, numbers
    expect(chat.locator(".transcript .notes").last).to_have_text(re.compile("^nano · box "))
    expect(chat.locator("#chat-stage ol.prompts li:visible")).to_have_count(0)
    ask_and_wait(chat, "And now?")
    assert "<loc_" not in last_prompt(world, vocab).split("And now?")[1]


def test_a_scribble_reaches_the_model(chat: Page, world: World) -> None:
    chat.get_by_text("Scribble", exact=True).click()
    box = chat.locator("#chat-stage img.shown").bounding_box()
    assert box is not None
    chat.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
    chat.mouse.down()
    chat.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.6, steps=5)
    chat.mouse.up()
    expect(chat.locator("#chat-stage ol.prompts li")).to_have_count(1)
    ask_and_wait(chat, "What is this?")
    expect(chat.locator(".transcript .notes").last).to_contain_text("scribble")


# --- models, history, several pictures ---------------------------------------------------------------------


def test_an_adapter_is_chosen_for_one_turn(loaded: Page, world: World) -> None:
    ask_and_wait(loaded, "Where is the dog?")
    loaded.get_by_label("Model", exact=True).click()
    loaded.get_by_role("option", name="cats (adapter)").click()
    expect(loaded.get_by_label("Model", exact=True)).to_have_value("cats (adapter)")
    ask_and_wait(loaded, "And now?")
    assert [prompt.adapter for prompt in world.backend.prompts] == [None, "cats"]


def test_edit_and_retry(chat: Page, world: World, vocab: Vocabulary, ids: Ids) -> None:
    ask_and_wait(chat, "Where is the dog?")
    world.backend.replies = [tuple(ids("There is no dog."))]
    chat.get_by_role("button", name="Retry").click()
    answers(chat).get_by_text("There is no dog.").wait_for()
    chat.get_by_role("button", name="Edit").click()
    chat.get_by_text("Sending replaces your last question.").wait_for()
    expect(chat.locator("#question textarea")).to_have_value("Where is the dog?")
    chat.get_by_role("button", name="Keep it instead").click()
    expect(chat.locator("#question textarea")).to_have_value("")
    expect(chat.get_by_text("Sending replaces your last question.")).to_be_hidden()
    chat.get_by_role("button", name="Edit").click()
    expect(chat.locator("#question textarea")).to_have_value("Where is the dog?")
    ask(chat, "Where is the cat?")
    expect(chat.locator(".transcript li[data-turn] p").first).to_have_text("Where is the cat?")
    until(lambda: world.backend.finished == 3, "three answers")
    assert "dog?" not in last_prompt(world, vocab)
    expect(chat.locator(".transcript li[data-turn]")).to_have_count(1)


def test_several_pictures(opened: Page, world: World) -> None:
    begin_anew(opened)
    upload(opened, ("dog.png", picture_bytes()), ("small.png", picture_bytes((64, 48))))
    opened.get_by_role("button", name="Show dog.png").click()
    expect(opened.locator("#chat-stage figcaption.name")).to_contain_text("320 × 240")
    ask_and_wait(opened, "Compare.")
    assert [image.size for image in world.backend.prompts[-1].images] == [(64, 48), SIZE]


def test_conversations_survive_a_reload_and_can_be_deleted(loaded: Page, world: World) -> None:
    ask_and_wait(loaded, "Where is the dog?")
    loaded.get_by_role("button", name="New", exact=True).click()
    loaded.get_by_text("Drop a picture anywhere here").wait_for()
    loaded.reload()
    expect(loaded.get_by_role("combobox", name="Conversation")).to_have_value("New conversation")
    loaded.get_by_role("combobox", name="Conversation").click()
    loaded.get_by_role("option", name="Where is the dog?").click()
    answers(loaded).get_by_text("sits.").wait_for()
    loaded.locator("#chat-stage .units").get_by_text("dog").wait_for()
    loaded.get_by_role("button", name="Delete", exact=True).click()
    loaded.get_by_text("Drop a picture anywhere here").wait_for()


def test_a_reload_within_an_answer_loses_nothing(loaded: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(BOX + " It is asleep."))]
    world.backend.delay = 0.1
    ask(loaded, "Where is the dog?")
    answers(loaded).get_by_text("The").wait_for()
    loaded.reload()
    answers(loaded).get_by_text("It is asleep.").wait_for()
    loaded.get_by_role("button", name="Retry").wait_for()
    loaded.locator("#chat-stage .units").get_by_text("dog").wait_for()
    expect(loaded.locator(".transcript li[data-turn]")).to_have_count(1)
    assert world.backend.cancelled == 0


def test_export(chat: Page, world: World) -> None:
    ask_and_wait(chat, "Where is the dog?")
    with chat.expect_download() as waiting:
        chat.get_by_text("Whole conversation").click()
    assert waiting.value.suggested_filename == "Where_is_the_dog.zip"
    archive = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
    document: dict[str, Any] = json.loads(archive.read("conversation.json"))
    assert document["turns"][0]["visual"][0]["label"] == "dog"
    assert any(name.endswith("_overlay.png") for name in archive.namelist())
    with chat.expect_download() as waiting:
        chat.get_by_label("Download COCO").click()
    assert json.loads(waiting.value.path().read_bytes())["annotations"][0]["bbox"]


# --- what can go wrong ---------------------------------------------------------------------------------------


def test_a_server_that_is_down_loses_nothing(chat: Page, world: World) -> None:
    chat.get_by_text("Point", exact=True).click()
    click_stage(chat, 80, 60)
    world.server.stop()
    try:
        ask(chat, "Where is the dog?")
        toast(chat).get_by_text("The server cannot be reached").wait_for()
        expect(chat.locator("#question textarea")).to_have_value("Where is the dog?")
        expect(chat.locator("#chat-stage ol.prompts li")).to_have_count(1)
        expect(chat.locator(".transcript li[data-turn]")).to_have_count(0)
    finally:
        world.server.start()
    ask_and_wait(chat, "Where is the dog?")


def test_a_busy_server(chat: Page, world: World) -> None:
    world.backend.capacity = 0
    ask(chat, "Where is the dog?")
    toast(chat).get_by_text("The server is busy").wait_for()
    expect(chat.locator("#question textarea")).to_have_value("Where is the dog?")


def test_an_answer_that_breaks_off_is_kept(chat: Page, world: World) -> None:
    world.backend.fails_at = 32  # behind the plan and the first words
    ask(chat, "Where is the dog?")
    toast(chat).wait_for()
    chat.get_by_role("button", name="Retry").wait_for()
    expect(answers(chat).last).to_have_text(re.compile("^The"))


def test_no_question(chat: Page, world: World) -> None:
    ask(chat, " ")
    toast(chat).get_by_text("There is no question").wait_for()
    assert world.backend.prompts == []


def test_what_is_no_picture(opened: Page, world: World) -> None:
    begin_anew(opened)
    opened.locator(".pictures input[type=file]").first.set_input_files(
        [{"name": f"{HOSTILE}.png", "mimeType": "image/png", "buffer": b"hello"}]
    )
    toast(opened).get_by_text("not a readable image").wait_for()
    assert opened.title() == "Generalist" and opened.locator("img[src=x]").count() == 0


def test_hostile_words_are_only_words(opened: Page, world: World, ids: Ids) -> None:
    hostile = HOSTILE.replace("<", "< ")  # not special tokens
    box = "(<Unit>box</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>)"
    world.backend.replies = [tuple(ids("A <Phrase>" + HOSTILE + "</Phrase>" + box + hostile + "{{value}} ${1+1}"))]
    begin_anew(opened)
    upload(opened, (f"{HOSTILE.replace('/', '')}.png", picture_bytes()))
    ask_and_wait(opened, f"{HOSTILE} Where?")
    expect(answers(opened).last).to_contain_text(HOSTILE)
    expect(answers(opened).last).to_contain_text("{{value}} ${1+1}")
    assert opened.locator("img[src=x]").count() == 0 and opened.title() == "Generalist"


def test_another_name_for_this_machine_is_refused(page: Page, world: World) -> None:
    response = page.goto(world.url.replace("127.0.0.1", "localhost"))
    assert response is not None and response.status == 403


# --- for everybody -------------------------------------------------------------------------------------------


def test_paste_drop_and_samples(opened: Page, world: World) -> None:
    begin_anew(opened)
    send = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
        const given = kind === "paste" ? { clipboardData: data } : { dataTransfer: data };
        const type = kind === "paste" ? ClipboardEvent : DragEvent;
        document.body.dispatchEvent(new type(kind, { ...given, bubbles: true, cancelable: true }));
    }"""
    opened.locator(".pictures .sample").first.click()
    opened.locator("#chat-stage img.shown").wait_for()
    expect(opened.locator("#question textarea")).to_have_value("Segment the red apple.")
    for number, kind in enumerate(("paste", "drop"), 2):
        opened.evaluate(send, [kind, list(picture_bytes())])
        opened.get_by_role("button", name=f"Show {kind}.png").wait_for()
        expect(opened.locator(".pictures .thumbnail:visible")).to_have_count(number)
    opened.get_by_role("button", name="Remove drop.png").click()
    expect(opened.locator(".pictures .thumbnail:visible")).to_have_count(2)


def test_the_camera(opened: Page, world: World) -> None:
    begin_anew(opened)
    opened.evaluate("""() => {
        navigator.mediaDevices.getUserMedia = async () => { throw new Error("none"); };
    }""")
    opened.get_by_role("button", name="Camera").first.click()
    toast(opened).get_by_text("There is no camera").wait_for()
    opened.evaluate("""() => {
        navigator.mediaDevices.getUserMedia = async () => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
            const paint = () => canvas.getContext("2d").fillRect(0, 0, 64, 48);
            setInterval(paint, 50);
            paint();
            return canvas.captureStream(20);
        };
    }""")
    opened.get_by_role("button", name="Camera").first.click()
    opened.get_by_role("button", name="Take the picture").click()
    opened.get_by_role("button", name="Show camera.png").wait_for()
    expect(opened.locator("#chat-stage figcaption.name")).to_contain_text("64 × 48")
    expect(opened.get_by_role("button", name="Take the picture")).to_have_count(0)


def test_a_phrase_lights_up_its_drawing_and_the_other_way_round(chat: Page, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(TWO))]
    ask_and_wait(chat, "Where?")
    chat.evaluate("window.told = []")
    chat.evaluate("document.addEventListener('generalist:highlight', (e) => window.told.push(e.detail.unit))")
    chat.locator(".transcript .phrase").nth(1).focus()
    chat.wait_for_function("window.told.at(-1) === 1")
    chat.locator("#chat-stage .units button").first.focus()
    expect(chat.locator(".transcript .phrase.lit")).to_have_text(re.compile("^dog"))


def test_by_keyboard_alone(chat: Page, world: World) -> None:
    chat.locator("#question textarea").focus()
    chat.keyboard.type("Where is the dog?")
    expect(chat.locator("#question textarea")).to_have_value("Where is the dog?")
    chat.keyboard.press("Enter")
    chat.get_by_role("button", name="Retry").wait_for()
    chat.get_by_role("button", name="Retry").focus()
    chat.keyboard.press("Enter")
    until(lambda: world.backend.finished == 2, "it is asked again")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(
    new_page: Callable[..., Page], world: World, axe_findings: Callable[[Page], list[str]], scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    visit(page, world.url)
    assert axe_findings(page) == []
    upload(page, ("dog.png", picture_bytes()))
    ask_and_wait(page, "Where is the dog?")
    page.get_by_text("Details").click()
    assert axe_findings(page) == []
    assert page.locator("html").get_attribute("lang") == "en"
    page.wait_for_function(f"document.body.classList.contains('dark') === {str(scheme == 'dark').lower()}")


def test_the_theme_can_be_changed_and_is_remembered(page: Page, world: World) -> None:
    visit(page, world.url)
    page.get_by_role("button", name="Dark theme").click()
    page.reload()
    page.get_by_role("button", name="Light theme").wait_for()
