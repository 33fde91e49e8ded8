"""What a run tells: lines of JSON, TensorBoard, and on a terminal a live view."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from generalist.training.losses import LOSS_WEIGHTS, TALLIES, TASK_TALLIES
from generalist.training.recipe import Recipe
from generalist.training.step import Report
from generalist.types import GeneralistError

FILE = "log.jsonl"
BOARD = "tensorboard"
_INTERVAL = 50
_DIGITS = 4


class Log:
    """The log of a run in ``folder``, from step ``first`` on: an entry every 50 steps, and one of the last.

    An entry has means over the steps since the one before; ``tasks`` are the losses of answers by task. What a run
    that was killed wrote about steps that are taken again is removed.
    """

    def __init__(self, folder: Path, recipe: Recipe, first: int) -> None:
        self.folder, self.recipe, self.first = folder, recipe, first
        self._clear()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns)
        self._task = self._bar.add_task("training", total=recipe.steps, completed=first)
        console = Console(stderr=True)
        self._live = Live(self._bar, console=console) if console.is_terminal else None

    def __enter__(self) -> Log:
        _cut(self.folder / FILE, self.first)
        self._file: IO[str] = (self.folder / FILE).open("a", encoding="utf-8")
        self._board = _open_board(self.folder / BOARD, self.first)
        context: AbstractContextManager[Any] = self._live or nullcontext()
        context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)
        self._file.close()
        self._board.close()

    def add(self, step: int, report: Report) -> None:
        """``step`` steps are done."""
        self._losses += report.losses.double()
        self._tallies += report.tallies.double()
        self._norm += report.gradient_norm
        self._steps += 1
        if self._live:
            self._bar.update(self._task, completed=step, description=f"{self._speed():.1f} images/s")
            self._live.update(Group(self._bar, self._table()))
        if step % _INTERVAL == 0 or step == self.recipe.steps:
            self._write(step, report)
            self._clear()

    def _clear(self) -> None:
        self._losses = torch.zeros(len(LOSS_WEIGHTS), dtype=torch.float64)
        self._tallies = torch.zeros(2, len(TALLIES), dtype=torch.float64)
        self._norm, self._steps, self._began = 0.0, 0, time.monotonic()

    def _speed(self) -> float:
        return self._steps * self.recipe.images_a_step / max(time.monotonic() - self._began, 1e-9)

    def _means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Losses and tallies since the last entry, and losses by task; without what was not asked."""
        means = dict(zip(LOSS_WEIGHTS, (self._losses / max(self._steps, 1)).tolist(), strict=True))
        counted = {
            name: total / count
            for name, total, count in zip(TALLIES, *self._tallies.tolist(), strict=True)
            if count > 0
        }
        tasks = {name.removeprefix("task/"): counted.pop(name) for name in TASK_TALLIES if name in counted}
        return means | counted, tasks

    def _write(self, step: int, report: Report) -> None:
        means, tasks = self._means()
        entry: dict[str, Any] = {
            "step": step,
            "images": step * self.recipe.images_a_step,
            "images_per_second": round(self._speed(), 2),
            "learning_rate": report.learning_rate,
            "gradient_norm": round(self._norm / self._steps, _DIGITS),
            **_rounded(means),
            "tasks": _rounded(tasks),
        }
        if report.factors:
            entry["agvm"] = _rounded(report.factors)
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        for name, value in entry.items():
            if isinstance(value, dict):
                for part, number in value.items():
                    self._board.add_scalar(f"{name}/{part}", number, step)
            elif name != "step":
                group = "losses/" if name in means else "run/"
                self._board.add_scalar(group + name, value, step)
        self._board.flush()

    def _table(self) -> Table:
        means, tasks = self._means()
        table = Table("loss", "mean", "task", "loss", box=None, header_style="dim")
        rows = max(len(means), len(tasks))
        for (loss, mean), (task, of_task) in zip(_cells(means, rows), _cells(tasks, rows), strict=True):
            table.add_row(loss, mean, task, of_task)
        return table


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in sorted(values.items())}


def _cells(values: Mapping[str, float], rows: int) -> list[tuple[str, str]]:
    cells = [(name, f"{value:.3f}") for name, value in values.items()]
    return cells + [("", "")] * (rows - len(cells))


def _cut(path: Path, last: int) -> None:
    """Leave the entries up to step ``last`` in a log; the last line of a run that was killed may be half a line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= last:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            break
    path.write_text("".join(kept), encoding="utf-8")


def _open_board(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise GeneralistError("tensorboard is not installed; pip install 'generalist[train]' brings it") from error
    return SummaryWriter(str(folder), purge_step=first + 1)
