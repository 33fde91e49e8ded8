"""``generalist data check``: the report on the screen, as JSON, and as a picture."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from generalist.cli.output import printable
from generalist.draw import check_savable, save_image
from generalist.types import GeneralistError, Sample
from generalist_datasets.check import CorpusReport, Report, ScenesReport, check
from generalist_datasets.check.report import NO_SPLIT, Finding
from generalist_datasets.preview import Group, read_groups, sheet
from generalist_datasets.readers import Options
from generalist_datasets.record_samples import to_samples
from generalist_datasets.records import Record

SHOWN = 20
"""Classes and rows of a table that the screen shows; the JSON has them all."""

_USUAL = {"train": 0, "val": 1, "test": 2}  # splits that are shown first, in this order
_PREVIEWED = 12
_BAR = 30


def run_check(
    path: Path, format: str | None, options: Options, *, as_json: bool, preview: Path | None, with_preview: bool
) -> None:
    """Check, print, draw; exits with 2 when the data cannot be used. Raises :class:`GeneralistError`."""
    target = preview_target(path, options, preview) if with_preview else None
    chosen = _Chosen(_PREVIEWED)
    with _progress() as advance:

        def on_record(record: Record) -> None:
            advance()
            if target is not None:
                chosen.offer(record)

        report = check(path, format, options, on_record=on_record)
    groups = read_groups(path, _PREVIEWED) if isinstance(report, ScenesReport) else _groups(chosen.records)
    drawn = _draw(groups, target) if target is not None else None
    if as_json:
        print(json.dumps({**report.to_dict(), "preview": None if drawn is None else str(drawn)}))
    else:
        console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        _print(console, report)
        if drawn is not None:
            console.print(printable(f"saved {drawn}"))
        elif with_preview and (reason := _why_none(report, target, preview)):
            console.print(f"no preview: {reason}")
        _print_verdict(console, report)
    if not report.usable:
        raise typer.Exit(2)


# --- the preview ------------------------------------------------------------------------------------------------


def preview_target(path: Path, options: Options, named: Path | None, option: str = "--preview") -> Path | None:
    """Where the preview of the data at ``path`` goes: never into their folder. None where only the default would.

    ``option`` is the one that has ``named`` it. Raises :class:`GeneralistError` when nothing can be written there.
    """
    folder = path if os.path.isdir(path) else path.parent
    target = named or Path(f"{_real(folder).name or 'data'}-preview.png")
    owned = [folder for folder in (folder if os.path.exists(path) else None, options.images) if folder is not None]
    inside = any(_is_inside(target, own) for own in owned)
    if named is None and (inside or not os.access(target.parent, os.W_OK)):
        return None
    if inside:
        raise GeneralistError(f"{target}: {option} is inside the data, which stay as they are; choose another folder")
    check_savable(target)
    return target


def _is_inside(target: Path, folder: Path) -> bool:
    return _real(target).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # which does not mind links to themselves


class _Chosen:
    """A random sample of records, whatever their number; the same one for the same data."""

    def __init__(self, most: int) -> None:
        self.records: list[Record] = []
        self._most, self._offered, self._random = most, 0, random.Random(0)

    def offer(self, record: Record) -> None:
        self._offered += 1
        if len(self.records) < self._most:
            self.records.append(record)
        elif (at := self._random.randrange(self._offered)) < self._most:
            self.records[at] = record


def _draw(groups: Iterable[Group], target: Path) -> Path | None:
    """Write the preview; None when no picture can be drawn."""
    try:
        drawn = sheet(groups)
    except GeneralistError:  # there is none, or a shard is damaged, which the report says
        return None
    save_image(drawn, target)
    return target


def _groups(records: Sequence[Record]) -> list[Group]:
    return [(samples[0].image, samples) for samples in map(_samples, records) if samples]


def _samples(record: Record) -> list[Sample]:
    try:
        return list(to_samples(record))
    except GeneralistError:  # the report says what is wrong with it
        return []


@contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    """A count on stderr where that is a terminal: how many images there are is known at the end."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} read"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("check", total=None)
        yield lambda: bar.advance(task)


# --- on the screen ----------------------------------------------------------------------------------------------


def _print(console: Console, report: Report | CorpusReport | ScenesReport) -> None:
    console.print(printable(f"{report.path}: {report.format} ({report.summary})"), style="bold")
    if isinstance(report, CorpusReport):
        _print_corpus(console, report)
    elif isinstance(report, ScenesReport):
        _print_scenes(console, report)
    else:
        _print_images(console, report)
    for finding in report.findings:
        _print_finding(console, finding)


def _print_images(console: Console, report: Report) -> None:
    if report.images.total:
        _print_table(console, _by_split(report))
    rows = [
        ("captions", report.captions),
        ("turns of conversations", report.turns),
        ("masks", report.annotations.masks),
        ("things with keypoints", report.annotations.keypoints),
        ("things with phrases", report.annotations.phrases),
        ("crowds", report.annotations.crowds),
    ]
    for name, count in rows:
        if count:
            console.print(f"{name}: {count:,}")
    _print_depth(console, report)
    _print_pictures(console, report)
    if report.annotations.boxes:
        _print_object_sizes(console, report)


