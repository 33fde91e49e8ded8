"""The loop: it learns, keeps the best, and goes on from where it stopped as if it never had."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generalist.model import load_checkpoint
from generalist.training.run import Interrupted
from generalist.types import GeneralistError
from generalist_adapters.finetune.fit import Trainer
from generalist_adapters.finetune.options import FinetuneOptions
from generalist_adapters.finetune.setting import attach, choose
from generalist_adapters.finetune.standing import fit

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(tiny_base: Path, boxes_folder: Callable[..., Path]) -> MakeTrainer:
    """A trainer on the same twelve pictures, from the same base every time."""
    folder = boxes_folder()

    def make(**changed: object) -> Trainer:
        wanted = {
            "method": "lora",
            "tasks": ("count",),
            "steps": 6,
            "shots": 4,
            "batch_size": 3,
            "dropout": 0.1,
            **changed,
        }
        options = FinetuneOptions(data=folder, out=folder / "out", model=str(tiny_base), **wanted)  # type: ignore[arg-type]
        checkpoint = load_checkpoint(tiny_base)
        trainer, _ = attach(options, checkpoint, choose(options, checkpoint))
        assert isinstance(trainer, Trainer)
        return trainer

    return make


def test_it_learns_what_is_shown_and_moves_nothing_else(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(steps=20, replay=0.0, learning_rate=0.01, method="full", targets=("language",))
    before = {name: p.clone() for name, p in trainer.model.named_parameters() if not p.requires_grad}
    losses: list[float] = []
    fit(trainer, tmp_path / "state.pt", None, notice=lambda _, loss: losses.append(loss))
    assert len(losses) == 20 and sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert before and all(
        torch.equal(p, before[name]) for name, p in trainer.model.named_parameters() if name in before
    )


@pytest.mark.parametrize("method", ["lora", "mtlora", "side", "full"])
def test_interrupted_it_ends_in_the_same_adapter(make_trainer: MakeTrainer, tmp_path: Path, method: str) -> None:
    tasks = {"method": method, "tasks": ("detect", "count")}
    scores = [0.1, 0.2, 0.15, 0.4, 0.3, 0.2, 0.1, 0.0]
    whole = make_trainer(**tasks)
    fit(whole, tmp_path / "whole.pt", lambda: scores[whole.step])

    path = tmp_path / "parts.pt"
    for stop in (1, 4):
        part = make_trainer(**tasks)
        with pytest.raises(Interrupted, match=f"interrupted after step {stop} of 6; the state is saved"):
            fit(part, path, lambda: scores[part.step], interrupted=lambda: part.step == stop)  # noqa: B023
    last = make_trainer(**tasks)
    fit(last, path, lambda: scores[last.step])
    assert last.history == whole.history and last.best["step"] == whole.best["step"] == 3
    expected, found = whole.attached.state_dict(), last.attached.state_dict()
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_seed_decides(make_trainer: MakeTrainer) -> None:
    def after_two(seed: int) -> torch.Tensor:
        trainer = make_trainer(seed=seed)
        trainer.learn(), trainer.learn()
        return torch.cat([p.flatten() for p in trainer.attached.state_dict().values()])

    assert torch.equal(after_two(0), after_two(0)) and not torch.equal(after_two(0), after_two(1))


def test_the_last_of_the_best_states_is_kept(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer()
    scores = [0.10, 0.50, 0.49, 0.30, 0.485, 0.2, 0.1]  # 0.485 is as good as 0.5 where few pictures are looked at
    fit(trainer, tmp_path / "state.pt", lambda: scores[trainer.step])
    assert trainer.best["step"] == 4 and trainer.highest == 0.50


def test_a_run_that_gets_no_better_ends_early_and_keeps_the_base(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(steps=30)
    zero = trainer.attached.state_dict()
    fit(trainer, tmp_path / "state.pt", lambda: 0.9 if trainer.step == 0 else 0.1)
    assert 15 < trainer.step < 30 and trainer.best["step"] == 0
    assert all(torch.equal(zero[name], p) for name, p in trainer.attached.state_dict().items())


def test_a_run_that_still_gets_better_goes_on_below_the_base(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(steps=10)
    scores = [0.9, *(0.01 * k for k in range(10))]
    fit(trainer, tmp_path / "state.pt", lambda: scores[trainer.step])
    assert trainer.step == 10 and trainer.best["step"] == 0


def test_what_is_not_finite_is_an_error_before_the_weights_move(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.learn()
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(math.nan)
    before = trainer.attached.state_dict()
    with pytest.raises(GeneralistError, match=r"step 1 is not finite .* use a lower --learning-rate"):
        trainer.learn()
    assert all(torch.equal(before[name], p) for name, p in trainer.attached.state_dict().items())


def test_several_batches_a_step_are_one(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(at_once: int) -> torch.Tensor:
        monkeypatch.setattr("generalist_adapters.finetune.fit._AT_ONCE", at_once)
        trainer = make_trainer(dropout=0.0, tasks=("detect", "count"), method="full")
        trainer.schedule = trainer.schedule.__class__(
            **{f: getattr(trainer.schedule, f) for f in trainer.schedule.__slots__} | {"precision": "no"}
        )
        batches = trainer.batches(0)
        totals = trainer.totals(batches)
        for batch in batches:
            trainer.loss(batch, totals).backward()
        return torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])

    assert torch.allclose(gradients(1), gradients(8), atol=1e-5)
