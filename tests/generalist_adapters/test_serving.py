"""Saved adapters in the engine: several in one batch say what each said in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint
from generalist.prompt import build
from generalist.types import ChatRequest, Generation, Message, Sampling
from generalist_adapters.attached import Attached, SpecFields
from generalist_adapters.methods import METHODS, MethodConfig

from ..pictures import noise

TASKS = ("detect", "segment")
CONFIG = MethodConfig(rank=4, shared_rank=4, task_rank=2, dropout=0.05)
GREEDY = Sampling(max_new_tokens=6)


def shake(attached: Attached) -> None:
    """Make every update large enough to change what is said."""
    state = attached.state_dict()
    generator = torch.Generator().manual_seed(3)
    changed = {
        name: tensor + 0.3 * torch.randn(tensor.shape, generator=generator) / tensor.shape[-1] ** 0.5
        for name, tensor in state.items()
    }
    attached.load_state_dict(changed)


@pytest.mark.parametrize("name", ["nano-like", "swin", "siglip"])
def test_one_batch_mixes_tasks_and_the_base(
    name: str, make_checkpoint: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    tiny = make_checkpoint(name)
    pictures = [noise(40, 30, seed) for seed in range(3)]
    prompts = [
        build(ChatRequest(messages=(Message(role="user", text="Where is it?", images=(one,)),)), tiny.vocabulary)
        for one in pictures
    ]

    def engine() -> TransformersEngine:
        return TransformersEngine(tiny.model, tiny.processor, tiny.vocabulary)

    said: dict[str | None, list[Generation]] = {None: [engine().generate([p], GREEDY)[0] for p in prompts]}
    folders: dict[str, Path] = {}
    for method in ("lora", "mtlora"):
        attached = METHODS[method].attach(tiny.model, CONFIG, TASKS, seed=0)
        shake(attached)
        fields = SpecFields(name=method, base="tiny", vocab_hash=tiny.vocabulary.hash)
        written = attached.save(tmp_path / "adapters" / method, fields)
        for folder, task in zip(written, TASKS, strict=False):
            attached.set_task(task)
            folders[f"{method}-{task}"] = folder
            said[f"{method}-{task}"] = [engine().generate([p], GREEDY)[0] for p in prompts]
        attached.detach()
    assert len(said) == 4 and len({tuple(one.token_ids for one in every) for every in said.values()}) == 4

    mixing = engine()
    for key, folder in folders.items():
        mixing.load_adapter(key, folder)
    rows = [(key, number) for number in range(len(prompts)) for key in said]
    answers = mixing.generate([replace(prompts[number], adapter=key) for key, number in rows], GREEDY)
    for (key, number), answer in zip(rows, answers, strict=True):
        assert answer.token_ids == said[key][number].token_ids, (key, number)
        assert answer.logprobs == pytest.approx(said[key][number].logprobs, abs=1e-3)
