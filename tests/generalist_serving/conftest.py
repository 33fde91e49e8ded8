"""One vLLM engine for all tests of this folder: it takes longer to start than they take to run."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from generalist.engine.transformers_engine import TransformersEngine
    from generalist.model import Checkpoint
    from generalist.tokens import Vocabulary
    from generalist_serving.vllm_engine.engine import VllmEngine

MAX_ADAPTERS = 6
MAX_LORA_RANK = 8


@pytest.fixture(scope="session")
def nano() -> Checkpoint:
    """As transformers runs it, in float32. Shared: do not change it."""
    from generalist.model import load_checkpoint
    from generalist.pipeline import resolve_model

    return load_checkpoint(resolve_model("nano"))


@pytest.fixture(scope="session")
def nano_vocab(nano: Checkpoint) -> Vocabulary:
    return nano.vocabulary


@pytest.fixture(scope="session")
def vllm_engine() -> Iterator[VllmEngine]:
    """nano on a CPU, in float32, ready for adapters. Leave no adapter loaded."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from generalist.pipeline import resolve_model
    from generalist_serving.engines import usable_engines
    from generalist_serving.vllm_engine.engine import VllmEngine

    if reason := usable_engines()["vllm"]:
        pytest.skip(reason)
    with VllmEngine(
        resolve_model("nano"), device="cpu", max_adapters=MAX_ADAPTERS, max_lora_rank=MAX_LORA_RANK
    ) as engine:
        yield engine


@pytest.fixture(scope="session")
def transformers_engine(nano: Checkpoint) -> TransformersEngine:
    """The engine to agree with."""
    from generalist.engine.transformers_engine import TransformersEngine

    return TransformersEngine(nano.model, nano.processor, nano.vocabulary)
