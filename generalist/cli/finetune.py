"""``generalist finetune``: from a few labelled pictures to an adapter."""

# No "from __future__ import annotations": typer reads the annotations as objects.

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from generalist_adapters.finetune.run import Watcher

_DATA, _HOW, _RUN = "What is learnt", "How it is learnt", "How to run"
_Method = Literal["auto", "head", "lora", "mtlora", "side", "full"]
_LINE_EVERY = 20
"""Steps between two lines where there is no terminal."""


def finetune(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled images in any known format.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the adapter and its figures.")],
    model: Annotated[str, typer.Option("--model", help="The base: nano or a checkpoint folder.")] = "nano",
    method: Annotated[
        _Method, typer.Option("--method", help="auto: a head for boxes and masks of classes, else lora; full is to "
                              "compare.", rich_help_panel=_HOW),
    ] = "auto",
    shots: Annotated[
        int, typer.Option("--shots", help="Images to learn from, every class among them.", rich_help_panel=_DATA)
    ] = 16,
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="TASK,...", help="By default all that the labels can teach.",
                          rich_help_panel=_DATA),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="What requests call it; by default as the folder.")] = "",
    steps: Annotated[int, typer.Option("--steps", help="How long to train.", rich_help_panel=_HOW)] = 300,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Train about so long instead, by the speed of the first steps.",
                                   rich_help_panel=_HOW),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images a step.", rich_help_panel=_HOW)] = 8,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The highest; by default the method's.",
                                   rich_help_panel=_HOW),
    ] = None,
    rank: Annotated[int, typer.Option("--rank", help="Of LoRA, of MTLoRA's shared part.", rich_help_panel=_HOW)] = 16,
    task_rank: Annotated[int, typer.Option("--task-rank", help="Of MTLoRA's tasks.", rich_help_panel=_HOW)] = 4,
    scale: Annotated[float, typer.Option("--scale", help="Of low-rank updates.", rich_help_panel=_HOW)] = 2.0,
    dropout: Annotated[float, typer.Option("--dropout", help="Of what enters them.", rich_help_panel=_HOW)] = 0.0,
    targets: Annotated[
        str, typer.Option("--targets", metavar="PART,...", help="Parts that are adapted.", rich_help_panel=_HOW)
    ] = "vision,projector,language",
    replay: Annotated[
        float, typer.Option("--replay", help="The share of composed scenes, against forgetting.", rich_help_panel=_DATA)
    ] = 0.25,
    flips: Annotated[
        Literal["auto", "none", "sideways", "all"],
        typer.Option("--flips", help="auto mirrors unless labels speak of left and right; all also turns by quarters: "
                     "for pictures without an up.", rich_help_panel=_DATA),
    ] = "auto",
    cuts: Annotated[
        bool, typer.Option("--cuts/--no-cuts", help="Also learn from parts of the pictures.", rich_help_panel=_DATA)
    ] = True,
    seed: Annotated[int, typer.Option("--seed", help="Of every choice.", rich_help_panel=_DATA)] = 0,
    eval_limit: Annotated[
        int, typer.Option("--eval-limit", help="Held-out images at most; 0 measures nothing.", rich_help_panel=_RUN)
    ] = 64,
    baseline: Annotated[
        bool, typer.Option("--baseline/--no-baseline", help="Also train a small network from scratch to compare with.",
                           rich_help_panel=_RUN),
    ] = True,
    format: Annotated[str | None, typer.Option("--format", help="Of DATA; by default found from the contents.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where the pictures are, if they are not beside.")
    ] = None,
    depth_scale: Annotated[
        float | None, typer.Option("--depth-scale", help="Levels a metre of the depth maps.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the data, for the model card.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show samples, sizes and times; write nothing.", rich_help_panel=_RUN)
    ] = False,
) -> None:  # fmt: skip
    """Put the command together; see :func:`generalist_adapters.finetune.run.finetune`."""
    from generalist.types import GeneralistError

    try:
        from generalist.cli.run import quiet
        from generalist.training.run import Interrupted
        from generalist_adapters.finetune.options import FinetuneOptions
        from generalist_adapters.finetune.plan import plan
        from generalist_adapters.finetune.run import finetune as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("generalist"):
            raise
        raise GeneralistError(f"{error.name} is not installed; pip install 'generalist[train]' brings it") from error
    quiet()
    options = FinetuneOptions(
        data=data, out=out, model=model, method=method, shots=shots, tasks=_listed(tasks), name=name, steps=steps,
        minutes=minutes, batch_size=batch_size, learning_rate=learning_rate, rank=rank, task_rank=task_rank,
        scale=scale, dropout=dropout, targets=_listed(targets), replay=replay, flips=flips, cuts=cuts, seed=seed,
        eval_limit=eval_limit, baseline=baseline, format=format, images=images, depth_scale=depth_scale,
        licence=licence, dry_run=dry_run,
    )  # fmt: skip
    if dry_run:
        for line in plan(options):
            print(line)
        return
    try:
        with _watcher() as watcher:
            outcome = run(options, watcher)
    except Interrupted as interruption:
        print(f"{interruption}; the same command goes on from there", file=sys.stderr)
        raise
    _print_figures(outcome.metrics)
    for adapter in outcome.adapters:
        print(f"adapter in {adapter}")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _print_figures(metrics: dict[str, Any]) -> None:
    """The figures of every state, a line each."""
    states = [state for state in ("before", "after", "from_scratch") if metrics.get(state)]
    for name in metrics.get("after") or {}:
        values = ((state, metrics[state].get(name)) for state in states)
        said = ", ".join(f"{state.replace('_', ' ')} {value:.3f}" for state, value in values if value is not None)
        print(f"{name}: {said}")


@contextmanager
def _watcher() -> "Iterator[Watcher]":
    """Bars on stderr where that is a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from generalist_adapters.finetune.run import Watcher

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None, said: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total, description=f"{stage} {said}".strip())

        def step(trainer: Any, loss: float) -> None:
            scores = [one["score"] for one in trainer.history if "score" in one]
            said = f"loss {loss:.3f}" + (f", score {scores[-1]:.3f}" if scores else "")
            show("training", trainer.step, trainer.schedule.steps, said)
            if not console.is_terminal and trainer.step % _LINE_EVERY == 0:
                console.print(f"step {trainer.step} of {trainer.schedule.steps}: {said}")

        yield Watcher(tell=console.print, step=step, asking=lambda stage: lambda done, total: show(stage, done, total))
