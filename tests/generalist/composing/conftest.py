"""Four bases, each composed once: every kind of tokenizer, head and tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from generalist.composing import ComposeOptions, compose
from generalist.model import Checkpoint, load_checkpoint

from .tiny_parents import save_language, save_tower

PAIRS = {
    "llama": ("siglip_vision_model", 1),
    "qwen3": ("dinov2", 2),
    "gpt2": ("swin", 1),
    "gemma": ("ours", 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The folders of a base and of its parents."""

    kind: str
    out: Path
    llm: Path
    vision: Path


@pytest.fixture(scope="session")
def compose_kind(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Composed]:
    @cache
    def make(kind: str) -> Composed:
        root = tmp_path_factory.mktemp(f"composed_{kind}")
        tower, merge = PAIRS[kind]
        vision = tiny_checkpoint.folder if tower == "ours" else save_tower(root / "vision", tower)
        llm = save_language(root / "llm", kind)
        options = ComposeOptions(vision=str(vision), llm=str(llm), out=root / "base", locs=64, merge=merge, seed=5)
        return Composed(kind=kind, out=compose(options), llm=llm, vision=vision)

    return make


@pytest.fixture(scope="session", params=list(PAIRS))
def composed(request: pytest.FixtureRequest, compose_kind: Callable[[str], Composed]) -> Composed:
    """Each base in turn. Shared: do not change it."""
    return compose_kind(request.param)


@pytest.fixture(scope="session")
def one_composed(compose_kind: Callable[[str], Composed]) -> Composed:
    """A single one, for what does not depend on the parents."""
    return compose_kind("llama")


@pytest.fixture(scope="session")
def loaded(composed: Composed) -> Checkpoint:
    """What is in its folder. Shared: do not change it."""
    return load_checkpoint(composed.out)
