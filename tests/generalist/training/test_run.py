"""Runs: they resume to the bit, and what they export computes what was trained."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generalist.model import load_checkpoint
from generalist.tokens import Vocabulary
from generalist.training.batches import upcoming
from generalist.training.examples import block_causal_mask
from generalist.training.optimizers import MODULES
from generalist.training.recipe import Recipe
from generalist.training.run import Interrupted, Run, claim_folder
from generalist.training.trainee import Trainee, folded_state, normalise
from generalist.types import GeneralistError
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.scene import MAX_THINGS

MakeRun = Callable[[Path, Recipe], Run]

RECIPE = Recipe(images=16, batch_size=1, accumulate=2, warmup_steps=2, agvm=True, precision="no")


def start(make_run: MakeRun, folder: Path) -> Run:
    """A run whose average of the weights is not only the last ones, as in so short a run it would be."""
    run = make_run(folder, RECIPE)
    assert run.learner.average is not None
    run.learner.average.decay = 0.5
    return run


def everything(run: Run) -> dict[str, torch.Tensor]:
    """Weights, their averages, and the rates of modules."""
    state = {name: tensor.clone() for name, tensor in run.learner.trainee.state_dict().items()}
    assert run.learner.average is not None and run.learner.factors is not None
    state |= {f"average {k}": average.clone() for k, average in enumerate(run.learner.average.averages)}
    return state | {name: torch.tensor(factor) for name, factor in run.learner.factors.factors.items()}


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, make_run: MakeRun) -> None:
    """What is on the disk when a run is killed, inside a chunk and while its state is being put into place."""
    whole, parts = start(make_run, tmp_path / "whole"), tmp_path / "parts"
    learn, begun = whole.learner.learn, everything(whole)

    def learn_and_leave_copies(step: int, *arguments: object) -> object:
        if step == 6:
            whole.save_state()
            shutil.copytree(whole.folder, parts)
            (parts / "state").rename(parts / "state.old")
            (parts / "state.new").mkdir()
        return learn(step, *arguments)  # type: ignore[arg-type]

    whole.learner.learn = learn_and_leave_copies  # type: ignore[method-assign, assignment]
    whole.train()
    again = start(make_run, parts)
    again.resume()
    assert again.step == 6
    again.train()
    expected, got = everything(whole), everything(again)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert not torch.equal(begun["token_embedding"], got["token_embedding"])
    assert not torch.equal(got["token_embedding"], got["average 0"])
    assert got["vision"] == 1 and {name for name in MODULES if got[name] != 1}
    assert sorted(path.name for path in parts.iterdir()) == ["log.jsonl", "recipe.json", "state", "tensorboard"]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_state_saved(tmp_path: Path, make_run: MakeRun, kind: signal.Signals) -> None:
    run = make_run(tmp_path, RECIPE)
    learn, before = run.learner.learn, signal.getsignal(kind)

    def learn_and_be_told(step: int, *arguments: object) -> object:
        if step == 2:
            os.kill(os.getpid(), kind)
        return learn(step, *arguments)  # type: ignore[arg-type]

    run.learner.learn = learn_and_be_told  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted, match=r"interrupted after step [34] of 8; the state is saved"):
        run.train()
    assert signal.getsignal(kind) is before
    again = make_run(tmp_path, RECIPE)
    again.resume()
    assert again.step == run.step in (3, 4)


def test_the_exported_model_computes_the_average_of_what_was_trained(
    tmp_path: Path, make_run: MakeRun, toy_assets: Assets, vocab: Vocabulary
) -> None:
    run = start(make_run, tmp_path)
    run.train()
    batch = run.scenes[0][0]
    run.learner.filler(batch)
    average = run.learner.average
    assert average is not None
    with torch.inference_mode():
        last = run.learner.trainee.predict(batch)["logits"]
        with average.in_place():
            trained = run.learner.trainee.predict(batch)
        assert torch.equal(run.learner.trainee.predict(batch)["logits"], last)
    assert not torch.equal(trained["logits"], last)
    assert run.export() == tmp_path / "checkpoint"
    plain = load_checkpoint(tmp_path / "checkpoint").model
    with torch.inference_mode():
        logits = plain(
            input_ids=batch["ids"],
            pixel_values=normalise(batch["image"]),
            attention_mask=block_causal_mask(batch["segments"]),
            position_ids=batch["positions"],
        ).logits.flatten(0, 1)[trained["selected"]]
    # The file holds bfloat16. Numbers that no list in training reaches are those of the last that it does.
    unseen = range(vocab.ref.start + MAX_THINGS, vocab.ref.stop)
    seen = [token for token in range(vocab.size) if token not in unseen]
    torch.testing.assert_close(logits[:, seen], trained["logits"][:, seen], atol=0.05, rtol=0.05)
    assert logits.std() > 10 * (logits - trained["logits"])[:, seen].std()
    last = logits[:, unseen.start - 3 : unseen.start].mean(1)
    torch.testing.assert_close(logits[:, unseen], last[:, None].expand(-1, len(unseen)), atol=0.05, rtol=0.05)
    files = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    assert files >= {"mask_codec.safetensors", "depth_codec.safetensors"}
    names = (tmp_path / "checkpoint" / "names.txt").read_text().splitlines()
    assert names == [concept.name for concept in toy_assets.concepts]


def test_going_on_from_a_checkpoint_begins_with_its_predictions(
    tmp_path: Path, make_run: MakeRun, vocab: Vocabulary
) -> None:
    run = make_run(tmp_path, Recipe(images=16, batch_size=2, precision="no"))
    run.train()
    model = load_checkpoint(run.export()).model
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    folded = folded_state(Trainee(model, vocab, [[5], [6, 7]], trained=True).state_dict(), vocab)
    assert folded.keys() == expected.keys()
    for name, value in folded.items():
        torch.testing.assert_close(value, expected[name], atol=0.02, rtol=0.02)


def test_processes_share_out_the_chunks_and_steps_gather_batches(tmp_path: Path, make_run: MakeRun) -> None:
    recipe = Recipe(images=64, batch_size=1, accumulate=3, processes=2)
    run = make_run(tmp_path, Recipe(images=64, batch_size=1, precision="no"))
    run.scenes.recipe = recipe
    assert (recipe.chunks, recipe.steps, recipe.images_a_step) == (8, 10, 6)

    def numbers(process: int, step: int = 0) -> list[list[tuple[int, ...]]]:
        steps = upcoming(run.scenes, process, step, workers=0)
        return [[tuple(n) for batch in batches for n in batch["scenes"].tolist()] for batches in steps]

    learnt = [numbers(0), numbers(1)]
    assert [len(steps) for steps in learnt] == [10, 10]
    chunks = [{chunk for step in steps for _, chunk, _, _ in step} for steps in learnt]
    assert chunks == [{0, 2, 4, 6}, {1, 3, 5, 7}]
    flat = [scene for steps in learnt for step in steps for scene in step]
    assert len(set(flat)) == len(flat) == 60
    assert numbers(1, step=4) == learnt[1][4:]


def test_a_folder_belongs_to_one_recipe_and_number_of_processes(tmp_path: Path) -> None:
    claim_folder(tmp_path, Recipe(images=128))
    claim_folder(tmp_path, Recipe(images=128))
    with pytest.raises(GeneralistError, match=r"another recipe \(processes 1 -> 2, seed 0 -> 3\); use another --out"):
        claim_folder(tmp_path, Recipe(images=128, seed=3, processes=2))
    assert json.loads((tmp_path / "recipe.json").read_text())["seed"] == 0


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(GeneralistError, match="cannot write there"):
            claim_folder(folder, Recipe(images=128))
    for text in ("", "[]", "{"):
        (tmp_path / "recipe.json").write_text(text)
        with pytest.raises(GeneralistError, match="is no recipe of a run"):
            claim_folder(tmp_path, Recipe(images=128))
