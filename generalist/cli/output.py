"""An answer on the screen and in files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from generalist.answer import Answer
from generalist.draw import check_savable, save_depth
from generalist.types import DepthMap, GeneralistError

_TEXT_WIDTH = 200
"""Letters of a document's text on the screen."""


def print_json(answer: Answer, path: Path, drawing: Mapping[str, Any] | None = None) -> None:
    """One line: ``Answer.to_dict`` with the file's name beside the image's size, and with ``drawing`` if there is any.

    ``drawing``: the report of ``HubDrawing``.
    """
    content = answer.to_dict()
    if drawing:
        content["drawing"] = drawing
    content["image"][0]["file"] = str(path)
    # ASCII only, so that no terminal or pipe encoding can damage it.
    print(json.dumps(content))


def print_answer(answer: Answer, saved: Sequence[Path], heading: str | None) -> None:
    """The text, a table of what was drawn, the files written."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    # Rendered first and printed plainly: rich would write straight past a progress bar that is on the screen.
    with console.capture() as rendered:
        if heading is not None:
            console.print(printable(heading), style="bold")
        console.print(printable(answer.text) or "(no text)")
        if answer.outputs:
            console.print(_table(answer), soft_wrap=False)
        for path in saved:
            console.print(printable(f"saved {path}"))
    print(rendered.get(), end="")


def _table(answer: Answer) -> Table:
    table = Table("", "what", "label", "score", "where (pixels)", box=None, header_style="dim", pad_edge=False)
    for entry in answer.to_visual():
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in _row(entry)))
    return table


def warn_if_cut(answer: Answer) -> None:
    """Say on stderr that a reply did not come to its end."""
    if answer.finish_reason == "length":
        tokens = answer.usage.completion_tokens
        print(f"note: the reply was cut after {tokens} tokens; raise --max-new-tokens", file=sys.stderr)


def note_drawing(report: Mapping[str, Mapping[str, Any]]) -> None:
    """Say on stderr what models that draw in the place of another have done (``HubDrawing.report``)."""
    for what, did in report.items():
        if did["drawn"]:
            seconds = f"loaded in {did['load_s']:.2f} s, images {did['encode_s']:.2f} s, drawing {did['draw_s']:.2f} s"
            made = f"{did['drawn']} drawn on {did['encoded']} images"
            print(
                printable(f"note: {what} by {did['name']} ({did['weights_mb']:.0f} MB): {made}; {seconds}"),
                file=sys.stderr,
            )


class Saver:
    """Where the pictures of the answers go: ``--save`` itself for one image, into it for several."""

    def __init__(self, save: Path | None, images: Sequence[Path], *, is_folder: bool) -> None:
        self._targets: dict[Path, Path] = {}
        if save is None:
            return
        if is_folder:
            _make_folder(save)
            stems = Counter(path.stem.lower() for path in images)
            for path in images:
                # Two photos a.jpg and a.png must not overwrite each other's overlay.
                unique = path.stem if stems[path.stem.lower()] == 1 else path.name.replace(".", "_")
                self._targets[path] = save / f"{unique}.png"
        else:
            self._targets = dict.fromkeys(images, save)
        inputs = {path.resolve() for path in images}
        for target in self._targets.values():
            check_savable(target)
            if target.resolve() in inputs:
                raise GeneralistError(f"{target}: --save would overwrite the image itself; choose another place")

    def save(self, path: Path, answer: Answer) -> list[Path]:
        """Write the overlay, and every depth map beside it; returns the files."""
        target = self._targets.get(path)
        if target is None:
            return []
        answer.save_overlay(target)
        saved = [target]
        depths = [g.output for g in answer.outputs if isinstance(g.output, DepthMap)]
        for number, depth in enumerate(depths):
            beside = target.with_name(f"{target.stem}_depth16{f'_{number + 1}' if number else ''}.png")
            save_depth(depth, beside)
            saved.append(beside)
        return saved


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"{folder}: cannot make this folder for several pictures ({reason})") from error


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    score = "" if entry["score"] is None else f"{entry['score']:.2f}"
    return (str(entry["index"]), entry["type"], entry["label"], score, _where(entry))


def _where(entry: dict[str, Any]) -> str:
    if entry["type"] == "depth":
        return f"{entry['min']:.2f} to {entry['max']:.2f} {entry['unit']}"
    if entry["type"] == "document":
        named = " ".join(dict.fromkeys((entry["document_id"], entry["title"]))).strip()
        return f"{named}: {shorten(entry['text'], _TEXT_WIDTH, placeholder='...')}"
    place = ", ".join(f"{v:.1f}" for v in entry.get("box") or entry["point"])
    return f"{place} ({entry['area']} pixels)" if entry["type"] == "mask" else place


def printable(text: str) -> str:
    """``text`` without characters that would steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
