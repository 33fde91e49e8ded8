"""LoRA adapters in vLLM change a reply as they do when they are merged into the weights, alone and mixed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from generalist.model import Checkpoint
from generalist.types import GeneralistError, Generation, Prompt, Sampling

from .support import Adapter, free, make_adapter

if TYPE_CHECKING:
    from generalist_serving.vllm_engine.engine import VllmEngine

GREEDY = Sampling(max_new_tokens=16)
# name: what it changes, how much (so that most replies change and none becomes noise)
PARTS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "language": (("language_model.layers",), 0.4),
    "vision": (("vision_tower", "projector"), 0.8),
    "everything": (("language_model.layers", "vision_tower", "projector"), 0.3),
    "head": (("lm_head",), 0.5),
    "attention": (("language_model.layers", "self_attn"), 0.6),
}


@pytest.fixture(scope="module")
def adapters(
    vllm_engine: VllmEngine, nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Adapter]]:
    """Loaded into the engine by their names."""
    folder = tmp_path_factory.mktemp("adapters")
    made = {
        name: make_adapter(folder / name, nano.model, parts, scale, seed)
        for seed, (name, (parts, scale)) in enumerate(PARTS.items())
    }
    for name, adapter in made.items():
        vllm_engine.load_adapter(name, adapter.folder)
    yield made
    for name in made:
        vllm_engine.unload_adapter(name)


@pytest.fixture(scope="module")
def ten(questions: list[Prompt]) -> list[Prompt]:
    return free(questions[::3][:10])


@pytest.fixture(scope="module")
def alone(
    vllm_engine: VllmEngine, adapters: dict[str, Adapter], ten: list[Prompt]
) -> dict[str | None, list[Generation]]:
    """What each adapter answers when no other request is under way."""
    return {
        name: vllm_engine.generate([replace(prompt, adapter=name) for prompt in ten], GREEDY)
        for name in (None, *adapters)
    }


@pytest.mark.parametrize("name", PARTS)
def test_an_adapter_answers_like_the_merged_model(
    name: str,
    adapters: dict[str, Adapter],
    alone: dict[str | None, list[Generation]],
    ten: list[Prompt],
    nano: Checkpoint,
) -> None:
    merged = adapters[name].merged(nano.folder).generate(ten, GREEDY)
    assert [one.token_ids for one in alone[name]] == [one.token_ids for one in merged]
    for one, other in zip(alone[name], merged, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-3)
    changed = [one.token_ids != other.token_ids for one, other in zip(alone[name], alone[None], strict=True)]
    assert sum(changed) >= 3


def test_sixty_mixed_requests_are_answered_as_each_alone(
    vllm_engine: VllmEngine, alone: dict[str | None, list[Generation]], ten: list[Prompt]
) -> None:
    wanted = [(name, number) for name in alone for number in range(len(ten))]
    random.Random(0).shuffle(wanted)
    # What was kept of the single runs would spare the mixed batch half of its work.
    vllm_engine.call(lambda vllm: (vllm.reset_mm_cache(), vllm.reset_encoder_cache(), vllm.reset_prefix_cache()))
    mixed = vllm_engine.generate([replace(ten[number], adapter=name) for name, number in wanted], GREEDY)
    assert len(mixed) == 60
    for (name, number), got in zip(wanted, mixed, strict=True):
        assert got.token_ids == alone[name][number].token_ids, name
        assert got.logprobs == pytest.approx(alone[name][number].logprobs, abs=1e-3)


def test_what_the_vision_part_cannot_take_is_refused(tmp_path: Path, nano: Checkpoint) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from generalist_serving.vllm_plugin.model import Names

    reason = "LoRA of the vision part is off; start vLLM with enable_tower_connector_lora"
    names = Names(orig_to_new_prefix={"lm_head.": "head."}, refused=(("model.vision_tower.", reason),))
    assert names.get_rename_mapper().map_name("lm_head.lora_A.weight") == "head.lora_A.weight"
    with pytest.raises(GeneralistError, match=r"changes model.vision_tower.stem.proj.*, and LoRA of .* is off"):
        names.get_rename_mapper().map_name("model.vision_tower.stem.proj.lora_A.weight")
