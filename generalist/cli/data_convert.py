"""``generalist data convert``: what was written, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from generalist.cli.output import printable
from generalist_datasets.converters import Form, convert
from generalist_datasets.readers import Options
from generalist_datasets.records import Problems


def run_convert(path: Path, form: Form, out: Path, format: str | None, options: Options) -> None:
    """Convert and print; raises :class:`GeneralistError`."""
    problems = Problems(strict=False, keep=1)
    written = convert(path, form, out, format=format, options=options, problems=problems)
    print(printable(f"{_list(written.counts)} written in {out}: {', '.join(written.files)}"))
    if written.left_out:
        print(printable(f"left out, since {form} has no place for them: {_list(written.left_out)}"))
    broken = {kind: n for (severity, kind), n in problems.counts.items() if severity == "error"}
    if broken:
        print(printable(f"left out, since they are broken: {_list(broken)}; `generalist data check {path}` says where"))


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
