"""How soon the demo can be used, and how soon an answer is drawn: ``generalist demo`` as a program, and Chromium.

    python tests/benchmarks/demo_start.py

Start: from the command to the line that says where the page is, and to a page on which one can write. Answer: from
the click on Send to the first drawing on the picture, each time on another picture.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Page, sync_playwright

_SAMPLES = Path(__file__).parents[2] / "datasets" / "samples"
_QUESTIONS = {
    "orchard.png": "Segment the red apple.",
    "desk.png": "Where is the alarm clock?",
    "street.png": "Where is the bus?",
    "picnic.png": "Point to the basket.",
}


def first_drawing(page: Page, name: str, words: str) -> float:
    """Seconds from the click to the first drawing."""
    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_text("Drop a picture anywhere here").first.wait_for()
    page.locator(".pictures input[type=file]").first.set_input_files(_SAMPLES / name)
    page.locator("#chat-stage img.shown").wait_for()
    page.locator("#question textarea").fill(words)
    begun = time.perf_counter()
    page.get_by_role("button", name="Send").click()
    page.locator("#chat-stage .units li").first.wait_for()
    seconds = time.perf_counter() - begun
    page.get_by_role("button", name="Retry").wait_for()
    return seconds


def main(repeats: Annotated[int, typer.Option(min=1)] = 3) -> None:
    """Measure the demo of the shipped model."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "generalist.cli", "demo", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        found = (re.search(r"the demo is on (\S+)", line) for line in iter(process.stdout.readline, ""))
        address = next(match[1] for match in found if match)
        print(f"from the command to the address    {time.perf_counter() - begun:.1f} s")
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
                page = browser.new_page()
                opened = time.perf_counter()
                page.goto(address)
                page.get_by_role("button", name="Send").wait_for()
                page.wait_for_function("document.querySelector('input[aria-label=Model]')?.value")
                print(f"from the address to a usable page  {time.perf_counter() - opened:.1f} s")
                times = [first_drawing(page, *one) for _ in range(repeats) for one in _QUESTIONS.items()]
                print(
                    f"from Send to the first drawing     {statistics.median(times):.1f} s (longest {max(times):.1f} s)"
                )
                browser.close()
        finally:
            process.terminate()


if __name__ == "__main__":
    typer.run(main)
