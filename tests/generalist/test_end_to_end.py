"""A checkpoint folder with random weights, through the library and the program: everything but the answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generalist import cli
from generalist.decoders import DepthCodec, MaskCodec
from generalist.decoders.crops import SIDE
from generalist.model import Checkpoint
from generalist.pipeline import Generalist
from generalist.tasks import TASKS
from generalist.types import GeneralistError, Sampling
from generalist.visual import bitmap_prompt

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete checkpoint."""
    path = tmp_path_factory.mktemp("complete") / "tiny"
    shutil.copytree(tiny_checkpoint.folder, path)
    sizes = tiny_checkpoint.vocabulary.sizes
    generator = torch.Generator().manual_seed(0)
    books = torch.randn(sizes.mask_length, sizes.mask_codes, 32, generator=generator)
    basis = torch.randn(SIDE * SIDE, 32, generator=generator)
    MaskCodec(torch.zeros(SIDE * SIDE), basis, books).save(path / "mask_codec.safetensors")
    DepthCodec(sizes.depth_grid, sizes.depth_codes).save(path / "depth_codec.safetensors")
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Generalist:
    return Generalist.from_pretrained(folder, device="cpu", seed=1)


@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_answers_within_its_grammar(model: Generalist, task: str) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=120)
    answer = model.ask(PICTURE, "What is here?", task=task, sampling=sampling)
    content = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert {entry["type"] for entry in content["visual"]} <= set(TASKS[task].emits) - {"doc"}
    assert all(0 <= entry["score"] <= 1 for entry in content["visual"])
    assert content["usage"]["completion_tokens"] <= 120
    if answer.finish_reason == "stop":
        assert "issues" not in content


def test_the_same_seed_gives_the_same_answer_streamed_or_not(model: Generalist) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=40, seed=3)
    first, second = (model.ask(PICTURE, "Hm?", sampling=sampling).reply for _ in range(2))
    assert first == second
    events = model.stream(PICTURE, "Hm?", sampling=sampling)
    assert "".join(getattr(event, "text", "") for event in events) == first.text


def test_a_drawn_mask_goes_through_the_codec(model: Generalist) -> None:
    bitmap = np.zeros((48, 64), bool)
    bitmap[10:30, 5:50] = True
    drawn = bitmap_prompt("mask", bitmap, PICTURE.size)
    sampling = Sampling(max_new_tokens=4)
    with_mask = model.ask(PICTURE, "What is this?", visual_prompts=[drawn], sampling=sampling)
    without = model.ask(PICTURE, "What is this?", sampling=sampling)
    # "(", the opened and closed kind, [0], 4 corners, 16 codes, ")"
    assert with_mask.usage.prompt_tokens - without.usage.prompt_tokens >= 26


def test_a_prompt_beyond_the_context_is_one_line(
    model: Generalist, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GeneralistError, match="tokens"):
        model.ask(PICTURE, "word " * 10_000)
    PICTURE.save(tmp_path / "photo.png")
    arguments = ["ask", str(tmp_path / "photo.png"), "word " * 10_000, "--model", str(folder), "--device", "cpu"]
    assert cli.execute(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: the prompt has ") and err.count("\n") == 1 and len(err) < 500


def test_the_program_answers_and_draws(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PICTURE.save(tmp_path / "photo.png")
    arguments = ["depth", str(tmp_path / "photo.png"), "--model", str(folder), "--json"]
    assert cli.execute([*arguments, "--save", str(tmp_path / "out.png"), "--max-new-tokens", "100"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["image"][0]["width"] == 64
    assert all(line.startswith("note: ") for line in captured.err.splitlines())
    assert Image.open(tmp_path / "out.png").size == (64, 48)


@pytest.mark.parametrize("name", [
    "model.safetensors", "mask_codec.safetensors", "depth_codec.safetensors", "vocabulary.json", "config.json",
])  # fmt: skip
def test_an_incomplete_checkpoint_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / name).unlink()
    PICTURE.save(tmp_path / "photo.png")
    assert cli.execute(["caption", str(tmp_path / "photo.png"), "--model", str(broken), "--device", "cpu"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("options, says", [({"device": "banana"}, "banana"), ({"dtype": "int4"}, "int4")])
def test_devices_and_dtypes_that_do_not_exist(folder: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as caught:
        Generalist.from_pretrained(folder, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
