"""The demo over a server of scripted replies, all in the test's own process; and what a visitor does on its page."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from PIL import Image, ImageDraw

from generalist.tokens import Vocabulary
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.serve import bind
from generalist_serving.service import Service

from ..scripted_backend import ScriptedBackend, scripted_line

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, LocatorAssertions, Page

    from generalist_serving.indexes import Indexes

KEY = "the-key"
WAIT_MS = 60_000
"""For what is to be seen: a machine may be slow."""
SIZE = (320, 240)
PLAN = "<Task>- Name: dog Unit: box Num: 1</Task>"
BOX = "The <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>) sits."
"""In 64 bins: the box [81.25, 61.25, 161.25, 181.25] on a picture of 320 x 240, wherever else they stand."""
TWO = (
    "A <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0004><loc_0004><loc_0020><loc_0030>) and its "
    "<Phrase>nose</Phrase>(<Unit>point</Unit>[0]<loc_0010><loc_0010>)."
)
DEPTH = "The <Phrase>depth</Phrase>(<Unit>depth</Unit>[0]<loc_0002><loc_0040>" + "<depth_003>" * 64 + ")."


@dataclass
class World:
    """``url`` of the page; ``backend`` says what is answered."""

    url: str
    backend: ScriptedBackend
    server: Running = field(repr=False)


class Running:
    """An app behind a socket of its own, in a thread; may be stopped and started again at the same place."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.port = 0
        self.start()

    def start(self) -> None:
        listener = bind("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(self._app, log_level="critical", access_log=False, timeout_graceful_shutdown=0)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "the server starts")

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        for listener in self._server.servers:
            listener.close()


def until(ready: Any, what: str, seconds: float = 60) -> None:
    """Wait until ``ready()``."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"waited {seconds} s until {what}"
        time.sleep(0.02)


@contextmanager
def scripted_demo(
    vocab: Vocabulary, adapters: dict[str, str] | None = None, *, indexes: Indexes | None = None, **options: Any
) -> Iterator[World]:
    """The page over a server whose backend answers nothing yet: set ``world.backend.replies``.

    ``indexes``: those of the server; ``options`` are those of ``create_demo``.
    """
    from generalist_serving.client import AsyncClient
    from generalist_serving.demo.app import create_demo

    backend = ScriptedBackend([[vocab.eos]], adapters=adapters)
    service = Service(scripted_line(vocab), backend, model="nano", indexes=indexes)
    api = Running(create_app(service, Settings(api_keys=(KEY,))))
    client = AsyncClient(f"http://127.0.0.1:{api.port}", KEY, retries=0, timeout=30)
    page = Running(create_demo(client, allowed_hosts=("127.0.0.1",), **options))
    try:
        yield World(f"http://127.0.0.1:{page.port}", backend, api)
    finally:
        page.stop()
        api.stop()


def picture_bytes(size: tuple[int, int] = SIZE, form: str = "PNG") -> bytes:
    """A grey picture with a brown rectangle where ``BOX`` is."""
    picture = Image.new("RGB", size, (150, 160, 170))
    w, h = size
    ImageDraw.Draw(picture).rectangle((w * 0.25, h * 0.25, w * 0.5, h * 0.75), fill=(120, 80, 40))
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


class SharedPage:
    """A page at ``url`` for several tests, one after the other; ``thrown``: errors of its scripts."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.thrown: list[str] = []
        self._browser = browser
        self._url = url
        self._context: BrowserContext | None = None

    def page(self) -> Page:
        """The page, opened anew where there is none."""
        if self._context is None:
            self._context = self._browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
            page = self._context.new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: self.thrown.append(str(error)))
            visit(page, self._url)
        return self._context.pages[0]

    def close(self) -> None:
        """Forget the page and what it has thrown."""
        if self._context is not None:
            self._context.close()
        self._context, self.thrown = None, []


# --- what a visitor does ----------------------------------------------------------------------------------


def expect(seen: Locator) -> LocatorAssertions:
    """What is to be seen, which is waited for."""
    from playwright.sync_api import expect as waiting

    waiting.set_options(timeout=WAIT_MS)
    return waiting(seen)


def visit(page: Page, url: str) -> None:
    """Open the page and wait until it can be used."""
    page.goto(url)
    page.get_by_role("button", name="Send").wait_for()
    page.wait_for_function("document.querySelector('input[aria-label=Model]')?.value")


def begin_anew(page: Page) -> None:
    """A new conversation, without toasts of earlier ones."""
    page.get_by_role("button", name="New", exact=True).click()
    expect(page.get_by_text("Drop a picture anywhere here").first).to_be_visible()
    expect(page.locator(".transcript li[data-turn]")).to_have_count(0)
    expect(page.locator("#question textarea")).to_have_value("")
    expect(page.locator("#send")).to_be_enabled()
    # Not by `click`, for which a toast may fade too soon.
    page.evaluate("document.querySelectorAll('[data-testid=toast-close]').forEach((one) => one.click())")
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    """Add pictures by the file dialog."""
    payload = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files]
    page.locator(".pictures input[type=file]").first.set_input_files(payload)
    page.locator("#chat-stage img.shown").wait_for()


def answers(page: Page) -> Locator:
    """The words of every answer."""
    return page.locator(".transcript .words")


def stage_pixel(page: Page, x: float, y: float, size: tuple[int, int] = SIZE) -> tuple[int, int, int]:
    """The colour at (x, y) in pixels of the picture, as it is seen on the stage."""
    shown = page.locator("#chat-stage img.shown")
    shown.scroll_into_view_if_needed()
    with Image.open(io.BytesIO(shown.screenshot())) as picture:
        width, height = picture.size
        pixel = picture.convert("RGB").getpixel((int(x / size[0] * width), int(y / size[1] * height)))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def click_stage(page: Page, x: float, y: float, size: tuple[int, int] = SIZE) -> None:
    """Click at (x, y) in pixels of the picture."""
    shown = page.locator("#chat-stage img.shown")
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x / size[0] * box["width"], box["y"] + y / size[1] * box["height"])


def ask(page: Page, words: str) -> None:
    """Write a question and send it."""
    page.locator("#question textarea").fill(words)
    page.get_by_role("button", name="Send").click()


def sleep_at(page: Page, selector: str, seconds: float) -> None:
    """Let the page do nothing for some time from when ``selector`` is there: it is slow, and all comes at once."""
    page.evaluate(
        """([selector, seconds]) => {
            const sleep = () => {
                if (!document.querySelector(selector)) return;
                observer.disconnect();
                const end = performance.now() + 1000 * seconds;
                while (performance.now() < end);
            };
            const observer = new MutationObserver(sleep);
            observer.observe(document.body, { childList: true, subtree: true });
        }""",
        [selector, seconds],
    )


def ask_and_wait(page: Page, words: str) -> None:
    """Ask, and wait for the end of the answer."""
    before = answers(page).count()
    ask(page, words)
    answers(page).nth(before).wait_for()
    page.locator(".transcript li[data-turn]").nth(before).get_by_role("button", name="Retry").wait_for()
