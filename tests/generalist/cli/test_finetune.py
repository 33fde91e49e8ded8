"""``generalist finetune`` as its user sees it; the training itself is tested in tests/generalist_adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generalist import cli
from generalist.training.run import Interrupted
from generalist_adapters.finetune import plan, run
from generalist_adapters.finetune.options import FinetuneOptions
from generalist_adapters.finetune.run import Outcome, Watcher


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and the threads of the tests as they are."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[FinetuneOptions]:
    """What training was asked for, in place of training."""
    found: list[FinetuneOptions] = []

    def finetune(options: FinetuneOptions, watcher: Watcher) -> Outcome:
        found.append(options)
        watcher.tell("16 pictures to learn from")
        metrics = {"before": {"detect/AP50": 0.1}, "after": {"detect/AP50": 0.5}, "from_scratch": {}}
        return Outcome(folder=options.out, adapters=(options.out,), metrics=metrics)

    monkeypatch.setattr(run, "finetune", finetune)
    return found


def test_options_reach_the_training(asked: list[FinetuneOptions], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["finetune", "photos", "--out", "cells"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "detect/AP50: before 0.100, after 0.500\nadapter in cells\n"
    assert "16 pictures to learn from" in captured.err
    options = "--model mine --method mtlora --shots 8 --tasks detect,count --name them --steps 9 --minutes 2.5 "
    options += "--batch-size 4 --learning-rate 0.01 --rank 3 --task-rank 2 --scale 1.5 --dropout 0.2 --targets vision "
    options += "--replay 0.5 --flips all --no-cuts --seed 7 --eval-limit 5 --no-baseline --format csv --images there "
    options += "--depth-scale 100 --licence MIT"
    assert cli.execute(["finetune", "photos", "--out", "cells", *options.split()]) == 0
    assert asked == [
        FinetuneOptions(data=Path("photos"), out=Path("cells")),
        FinetuneOptions(
            data=Path("photos"), out=Path("cells"), model="mine", method="mtlora", shots=8, tasks=("detect", "count"),
            name="them", steps=9, minutes=2.5, batch_size=4, learning_rate=0.01, rank=3, task_rank=2, scale=1.5,
            dropout=0.2, targets=("vision",), replay=0.5, flips="all", cuts=False, seed=7, eval_limit=5,
            baseline=False, format="csv", images=Path("there"), depth_scale=100.0, licence="MIT",
        ),
    ]  # fmt: skip


def test_a_dry_run_prints_the_plan(
    asked: list[FinetuneOptions], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan, "plan", lambda options: iter(["tasks: detect", "memory: 1.0 GiB"]))
    assert cli.execute(["finetune", "photos", "--out", "cells", "--dry-run"]) == 0
    assert capsys.readouterr().out == "tasks: detect\nmemory: 1.0 GiB\n" and asked == []


def test_an_interrupted_run_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "finetune", raiser(Interrupted("interrupted after step 3 of 9; the state is saved")))
    assert cli.execute(["finetune", "photos", "--out", "cells"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "interrupted after step 3 of 9; the state is saved; the same command goes on from there\n"


@pytest.mark.parametrize("arguments, says", [
    (["gone"], "gone: no such file or folder"),
    (["gone", "--dry-run"], "gone: no such file or folder"),
    (["."], "the folder is empty"),
    ([".", "--shots", "0"], "--shots is 0"),
    ([".", "--shots", "many"], "--shots"),
    ([".", "--method", "magic"], "--method"),
    ([".", "--tasks", "juggle"], "there is no task 'juggle'"),
    ([".", "--rank", "0"], "rank is 0"),
    ([".", "--targets", ""], "targets is ()"),
    ([".", "--model", "gone"], "unknown model 'gone'"),
])  # fmt: skip
def test_mistakes(capsys: pytest.CaptureFixture[str], here: Path, arguments: list[str], says: str) -> None:
    assert cli.execute(["finetune", *arguments, "--out", "cells"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and says in captured.err
    assert captured.err.count("\n") == 1 and list(here.iterdir()) == []


def raiser(error: BaseException) -> Callable[..., Outcome]:
    def finetune(*arguments: object) -> Outcome:
        raise error

    return finetune
