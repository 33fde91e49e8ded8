"""What holds for every method on every kind of model: one table, one test for each promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from peft import PeftModel

from generalist.adapter_spec import read_spec
from generalist.model import GeneralistForConditionalGeneration
from generalist_adapters.attached import Attached, SpecFields
from generalist_adapters.methods import METHODS, MethodConfig

Model: TypeAlias = GeneralistForConditionalGeneration
MakeModel: TypeAlias = Callable[[str], Model]
Batch: TypeAlias = dict[str, torch.Tensor]
MakeBatch: TypeAlias = Callable[[Model], Batch]

TASKS = ("detect", "segment")
FIELDS = SpecFields(name="things", base="tiny", vocab_hash="0123")
SMALL = MethodConfig(rank=4, shared_rank=4, task_rank=2, dropout=0.0, side_width=8)
VISUAL = MethodConfig(rank=3, shared_rank=3, task_rank=1, dropout=0.0, targets=("vision", "projector"), scale=0.7)
WITH_NORMS = MethodConfig(rank=2, shared_rank=2, task_rank=1, dropout=0.0, train_norms=True, train_embeddings=True)

# method, model, options
CASES: tuple[tuple[str, str, MethodConfig], ...] = (
    *((method, "nano-like", SMALL) for method in METHODS),
    *((method, "swin", SMALL) for method in METHODS),
    *((method, "siglip", VISUAL) for method in ("mtlora", "side")),
    ("lora", "dinov2+gpt2", VISUAL),
    ("side", "convnext", VISUAL),
    ("lora", "nano-like", WITH_NORMS),
    ("mtlora", "swin", WITH_NORMS),
)
every_case = pytest.mark.parametrize(
    "method, name, config", CASES, ids=[f"{m}-{n}{'-norms' if c is WITH_NORMS else ''}" for m, n, c in CASES]
)
SAVED_AS_LORA = ("lora", "mtlora")


@torch.no_grad()
def logits(model: Model, batch: Batch) -> torch.Tensor:
    return model.eval()(**batch).logits


def train(attached: Attached, batch: Batch, steps: int = 3) -> None:
    """A few large steps on both tasks, which should say different things."""
    optimizer = torch.optim.SGD(attached.parameters().values(), lr=0.05)
    for step in range(steps):
        for number, task in enumerate(attached.tasks):
            attached.set_task(task)
            labels = batch["input_ids"].roll(number + 1, dims=1)
            loss = attached.model(**batch, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(attached.parameters().values(), 3.0 + step)
            optimizer.step()


@pytest.fixture
def model(name: str, make_model: MakeModel) -> Model:
    return make_model(name)


@pytest.fixture
def batch(model: Model, make_batch: MakeBatch) -> Batch:
    return make_batch(model)


@pytest.fixture
def attached(method: str, model: Model, config: MethodConfig) -> Attached:
    return METHODS[method].attach(model, config, TASKS, seed=0)


def by_task(attached: Attached, batch: Batch) -> dict[str | None, torch.Tensor]:
    """What the model says with each task set."""
    said = {}
    for task in (*attached.tasks, None):
        attached.set_task(task)
        said[task] = logits(attached.model, batch)
    return said


@every_case
def test_at_the_start_it_changes_nothing(
    method: str, name: str, config: MethodConfig, make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model = make_model(name)
    batch = make_batch(model)
    before = logits(model, batch)
    attached = METHODS[method].attach(model, config, TASKS, seed=0)
    for task, said in by_task(attached, batch).items():
        assert torch.equal(said, before), task


@every_case
def test_only_its_parameters_are_trained(attached: Attached, batch: Batch, make_model: MakeModel, name: str) -> None:
    own = attached.parameters()
    assert {id(p) for p in attached.model.parameters() if p.requires_grad} <= {id(p) for p in own.values()}
    assert all(p.requires_grad for p in own.values())
    before = attached.state_dict()
    said = by_task(attached, batch)
    train(attached, batch)
    changed = [name for name, tensor in attached.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(changed) > 0.8 * len(before)  # a tower's unused pooling head gets no gradient
    assert not torch.equal(by_task(attached, batch)["detect"], said["detect"])
    base = dict(make_model(name).named_parameters())
    theirs = {n.replace(".base_layer.", "."): p for n, p in attached.model.named_parameters() if n not in own}
    assert set(theirs) <= set(base)
    for tensor_name, tensor in theirs.items():
        assert torch.equal(tensor, base[tensor_name]), tensor_name


@every_case
def test_its_state_goes_on_elsewhere(
    method: str, name: str, config: MethodConfig, attached: Attached, batch: Batch, make_model: MakeModel
) -> None:
    train(attached, batch)
    said = by_task(attached, batch)
    other = METHODS[method].attach(make_model(name), config, TASKS, seed=7)
    other.load_state_dict(attached.state_dict())
    for task, again in by_task(other, batch).items():
        assert torch.equal(again, said[task]), task


@every_case
def test_a_seed_decides_its_start(
    method: str, name: str, config: MethodConfig, attached: Attached, make_model: MakeModel
) -> None:
    torch.manual_seed(5)  # the surroundings do not
    same = METHODS[method].attach(make_model(name), config, TASKS, seed=0).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in attached.state_dict().items())
    if method != "full":
        other = METHODS[method].attach(make_model(name), config, TASKS, seed=1).state_dict()
        assert not all(torch.equal(tensor, other[name]) for name, tensor in attached.state_dict().items())


@every_case
def test_taken_out_it_leaves_the_base_as_it_was(
    attached: Attached, batch: Batch, make_model: MakeModel, name: str
) -> None:
    train(attached, batch)
    attached.detach()
    left, base = attached.model, make_model(name)
    assert {n: p.requires_grad for n, p in left.named_parameters()} == {
        n: p.requires_grad for n, p in base.named_parameters()
    }
    ours, theirs = left.state_dict(), base.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in theirs)
    assert torch.equal(logits(left, batch), logits(base, batch))


@every_case
def test_its_report_counts_every_parameter_once(attached: Attached) -> None:
    *parts, everything = attached.report()
    assert everything.part == "all"
    assert (
        everything.trained
        == sum(row.trained for row in parts)
        == sum(p.numel() for p in attached.parameters().values())
    )
    base = sum(p.numel() for n, p in attached.model.named_parameters() if n not in attached.parameters())
    assert everything.total == base + everything.trained
    targets = {row.part for row in parts if row.part in ("vision", "projector", "language") and row.trained}
    assert targets <= set(attached.config.targets)


merging = [case for case in CASES if METHODS[case[0]].merges]


@pytest.mark.parametrize("method, name, config", merging, ids=[f"{m}-{n}-{c.train_norms}" for m, n, c in merging])
@pytest.mark.parametrize("task", TASKS)
def test_merged_it_says_the_same(task: str, attached: Attached, batch: Batch, make_model: MakeModel, name: str) -> None:
    train(attached, batch)
    attached.set_task(task)
    said = logits(attached.model, batch)
    merged = attached.merge()
    assert merged.state_dict().keys() == make_model(name).state_dict().keys()
    assert torch.allclose(logits(merged, batch), said, atol=1e-5, rtol=1e-5)


loras = [case for case in CASES if case[0] in SAVED_AS_LORA and not case[2].train_norms]


@pytest.mark.parametrize("method, name, config", loras, ids=[f"{m}-{n}" for m, n, _ in loras])
def test_saved_it_is_plain_lora_for_peft(
    method: str,
    config: MethodConfig,
    attached: Attached,
    batch: Batch,
    make_model: MakeModel,
    name: str,
    tmp_path: Path,
) -> None:
    train(attached, batch)
    said: Mapping[str | None, torch.Tensor] = by_task(attached, batch)
    folders = attached.save(tmp_path / "saved", FIELDS)
    assert len(folders) == (1 if method == "lora" else len(TASKS))
    for folder in folders:
        spec = read_spec(folder)
        assert spec is not None and spec.method == method
        assert spec.rank == (config.rank if method == "lora" else config.shared_rank + config.task_rank)
        assert sorted(path.name for path in folder.iterdir()) == [
            "adapter.json", "adapter_config.json", "adapter_model.safetensors"
        ]  # fmt: skip
        loaded = PeftModel.from_pretrained(make_model(name), folder)
        again = logits(loaded, batch)
        for task in spec.tasks:
            assert torch.allclose(again, said[task], atol=1e-5, rtol=1e-5)
    if method == "mtlora":
        assert not torch.allclose(said["detect"], said["segment"], atol=1e-3)
