"""Questions for the shipped checkpoint, beside the one vLLM engine of all tests."""

from __future__ import annotations

import pytest

from generalist.model import Checkpoint
from generalist.types import Prompt

from .support import prompts_over_all_tasks


@pytest.fixture(scope="session")
def questions(nano: Checkpoint) -> list[Prompt]:
    """Every task about every sample image, under its grammar."""
    return prompts_over_all_tasks(nano.vocabulary)
