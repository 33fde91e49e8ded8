"""The page: one file, readable by people and machines, proof against what models and data say."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.evaluation.cases import Case, Figure
from generalist.evaluation.html import to_html, write_html
from generalist.evaluation.pictures import pick_cases
from generalist.types import GeneralistError, Message

from .results import MEASURES, box_case, result, suite

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x00\x1b[31m\u202e&amp;{{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def fetch(ids: Collection[str]) -> Mapping[str, Case]:
    return pick_cases(suite(), None, ids)


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(to_html(result(), fetch, measures=MEASURES, command="generalist eval toy"))


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    addresses = [a[name] for _, a in page.tags for name in ("src", "href", "srcset") if name in a]
    assert addresses and all(a is not None and a.startswith(("data:image/jpeg;base64,", "#")) for a in addresses)
    (policy,) = (meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy is not None and policy.startswith("default-src 'none'")


def test_figures_stand_beside_intervals_floors_and_bars(page: Page) -> None:
    words = " ".join(page.text.split())
    assert "nano on toy" in words and "generalist eval toy" in words and "1 replies left the grammar" in words
    assert "accuracy0.5000.100 to 0.900 0.200 whole image3" in words
    assert "1.000 commonest number (not beaten)" in words
    bars = [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"]
    assert bars == [
        "accuracy 0.500, 95 % interval 0.100 to 0.900, floor 0.200 whole image",
        "accuracy 1.000, floor 1.000 commonest number (not beaten)",
    ]


def test_headers_and_pictures_are_announced(page: Page) -> None:
    assert all("scope" in header for header in page.all("th"))
    assert page.all("img") and all(image["alt"] and image["width"] and image["height"] for image in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"


def test_only_cases_that_are_not_wholly_right_are_shown_the_worst_first(page: Page) -> None:
    assert re.findall(r"quality (\d\.\d\d), case (\S+)", page.text) == [("0.00", "box-1"), ("0.50", "box-2")]
    assert "Every case is wholly right." in page.text
    for words in (
        "Where is the dog?",
        "The dog. [1 box]",
        "The cat. [1 box]",
        "token 3: expected a location, got the end",
    ):
        assert words in page.text


def test_truth_and_answer_are_drawn_side_by_side(page: Page) -> None:
    truth, answer = page.all("img")[:2]
    assert (truth["alt"], answer["alt"]) == (
        "the picture with the truth drawn on it: 1 box", "the picture with the answer drawn on it: 1 box"
    )  # fmt: skip
    left, right = (opened(str(image["src"])) for image in (truth, answer))
    assert left.size == right.size == (288, 216)
    assert np.abs(np.asarray(left, int) - np.asarray(right, int)).max() > 100


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_hostile_words_stay_words() -> None:
    sample = replace(
        box_case("box-1").sample, prompt=HOSTILE, text=HOSTILE, history=(Message(role="user", text=HOSTILE),)
    )
    case = Case(id=HOSTILE, group="box", sample=sample)
    outcome = replace(result().outcomes["box-1"], case=HOSTILE, text=HOSTILE, error=HOSTILE)
    figure = Figure(name=HOSTILE, value=0.5, count=1, floor=0.5, floor_name=HOSTILE)
    hostile = result(
        HOSTILE, suite=HOSTILE, groups={HOSTILE: "box"}, kept={HOSTILE: 0.0}, outcomes={HOSTILE: outcome},
        figures={"box": (figure,)},
    )  # fmt: skip
    page = Page(to_html(hostile, lambda ids: {HOSTILE: case}, measures=MEASURES, command=HOSTILE))
    assert not page.all("script")
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "{{ 7 * 7 }}" in page.text


def test_the_file_is_written_whole_whatever_the_model_said(tmp_path: Path) -> None:
    write_html(result("lone \ud800 surrogate"), tmp_path / "toy.html", fetch, measures=MEASURES)
    assert "lone ? surrogate" in (tmp_path / "toy.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["toy.html"]
    with pytest.raises(GeneralistError, match="cannot write this file"):
        write_html(result(), tmp_path / "missing" / "toy.html", fetch, measures=MEASURES)


def test_values_above_one_get_a_scale_of_their_own_and_undefined_ones_no_bar() -> None:
    figures = (
        Figure(name="RMSE", value=2.0, count=2, floor=4.0, floor_name="mean", higher_is_better=False),
        Figure(name="undefined", value=float("nan"), count=0),
    )
    html = to_html(result(figures={"box": figures}), fetch, measures=MEASURES)
    widths = re.findall(r'width="([\d.]+)" height="6" fill="var\(--bar\)"', html)
    assert widths == ["45.45", "0.0"] and "M90.91 0V10" in html


def test_figures_that_are_not_of_judged_cases_get_no_list_of_cases() -> None:
    speed = {**result().figures, "latency": (Figure(name="box, seconds", value=0.5, count=3),)}
    page = Page(to_html(result(figures=speed), fetch, measures=MEASURES))
    assert "box, seconds" in page.text and page.text.count("Every case is wholly right.") == 1
    assert len(page.all("section")) == 2
