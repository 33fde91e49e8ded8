"""With a torchvision that is installed but cannot be imported, as vLLM's build for CPUs brings it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOKS = """
import importlib.util
def look(): print("spawned", importlib.util.find_spec("torchvision"), flush=True)
if __name__ == "__main__": look()
"""
# "-c": a program that a spawned process does not repeat, so that it begins with what it runs, as vLLM's do.
SPAWNS = """
import importlib.util, multiprocessing, subprocess, sys, looks
from generalist.broken_packages import hide_broken
print(hide_broken(["torchvision", "no_such_package"]), importlib.util.find_spec("torchvision"))
print(hide_broken(["torchvision"]), flush=True)
process = multiprocessing.get_context("spawn").Process(target=looks.look)
process.start()
process.join()
subprocess.run([sys.executable, "-m", "looks"])
"""
USES = """
import generalist.model.checkpoint, generalist.engine.transformers_engine
from transformers.utils import is_torchvision_available
print(is_torchvision_available())
"""


def run(place: Path, *command: str) -> list[str]:
    paths = [str(place), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    roots = [str(Path(__file__).resolve().parents[2] / part) for part in ("", "adapters", "serving", "datasets")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *roots])}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "import torchvision.part\nraise RuntimeError('operator torchvision::nms\\ndoes not exist')\n"
    )
    (tmp_path / "torchvision" / "part.py").touch()
    return tmp_path


def test_a_broken_package_is_hidden_here_and_in_the_processes_that_are_started(place: Path) -> None:
    (place / "looks.py").write_text(LOOKS)
    (place / "sitecustomize.py").write_text(
        # in one write: processes that start at the same time share the output
        r"import os; 'GENERALIST_HIDDEN_PACKAGES' in os.environ and os.write(1, b'a site of my own\n')"
    )
    reason = "{'torchvision': 'operator torchvision::nms does not exist'}"
    said = run(place, "-c", SPAWNS)
    assert [line for line in said if "site" not in line] == [f"{reason} None", reason, *["spawned None"] * 2]
    assert said.count("a site of my own") >= 2  # what other packages start with still runs


def test_the_model_and_its_engine_load(place: Path) -> None:
    for name in ("torchaudio", "torchcodec"):
        (place / name).mkdir()
        (place / name / "__init__.py").write_text("raise OSError('Could not load this library')\n")
        (place / f"{name}-2.11.0.dist-info").mkdir()
        (place / f"{name}-2.11.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 2.11.0\n")
    assert run(place, "-c", USES) == ["False"]


def test_a_whole_package_is_left_alone(place: Path) -> None:
    (place / "torchvision" / "__init__.py").write_text("nms = 1\n")
    program = "from generalist.broken_packages import hide_broken; print(hide_broken())"
    assert run(place, "-c", f"{program}; import torchvision; print(torchvision.nms)") == ["{}", "1"]
