"""The wheel holds the four packages with the shipped checkpoint, and nothing of the repository around them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"generalist", "generalist_adapters", "generalist_serving", "generalist_datasets"}
CHECKPOINT = "generalist/checkpoints/nano"
CHECKPOINT_FILES = (
    "README.md",
    "config.json",
    "depth_codec.safetensors",
    "mask_codec.safetensors",
    "model.safetensors",
    "scores.json",
    "tokenizer.json",
    "vocabulary.json",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Size in bytes of every file in a freshly built wheel, by its name."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("generalist-*.whl")
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.file_size for entry in archive.infolist()}


def test_top_level_is_the_four_packages(wheel: dict[str, int]) -> None:
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_checkpoint_is_inside(wheel: dict[str, int], name: str) -> None:
    assert wheel.get(f"{CHECKPOINT}/{name}", 0) > 0


def test_checkpoint_is_complete(wheel: dict[str, int]) -> None:
    folder = ROOT / CHECKPOINT
    on_disk = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert {name: size for name, size in wheel.items() if name.startswith(f"{CHECKPOINT}/")} == on_disk


def test_licence_command_and_typing_markers_are_inside(wheel: dict[str, int]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)
    assert {f"{package}/py.typed" for package in PACKAGES} <= wheel.keys()


def test_no_tests_samples_or_caches_inside(wheel: dict[str, int]) -> None:
    unwanted = [name for name in wheel if {"tests", "samples", "docs", "__pycache__"} & set(name.split("/"))]
    assert unwanted == []
