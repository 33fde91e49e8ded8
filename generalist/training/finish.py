"""What follows training: how far the checkpoint's answers can be trusted, and how good they are."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from generalist.pipeline import Generalist

SUITES = ("world/compositions", "world/style")
_TRUST_SCENES = 800


def finish(checkpoint: Path) -> None:
    """Fit what is learnt from a model's own answers to training scenes: the trust in mask codes, and the scores."""
    from generalist.training.mask_trust import fit_checkpoint
    from generalist.training.score_calibration import calibrate

    fit_checkpoint(checkpoint, _TRUST_SCENES)
    calibrate(checkpoint)


def evaluate(checkpoint: Path, out: Path) -> None:
    """Measure a checkpoint on unseen scenes; print the tables, and write JSON and HTML reports into ``out``.

    Called again after an interruption it goes on where it stopped.
    """
    from generalist.evaluation.html import write_html
    from generalist.evaluation.pictures import pick_cases
    from generalist.evaluation.report import table, write_json
    from generalist.evaluation.run import run_suite
    from generalist.evaluation.suites import get_suite

    out.mkdir(parents=True, exist_ok=True)
    model = Generalist.from_pretrained(checkpoint)
    for name in SUITES:
        place, suite = out / name.replace("/", "-"), get_suite(name)
        cache = place.with_suffix(".answers.jsonl")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task(name, total=None)
            result = run_suite(
                model,
                suite,
                name=str(checkpoint),
                engine="transformers",
                folder=checkpoint,
                cache=cache,
                progress=lambda done, total, task=task, bar=bar: bar.update(task, completed=done, total=total),  # type: ignore[misc]
            )
        command = shlex.join(["generalist", "eval", name, "--model", str(checkpoint)])
        write_json(result, place.with_suffix(".json"), command=command)
        write_html(result, place.with_suffix(".html"), partial(pick_cases, suite, None), command=command)
        cache.unlink(missing_ok=True)
        Console().print(table(result))
