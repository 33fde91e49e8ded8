"""Several processes, started as a user starts them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from generalist.model import GeneralistProcessor, load_checkpoint, save_checkpoint
from generalist.training.batches import upcoming
from generalist.training.recipe import Recipe
from generalist.training.run import Run
from generalist.training.start import Beginning, begin
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.layout import Menu


@pytest.fixture
def tiny(tmp_path: Path, new_beginning: Callable[[], Beginning]) -> Path:
    """A checkpoint to go on from."""
    folder, made = tmp_path / "tiny", new_beginning()
    save_checkpoint(folder, made.model, GeneralistProcessor.for_model(made.model.config, made.vocab), made.vocab)
    made.masks.save(folder / "mask_codec.safetensors")
    made.depths.save(folder / "depth_codec.safetensors")
    return folder


def launch(world: tuple[Assets, Menu], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``generalist train`` as two processes on the CPU, with the launcher that comes with torch."""
    (folder / "world.pickle").write_bytes(pickle.dumps(world))
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    # Behind "--": the launcher takes our --start for the beginning of an option of its own.
    program += ["--", str(Path(__file__).with_name("toy_train.py")), str(folder / "world.pickle"), *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "true"}
    environment |= {"OMP_NUM_THREADS": "1"}
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


def test_two_processes_learn_what_one_does(tmp_path: Path, tiny: Path, toy_assets: Assets, toy_menu: Menu) -> None:
    """A batch of each of two processes is a step of two batches; only the first process speaks and writes."""
    arguments = ["--images", "16", "--batch-size", "1", "--looks", "1", "--warmup-steps", "1", "--workers", "0"]
    arguments += ["--out", str(tmp_path / "two"), "--start", str(tiny), "--agvm", "--precision", "no"]
    done = launch((toy_assets, toy_menu), tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"checkpoint in {tmp_path / 'two' / 'checkpoint'}\n"
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 1
    load_checkpoint(tmp_path / "two" / "checkpoint")

    recipe = Recipe(
        images=16, batch_size=1, processes=2, looks=1, warmup_steps=1, agvm=True, precision="no", start=str(tiny)
    )
    AcceleratorState._reset_state()
    one = Run(tmp_path / "one", recipe, begin(str(tiny), None), assets=toy_assets, menu=toy_menu)
    of_both = zip(*(upcoming(one.scenes, process, 0, workers=0) for process in range(2)), strict=True)
    for step, batches in enumerate(of_both):
        one.learner.learn(step, [*batches[0], *batches[1]])
    assert one.learner.average is not None and one.learner.factors is not None
    factors = {module: pytest.approx(factor, abs=1e-3) for module, factor in one.learner.factors.factors.items()}
    for process in range(2):
        rest = torch.load(tmp_path / "two" / "state" / f"rest_{process}.pt", weights_only=True)
        assert rest["step"] == recipe.steps == 8
        assert rest["factors"]["factors"] == factors
        for got, expected in zip(rest["average"]["averages"], one.learner.average.averages, strict=True):
            torch.testing.assert_close(got, expected, atol=2e-3, rtol=2e-2)
