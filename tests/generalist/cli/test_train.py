"""``generalist train`` as its user sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generalist import cli
from generalist.training import train
from generalist.training.run import Interrupted
from generalist.training.train import TrainOptions


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; nothing may be fetched or trained."""

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("training began")

    for name in ("begin", "Assets", "Run"):
        monkeypatch.setattr(train, name, forbidden)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # leave the threads of the tests alone
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainOptions]:
    """What training was asked for, in place of training."""
    asked: list[TrainOptions] = []
    monkeypatch.setattr(train, "train", asked.append)
    return asked


def test_options_reach_the_training(asked: list[TrainOptions], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["train", "--out", "mine", "--start", "nano"]) == 0
    assert capsys.readouterr().out == f"checkpoint in {Path('mine') / 'checkpoint'}\n"
    options = "--images 500 --batch-size 4 --accumulate 2 --looks 3 --learning-rate 0.01 --schedule linear --hold 0.1 "
    options += "--warmup-steps 7 --ema 0 --agvm --precision no --seed 3 --workers 5 --evaluate --codecs there"
    assert cli.execute(["train", "--out", "mine", *options.split()]) == 0
    assert asked == [
        TrainOptions(out=Path("mine"), start="nano"),
        TrainOptions(
            out=Path("mine"), codecs=Path("there"), images=500, batch_size=4, accumulate=2, looks=3, learning_rate=0.01,
            schedule="linear", hold=0.1, warmup_steps=7, ema=0, agvm=True, precision="no", seed=3, workers=5,
            evaluate=True,
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("arguments, says", [
    (["--start", "nano", "--codecs", "gone"], "--codecs gone has no mask_codec.safetensors"),
    ([], "give --codecs, to train from nothing"),
    (["--start", "gone"], "gone"),
    (["--codecs", "gone"], "--codecs gone has no mask_codec.safetensors and no depth_codec.safetensors"),
    (["--start", "nano", "--images", "0"], "--images is 0"),
    (["--start", "nano", "--images", "many"], "--images"),
    (["--start", "nano", "--workers", "-1"], "--workers is -1; use 0 or more"),
    (["--start", "nano", "--precision", "fp8"], "--precision"),
    (["--start", "nano", "--schedule", "steps"], "--schedule"),
    (["--start", "nano", "--ema", "2"], "--ema is 2.0"),
    (["--start", "nano", "--agvm"], "--agvm compares the halves"),
])  # fmt: skip
def test_mistakes(capsys: pytest.CaptureFixture[str], here: Path, arguments: list[str], says: str) -> None:
    assert cli.execute(["train", "--out", "mine", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and says in captured.err
    assert captured.err.count("\n") == 1
    assert list(here.iterdir()) == []


def test_places_that_cannot_be_used(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "file").write_text("mine")
    for folder in ("file", "file/below"):
        assert cli.execute(["train", "--out", folder, "--start", "nano"]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: --out {folder}: cannot write there") and err.count("\n") == 1
    assert (here / "file").read_text() == "mine"


def test_a_folder_of_another_recipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="training began"):
        cli.execute(["train", "--out", "mine", "--start", "nano"])
    assert cli.execute(["train", "--out", "mine", "--start", "nano", "--seed", "1"]) == 2
    assert "mine holds a run with another recipe (seed 0 -> 1); use another --out" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "train", raiser(Interrupted("interrupted after step 3 of 9; the state is saved")))
    assert cli.execute(["train", "--out", "mine", "--start", "nano"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "interrupted after step 3 of 9; the state is saved; the same command goes on from there\n"


def test_one_of_several_processes_speaks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(train, "train", lambda options: None)
    assert cli.execute(["train", "--out", "mine", "--start", "nano"]) == 0
    from generalist.types import GeneralistError

    monkeypatch.setattr(train, "train", raiser(GeneralistError("--seed is -1")))
    assert cli.execute(["train", "--out", "mine", "--start", "nano"]) == 2
    monkeypatch.setattr(train, "train", raiser(Interrupted("interrupted")))
    assert cli.execute(["train", "--out", "mine", "--start", "nano"]) == 130
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def raiser(error: BaseException) -> Callable[[TrainOptions], None]:
    def train(options: TrainOptions) -> None:
        raise error

    return train
