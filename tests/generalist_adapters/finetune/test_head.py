"""A visual head from start to end: what a run leaves, and that it answers like any adapter, wherever it is served."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from generalist.adapter_folder import check_servable, read_config
from generalist.model import load_checkpoint
from generalist.pipeline import Generalist
from generalist.training.run import Interrupted
from generalist.types import GeneralistError, Sampling
from generalist_adapters.finetune.options import FinetuneOptions, work_folder
from generalist_adapters.finetune.plan import plan
from generalist_adapters.finetune.run import Watcher, finetune
from generalist_adapters.finetune.setting import choose
from generalist_adapters.finetune.standing import Standing
from generalist_adapters.stored import export, find_one, merge

FILES = {"README.md", "adapter.json", "curves.png", "head.safetensors", "log.jsonl", "metrics.json", "recipe.json"}


@pytest.fixture
def options(tiny_base: Path, boxes_folder: Callable[..., Path], tmp_path: Path) -> FinetuneOptions:
    return FinetuneOptions(
        data=boxes_folder(), out=tmp_path / "adapters" / "cells", model=str(tiny_base), method="head", steps=3, shots=6,
        batch_size=4, eval_limit=3,
    )  # fmt: skip


def test_what_a_run_leaves(options: FinetuneOptions) -> None:
    outcome = finetune(options)
    names = {path.name for path in options.out.iterdir()}
    assert names - {"predictions.png"} == FILES and outcome.adapters == (options.out,)
    metrics = outcome.metrics
    assert {"detect/AP50", "count/count accuracy"} <= metrics["after"].keys() <= metrics["before"].keys()
    assert metrics["trained_parameters"] > 1000 and metrics["from_scratch"]
    spec = find_one(options.out).spec
    assert spec is not None and (spec.method, spec.rank, spec.tasks) == ("head", 0, ("detect", "count"))
    card = (options.out / "README.md").read_text(encoding="utf-8")
    assert "trained with `head` for: detect, count" in card and "vLLM cannot serve it" in card


def test_it_answers_as_an_adapter_of_its_folder(options: FinetuneOptions) -> None:
    """What is measured in training is what is served, and the base is there for the rest."""
    finetune(replace(options, steps=40, shots=9, learning_rate=0.01, baseline=False, eval_limit=0))
    base, model = (Generalist.from_pretrained(options.model, device="cpu", adapter=one) for one in (None, options.out))
    picture = options.data / "p01.png"
    answer = model.detect(picture)
    assert answer.boxes and {one.label for one in answer.outputs} <= {"red cell", "blue cell"}
    assert model.count(picture, "red cells").text.isdigit()
    short = Sampling(max_new_tokens=3)
    assert model.ask(picture, "What?", sampling=short).reply == base.ask(picture, "What?", sampling=short).reply


def test_interrupted_anywhere_it_ends_alike(options: FinetuneOptions) -> None:
    whole = replace(options, out=options.out.with_name("whole"), baseline=False, eval_limit=0)
    finetune(whole)
    parts = replace(whole, out=options.out.with_name("parts"))
    for stop in (1, 2):

        def interrupt(trainer: Standing, loss: float, stop: int = stop) -> None:
            if trainer.step == stop:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(Interrupted, match=f"interrupted after step {stop} of 3; the state is saved"):
            finetune(parts, Watcher(step=interrupt))
    finetune(parts)
    file = "head.safetensors"
    assert (whole.out / file).read_bytes() == (parts.out / file).read_bytes()
    other = replace(whole, out=options.out.with_name("other"), seed=1)
    finetune(other)
    assert (whole.out / file).read_bytes() != (other.out / file).read_bytes()


def test_masks_of_stuff_and_boxes_of_things(options: FinetuneOptions, masks_folder: Path) -> None:
    outcome = finetune(replace(options, data=masks_folder, steps=2, eval_limit=2, baseline=False))
    assert "semantic/semantic mIoU" in outcome.metrics["after"]
    model = Generalist.from_pretrained(options.model, device="cpu", adapter=options.out)
    answer = model.segment(masks_folder / "test" / "images" / "7.png", "everything")
    assert answer.masks and all(mask.size == (48, 48) for mask in answer.masks)


def test_what_suits_is_chosen_and_said(options: FinetuneOptions) -> None:
    auto = replace(options, method="auto")
    lines = list(plan(auto))
    assert any(line.startswith("note: method head: all that is learnt is boxes, masks and numbers") for line in lines)
    assert "classes of boxes: blue cell, red cell" in lines and any(line.startswith("time: 3 steps") for line in lines)
    assert not options.out.exists() and not work_folder(options.out).exists()
    checkpoint = load_checkpoint(Path(options.model))
    (options.data / "boxes.csv").unlink()
    rows = [json.dumps({"file_name": f"p{k:02d}.png", "text": "a grey picture"}) for k in range(12)]
    (options.data / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    chosen = choose(auto, checkpoint)
    assert chosen.method == "lora" and chosen.notes[0] == "method lora: caption takes the language model"
    with pytest.raises(GeneralistError, match="the labels teach caption, of which --method head can learn nothing"):
        choose(options, checkpoint)


def test_a_head_is_no_lora(options: FinetuneOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune(replace(options, steps=1, eval_limit=0, baseline=False))
    with pytest.raises(GeneralistError, match="the method 'head' gives no LoRA"):
        export(options.out, None, tmp_path / "exported")
    with pytest.raises(GeneralistError, match="an adapter of the method 'head' cannot be merged into weights"):
        merge(options.out, None, tmp_path / "merged")
    with pytest.raises(GeneralistError, match="holds a visual head, which the engine vllm cannot serve"):
        check_servable(options.out, "vllm")
    with pytest.raises(GeneralistError, match="holds a visual head, which vLLM cannot serve"):
        read_config(options.out, "vLLM")
    check_servable(options.out, "transformers")
