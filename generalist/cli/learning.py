"""How ``generalist index`` shows that an index is learnt."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generalist.documents.learning import LearningOptions, Watcher
    from generalist.index import Index

_SECONDS_A_LINE = 30.0
"""Between two lines where there is no terminal."""


def learn(folder: Path, options: LearningOptions) -> Index:
    """Train and show how that goes; SIGINT and SIGTERM end it with its state saved."""
    from generalist.cli.run import quiet
    from generalist.documents.learning import train_index
    from generalist.interruptions import Interrupted, interruptions

    quiet()
    try:
        with _learning() as watcher, interruptions() as interrupted:
            return train_index(folder, options, watcher, interrupted)
    except Interrupted as interruption:
        print(f"{interruption}; `generalist index train` with the same options goes on from there", file=sys.stderr)
        raise


@contextmanager
def _learning() -> Iterator[Watcher]:
    """Bars on stderr where that is a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from generalist.documents.learning import Watcher

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        bars: dict[str, Any] = {}
        last = time.monotonic()

        def stage(name: str, done: int, total: int, said: str) -> None:
            nonlocal last
            if name not in bars:
                bars[name] = bar.add_task(name, total=total)
            bar.update(bars[name], completed=done, total=total, description=f"{name} {said}".strip())
            if not console.is_terminal and (done == total or time.monotonic() - last > _SECONDS_A_LINE):
                last = time.monotonic()
                left = bar.tasks[bars[name]].time_remaining
                estimate = "" if not left else f", about {left / 60:.0f} minutes left"
                console.print(f"{name}: {done} of {total} {said}".rstrip() + estimate)

        yield Watcher(tell=console.print, stage=stage)