def _by_split(report: Report) -> Table:
    """Images and annotations of every class, a column a split."""
    splits = sorted(report.images.by_split, key=lambda split: (_USUAL.get(split, len(_USUAL)), split))
    headings = ["count"] if splits == [NO_SPLIT] else [*splits, *(["total"] if len(splits) > 1 else [])]
    table = _table("", *headings)
    _add_counts(table, "images", report.images.by_split, splits)
    classes = list(report.annotations.by_class.items())
    for label, counts in classes[:SHOWN]:
        _add_counts(table, label or "(no class)", counts, splits)
    if len(classes) > SHOWN:
        rest = {s: sum(counts.get(s, 0) for _, counts in classes[SHOWN:]) for s in splits}
        _add_counts(table, f"{len(classes) - SHOWN:,} more classes", rest, splits)
    if len(classes) > 1:
        _add_counts(table, "all classes", report.annotations.by_split, splits)
    return table


def _add_counts(table: Table, name: str, counts: Mapping[str, int], splits: Sequence[str]) -> None:
    numbers = [counts.get(split, 0) for split in splits]
    if len(splits) > 1:
        numbers.append(sum(numbers))
    table.add_row(Text(printable(name), overflow="fold"), *(f"{number:,}" for number in numbers))


def _print_depth(console: Console, report: Report) -> None:
    depth = report.depth
    if not depth.maps:
        return
    console.print(f"depth maps: {depth.maps:,}")
    if depth.median is not None:
        console.print(
            f"  of {depth.read:,} read: {depth.nearest:.2f} to {depth.farthest:.2f} m, median {depth.median:.2f} m, "
            f"{depth.unknown:.0%} of the pixels unknown; other numbers need another --depth-scale"
        )


def _print_pictures(console: Console, report: Report) -> None:
    pictures = report.pictures
    if pictures.smallest is None or pictures.median is None or pictures.largest is None:
        return
    ends = " / ".join(_by(*size) for size in (pictures.smallest, pictures.median, pictures.largest))
    common = ", ".join(f"{_by(size.width, size.height)} ({size.pictures:,})" for size in pictures.common)
    console.print(f"pictures: {pictures.readable:,} with a sound header, {pictures.decoded:,} of them decoded whole")
    console.print(f"picture sizes, smallest / median / largest: {ends}; most often {common}")


def _print_object_sizes(console: Console, report: Report) -> None:
    sizes = report.object_sizes
    console.print(
        f"boxes: {report.annotations.boxes:,}; by area small {sizes.small:,}, medium {sizes.medium:,}, "
        f"large {sizes.large:,} (COCO: 32 and 96 pixels squared)"
    )
    most = max((bin.count for bin in sizes.relative), default=0)
    if most:
        table = _table("side of the box / of the picture", "boxes")
        table.add_column("")
        for bin in sizes.relative:
            table.add_row(f"{bin.low:.0%} to {bin.high:.0%}", f"{bin.count:,}", "█" * round(_BAR * bin.count / most))
        _print_table(console, table)


def _print_corpus(console: Console, report: CorpusReport) -> None:
    console.print(f"documents: {report.documents:,}")
    if report.characters is not None:
        shortest, median, longest = report.characters
        console.print(f"characters of a document, shortest / median / longest: {shortest:,} / {median:,} / {longest:,}")
    console.print(f"queries: {report.queries:,}")
    if report.answers:
        console.print(f"answers: {report.answers:,}")
    counts = report.judgements.by_split
    splits = ", ".join(f"{printable(split)} {count:,}" for split, count in counts.items())
    console.print(f"judgements: {report.judgements.total:,}" + (f" ({splits})" if set(counts) - {NO_SPLIT} else ""))


def _print_scenes(console: Console, report: ScenesReport) -> None:
    console.print(printable(f"split: {report.split}, seed {report.seed}"))
    console.print(f"scenes: {report.scenes:,} of {report.count or 0:,}, in {_number(report.shards, 'shard')}")
    tasks = ", ".join(f"{printable(task)} {count:,}" for task, count in report.questions.items())
    console.print(f"questions: {sum(report.questions.values()):,}" + (f" ({tasks})" if tasks else ""))
    if report.digest:
        console.print(printable(f"digest {report.digest}"))


def _print_finding(console: Console, finding: Finding) -> None:
    style = "red" if finding.severity == "error" else "yellow"
    console.print(Text(f"{finding.severity}: {finding.kind}: {finding.count:,}", style=style))
    for example in finding.examples:
        place = f"{example.file}: {example.entry}" if example.entry else example.file
        console.print(printable(f"  {place}" + (f" ({example.detail})" if example.detail else "")))
    if finding.count > len(finding.examples):
        console.print(f"  ... and {finding.count - len(finding.examples):,} more")


def _why_none(report: Report | CorpusReport | ScenesReport, target: Path | None, named: Path | None) -> str:
    """Why no preview was written; "" where nobody would expect one."""
    if isinstance(report, CorpusReport):
        return "a corpus of text has no pictures" if named else ""
    if target is None:
        return "name a file outside the data with --preview FILE"
    return "there is no picture that can be drawn with its labels" if named or report.usable else ""


def _print_verdict(console: Console, report: Report | CorpusReport | ScenesReport) -> None:
    totals = report.to_dict()
    verdict = "usable" if report.usable else "not usable as it is"
    errors, warnings = _number(totals["errors"], "error"), _number(totals["warnings"], "warning")
    console.print(f"{verdict}: {errors}, {warnings}", style="bold")


def _number(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _table(heading: str, *columns: str) -> Table:
    table = Table(heading, box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)), justify="right")
    return table


def _print_table(console: Console, table: Table) -> None:
    console.print(table, soft_wrap=False)


def _by(width: int, height: int) -> str:
    return f"{width}x{height}"
