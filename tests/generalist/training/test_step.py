"""One step: it learns, is the same however its scenes are cut into batches, and is not taken when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generalist.training.examples import NOTHING, Batch
from generalist.training.losses import LOSS_WEIGHTS, TALLIES, loss_totals
from generalist.training.recipe import Recipe
from generalist.training.run import Run
from generalist.types import GeneralistError

MakeRun = Callable[[Path, Recipe], Run]


def cut(batch: Batch, size: int) -> list[Batch]:
    """The batch in batches of ``size``, with what they need of the padding and no more."""
    cut = []
    for k in range(0, len(batch["ids"]), size):
        part = {name: tensor[k : k + size].clone() for name, tensor in batch.items()}
        length = int((part["segments"] >= 0).sum(1).max())
        sequences = {name: t[:, :length] for name, t in part.items() if t.shape[:2] == batch["ids"][k : k + size].shape}
        cut.append(part | sequences)
    return cut


def gradients(run: Run) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in run.learner.trainee.named_parameters() if p.grad is not None}


def test_a_step_is_the_same_however_it_is_cut(tmp_path: Path, make_run: MakeRun) -> None:
    """Uneven parts: means of means would give short sequences and empty scenes too much weight."""
    recipe = Recipe(images=48, batch_size=6, precision="no")
    run = make_run(tmp_path, recipe)
    batch = run.scenes[0][3]
    found = []
    for size in (6, 4, 1):
        run = make_run(tmp_path, recipe)
        results, _ = run.learner._backward(0, cut(batch, size), halve=False)
        found.append((sum(r["losses"] for r in results), sum(r["tallies"] for r in results), gradients(run)))
    (losses, tallies, expected), *others = found
    trained = {n for n, p in run.learner.trainee.named_parameters() if p.requires_grad}
    assert expected.keys() == trained
    for other_losses, other_tallies, got in others:
        torch.testing.assert_close(other_losses, losses, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(other_tallies, tallies, atol=1e-3, rtol=1e-4)
        for name, gradient in expected.items():
            torch.testing.assert_close(
                got[name], gradient, atol=2e-5, rtol=1e-3, msg=lambda m, name=name: f"{name} {m}"
            )


def test_what_is_not_there_gives_no_loss_and_no_missing_gradient(tmp_path: Path, make_run: MakeRun) -> None:
    """A scene without things, depth and questions: wrappers for processes wait for every gradient."""
    run = make_run(tmp_path, Recipe(images=8, batch_size=1, precision="no"))
    batch = run.scenes[0][0]
    batch |= {name: torch.full_like(batch[name], NOTHING) for name in ("patches", "things", "depth_code", "mask_code")}
    batch |= {"weights": torch.zeros_like(batch["weights"]), "sampled": torch.zeros_like(batch["sampled"])}
    batch |= {"cropped": torch.zeros_like(batch["cropped"]), "depth": torch.full_like(batch["depth"], torch.nan)}
    asked = dict(zip(LOSS_WEIGHTS, loss_totals(batch, 8).tolist(), strict=True))
    assert {name for name, total in asked.items() if total} == {"patch_name"}
    results, _ = run.learner._backward(0, [batch], halve=False)
    losses = dict(zip(LOSS_WEIGHTS, results[0]["losses"].tolist(), strict=True))
    assert {name for name, loss in losses.items() if loss} == {"patch_name"}
    found = gradients(run)
    assert found.keys() == {n for n, p in run.learner.trainee.named_parameters() if p.requires_grad}
    assert all(gradient.isfinite().all() for gradient in found.values())


def test_losses_fall_and_tasks_are_told_apart(tmp_path: Path, make_run: MakeRun) -> None:
    recipe = Recipe(images=4096, batch_size=2, warmup_steps=2, learning_rate=5e-3)
    run = make_run(tmp_path, recipe)
    batch = run.scenes[recipe.chunks - 1][0]
    reports = [run.learner.learn(step, [{k: v.clone() for k, v in batch.items()}]) for step in range(11)]
    first, last = (dict(zip(LOSS_WEIGHTS, r.losses.tolist(), strict=True)) for r in (reports[0], reports[-1]))
    assert last["token"] < 0.9 * first["token"]
    assert last["patch_name"] < 0.9 * first["patch_name"]
    sums, counts = (dict(zip(TALLIES, row.tolist(), strict=True)) for row in reports[-1].tallies)
    learnt = int((batch["weights"][:, 1:] > 0).sum())
    assert sum(counts[kind] for kind in ("loc", "mask", "depth", "text")) == learnt
    tasks = [name for name in counts if name.startswith("task/")]
    assert sum(counts[name] for name in tasks) == learnt
    assert sum(sums[name] for name in tasks) == pytest.approx(sum(sums[k] for k in ("loc", "mask", "depth", "text")))
    assert len([name for name in tasks if counts[name]]) > 2


def test_a_graph_does_not_outlive_its_step(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, Recipe(images=8, batch_size=1))
    run.learner.learn(0, run.scenes[0][:1])
    for module in run.learner.trainee.modules():
        kept = [v for v in vars(module).values() for t in (v if isinstance(v, tuple) else (v,)) if torch.is_tensor(t)]
        assert kept == []


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_not_taken(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    run = make_run(tmp_path, Recipe(images=16, batch_size=2, precision="no", seed=5))
    batches = run.scenes[0]
    if broken == "loss":
        batches[1]["boxes"][:] = torch.nan
    else:
        monkeypatch.setattr(run.accelerator, "clip_grad_norm_", lambda *_: torch.tensor(torch.inf))
    before = {name: tensor.clone() for name, tensor in run.learner.trainee.state_dict().items()}
    with pytest.raises(GeneralistError) as caught:
        run.learner.learn(3, batches[:2])
    message = str(caught.value)
    assert message.startswith("step 3 is not finite (losses: token ") and "\n" not in message
    assert ("patch_box nan" if broken == "loss" else "gradient inf") in message
    guilty, innocent = (
        ["/".join(map(str, numbers)) for numbers in b["scenes"].tolist()] for b in (batches[1], batches[0])
    )
    assert all(f" {scene}" in message for scene in guilty) and guilty[0].startswith("5/0/")
    assert all((f" {scene}" in message) == (broken == "gradient") for scene in innocent)
    after = run.learner.trainee.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_noise_is_measured_between_halves_of_a_step(tmp_path: Path, make_run: MakeRun) -> None:
    """Two halves alike have no noise; where they differ the parts' rates part."""
    recipe = Recipe(images=64, batch_size=2, accumulate=2, warmup_steps=0, agvm=True, precision="no")
    run = make_run(tmp_path, recipe)
    batch, other = run.scenes[3][:2]
    same = [{k: v.clone() for k, v in batch.items()} for _ in range(2)]
    _, first = run.learner._backward(0, same, halve=True)
    second = run.learner._second_half(first)
    for module, halves in first.items():
        for one, two in zip(halves, second[module], strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-3)
    report = run.learner.learn(0, [batch, other])
    assert report.factors["vision"] == 1 and len(set(report.factors.values())) > 1
    rates = {g["module"]: g["lr"] for g in run.learner.optimizer.param_groups}
    assert rates == {m: pytest.approx(report.learning_rate * f) for m, f in report.factors.items()}
    assert run.learner.learn(1, [batch, other]).factors == report.factors
