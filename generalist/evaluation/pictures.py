"""The worst cases as small pictures: what was asked, what is true and what the model drew, side by side."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from generalist.draw import draw_overlay
from generalist.evaluation.cases import Case, Measure, Outcome, Result, Suite
from generalist.types import Box, DepthMap, DocHit, Grounded, Mask, Point, Sample, VisualPrompt
from generalist_datasets.thumbnails import as_output, fitted, resized

_SIDE = 288
_QUALITY = 80
"""Of the JPEGs."""

_MOST_LETTERS = 600
_NOUNS = {
    Box: ("box", "boxes"),
    Point: ("point", "points"),
    Mask: ("mask", "masks"),
    DepthMap: ("depth map", "depth maps"),
    DocHit: ("document", "documents"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A picture as a data URL; ``width`` and ``height`` in pixels."""

    title: str
    alt: str
    url: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A case for people. ``turns``: (who, what) of the conversation with the question last."""

    id: str
    quality: float
    turns: tuple[tuple[str, str], ...]
    expected: str
    given: str
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]


def pick_cases(suite: Suite, limit: int | None, ids: Collection[str]) -> dict[str, Case]:
    """The cases called ``ids``, with their pictures: the suite is gone through again until all are found."""
    found: dict[str, Case] = {}
    wanted = set(ids)
    if wanted:
        for case in suite.cases(limit):
            if case.id in wanted:
                found[case.id] = case
                if len(found) == len(wanted):
                    break
    return found


def worst_cases(result: Result, measures: Mapping[str, Measure], most: int) -> dict[str, list[tuple[str, float]]]:
    """By group, up to ``most`` of its cases that are not wholly right, as (id, quality), the worst first."""
    ranked: dict[str, list[tuple[str, float]]] = {group: [] for group in result.figures}
    for case, group in result.groups.items():
        if group in ranked and case in result.kept:
            quality = measures[group].quality(result.kept[case])
            if quality < 1:  # false for NaN: nothing can be said of it
                ranked[group].append((case, quality))
    # Stable: among equals the order of the cases.
    return {group: sorted(cases, key=lambda item: item[1])[:most] for group, cases in ranked.items()}


def show_case(case: Case, outcome: Outcome, quality: float) -> Shown:
    """A case and its answer in words and pictures."""
    sample = case.sample
    turns = [(turn.role, cut(turn.text)) for turn in sample.history]
    return Shown(
        id=case.id,
        quality=quality,
        turns=(*turns, ("user", cut(sample.prompt))),
        expected=_said(sample.text, sample.targets),
        given=_said(outcome.text, outcome.outputs),
        notes=tuple(_notes(outcome)),
        panels=tuple(_panels(sample, outcome)),
    )


def cut(text: str) -> str:
    """``text`` on one line, shortened."""
    words = " ".join(text.split())
    return words if len(words) <= _MOST_LETTERS else words[: _MOST_LETTERS - 3] + "..."


# --- words --------------------------------------------------------------------------------------------


def _said(text: str, drawn: Sequence[Grounded]) -> str:
    """``"A dog. [1 box]"``."""
    return f"{cut(text) or '(no text)'} {f'[{_inventory(drawn)}]' if drawn else ''}".strip()


def _inventory(drawn: Sequence[Grounded]) -> str:
    counts = Counter(type(item.output) for item in drawn)
    parts = [f"{count} {_NOUNS[kind][count > 1]}" for kind, count in counts.items()]
    return ", ".join([*parts, *_depth_ranges(drawn)])


def _depth_ranges(drawn: Sequence[Grounded]) -> list[str]:
    """Nearest and farthest of every depth map: each is coloured from the one to the other."""
    maps = [item.output for item in drawn if isinstance(item.output, DepthMap)]
    known = [(depth.values[np.isfinite(depth.values)], depth.unit) for depth in maps]
    return [f"{values.min():.2f} to {values.max():.2f} {unit}" for values, unit in known if values.size]


def _notes(outcome: Outcome) -> list[str]:
    notes = [f"could not be asked: {outcome.error}"] if outcome.error else []
    notes += [] if outcome.finished else ["cut at the limit of tokens"]
    return notes + [f"token {issue.at}: expected {issue.expected}, got {issue.got}" for issue in outcome.issues]


# --- pictures -----------------------------------------------------------------------------------------


def _panels(sample: Sample, outcome: Outcome) -> list[Panel]:
    """Earlier pictures; the picture, with what the user drew; the truth; the answer, where anything is drawn."""
    panels = [
        _panel("earlier picture", "an earlier picture of the question", image, ()) for image in sample.earlier_images
    ]
    prompts = [Grounded(label="", span=(0, 0), image=0, ref=0, output=as_output(p)) for p in _all_prompts(sample)]
    number = len(sample.earlier_images)
    truth = [item for item in sample.targets if item.image == number]
    given = [item for item in outcome.outputs if item.image == number]
    if prompts:
        panels.append(
            _panel("asked about", f"the picture with what the user drew: {_inventory(prompts)}", sample.image, prompts)
        )
    if truth or given:
        for title, drawn in (("truth", truth), ("answer", given)):
            alt = f"the picture with the {title} drawn on it: {_inventory(drawn) or 'nothing'}"
            panels.append(_panel(", ".join([title, *_depth_ranges(drawn)]), alt, sample.image, drawn))
    elif not prompts:
        panels.append(_panel("picture", "the picture of the question", sample.image, ()))
    return panels


def _all_prompts(sample: Sample) -> list[VisualPrompt]:
    return [*(prompt for turn in sample.history for prompt in turn.visual_prompts), *sample.visual_prompts]


def _panel(title: str, alt: str, image: Image.Image, drawn: Sequence[Grounded]) -> Panel:
    small = fitted(image, _SIDE)
    scene = draw_overlay(small, [replace(item, output=resized(item.output, small.size)) for item in drawn])
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", quality=_QUALITY)
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Panel(title=title, alt=alt, url=url, width=scene.width, height=scene.height)
