"""vLLM's LoRA operations for CPUs: what is wrong with them, and that ours are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch

from generalist.model import Checkpoint
from generalist.types import Prompt, Sampling
from generalist_serving.vllm_plugin import cpu_lora

from .support import free, make_adapter

if TYPE_CHECKING:
    from generalist_serving.vllm_engine.engine import VllmEngine

OPERATIONS = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
SLOTS = torch.tensor([1, -1, 0, 1, -1])
GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def as_shipped() -> ModuleType:
    """vLLM's module anew: the one in use is repaired already."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    spec = find_spec("vllm.lora.ops.torch_ops.lora_ops")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_row_gets_its_own_adapter_or_none() -> None:
    generator = torch.Generator().manual_seed(0)
    x, a, b = (torch.randn(shape, generator=generator) for shape in ((5, 6), (2, 1, 3, 6), (2, 1, 4, 3)))
    middle = torch.full((5, 3), 7.0)
    cpu_lora.shrink(x, a, middle, SLOTS, 0.5)
    pairs = zip(SLOTS, x, strict=True)
    expected = torch.stack([0.5 * a[slot, 0] @ row if slot >= 0 else torch.zeros(3) for slot, row in pairs])
    assert torch.allclose(middle, expected, atol=1e-6)
    before = torch.randn((5, 9), generator=generator)
    after = before.clone()
    cpu_lora.expand_slice(middle, b, after, SLOTS, 2, 4)
    added = torch.stack([b[slot, 0] @ row for slot, row in zip(SLOTS, middle, strict=True)])  # 0 where the row is 0
    assert torch.allclose(after[:, 2:6], before[:, 2:6] + added, atol=1e-6)
    assert torch.equal(after[:, [0, 1, 6, 7, 8]], before[:, [0, 1, 6, 7, 8]])


def test_an_adapter_may_be_wider_or_narrower_than_the_layer() -> None:
    b = torch.ones(1, 1, 6, 2)
    for width, added in ((4, 4), (8, 6)):
        output = torch.zeros(1, width)
        cpu_lora.expand(torch.ones(1, 2), b, output, torch.tensor([0]))
        assert output.sum() == 2 * added
        cpu_lora.expand(torch.ones(1, 2), b, output, torch.tensor([0]), add_inputs=False)
        assert output.sum() == 2 * added


def test_ours_agree_with_those_of_vllm_where_every_row_has_an_adapter(as_shipped: ModuleType) -> None:
    generator = torch.Generator().manual_seed(1)
    slots = torch.tensor([1, 0, 1, 1])
    x, a, b = (torch.randn(shape, generator=generator) for shape in ((4, 6), (2, 1, 3, 6), (2, 1, 5, 3)))
    ours, theirs = torch.zeros(4, 3), torch.zeros(4, 3)
    cpu_lora.shrink(x, a, ours, slots, 2.0)
    as_shipped.bgmv_shrink(x, a, theirs, slots, 2.0)
    assert torch.allclose(ours, theirs, atol=1e-6)
    for add in (True, False):
        one, other = torch.ones(4, 7), torch.ones(4, 7)
        cpu_lora.expand(ours, b, one, slots, add)
        as_shipped.bgmv_expand(ours, b, other, slots, add)
        assert torch.allclose(one, other, atol=1e-5)


def test_the_fault_is_found_by_what_it_does(as_shipped: ModuleType) -> None:
    fixed = ModuleType("fixed")
    fixed.bgmv_shrink = cpu_lora.shrink  # type: ignore[attr-defined]
    assert not cpu_lora.is_broken(fixed)
    import vllm

    if vllm.__version__.startswith("0.32."):
        assert cpu_lora.is_broken(as_shipped)


@pytest.fixture
def unrepaired(as_shipped: ModuleType) -> Iterator[None]:
    """vLLM's own operations back in their places."""
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    if not cpu_lora.is_broken(as_shipped):
        pytest.skip("this vLLM has no such fault")
    with pytest.MonkeyPatch.context() as patch:
        for module in (lora_ops, punica_cpu):
            for name in OPERATIONS:
                patch.setattr(module, name, getattr(as_shipped, name))
        yield


@pytest.fixture
def mixed_batch(
    vllm_engine: VllmEngine, nano: Checkpoint, questions: list[Prompt], tmp_path: Path
) -> Iterator[list[Prompt]]:
    """The same questions of the base model and of an adapter, in turns; every slot holds an adapter."""
    slots = vllm_engine.call(lambda vllm: vllm.vllm_config.lora_config.max_loras)
    names = [f"strong {number}" for number in range(slots)]
    folder = make_adapter(tmp_path / "adapter", nano.model, ["language_model.layers"], 0.5, seed=3).folder
    for name in names:
        vllm_engine.load_adapter(name, folder)
    some = free(questions[1::4])
    yield [
        replace(prompt, adapter=name) for number, prompt in enumerate(some) for name in (None, names[number % slots])
    ]
    for name in names:
        vllm_engine.unload_adapter(name)


def base_replies(engine: VllmEngine, batch: list[Prompt]) -> list[tuple[int, ...]]:
    return [one.token_ids for one in engine.generate(batch, GREEDY)[::2]]


def test_requests_without_an_adapter_are_not_changed_by_their_neighbours(
    vllm_engine: VllmEngine, mixed_batch: list[Prompt]
) -> None:
    alone = vllm_engine.generate(mixed_batch[::2], GREEDY)
    assert base_replies(vllm_engine, mixed_batch) == [one.token_ids for one in alone]


@pytest.mark.usefixtures("unrepaired")
def test_they_are_changed_where_vllm_is_left_as_it_is(vllm_engine: VllmEngine, mixed_batch: list[Prompt]) -> None:
    alone = vllm_engine.generate(mixed_batch[::2], GREEDY)
    assert base_replies(vllm_engine, mixed_batch) != [one.token_ids for one in alone]
