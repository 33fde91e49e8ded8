"""The program as a process: starts at once, says what it can do, dies quietly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generalist import cli
from generalist.tokens import Vocabulary

ROOT = Path(__file__).parents[3]


def program(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "generalist.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60, **options)  # type: ignore[call-overload]


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    shown = program("--help")
    assert shown.returncode == 0 and shown.stderr == ""
    for name in ("ask", "detect", "point", "segment", "depth", "caption", "count", "info"):
        assert f" {name} " in shown.stdout
    code = """
import sys
from generalist import cli
assert cli.execute(["detect", "--help"]) == 0
print({"numpy", "PIL", "torch", "transformers", "supervision"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.endswith("set()\n"), done.stderr


@pytest.mark.parametrize("name, says", [
    ("ask", "IMAGE... PROMPT"), ("detect", "IMAGE... [WHAT]"), ("point", "IMAGE... WHAT"), ("depth", "IMAGE..."),
])  # fmt: skip
def test_help_of_a_command_says_how_images_and_words_are_told_apart(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute([name, "--help"]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert says in out and f"Example: generalist {name} photo" in out
    assert "last" in out or name == "depth"
    drawn = ("--box", "--point", "--exclude", "--mask", "--scribble")
    for option in ("--json", "--save", *drawn, "--model", "--device", "--engine", "--seed"):
        assert option in out


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute([]) == 2
    captured = capsys.readouterr()
    assert "Usage: generalist" in captured.out + captured.err


def test_an_unknown_model_is_one_line() -> None:
    done = program("caption", "missing.png", "--model", "no-such-model")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: unknown model 'no-such-model'") and done.stderr.count("\n") == 1


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m generalist.cli --help"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ},
        timeout=60,
    )
    assert done.stderr == ""


@pytest.fixture
def checkpoint(vocab: Vocabulary, tmp_path: Path) -> Path:
    """What ``info`` reads of a checkpoint: the vocabulary, the header of the weights, the card."""
    vocab.save(tmp_path)
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [24, 28]},
    }).encode()  # fmt: skip
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(28))
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return tmp_path


def test_info(checkpoint: Path, vocab: Vocabulary, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["info", "--model", str(checkpoint), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["parameters"] == 7 and content["licence"] == "apache-2.0"
    assert content["vocabulary"]["locs"] == 64 and content["vocabulary"]["tokens"] == vocab.size
    assert content["vocabulary_hash"] == vocab.hash and content["checkpoint"] == str(checkpoint)
    assert content["packages"]["torch"] != "not installed" and "threads" in content["device"]
    assert content["engines"]["transformers"] == "usable"
    assert content["engines"]["vllm"].startswith(("usable", "not usable: "))
    assert cli.execute(["info", "--model", str(checkpoint)]) == 0
    assert vocab.hash in capsys.readouterr().out


@pytest.mark.parametrize("damage, says", [
    ("vocabulary.json", "vocabulary"), ("model.safetensors", "header"),
])  # fmt: skip
def test_info_about_a_damaged_checkpoint(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], damage: str, says: str
) -> None:
    (checkpoint / damage).write_bytes(b"{")
    assert cli.execute(["info", "--model", str(checkpoint)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and says in err and err.count("\n") == 1
