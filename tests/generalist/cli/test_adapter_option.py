"""``--adapter`` with the shipped model: an adapter's folder answers instead of the base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from generalist import cli
from generalist.model import load_checkpoint
from generalist.pipeline import Generalist, resolve_model
from generalist.types import Sampling

from ..random_adapters import LANGUAGE, write_adapter


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes nonsense, so that nobody takes its answers for those of the base."""
    model = load_checkpoint(resolve_model("nano")).model
    return write_adapter(tmp_path_factory.mktemp("adapters") / "cats", model, parts=LANGUAGE, scale=3.0)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), (200, 30, 30)).save(path)
    return str(path)


def test_the_adapter_answers(adapter: Path, photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["ask", photo, "What colour is it?", "--device", "cpu", "--max-new-tokens", "12", "--json"]
    answers = []
    for options in ([], ["--adapter", str(adapter)], []):
        assert cli.execute([*asked, *options]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[2] != answers[1]
    model = Generalist.from_pretrained(device="cpu", adapter=adapter)
    assert model.ask(photo, "What colour is it?", sampling=Sampling(max_new_tokens=12)).text == answers[1]["text"]


@pytest.mark.parametrize("command", [["ask", "{}", "What?"], ["detect", "{}"], ["caption", "{}"]])
def test_a_broken_adapter_is_told_before_the_model_is_loaded(
    command: list[str], photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generalist.cli.run.load_model", lambda *_, **__: pytest.fail("loaded"))
    command = [word.format(photo) for word in command]
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    (tmp_path / "my dogs").mkdir()
    for name, says in (
        ("nowhere", "adapter_config.json: cannot be read (No such file or directory)"),
        ("cats", "peft_type is 'IA3', which this program cannot serve"),
        ("my dogs", "rename the folder"),
    ):
        assert cli.execute([*command, "--adapter", str(tmp_path / name)]) == 2
        shown = capsys.readouterr()
        assert says in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_an_adapter_of_another_model_is_told_once(
    adapter: Path, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"name": "cats", "base": "big", "method": "lora", "rank": 4, "alpha": 8, "targets": [], "tasks": []}
    folder = tmp_path / "cats"
    folder.mkdir()
    for file in adapter.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "adapter.json").write_text(json.dumps({**spec, "vocab_hash": "0"}))
    assert cli.execute(["caption", photo, photo, "--device", "cpu", "--adapter", str(folder)]) == 2
    shown = capsys.readouterr().err
    assert "vocab_hash is '0'" in shown and shown.count("\n") == 1
