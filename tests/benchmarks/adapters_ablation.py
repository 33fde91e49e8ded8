"""Methods of adapting, side by side on several dense tasks: figures, trained parameters, delta m.

    python tests/benchmarks/adapters_ablation.py
    python tests/benchmarks/adapters_ablation.py --steps 10 --limit 10   # does it run

The base knows the composed world, so it is shown another one: the same scenes through a camera that swaps red and blue
and shows negatives. A model of each task alone, trained whole, is what the others are compared with (delta m); they
learn all tasks in one run of as many steps. About 15 minutes on two idle cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from generalist.cli.run import quiet
from generalist.evaluation.cases import Case, Suite
from generalist.evaluation.run import run_suite
from generalist.evaluation.suites.world import world_suite
from generalist.pipeline import Generalist
from generalist_adapters.config import MethodConfig
from generalist_adapters.delta import delta_m
from generalist_adapters.finetune import measure
from generalist_adapters.finetune.fit import Trainer
from generalist_adapters.finetune.options import RATES
from generalist_adapters.finetune.packing import Row
from generalist_adapters.finetune.replay import Replay, replay
from generalist_adapters.finetune.schedule import Material, Schedule
from generalist_adapters.finetune.setting import BY_TASK, code_filler, load_base
from generalist_adapters.finetune.standing import fit
from generalist_adapters.methods import METHODS

FIGURES = {
    "detect": ("detect", "detection F1@0.5"),
    "segment": ("mask", "mask mIoU"),
    "depth": ("depth", "depth AbsRel"),
    "count": ("count", "count accuracy"),
}
"""Task -> the group of an evaluation that asks for it, and the figure that counts."""
LOWER = ("depth",)


def through(image: Image.Image) -> Image.Image:
    """A picture as the other camera takes it."""
    return Image.fromarray(255 - np.asarray(image.convert("RGB"))[..., ::-1])


def scenes(make: Replay) -> Replay:
    """Composed scenes as the other camera takes them."""

    def shifted(rng: np.random.Generator, tasks: Collection[str] | None) -> Row:
        row = make(rng, tasks)
        return replace(row, image=through(row.image))

    return shifted


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all runs share."""

    model: str
    tasks: tuple[str, ...]
    steps: int
    batch_size: int
    limit: int
    seed: int


def exam(setup: Setup, task: str) -> Suite:
    """Questions of a task about unseen scenes, as the other camera takes them."""
    group, _ = FIGURES[task]

    def cases(limit: int | None) -> Iterator[Case]:
        for case in world_suite("compositions").cases(limit):
            if case.group == group:
                yield replace(case, sample=replace(case.sample, image=through(case.sample.image)))

    return Suite(name=f"other camera/{task}", summary=task, cases=cases)


def run(setup: Setup, method: str | None, tasks: Sequence[str], config: MethodConfig) -> tuple[dict[str, float], int]:
    """Figures by task and trained parameters, after training ``tasks`` with ``method``; of the base for None."""
    checkpoint, line = load_base(setup.model)
    attached, count = None, 0
    if method is not None:
        attached = METHODS[method].attach(checkpoint.model, config, tasks, setup.seed)
        make, _ = replay(checkpoint.vocabulary, checkpoint.model.config)
        assert make is not None, "this model reads no composed scenes"
        shown = scenes(make)
        trainer = Trainer(
            checkpoint.model,
            checkpoint.processor,
            attached,
            code_filler(checkpoint),
            # Only of these tasks, also where one set of weights learns them all.
            Material(pictures=(), classes=(), tasks=tuple(tasks), replay=lambda rng, some: shown(rng, some or tasks)),
            Schedule(
                steps=setup.steps, batch_size=setup.batch_size, learning_rate=RATES[method], replay=1.0,
                seed=setup.seed, precision="bf16",
            ),
            by_task=method in BY_TASK,
        )  # fmt: skip
        count = sum(p.numel() for p in trainer.parameters)
        with tempfile.TemporaryDirectory() as folder:
            fit(trainer, Path(folder) / "state.pt", None)
    found = {}
    for task in tasks:
        if attached is not None:
            attached.set_task(task)
        model = Generalist(measure.new_engine(checkpoint), line)
        result = run_suite(model, exam(setup, task), limit=setup.limit)
        group, name = FIGURES[task]
        found[task] = next(f.value for f in result.figures[group] if f.name == name)
    return found, count


def main(
    model: Annotated[str, typer.Option()] = "nano",
    tasks: Annotated[str, typer.Option(help=f"Of {', '.join(FIGURES)}.")] = "detect,segment,depth",
    steps: Annotated[int, typer.Option(min=1)] = 80,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    limit: Annotated[int, typer.Option(help="Scenes to measure with.", min=1)] = 60,
    rank: Annotated[int, typer.Option(min=1)] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train and measure every method."""
    quiet()
    chosen = tuple(tasks.split(","))
    setup = Setup(model=model, tasks=chosen, steps=steps, batch_size=batch_size, limit=limit, seed=seed)
    config = MethodConfig(rank=rank, shared_rank=rank, dropout=0.0)
    lower = [task for task in LOWER if task in chosen]
    print(f"{'':20s} {'trained':>11s} {'':>6s} " + " ".join(f"{task:>9s}" for task in chosen) + "   delta m")

    def show(name: str, found: dict[str, float], count: int, began: float, alone: dict[str, float] | None) -> None:
        change = "" if alone is None else f"{delta_m(found, alone, lower):+9.2f} %"
        values = " ".join(f"{found[task]:9.3f}" for task in chosen)
        print(f"{name:20s} {count:11,} {time.perf_counter() - began:5.0f}s {values} {change}", flush=True)

    began = time.perf_counter()
    show("base, untrained", run(setup, None, chosen, config)[0], 0, began, None)
    began = time.perf_counter()
    parts = {task: run(setup, "full", (task,), config) for task in chosen}
    alone = {task: found[task] for task, (found, _) in parts.items()}
    show("full, a task each", alone, sum(count for _, count in parts.values()), began, alone)
    for method in ("full", "lora", "mtlora", "side"):
        began = time.perf_counter()
        found, count = run(setup, method, chosen, config)
        show(f"{method}, all tasks", found, count, began, alone)
    print(f"figures: {', '.join(f'{task} {FIGURES[task][1]}' for task in chosen)}; lower is better: {lower}")


if __name__ == "__main__":
    typer.run(main)
