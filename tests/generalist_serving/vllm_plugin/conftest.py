"""The shipped checkpoint and questions for it, beside the one vLLM engine of all tests."""

from __future__ import annotations

import pytest

from generalist.model import Checkpoint, load_checkpoint
from generalist.pipeline import shipped_models
from generalist.types import Prompt

from .support import prompts_over_all_tasks


@pytest.fixture(scope="session")
def nano() -> Checkpoint:
    return load_checkpoint(shipped_models()["nano"])


@pytest.fixture(scope="session")
def questions(nano: Checkpoint) -> list[Prompt]:
    """Every task about every sample image, under its grammar."""
    return prompts_over_all_tasks(nano.vocabulary)
