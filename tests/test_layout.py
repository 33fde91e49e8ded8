"""The layout: nothing shadows Hugging Face's datasets, layers hold, parsing needs no torch, the README maps it."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = ("adapters", "serving", "datasets")
PACKAGES = (
    "generalist",
    "adapters/generalist_adapters",
    "serving/generalist_serving",
    "datasets/generalist_datasets",
)
TORCH_FREE = (
    "generalist",
    "generalist.types",
    "generalist.tokens",
    "generalist.grammar",
    "generalist.tasks",
    "generalist.reply",
    "generalist.prompt",
)


def run_python(code: str) -> str:
    """Output of ``code`` in a new interpreter at the repository root, with the source roots on its path."""
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", *SOURCE_ROOTS))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_hugging_face_datasets_is_not_shadowed_by_our_folder() -> None:
    file = run_python("import datasets; datasets.load_dataset; print(datasets.__file__)")
    assert not Path(file).is_relative_to(ROOT / "datasets")


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_source_root_is_not_a_package(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "__init__.py").is_file()
    assert (ROOT / package / "py.typed").is_file()


def test_layers_are_respected() -> None:
    run_python("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")


def test_every_module_has_a_layer() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = (c for c in config["contracts"] if c["id"] == "layers")
    layered = {module for layer in contract["layers"] for module in layer.split(" | ")}
    modules = {module.name for module in pkgutil.iter_modules([str(ROOT / "generalist")], "generalist.")}
    assert modules | {Path(package).name for package in PACKAGES[1:]} == layered


@pytest.mark.parametrize("module", TORCH_FREE)
def test_parsing_side_imports_without_torch(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'torch', 'transformers', 'xgrammar'}} & set(sys.modules)))"
    assert run_python(code) == ""


# --- the README's file tree ----------------------------------------------------------------------------


def readme_tree() -> list[str]:
    """Paths listed in the README's file tree: one a line, two spaces of indent a level, then what it is for."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Files\n.*?^```text\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert found, "README.md has no file tree: a ```text block under '## Files'"
    paths: list[str] = []
    parents: list[str] = []
    for line in found[1].splitlines():
        name, *purpose = line.split(maxsplit=1)
        assert purpose, f"README.md lists {name} without saying what it is for"
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name.rstrip("/")]
        paths.append("/".join(parents))
    return paths


def test_readme_tree_mentions_every_package() -> None:
    inits = [init for package in PACKAGES for init in (ROOT / package).rglob("__init__.py")]
    packages = {init.parent.relative_to(ROOT).as_posix() for init in inits}
    assert packages >= set(PACKAGES)
    assert packages - set(readme_tree()) == set()


def test_readme_tree_mentions_nothing_that_is_not_there() -> None:
    assert [path for path in readme_tree() if not (ROOT / path).exists()] == []
