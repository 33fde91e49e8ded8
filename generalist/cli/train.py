"""``generalist train``: one command from scenes to a measured checkpoint."""

# No "from __future__ import annotations": typer reads the annotations as objects.

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

_DATA, _STEPS, _RUN = "What is learnt from", "How it is learnt", "How to run"


def train(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="A new folder for all results, or a run to go on with.")
    ],
    start: Annotated[
        str, typer.Option("--start", metavar="MODEL", help="Go on from this checkpoint: nano or a folder.")
    ] = "",
    codecs: Annotated[
        Path | None,
        typer.Option(
            "--codecs", metavar="DIR", help="Train from nothing, or with --start go on, with the codecs fitted there."
        ),
    ] = None,
    new_tokenizer: Annotated[
        bool,
        typer.Option("--new-tokenizer", help="With --start: a tokenizer for today's names, weights carried over."),
    ] = False,
    images: Annotated[
        int, typer.Option("--images", help="Scenes to learn from, each used once.", rich_help_panel=_DATA)
    ] = 60_000,
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="Scenes that a process reads at once.", rich_help_panel=_DATA)
    ] = 16,
    looks: Annotated[
        int,
        typer.Option("--looks", help="Further scenes a batch, that only the vision tower sees.", rich_help_panel=_DATA),
    ] = 32,
    seed: Annotated[
        int, typer.Option("--seed", help="Another seed makes other scenes and weights.", rich_help_panel=_DATA)
    ] = 0,
    accumulate: Annotated[
        int, typer.Option("--accumulate", help="Batches of a process in each step.", rich_help_panel=_STEPS)
    ] = 1,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="The highest.", rich_help_panel=_STEPS)
    ] = 1.5e-3,
    schedule: Annotated[
        Literal["cosine", "linear"],
        typer.Option("--schedule", help="How the rate falls to 2 %, after it was held.", rich_help_panel=_STEPS),
    ] = "cosine",
    hold: Annotated[
        float, typer.Option("--hold", help="Part of the run before the rate falls.", rich_help_panel=_STEPS)
    ] = 0.4,
    warmup_steps: Annotated[
        int, typer.Option("--warmup-steps", help="Steps in which the rate rises.", rich_help_panel=_STEPS)
    ] = 60,
    ema: Annotated[
        float,
        typer.Option(
            "--ema",
            help="Decay of the moving average of the weights that is exported, less in runs under 20,000 steps; "
            "0 exports the last weights.",
            rich_help_panel=_STEPS,
        ),
    ] = 0.999,
    agvm: Annotated[
        bool,
        typer.Option(
            "--agvm", help="For large batches: rates by the gradient noise of each module.", rich_help_panel=_STEPS
        ),
    ] = False,
    precision: Annotated[
        Literal["auto", "bf16", "no"],
        typer.Option("--precision", help="auto takes bf16 where the device has it.", rich_help_panel=_RUN),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that compose scenes; by default what is free.", rich_help_panel=_RUN),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="At the end measure it on unseen scenes.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Put the command together; see :func:`generalist.training.train.train`."""
    from generalist.types import GeneralistError

    try:
        from generalist.cli.run import quiet
        from generalist.training.run import Interrupted
        from generalist.training.train import TrainOptions
        from generalist.training.train import train as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("generalist"):
            raise
        raise GeneralistError(f"{error.name} is not installed; pip install 'generalist[train]' brings it") from error
    quiet()
    options = TrainOptions(
        out=out,
        start=start,
        codecs=codecs,
        new_tokenizer=new_tokenizer,
        images=images,
        batch_size=batch_size,
        looks=looks,
        seed=seed,
        accumulate=accumulate,
        learning_rate=learning_rate,
        schedule=schedule,
        hold=hold,
        warmup_steps=warmup_steps,
        ema=ema,
        agvm=agvm,
        precision=precision,
        workers=workers,
        evaluate=evaluate,
    )
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that a launcher has started
    try:
        run(options)
    except GeneralistError:
        if is_first:
            raise
        raise typer.Exit(2) from None
    except Interrupted as interruption:
        if is_first:
            print(f"{interruption}; the same command goes on from there", file=sys.stderr)
        raise
    if is_first:
        print(f"checkpoint in {out / 'checkpoint'}")
