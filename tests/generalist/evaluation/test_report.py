"""Reports of a result: the table, the JSON, the file."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from generalist.evaluation.cases import Figure
from generalist.evaluation.report import table, to_json, write_json
from generalist.types import GeneralistError

from .results import result


def rendered(content: RenderableType) -> str:
    screen = io.StringIO()
    Console(file=screen, width=140, color_system=None).print(content)
    return screen.getvalue()


def test_the_table_shows_figures_with_intervals_floors_and_counts_by_group() -> None:
    lines = rendered(table(result())).splitlines()
    assert lines[0] == "toy: nano on transformers, 4 questions in 12 s"
    cells = [line.split() for line in lines]
    at = cells.index(["box"])
    assert cells[at + 1] == ["accuracy", "0.500", "0.100", "to", "0.900", "0.200", "whole", "image", "3"]
    assert cells.index(["count"]) == at + 2
    assert cells[at + 3] == ["accuracy", "1.000", "–", "1.000", "commonest", "number", "(not", "beaten)", "1"]
    assert lines[-1].startswith(
        "↓ lower is better; 1 replies left the grammar, 1 were cut at their limit, 0 questions could not be"
    )
    assert "0.375 s a question" in lines[-1]


@pytest.mark.parametrize("value, beaten", [(0.1, True), (0.3, False)])
def test_a_floor_below_is_beaten_from_above_and_one_above_from_below(value: float, beaten: bool) -> None:
    figure = Figure(name="AbsRel", value=value, count=2, floor=0.2, floor_name="mean", higher_is_better=False)
    shown = rendered(table(result(figures={"depth": (figure,)})))
    assert "AbsRel ↓" in shown and "↓ lower is better" in shown
    assert ("not beaten" in shown) is not beaten


def test_words_of_the_data_neither_format_nor_steer_the_screen() -> None:
    figure = Figure(name="accuracy", value=1.0, count=2, floor=0.5, floor_name="always [red]\x1b[31mred[/red]")
    shown = rendered(table(result(figures={"count": (figure,)}, model="[bold]x")))
    assert "always [red]\N{REPLACEMENT CHARACTER}[31mred[/red]" in shown and "\x1b" not in shown and "[bold]x" in shown


def test_the_json_has_every_figure_under_stable_keys() -> None:
    content = to_json(result(), command="generalist eval toy")
    assert list(content) == ["suite", "model", "engine", "seconds", "command", "versions", "answers", "figures"]
    assert content["command"] == "generalist eval toy"
    assert {"generalist", "python", "torch"} <= set(content["versions"])
    assert content["answers"] == {
        "questions": 4, "malformed": 1, "cut": 1, "not_asked": 0, "seconds_per_question": 0.375,
    }  # fmt: skip
    assert content["figures"]["box"] == [
        {"name": "accuracy", "value": 0.5, "low": 0.1, "high": 0.9, "count": 3, "floor": 0.2,
         "floor_name": "whole image", "higher_is_better": True}
    ]  # fmt: skip


def test_what_is_undefined_is_null_in_the_file(tmp_path: Path) -> None:
    figures = {"box": (Figure(name="accuracy", value=math.nan, count=0, low=math.inf),)}
    write_json(result(figures=figures, kept={}, outcomes={}, groups={}), tmp_path / "toy.json")
    text = (tmp_path / "toy.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["figures"]["box"][0]["value"] is None and content["figures"]["box"][0]["low"] is None
    assert content["answers"]["seconds_per_question"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match=r"toy\.json: cannot write this file"):
        write_json(result(), tmp_path / "missing" / "toy.json")
