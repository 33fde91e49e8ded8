"""The pictures of the demo in the README: every tab, light and dark, with answers of the shipped model.

    python docs/make_screenshots.py [chat compare documents inspect]

Needs Chromium on the PATH, and playwright (``pip install -e ".[test]"``).
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

_ROOT = Path(__file__).parents[1]
_SAMPLES = _ROOT / "datasets" / "samples"
_WIDTH = 1280
_HEIGHTS = {"chat": 860, "compare": 860, "documents": 860, "inspect": 1180}
_GENERALIST = (sys.executable, "-m", "generalist.cli")
_COLOURS = 200
"""A picture of so many colours is small enough for a repository."""


def chat(page: Page) -> None:
    """A question that is answered with a mask."""
    _add(page, "orchard.png", "#chat-stage")
    page.locator("#question textarea").fill("Segment the red apple.")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Retry").wait_for()


def compare(page: Page) -> None:
    """Both sides of the tab; with one model, they are the same."""
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function("document.querySelector('input[aria-label=\"Right model\"]')?.value")
    _add(page, "street.png", "#stage-right")
    page.get_by_label("Question for both").fill("Where is the bus?")
    page.get_by_role("button", name="Compare").click()
    for side in ("left", "right"):
        page.locator(f"#stage-{side} .units li").first.wait_for()


def documents(page: Page) -> None:
    """The card of a thing in a picture, around which a box is drawn."""
    page.get_by_role("tab", name="Documents").click()
    page.wait_for_function("document.querySelector('input[aria-label=Index]')?.value")
    _add(page, "orchard.png", "#documents-stage")
    stage = page.locator("#documents-stage")
    stage.get_by_text("Box", exact=True).click()
    for name, value in {"x1": 362, "y1": 92, "x2": 536, "y2": 265}.items():  # the butterfly, see boxes.csv
        stage.get_by_label(name, exact=True).fill(str(value))
    stage.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("Find", exact=True).click()
    page.get_by_role("option", name="Entities").click()
    page.get_by_label("What to find").fill("Which card describes this?")
    page.get_by_role("button", name="Search").click()
    page.locator("#documents-hits li").first.wait_for()


def inspect(page: Page) -> None:
    """The samples against their labels, and one of their things."""
    page.get_by_role("tab", name="Inspect").click()
    page.wait_for_function("document.querySelector('input[aria-label=\"Model to inspect\"]')?.value")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#inspect-plots .status").get_by_text("Done: ").wait_for()
    page.locator('.point[data-key="0/0"]').focus()
    page.keyboard.press("Enter")
    for side in ("truth", "found"):
        page.locator(f"#inspect-{side} img.shown").wait_for()


TABS: dict[str, Callable[[Page], None]] = {
    "chat": chat,
    "compare": compare,
    "documents": documents,
    "inspect": inspect,
}


def _add(page: Page, name: str, stage: str) -> None:
    page.get_by_role("tabpanel").locator(".pictures input[type=file]").set_input_files(_SAMPLES / name)
    page.locator(f"{stage} img.shown").wait_for()


def save(page: Page, path: Path) -> None:
    """What is seen of a page, as a small PNG."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
    page.wait_for_timeout(500)  # until nothing fades any more
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(_ROOT)}  {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def demo() -> Iterator[str]:
    """The address of a demo with an index of cards of the composed world's things, and the samples as labelled folder.

    It has its model to itself, on the CPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        build = [*_GENERALIST, "index", "build", "world/cards", "--out", f"{folder}/cards"]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        options = ["--port", "0", "--device", "cpu", "--indexes", folder, "--inspect", str(_SAMPLES)]
        command = [*_GENERALIST, "demo", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                found = (re.search(r"the demo is on (\S+)", line) for line in iter(process.stdout.readline, ""))
                yield next(match[1] for match in found if match)
            finally:
                process.terminate()


def main(names: list[str]) -> None:
    """Start the demo, use it, and keep what it looks like."""
    with demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for scheme in ("light", "dark"):
            for name in names or TABS:
                page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHTS[name]}, color_scheme=scheme)
                page.set_default_timeout(120_000)
                page.goto(address)
                page.wait_for_function("document.querySelector('input[aria-label=Model]')?.value")
                TABS[name](page)
                save(page, _ROOT / "docs" / f"demo_{name}_{scheme}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
