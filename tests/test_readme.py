"""The README is true: its links lead somewhere and its examples run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHECKPOINT = ROOT / "generalist" / "checkpoints" / "nano" / "model.safetensors"

needs_checkpoint = pytest.mark.skipif(not CHECKPOINT.exists(), reason="the shipped checkpoint is absent")


def fenced(language: str) -> list[str]:
    """Contents of the README's fenced blocks in ``language``, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every ``generalist ...`` command of the README's shell blocks, also behind ``&&``; each once."""
    steps = [step.strip() for block in fenced("sh") for line in block.splitlines() for step in line.split(" && ")]
    return list(dict.fromkeys(step for step in steps if step.startswith("generalist ")))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder in which the samples lie where the README says."""
    shutil.copytree(ROOT / "datasets" / "samples", tmp_path / "datasets" / "samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_links_lead_to_files() -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_ci_runs_the_test_command() -> None:
    _, test_command = fenced("sh")[:2]
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == test_command.strip()


@needs_checkpoint
def test_python_example(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example, _ = fenced("python")
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.strip()
    assert (elsewhere / "overlay.png").stat().st_size > 0


@needs_checkpoint
def test_server_examples(elsewhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, client = fenced("python")
    serve, curl = fenced("console")[1:]
    command = [sys.executable, "-m", "generalist.cli", *shlex.split(serve.replace("8000", "0"))[1:]]
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "adapters", "serving", "datasets"))
    env = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().rsplit(maxsplit=1)[-1]
        try:
            here = client.replace("http://127.0.0.1:8000", address)
            exec(compile(here, "README.md", "exec"), {"__name__": "readme"})
            with urllib.request.urlopen(curl.split()[1].replace("http://127.0.0.1:8000", address)) as models:
                assert b"nano" in models.read()
        finally:
            server.terminate()
        assert server.wait(timeout=40) == 0
    said = capfd.readouterr().out
    assert "apple" in said and "'type': 'mask'" in said


@needs_checkpoint
@pytest.mark.parametrize("command", commands())
def test_command(
    command: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from generalist.cli import main
    from generalist_datasets.assets import PACKAGES, packaged

    if command.startswith("generalist data world ") and not all(packaged(key).is_dir() for key in PACKAGES):
        pytest.skip("the pictures of the world are not in the cache; `generalist data world` fetches them")
    arguments = shlex.split(command)
    monkeypatch.setattr(sys, "argv", arguments)
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, None), capsys.readouterr().err
    assert capsys.readouterr().out.strip()
    if "--save" in arguments:
        assert (elsewhere / arguments[arguments.index("--save") + 1]).stat().st_size > 0
