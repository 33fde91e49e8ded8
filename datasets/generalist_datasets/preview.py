"""A contact sheet: pictures with the targets of their samples drawn on them, questions and answers below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from generalist.draw import draw_overlay
from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Point, Sample
from generalist_datasets.readers import Options, read_samples
from generalist_datasets.thumbnails import as_output, fitted, resized

Group = tuple[Image.Image, Sequence[Sample]]
"""A picture and its samples."""

_ACROSS = 4
_SIDE = 210
_MARGIN = 10
_FONT_SIZE, _LINE = 13, 17
_MOST_QUESTIONS = 14
_MOST_LETTERS = 400
_INK, _DIM, _PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)

Line = tuple[str, tuple[int, int, int]]


def read_groups(path: Path, count: int, format: str | None = None, options: Options | None = None) -> Iterator[Group]:
    """The first ``count`` pictures of a data set that a reader knows, composed scenes among them.

    Raises:
        GeneralistError: there is nothing to show, or what is there cannot be read.
    """
    return islice(_grouped(read_samples(path, format, options=options)), count)


def _grouped(samples: Iterable[Sample]) -> Iterator[Group]:
    """Neighbouring samples that share one picture, together."""
    group: list[Sample] = []
    for sample in samples:
        if group and sample.image is not group[0].image:
            yield group[0].image, group
            group = []
        group.append(sample)
    if group:
        yield group[0].image, group


def sheet(groups: Iterable[Group], columns: int = 2) -> Image.Image:
    """The contact sheet, ``columns`` pictures across. Raises :class:`GeneralistError` when there is no picture."""
    shown = [(_panels(image, samples), _lines(samples)) for image, samples in groups]
    if not shown:
        raise GeneralistError("there is no picture to show; name a data set with at least one")
    across = min(_ACROSS, max(len(panels) for panels, _ in shown))
    cells = [_cell(panels, lines, across) for panels, lines in shown]
    columns = min(columns, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    width = cells[0].width
    paper = Image.new("RGB", (columns * (width + _MARGIN) + _MARGIN, sum(heights) + (len(rows) + 1) * _MARGIN), _DIM)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for number, cell in enumerate(row):
            paper.paste(cell, (_MARGIN + number * (width + _MARGIN), top))
        top += height + _MARGIN
    return paper


def _cell(panels: Sequence[Image.Image], lines: Sequence[Line], across: int) -> Image.Image:
    """Panels, ``across`` in a row, and the words below them."""
    font = ImageFont.load_default(_FONT_SIZE)
    width = across * (_SIDE + _MARGIN) + _MARGIN
    wrapped = [(part, ink) for text, ink in lines for part in _wrapped(text, font, width - 2 * _MARGIN)]
    rows = [panels[start : start + across] for start in range(0, len(panels), across)]
    heights = [max(panel.height for panel in row) + _MARGIN for row in rows]
    cell = Image.new("RGB", (width, sum(heights) + 2 * _MARGIN + _LINE * len(wrapped)), _PAPER)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for number, panel in enumerate(row):
            cell.paste(panel, (_MARGIN + number * (_SIDE + _MARGIN), top))
        top += height
    draw = ImageDraw.Draw(cell)
    for number, (text, ink) in enumerate(wrapped):
        draw.text((_MARGIN, top + number * _LINE), text, fill=ink, font=font)
    return cell


# --- pictures -----------------------------------------------------------------------------------------


def _panels(image: Image.Image, samples: Sequence[Sample]) -> list[Image.Image]:
    """The picture; then with boxes and points, with masks, as depth, with what the user drew; then earlier ones."""
    small = fitted(image, _SIDE)
    targets = [replace(t, output=resized(t.output, small.size)) for sample in samples for t in sample.targets]
    drawn = [
        Grounded(
            label=f"not Q{number}" if prompt.excludes else f"Q{number}",
            span=(0, 0),
            image=0,
            ref=0,
            output=resized(as_output(prompt), small.size),
        )
        for number, sample in enumerate(samples, start=1)
        for prompt in sample.visual_prompts
    ]
    layers = [
        _distinct([t for t in targets if isinstance(t.output, Box | Point)]),
        _distinct([t for t in targets if isinstance(t.output, Mask)]),
        [t for t in targets if isinstance(t.output, DepthMap)][:1],
        drawn,
    ]
    earlier = next((sample.earlier_images for sample in samples if sample.earlier_images), ())
    return [
        small,
        *(draw_overlay(small, layer) for layer in layers if layer),
        *(fitted(picture, _SIDE) for picture in earlier),
    ]


def _distinct(targets: Sequence[Grounded]) -> list[Grounded]:
    """Without the same thing twice under one name: several questions ask about it."""
    return list({(target.label, target.output): target for target in targets}.values())


# --- words --------------------------------------------------------------------------------------------


def _lines(samples: Sequence[Sample]) -> list[Line]:
    lines: list[Line] = []
    for number, sample in enumerate(samples[:_MOST_QUESTIONS], start=1):
        kind = str(sample.meta.get("ability", sample.task)) + (", not there" if sample.meta.get("negative") else "")
        lines += [(f"before Q{number}, {turn.role}: {_cut(turn.text)}", _DIM) for turn in sample.history]
        lines.append((f"Q{number} ({kind}): {_cut(sample.prompt)}", _DIM))
        lines.append((f"A: {_cut(_marked(sample))}", _INK))
    if len(samples) > _MOST_QUESTIONS:
        lines.append((f"and {len(samples) - _MOST_QUESTIONS} more questions", _DIM))
    return lines


def _marked(sample: Sample) -> str:
    """The answer with what its phrases draw in brackets behind them: ``"two dogs [2 boxes]"``."""
    kinds: dict[int, list[str]] = {}
    for target in sample.targets:
        kinds.setdefault(target.span[1], []).append(_KIND[type(target.output)])
    text = sample.text
    for stop, names in sorted(kinds.items(), reverse=True):
        many = f"{len(names)} {names[0]}{'es' if names[0] == 'box' else 's'}"
        text = f"{text[:stop]} [{names[0] if len(names) == 1 else many}]{text[stop:]}"
    return text


_KIND = {Box: "box", Point: "point", Mask: "mask", DepthMap: "depth map", DocHit: "document"}


def _cut(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MOST_LETTERS else words[: _MOST_LETTERS - 3] + "..."


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` pixels; a word that is longer is broken."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if font.getlength(joined) <= width:
            line = joined
            continue
        lines += [line] if line else []
        line = word
        while font.getlength(line) > width:
            stop = next(n for n in range(len(line) - 1, 0, -1) if font.getlength(line[:n]) <= width)
            lines.append(line[:stop])
            line = line[stop:]
    return [*lines, line]
