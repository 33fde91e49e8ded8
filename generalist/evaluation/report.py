"""A result as a table on the screen and as a JSON file."""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import generalist
from generalist.evaluation.cases import Figure, Result
from generalist.types import GeneralistError

_PACKAGES = ("torch", "transformers", "numpy", "pillow", "pycocotools", "faster-coco-eval")
"""What the figures may depend on besides the model."""

LOWER = "↓"
LEGEND = f"{LOWER} lower is better"

# --- words that the screen and the page share ---------------------------------------------------------


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is undefined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """``"0.871 to 0.902"``, or a dash when there is none."""
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"


def figure_name(figure: Figure) -> str:
    """Its name, marked where lower is better."""
    return figure.name if figure.higher_is_better else f"{figure.name} {LOWER}"


def floor_note(figure: Figure) -> str:
    """``"0.412 whole image"``; says so when the figure is not better than that, and a dash when it has no floor."""
    if figure.floor is None:
        return "–"
    ahead = figure.value - figure.floor if figure.higher_is_better else figure.floor - figure.value
    words = [number(figure.floor), figure.floor_name, "(not beaten)" if ahead <= 0 else ""]
    return " ".join(word for word in words if word)


def heading(result: Result) -> str:
    """What was measured, in one line."""
    return (
        f"{result.suite}: {result.model} on {result.engine}, {len(result.outcomes):,} questions "
        f"in {result.seconds:,.0f} s"
    )


def answer_note(result: Result) -> str:
    """How the model answered, whatever it said; in one line."""
    answers = summarise_answers(result)
    speed = answers["seconds_per_question"]
    parts = [
        f"{answers['malformed']:,} replies left the grammar",
        f"{answers['cut']:,} were cut at their limit",
        f"{answers['not_asked']:,} questions could not be asked",
        *([] if speed is None else [f"{speed:.3f} s a question"]),
    ]
    return ", ".join(parts)


# --- the screen ---------------------------------------------------------------------------------------


def table(result: Result) -> RenderableType:
    """Every figure with its interval, its floor and its number of cases, by group."""
    shown = Table(box=None, header_style="dim", pad_edge=False, title_justify="left")
    shown.add_column("figure")
    for column in ("value", "95 % interval"):
        shown.add_column(column, justify="right")
    shown.add_column("floor")
    shown.add_column("n", justify="right")
    for group, figures in result.figures.items():
        shown.add_row(plain(group, "bold"))
        for figure in figures:
            shown.add_row(*_cells(figure))
    return Group(plain(heading(result), "bold"), shown, plain(f"{LEGEND}; {answer_note(result)}", "dim"))


def plain(text: str, style: str = "") -> Text:
    """``text`` for the screen: no markup in it counts, and no character of it steers the terminal."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return Text(visible, style=style, overflow="fold")


def _cells(figure: Figure) -> Iterable[Text]:
    yield plain(f"  {figure_name(figure)}")
    yield plain(number(figure.value))
    yield plain(interval(figure.low, figure.high))
    yield plain(floor_note(figure))
    yield plain(f"{figure.count:,}")


# --- files --------------------------------------------------------------------------------------------


def to_json(result: Result, *, command: str = "") -> dict[str, Any]:
    """Everything but the answers themselves; what is undefined is None. ``command`` is what reproduces it."""
    return {
        "suite": result.suite,
        "model": result.model,
        "engine": result.engine,
        "seconds": round(result.seconds, 3),
        "command": command,
        "versions": _versions(),
        "answers": summarise_answers(result),
        "figures": {group: [figure_json(f) for f in figures] for group, figures in result.figures.items()},
    }


def figure_json(figure: Figure) -> dict[str, Any]:
    """A figure under stable keys."""
    return {
        "name": figure.name,
        "value": finite(figure.value),
        "low": finite(figure.low),
        "high": finite(figure.high),
        "count": figure.count,
        "floor": finite(figure.floor),
        "floor_name": figure.floor_name,
        "higher_is_better": figure.higher_is_better,
    }


def finite(value: float | None) -> float | None:
    """``value`` with 6 decimals; None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def write_json(result: Result, path: str | os.PathLike[str], *, command: str = "") -> None:
    """Write :func:`to_json` to ``path``; :class:`GeneralistError` when it cannot be written."""
    write_whole(Path(path), json.dumps(to_json(result, command=command), indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write beside ``path``, then rename, so that a reader never meets half a file."""
    beside: str | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", dir=path.parent, prefix=".", suffix=path.suffix, delete=False
        ) as file:
            beside = file.name
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)  # a temporary file is private; a report is not
        os.replace(beside, path)
        beside = None
    except OSError as error:
        raise GeneralistError(f"{path}: cannot write this file ({error.strerror}); choose another place") from error
    finally:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)


def summarise_answers(result: Result) -> dict[str, Any]:
    """Counts of replies that went wrong, and the mean seconds of a question within its batch."""
    outcomes = list(result.outcomes.values())
    asked = [outcome.seconds for outcome in outcomes if not outcome.error]
    return {
        "questions": len(outcomes),
        "malformed": sum(bool(outcome.issues) for outcome in outcomes),
        "cut": sum(not outcome.finished for outcome in outcomes),
        "not_asked": sum(bool(outcome.error) for outcome in outcomes),
        "seconds_per_question": finite(float(np.mean(asked))) if asked else None,
    }


def _versions() -> dict[str, str]:
    found = {"generalist": generalist.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
