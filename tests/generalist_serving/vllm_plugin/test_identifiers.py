"""The logits processors of both model runners, driven as vLLM drives them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from generalist.documents import DocumentIndex, build_index
from generalist.identifiers import IdentifierTrie
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_datasets.records import Document
from generalist_serving.vllm_plugin import identifiers
from generalist_serving.vllm_plugin.identifiers import ARGUMENT

pytest.importorskip("vllm", reason="vLLM is not installed")

NAMES = ("oak", "oak tree", "an elm")


@pytest.fixture(scope="module")
def names(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("identifiers") / "names"
    IdentifierTrie.build([vocab.encode_text(name) for name in NAMES], vocab).save(path)
    return str(path)


@pytest.fixture(scope="module")
def titles(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same names as the titles of an index, as a conversation hands them over."""
    folder = tmp_path_factory.mktemp("titles")
    vocab.save(folder)
    build_index([Document(id=name, title=name, text="") for name in NAMES], folder / "index", base=folder)
    return DocumentIndex.open(folder / "index").identifiers


def config(vocab: Vocabulary) -> Any:
    model = SimpleNamespace(hf_text_config=SimpleNamespace(eos_token_id=vocab.eos))
    return SimpleNamespace(model_config=model, speculative_config=None)


def wanting(path: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(extra_args=None if path is None else {ARGUMENT: path})


class First:
    """The V1 runner: rows move, and it lengthens the lists of tokens that it has handed over."""

    def __init__(self, vocab: Vocabulary) -> None:
        from generalist_serving.vllm_plugin.identifiers_v1 import Identifiers

        self.processor = Identifiers(config(vocab), torch.device("cpu"), False)
        self.replies: dict[str, list[int]] = {}
        self.order: list[str] = []
        self.size = vocab.size

    def add(self, name: str, path: str | None, reply: list[int] | None = None) -> None:
        from vllm.v1.sample.logits_processor import BatchUpdate

        self.replies[name] = list(reply or ())
        self.order.append(name)
        added = [(len(self.order) - 1, wanting(path), [1, 2, 3], self.replies[name])]
        self.processor.update_state(BatchUpdate(batch_size=len(self.order), removed=[], added=added, moved=[]))

    def remove(self, name: str) -> None:
        """The last row takes the place of the one that left."""
        from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

        place, last = self.order.index(name), len(self.order) - 1
        self.order[place] = self.order[-1]
        self.order.pop()
        moved = [(last, place, MoveDirectionality.UNIDIRECTIONAL)] if place != last else []
        self.processor.update_state(BatchUpdate(batch_size=last, removed=[place], added=[], moved=moved))

    def swap(self, a: str, b: str) -> None:
        from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

        i, j = self.order.index(a), self.order.index(b)
        self.order[i], self.order[j] = b, a
        moved = [(i, j, MoveDirectionality.SWAP)]
        self.processor.update_state(BatchUpdate(batch_size=len(self.order), removed=[], added=[], moved=moved))

    def say(self, name: str, *tokens: int) -> None:
        self.replies[name] += tokens

    def masked(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        self.processor.update_state(None)
        return dict(zip(self.order, self.processor.apply(logits[: len(self.order)].clone()), strict=True))


class Second:
    """The V2 runner: slots stay, rows are reordered every step, tokens lie in a table of the device."""

    def __init__(self, vocab: Vocabulary) -> None:
        from generalist_serving.vllm_plugin.identifiers_v2 import Identifiers

        table = torch.zeros(8, 64, dtype=torch.int32)
        self.states = SimpleNamespace(
            all_token_ids=SimpleNamespace(gpu=table), prompt_len=SimpleNamespace(np=np.zeros(8, np.int32))
        )
        self.processor = Identifiers(config(vocab), self.states)  # type: ignore[arg-type]
        self.slots: dict[str, int] = {}
        self.lengths: dict[str, int] = {}
        self.free = [5, 2, 7]
        self.size = vocab.size

    def add(self, name: str, path: str | None, reply: list[int] | None = None) -> None:
        slot = self.slots[name] = self.free.pop(0)
        prompt = [1, 2, 3][: 1 + len(self.slots) % 3]
        self.states.prompt_len.np[slot] = len(prompt)
        self.lengths[name] = 0
        self.say(name, *prompt, *(reply or ()))
        assert self.processor.add_request(slot, wanting(path)) == (path is not None)

    def remove(self, name: str) -> None:
        self.free.insert(0, self.slots.pop(name))

    def swap(self, a: str, b: str) -> None:
        """Rows are in another order at every step anyway."""

    def say(self, name: str, *tokens: int) -> None:
        at, slot = self.lengths[name], self.slots[name]
        self.states.all_token_ids.gpu[slot, at : at + len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        self.lengths[name] += len(tokens)

    def masked(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        order = sorted(self.slots, key=lambda name: (sum(self.lengths.values()) * hash(name)) % 7)
        context = SimpleNamespace(
            idx_mapping_np=np.array([self.slots[name] for name in order], np.int32),
            seq_lens_upper_bound_np=np.array([self.lengths[name] for name in order], np.int32),
        )
        rows = self.processor.apply(logits[: len(order)].clone(), context)  # type: ignore[arg-type]
        return dict(zip(order, rows, strict=True))


@pytest.mark.parametrize("kept", ["names", "titles"])
@pytest.mark.parametrize("runner_class", [First, Second])
def test_each_request_of_a_batch_follows_its_own_identifiers(
    vocab: Vocabulary, kept: str, runner_class: type[First] | type[Second], request: pytest.FixtureRequest
) -> None:
    names, runner = request.getfixturevalue(kept), runner_class(vocab)
    opened, closed = vocab.structure["<doc>"], vocab.structure["</doc>"]
    oak, elm, tree = (vocab.encode_text(text) for text in ("oak", "an elm", " tree"))

    def allowed(name: str) -> set[int] | None:
        row = runner.masked(torch.zeros(3, vocab.size))[name]
        ids = set(row.isfinite().nonzero().flatten().tolist())
        return None if len(ids) == vocab.size else ids

    runner.add("a", names)
    runner.add("free", None)
    runner.add("b", names, reply=[opened, *elm])  # taken up again, with a part of its reply
    assert allowed("a") is None
    assert allowed("free") is None
    assert allowed("b") == {closed}
    runner.say("a", opened)
    runner.say("free", opened)
    assert allowed("a") == {oak[0], elm[0]}
    assert allowed("free") is None
    runner.swap("a", "b")
    runner.say("b", closed)
    runner.say("a", *oak[:-1])
    assert allowed("a") == {oak[-1]}
    assert allowed("b") is None
    runner.remove("free")
    runner.say("a", oak[-1])
    assert allowed("a") == {closed, tree[0]}
    runner.add("c", None)  # in the place of another
    assert allowed("c") is None
    assert allowed("a") == {closed, tree[0]}


@pytest.mark.parametrize("runner_class", [First, Second])
def test_where_grammar_and_identifiers_forbid_everything_the_text_ends(
    vocab: Vocabulary, names: str, runner_class: type[First] | type[Second]
) -> None:
    runner = runner_class(vocab)
    runner.add("a", names)
    runner.say("a", vocab.structure["<doc>"])
    logits = torch.full((1, vocab.size), -torch.inf)
    logits[0, vocab.encode_text("x")] = 1.0
    assert runner.masked(logits)["a"].isfinite().nonzero().flatten().tolist() == [vocab.eos]


@pytest.mark.parametrize("module", ["identifiers_v1", "identifiers_v2"])
def test_requests_are_checked_before_they_reach_the_sampler(names: str, module: str) -> None:
    from importlib import import_module

    processor = import_module(f"generalist_serving.vllm_plugin.{module}").Identifiers
    processor.validate_params(wanting(None))
    processor.validate_params(wanting(names))
    with pytest.raises(GeneralistError, match="cannot read the identifiers"):
        processor.validate_params(wanting("no/such/file"))
    with pytest.raises(GeneralistError, match=f"{ARGUMENT} is 3; give the path"):
        processor.validate_params(wanting(3))


def test_a_file_that_vanishes_ends_one_text_and_not_the_engine(vocab: Vocabulary, tmp_path: Path) -> None:
    runner = First(vocab)
    runner.add("a", str(tmp_path / "gone"))
    assert runner.masked(torch.zeros(1, vocab.size))["a"].isfinite().nonzero().flatten().tolist() == [vocab.eos]


def test_a_server_reads_only_what_it_trusts(names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifiers, "_trusted", None)
    other = tmp_path / "others"
    other.write_bytes(Path(names).read_bytes())
    identifiers.check(wanting(str(other)))
    identifiers.restrict()
    identifiers.trust(names)
    identifiers.restrict()
    identifiers.check(wanting(names))
    identifiers.check(wanting(None))
    for path in (str(other), f"{names}/../names", "/etc/passwd"):
        with pytest.raises(GeneralistError, match="which this server does not offer; leave it out"):
            identifiers.check(wanting(path))
