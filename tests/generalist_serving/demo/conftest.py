"""A page in Debian's Chromium, and what every page of the demo must keep to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

_LOCAL = ("127.0.0.1", "localhost")

NewPage: TypeAlias = "Callable[..., Page]"

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes which tests fail, for fixtures that end differently then."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, for one module: while it runs, ``asyncio.run`` cannot be called in the same thread."""
    pytest.importorskip("playwright", reason="playwright is not installed; install generalist[test]")
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium on the PATH; install Debian's package chromium")
    with sync_playwright() as playwright:
        # Nothing outside this machine is found. (Playwright's own `route` would take a second of each page.)
        nowhere = f"--host-resolver-rules=MAP * ~NOTFOUND, {', '.join(f'EXCLUDE {name}' for name in _LOCAL)}"
        browser = playwright.chromium.launch(executable_path=path, args=[nowhere])
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Opens a page of its own context; options are those of ``browser.new_context``.

    At the end the test fails where a page threw an error or asked for anything outside this machine.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def check(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.hostname not in _LOCAL:
            wrong.append(f"asked for {request.url}")

    def new(**options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})  # type: ignore[arg-type]
        contexts.append(context)
        context.on("request", check)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(f"threw {error}"))
        return page

    yield new
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def fails(request: pytest.FixtureRequest) -> Callable[[], bool]:
    """Tells at the end of a test whether it has failed."""
    return lambda: request.node.stash.get(_FAILED, False)


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page of 1280 x 900 in the light theme."""
    return new_page(color_scheme="light")


@pytest.fixture(scope="session")
def axe_findings() -> Callable[..., list[str]]:
    """axe-core's serious and critical findings about a page, or what is in one selector of it, one line each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="install generalist[test]").Axe()

    def find(page: Page, within: str | None = None) -> list[str]:
        violations = axe.run(page, context=within).response["violations"]
        serious = [v for v in violations if v["impact"] in ("serious", "critical")]
        return [f"{v['id']}: {node['html'][:200]} {node['failureSummary']}" for v in serious for node in v["nodes"]]

    return find
