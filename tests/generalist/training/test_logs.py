"""What a run writes down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from generalist.training.logs import Log
from generalist.training.losses import LOSS_WEIGHTS, TALLIES
from generalist.training.recipe import Recipe
from generalist.training.step import Report

RECIPE = Recipe(images=110 * 16, batch_size=2, warmup_steps=0)  # 880 steps


def report(loss: float, **tallies: tuple[float, float]) -> Report:
    counted = [tallies.get(name.replace("/", "_"), (0.0, 0.0)) for name in TALLIES]
    return Report(
        losses=torch.full((len(LOSS_WEIGHTS),), loss),
        tallies=torch.tensor(counted).t(),
        gradient_norm=2 * loss,
        learning_rate=0.001,
        factors={"vision": 1.0, "heads": 0.8},
    )


def entries(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_an_entry_has_means_of_fifty_steps_and_losses_by_task(tmp_path: Path) -> None:
    with Log(tmp_path, RECIPE, 0) as log:
        for step in range(1, 101):
            of_depth = {"task_depth": (30.0, 10.0), "depth": (8.0, 4.0)} if step % 2 else {}
            log.add(step, report(1.0 if step % 2 else 3.0, task_chat=(step * 1.0, 1.0), **of_depth))
    first, second = entries(tmp_path)
    assert (first["step"], first["images"], second["step"]) == (50, 100, 100)
    assert (first["token"], first["attention"], first["gradient_norm"]) == (2.0, 2.0, 4.0)
    assert first["tasks"] == {"chat": 25.5, "depth": 3.0} and second["tasks"] == {"chat": 75.5, "depth": 3.0}
    assert first["depth"] == 2.0 and "loc" not in first
    assert first["agvm"] == {"vision": 1.0, "heads": 0.8} and first["learning_rate"] == 0.001
    assert first["images_per_second"] > 0  # type: ignore[operator]


def test_the_board_shows_the_same(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Log(tmp_path, RECIPE, 0) as log:
        for step in range(1, 51):
            log.add(step, report(1.5, task_chat=(3.0, 1.0)))
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {tag: board.Scalars(tag) for tag in board.Tags()["scalars"]}
    assert {"losses/token", "tasks/chat", "agvm/heads", "run/learning_rate", "run/images_per_second"} <= shown.keys()
    assert [(event.step, event.value) for event in shown["tasks/chat"]] == [(50, 3.0)]


def test_the_last_step_has_an_entry_and_no_step_has_two(tmp_path: Path) -> None:
    """A run was killed after step 100, in the middle of a line; its state is that of step 60."""
    with Log(tmp_path, RECIPE, 0) as log:
        for step in range(1, 101):
            log.add(step, report(1.0))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 15')
    with Log(tmp_path, RECIPE, 60) as log:
        for step in range(61, RECIPE.steps + 1):
            log.add(step, report(5.0))
    steps = [entry["step"] for entry in entries(tmp_path)]
    assert steps == [*range(50, RECIPE.steps, 50), RECIPE.steps] and RECIPE.steps == 880
    assert [entry["token"] for entry in entries(tmp_path)][:3] == [1.0, 5.0, 5.0]
