"""Few-shot training on real pictures: the base as it is, after 16 pictures, and a small network from scratch.

    python tests/benchmarks/adapters_fewshot.py --data path/to/data
    python tests/benchmarks/adapters_fewshot.py --sets bccd --methods head --seeds 0 --limit 24 --steps 100   # quickly

Blood cells (BCCD, boxes of three classes, "detect/AP50") and streets (CamVid, semantic masks, "semantic/semantic
mIoU"), each with its official test split, which nothing is chosen by. About 8 minutes a run on two idle cores. Runs are
kept in ``--out``: one that is there is not made again, one that was interrupted goes on, and the table at the end is of
all that were asked for. With ``--forgetting N`` the adapters and the base are also asked about N composed scenes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from generalist.answer import Answer
from generalist.cli.run import quiet
from generalist.engine.transformers_engine import TransformersEngine
from generalist.evaluation.measures import MEASURES
from generalist.evaluation.run import run_suite
from generalist.evaluation.suites import get_suite
from generalist.pipeline import Generalist
from generalist.types import ChatRequest
from generalist_adapters.finetune.options import FinetuneOptions
from generalist_adapters.finetune.plan import peak_memory
from generalist_adapters.finetune.run import Watcher, finetune
from generalist_adapters.finetune.setting import load_base

SETS: dict[str, tuple[str, dict[str, Any]]] = {
    # cells have no up
    "bccd": ("detect/AP50", {"tasks": ("detect",), "flips": "all"}),
    "camvid": ("semantic/semantic mIoU", {"tasks": ("segment",)}),
}
"""Folder -> the figure that counts, and the options that suit the pictures."""
DATA = Path(os.environ.get("GENERALIST_TEST_DATA", "../shared/data"))
STEPS = FinetuneOptions(data=DATA, out=DATA).steps


class Adapted:
    """A model that answers every request with one adapter."""

    def __init__(self, model: Generalist, engine: TransformersEngine, folder: Path) -> None:
        self.engine, self._model = engine, model
        engine.load_adapter("this", folder)

    def answer(self, requests: list[ChatRequest]) -> list[Answer]:
        return self._model.answer([replace(request, adapter="this") for request in requests])


def forgetting(model: str, adapter: Path, scenes: int) -> None:
    """Figures of composed scenes with and without an adapter."""
    checkpoint, line = load_base(model)
    engine = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    plain, suite = Generalist(engine, line), get_suite("world/compositions")
    results = [run_suite(one, suite, limit=scenes) for one in (plain, Adapted(plain, engine, adapter))]  # type: ignore[arg-type]
    before, after = ({f.name: f for group in MEASURES for f in r.figures.get(group, ())} for r in results)
    for name, figure in before.items():
        print(f"    {name:44s} {figure.value:.3f} -> {after[name].value:.3f}")


def run(options: FinetuneOptions) -> dict[str, Any]:
    """The metrics of one run, made or found; prints its time and its memory."""
    outcome = finetune(options, Watcher(tell=lambda line: print(f"    {line}", flush=True)))
    times = ", ".join(f"{stage} {s:.0f} s" for stage, s in outcome.metrics["seconds"].items())
    print(f"    {times}; {peak_memory() / 2**30:.2f} GiB at most", flush=True)
    return outcome.metrics


def cells(metrics: dict[str, Any], figure: str, method: str) -> dict[str, tuple[float, str]]:
    """Column -> the figure, and how it is shown: with its interval."""
    found = {}
    for state, column in (("before", "zero-shot"), ("from_scratch", "from scratch"), ("after", method)):
        value = metrics.get(state, {}).get(figure)
        if value is not None:
            low, high = metrics["intervals"][state][figure]
            found[column] = (value, f"{value:.3f} ({low:.3f} to {high:.3f})")
    return found


def table(figure: str, rows: dict[int, dict[str, tuple[float, str]]]) -> None:
    """A row a seed, and the means."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    print(f"\n| {figure}, seed | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for seed, row in rows.items():
        print(f"| {seed} | {' | '.join(row[column][1] if column in row else '–' for column in columns)} |")
    means = (np.mean([row[column][0] for row in rows.values() if column in row]) for column in columns)
    print(f"| mean | {' | '.join(f'{mean:.3f}' for mean in means)} |", flush=True)


def main(
    data: Annotated[Path, typer.Option(help="The folder with bccd and camvid.")] = DATA,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/fewshot"),
    sets: Annotated[str, typer.Option(help="Which, separated by commas.")] = ",".join(SETS),
    methods: Annotated[str, typer.Option(help="Which, separated by commas.")] = "head,lora",
    seeds: Annotated[str, typer.Option(help="Which, separated by commas.")] = "0,1,2",
    shots: Annotated[int, typer.Option(min=1)] = 16,
    limit: Annotated[int, typer.Option(help="Test pictures at most.", min=1)] = 100,
    steps: Annotated[int, typer.Option(min=1)] = STEPS,
    model: Annotated[str, typer.Option()] = "nano",
    forgetting_scenes: Annotated[int, typer.Option("--forgetting", help="Composed scenes to ask about.")] = 0,
) -> None:
    """Train and measure each set with each method and seed."""
    quiet()
    for name in sets.split(","):
        figure, options = SETS[name]
        rows: dict[int, dict[str, tuple[float, str]]] = {}
        for seed in map(int, seeds.split(",")):
            for place, method in enumerate(methods.split(",")):
                print(f"{name}, {method}, seed {seed}", flush=True)
                folder = out / f"{name}-{method}-{seed}"
                # The network from scratch is the same whatever the method.
                wanted = FinetuneOptions(
                    data=data / name, out=folder, model=model, method=method, shots=shots, steps=steps, seed=seed,
                    eval_limit=limit, baseline=place == 0, **options,
                )  # fmt: skip
                rows.setdefault(seed, {}).update(cells(run(wanted), figure, method))
                if forgetting_scenes:
                    forgetting(model, folder, forgetting_scenes)
        table(f"{name} {figure}", rows)


if __name__ == "__main__":
    typer.run(main)
