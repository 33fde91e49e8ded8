"""A whole run: what it leaves, what it refuses, and that it can be interrupted anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from generalist.engine.transformers_engine import TransformersEngine
from generalist.evaluation.run import request_of
from generalist.model import GeneralistForConditionalGeneration
from generalist.training.run import Interrupted
from generalist.types import GeneralistError, Generation, Sampling
from generalist_adapters.attached import SpecFields
from generalist_adapters.finetune import run as running
from generalist_adapters.finetune.options import FinetuneOptions, work_folder
from generalist_adapters.finetune.plan import plan
from generalist_adapters.finetune.run import Watcher, finetune
from generalist_adapters.finetune.setting import attach, choose, load_base
from generalist_adapters.stored import find

FILES = {
    "README.md", "adapter.json", "adapter_config.json", "adapter_model.safetensors", "curves.png", "log.jsonl",
    "metrics.json", "recipe.json",
}  # fmt: skip


@pytest.fixture
def options(tiny_base: Path, boxes_folder: Callable[..., Path], tmp_path: Path) -> FinetuneOptions:
    """Counting, whose answers are short, for as few steps as there can be."""
    return FinetuneOptions(
        data=boxes_folder(), out=tmp_path / "adapters" / "cells", model=str(tiny_base), method="lora",
        tasks=("count",), steps=2, shots=5, batch_size=2, eval_limit=3,
    )  # fmt: skip


def test_what_a_run_leaves(options: FinetuneOptions) -> None:
    told: list[str] = []
    outcome = finetune(options, Watcher(tell=told.append))
    assert {path.name for path in options.out.iterdir()} == FILES and outcome.adapters == (options.out,)
    assert [path.name for path in options.out.parent.iterdir()] == ["cells"]  # nothing unfinished is left
    metrics = json.loads((options.out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics == outcome.metrics
    names = metrics["before"].keys()
    assert "count/count accuracy" in names and names == metrics["after"].keys() == metrics["from_scratch"].keys()
    for name in names:
        low, high = metrics["intervals"]["after"][name]
        assert low <= metrics["after"][name] <= high
        assert metrics["differences"]["after - before"][name]["value"] == pytest.approx(
            metrics["after"][name] - metrics["before"][name], abs=1e-5
        )
    assert metrics["test"] == {"split": "made here", "pictures": 3} and metrics["trained_parameters"] > 0
    card = (options.out / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# cells\n") and "Licence of the data: unknown" in card and "count accuracy" in card
    with Image.open(options.out / "curves.png") as curves:
        assert curves.width > 300
    log = [json.loads(line) for line in (options.out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in log] == [0, 1, 2] and "score" in log[-1] and "loss" in log[-1]

    again = finetune(options, Watcher(tell=told.append))
    assert again == outcome and told[-1] == f"{options.out} holds the result of these options already"
    with pytest.raises(GeneralistError, match=r"is of another recipe \(seed 0 -> 3\); use another --out"):
        finetune(replace(options, seed=3))


def test_served_it_answers_as_it_did_in_training(options: FinetuneOptions, tmp_path: Path) -> None:
    checkpoint, line = load_base(options.model)
    options = replace(options, learning_rate=0.1, replay=0.0)
    trainer, _ = attach(options, checkpoint, chosen := choose(options, checkpoint))
    for _ in range(3):
        trainer.learn()
    fields = SpecFields(name="cells", base=options.model, vocab_hash=checkpoint.vocabulary.hash)
    trainer.attached.save(tmp_path / "cells", fields)
    requests = [request_of(case.sample) for case in chosen.exam.cases()]

    def answers(model: GeneralistForConditionalGeneration, adapter: Path | None) -> list[Generation]:
        engine = TransformersEngine(model, checkpoint.processor, checkpoint.vocabulary)
        if adapter is not None:
            engine.load_adapter("cells", adapter)
        prompts = [line.prepare(replace(one, adapter="cells" if adapter else None)) for one in requests]
        return engine.generate(prompts, Sampling(max_new_tokens=8))

    in_training = answers(checkpoint.model, None)
    trainer.attached.detach()
    served, plain = answers(checkpoint.model, tmp_path / "cells"), answers(checkpoint.model, None)
    assert [one.token_ids for one in served] == [one.token_ids for one in in_training]
    assert [one.logprobs for one in plain] != [one.logprobs for one in served]
    for one, other in zip(served, in_training, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_tasks_of_their_own_weights_have_folders_of_their_own(options: FinetuneOptions) -> None:
    outcome = finetune(replace(options, method="mtlora", tasks=("count", "detect"), eval_limit=1, shots=4))
    assert [path.name for path in outcome.adapters] == ["count", "detect"]
    assert {one.spec.tasks for one in find(options.out) if one.spec} == {("count",), ("detect",)}
    assert (options.out / "predictions.png").is_file()
    assert "--adapter cells/detect" in (options.out / "README.md").read_text(encoding="utf-8")


def test_masks_are_learnt_and_measured(options: FinetuneOptions, masks_folder: Path) -> None:
    metrics = finetune(replace(options, data=masks_folder, tasks=(), eval_limit=1, steps=1, shots=4)).metrics
    assert "semantic/semantic mIoU" in metrics["before"] and metrics["test"] == {"split": "test", "pictures": 1}
    assert metrics["from_scratch"].keys() <= metrics["after"].keys() | {"mask/mask ECE"}


def test_interrupted_anywhere_it_ends_alike(
    options: FinetuneOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = finetune(options)
    weights = (options.out / "adapter_model.safetensors").read_bytes()
    moved = options.out.rename(tmp_path / "whole")

    stages = ["before", "training", "after", "from scratch"]
    for stage in stages:
        asked: list[str] = []
        monkeypatch.setattr(running, "interruptions", lambda: _Interruptions(asked))  # noqa: B023

        def asking(name: str, stage: str = stage, asked: list[str] = asked) -> Callable[[int, int | None], object]:
            return lambda done, total: asked.append(name) if name == stage else None

        def step(trainer: object, loss: float, stage: str = stage, asked: list[str] = asked) -> None:
            if stage == "training":
                asked.append(stage)

        with pytest.raises(Interrupted):
            finetune(options, Watcher(asking=asking, step=step))
        assert not options.out.exists() and work_folder(options.out).is_dir()
    monkeypatch.undo()
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path / "no-cache"))
    found = finetune(options)
    assert (options.out / "adapter_model.safetensors").read_bytes() == weights
    assert {**found.metrics, "seconds": 0} == {**expected.metrics, "seconds": 0}
    assert (options.out / "log.jsonl").read_text() == (moved / "log.jsonl").read_text()


class _Interruptions:
    """What :func:`interruptions` gives: true from when something was asked for."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def __enter__(self) -> Callable[[], bool]:
        return lambda: bool(self.asked)

    def __exit__(self, *arguments: object) -> None:
        pass


