"""What the generator learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from generalist.documents import Collection
from generalist.documents.bases import load_base
from generalist.documents.learning import identifiers as module
from generalist.documents.learning.fit import Fit, Schedule
from generalist.documents.learning.identifiers import Example, Identifiers, make_example, token_loss
from generalist.documents.learning.material import Material
from generalist.documents.learning.pairs import Pair, Pairs
from generalist.documents.network import Network, load_network, with_update
from generalist.index.automaton import DEAD
from generalist.pipeline import shipped_models
from generalist.types import GeneralistError


@pytest.fixture(scope="module")
def network(llama: Path) -> Network:
    return load_network(load_base(llama), "cpu")


def test_side_by_side_targets_cost_what_they_cost_alone(network: Network, llama: Path) -> None:
    plain = LlamaForCausalLM.from_pretrained(llama)
    examples = [
        Example(prompt=(5, 6, 7), targets=((8, 9), (10,), (11, 12, 13))),
        Example(prompt=(20, 21, 22, 23, 24), targets=((25, 26, 27),)),
    ]
    losses = []
    for example in examples:
        for target in example.targets:
            ids = torch.tensor([[*example.prompt, *target]])
            with torch.inference_mode():
                logprobs = plain(ids).logits[0].log_softmax(-1)
            at = range(len(example.prompt) - 1, ids.shape[1] - 1)
            losses += [-logprobs[k, ids[0, k + 1]].item() for k in at]
    with torch.inference_mode():
        found = token_loss(network, examples)
    assert float(found) == pytest.approx(float(np.mean(losses)), abs=1e-4)


def test_targets_exist_and_begin_words(material: Material, notes: Collection, network: Network) -> None:
    prompts, pairs = module._Prompts(network), Pairs(material, 0)
    text, titles = notes.automaton(), notes.automaton("titles")
    asked = set()
    for step in range(40):
        for pair, rng in pairs.step(step, 4):
            example = make_example(rng, pair, material, prompts)
            question = notes.tokenizer.decode(list(example.prompt))
            asked.add(question.splitlines()[-1])
            for target in example.targets:
                assert len(target) <= module.LENGTH or question.endswith('is "')
                if question.endswith('is "'):
                    assert target[-1] == prompts.end and titles.following(titles.find(target[:-1])).ends
                    continue
                assert text.find(target) != DEAD
                written = notes.tokenizer.decode(list(target))
                assert written.startswith(" ") or written in material.titles or target == target[: module.LENGTH]
    assert len(asked) == 4  # every granularity


def test_rather_words_of_the_question_are_written(material: Material, network: Network) -> None:
    prompts = module._Prompts(network)
    number = material.of_document[2][0]  # The owl came to Cairo in 1902.

    def count(question: str) -> int:
        """How often an n-gram begins with Cairo."""
        found = 0
        for seed in range(60):
            rng, pair = np.random.default_rng(seed), Pair(question=question, sentence=number)
            example = make_example(rng, pair, material, prompts, "sentence")
            found += any(network.base.tokenizer.decode(list(one)).split()[0] == "Cairo" for one in example.targets)
        return found

    assert count("Cairo") > 1.2 * count("xyz")


def test_a_link_leads_to_the_title_of_what_it_names(material: Material, network: Network) -> None:
    prompts = module._Prompts(network)
    found = set()
    for seed in range(80):
        pair = Pair(question="Who?", sentence=material.of_document[0][0])
        example = make_example(np.random.default_rng(seed), pair, material, prompts, "entity")
        asked = network.base.tokenizer.decode(list(example.prompt))
        title = network.base.tokenizer.decode(list(example.targets[0][:-1]))
        found.add((asked.splitlines()[0].removeprefix("Question: ")[:3], title))
    # The question's own document; its own sentences; sentences with a link to another document.
    assert ("Who", "The fox") in found and ("The", "The fox") in found
    assert {("See", title) for title in material.titles[1:]} <= found


def test_it_is_learnt(llama: Path, material: Material, tmp_path: Path) -> None:
    network = with_update(load_network(load_base(llama), "cpu"), rank=8, seed=0)
    objective = Identifiers(network, Pairs(material, 0), batch=4)
    fit = Fit(network, objective, Schedule(steps=60, learning_rate=2e-2))
    losses: list[float] = []
    before = objective.look()
    fit.run(tmp_path / "state.pt", notice=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    assert max(quality for _, quality in fit.history) > before


@pytest.mark.skipif("nano" not in shipped_models(), reason="the shipped checkpoint is absent")
def test_a_checkpoint_of_ours_learns_as_well() -> None:
    network = with_update(load_network(load_base("nano"), "cpu"), rank=2, seed=0)
    prompts = module._Prompts(network)
    tokens = tuple(network.base.tokenizer.encode(" The dog is asleep").ids)
    example = Example(prompt=prompts.read("Who sleeps?", "sentence"), targets=(tokens, (*tokens[:1], prompts.end)))
    loss = token_loss(network, [example])
    loss.backward()
    assert torch.isfinite(loss) and float(loss) > 0


def test_a_question_that_is_too_long_for_the_base_is_said(network: Network) -> None:
    with pytest.raises(GeneralistError, match="has 600 tokens; this base reads 512"):
        token_loss(network, [Example(prompt=(5,) * 600, targets=((6,),))])