def test_an_unfinished_run_of_another_recipe(options: FinetuneOptions) -> None:
    work = work_folder(options.out)
    work.mkdir(parents=True)
    (work / "recipe.json").write_text("[]")
    with pytest.raises(GeneralistError, match=r"recipe\.json is no recipe of a run"):
        finetune(options)
    (work / "recipe.json").write_text('{"seed": 5}')
    with pytest.raises(GeneralistError, match="is of another recipe"):
        finetune(options)


def test_places_that_are_taken(options: FinetuneOptions, tmp_path: Path) -> None:
    options.out.mkdir(parents=True)
    (options.out / "thesis.txt").write_text("mine")
    with pytest.raises(GeneralistError, match="is there already and holds no adapter of this program"):
        finetune(options)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(GeneralistError, match="cannot write there"):
        finetune(replace(options, out=tmp_path / "file" / "below"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_broken_picture_is_named(options: FinetuneOptions) -> None:
    for path in options.data.glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(GeneralistError, match=r"p\d\d\.png") as error:
        finetune(options)
    assert "\n" not in str(error.value) and not work_folder(options.out).exists()


def test_one_picture_is_learnt_from_and_nothing_is_claimed(
    options: FinetuneOptions, boxes_folder: Callable[..., Path]
) -> None:
    data = boxes_folder({"one.png": [("red cell", (4, 4, 20, 18))]}, name="one")
    told: list[str] = []
    outcome = finetune(replace(options, data=data), Watcher(tell=told.append))
    assert outcome.metrics["before"] == outcome.metrics["after"] == {} and "from_scratch" not in outcome.metrics
    assert "note: no picture is left to measure with: there are no figures before and after" in told
    assert any(line.startswith("note: one class only") for line in told)
    assert "nothing is known of how good it is" in (options.out / "README.md").read_text(encoding="utf-8")


def test_a_dry_run_writes_nothing(options: FinetuneOptions) -> None:
    before = sorted(options.data.parent.rglob("*"))
    lines = list(plan(options))
    assert sorted(options.data.parent.rglob("*")) == before
    said = "\n".join(lines)
    parts = ("format csv, 12 pictures", "4 to learn from, 1 to stop by, 3 to measure with", "[count]", "red cell (",
             "trained in all:", "a batch: 2 images", "time: 2 steps of", "memory:")  # fmt: skip
    for part in parts:
        assert part in said


def test_minutes_become_steps_once(options: FinetuneOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter((30.0, 1.0))
    monkeypatch.setattr(running, "seconds_a_step", lambda trainer: next(speeds))
    wanted = replace(options, minutes=1.0, baseline=False, eval_limit=0)
    stop = Watcher(step=lambda trainer, loss: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        finetune(wanted, stop)
    assert finetune(wanted).metrics["steps"] == 2  # 60 s at 30 s a step, and not measured again


@pytest.mark.parametrize("changed, says", [
    ({"shots": 0}, "--shots is 0; use 1 or more"),
    ({"steps": 0}, "--steps is 0"),
    ({"method": "head", "tasks": ("depth",)}, "--tasks holds 'depth', which a head cannot learn; use detect"),
    ({"method": "magic"}, "--method is 'magic'; use one of auto, lora"),
    ({"tasks": ("juggle",)}, "there is no task 'juggle'"),
    ({"rank": 0}, "rank is 0; use a whole number from 1"),
    ({"targets": ("wheels",)}, "targets holds 'wheels'"),
    ({"replay": 1.0}, "--replay is 1.0"),
    ({"replay": 0.9}, "--replay is 0.9"),
    ({"minutes": -1.0}, "--minutes is -1.0"),
    ({"learning_rate": float("nan")}, "--learning-rate is nan"),
    ({"flips": "up"}, "--flips is 'up'"),
    ({"name": "a/b"}, "the name 'a/b'"),
    ({"model": "gone"}, "gone"),
    ({"data": Path("gone")}, "gone: no such file or folder"),
])  # fmt: skip
def test_mistakes(options: FinetuneOptions, changed: dict[str, object], says: str) -> None:
    with pytest.raises(GeneralistError) as error:
        finetune(replace(options, **changed))  # type: ignore[arg-type]
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not options.out.parent.exists()
