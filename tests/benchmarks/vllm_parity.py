"""Whether vLLM says what transformers says: greedy replies and the likelihood of prompts, in float32 on a CPU.

    python tests/benchmarks/vllm_parity.py
    python tests/benchmarks/vllm_parity.py --model path/to/checkpoint --prompts 50 --split concepts

The prompts are questions about composed scenes, tasks in turn; some have several images, several turns or drawings.
Replies are compared under the grammar of their task and without any.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
import typer

from generalist import Generalist
from generalist.engine.adapters import Adapters
from generalist.engine.inputs import InputReader
from generalist.engine.transformers_engine import TransformersEngine
from generalist.evaluation.run import request_of
from generalist.heads.head import preprocess_of
from generalist.model import Checkpoint, load_checkpoint
from generalist.pipeline import resolve_model
from generalist.types import ChatRequest, Generation, Prompt, Sampling
from generalist_datasets.world.dataset import World
from generalist_datasets.world.samples import samples_of
from generalist_serving.vllm_engine.engine import VllmEngine

_BATCH = 8


@dataclass(slots=True)
class Recorder:
    """An engine that says nothing and keeps what it was asked."""

    prompts: list[Prompt] = field(default_factory=list)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        self.prompts += prompts
        return [Generation(token_ids=(), logprobs=(), finish_reason="stop") for _ in prompts]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        return iter(())


def requests(split: str, count: int) -> list[ChatRequest]:
    """Questions about the first scenes of a split, tasks in turn."""
    found: dict[str, list[ChatRequest]] = {}
    world = World(split, count=count)
    for sample in itertools.chain.from_iterable(samples_of(world[index]) for index in range(count)):
        found.setdefault(sample.task, []).append(request_of(sample))
    turns = itertools.zip_longest(*(found[task] for task in sorted(found)))
    chosen = [one for turn in turns for one in turn if one is not None][:count]
    tasks = Counter(one.task for one in chosen)
    print(f"{len(chosen)} prompts: {', '.join(f'{number} {task}' for task, number in sorted(tasks.items()))}")
    return chosen


def compare(name: str, ours: Sequence[Generation], theirs: Sequence[Generation]) -> None:
    """Print how many replies are the same, and how far their log-probabilities are apart."""
    same = [(one, other) for one, other in zip(ours, theirs, strict=True) if one.token_ids == other.token_ids]
    apart = [abs(a - b) for one, other in same for a, b in zip(one.logprobs, other.logprobs, strict=True)]
    tokens = sum(len(one.token_ids) for one in theirs)
    print(
        f"{name}: {len(same)} of {len(ours)} replies the same ({len(same) / len(ours):.2%}; {tokens} tokens), "
        f"log-probabilities within {max(apart, default=0.0):.1e}"
    )


def in_batches(engine: TransformersEngine, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
    starts = range(0, len(prompts), _BATCH)
    return [one for start in starts for one in engine.generate(prompts[start : start + _BATCH], sampling)]


def prompt_logprobs(engine: VllmEngine, prompt: Prompt) -> tuple[list[int], torch.Tensor]:
    """The tokens of a prompt as vLLM reads them, and the log-probability of each but the first."""

    def run(vllm: Any) -> Any:
        from vllm import SamplingParams

        data = {"image": list(prompt.images)} if prompt.images else None
        vllm.add_request(
            "likelihood",
            {"prompt_token_ids": list(prompt.token_ids), **({"multi_modal_data": data} if data else {})},
            SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False),
        )
        outputs = []
        while vllm.has_unfinished_requests():
            outputs += vllm.step()
        return outputs[-1]

    output = engine.call(run)
    ids = output.prompt_token_ids
    pairs = zip(ids[1:], output.prompt_logprobs[1:], strict=True)
    return ids, torch.tensor([each[token].logprob for token, each in pairs])


@torch.inference_mode()
def expected_logprobs(checkpoint: Checkpoint, prompt: Prompt) -> tuple[list[int], torch.Tensor]:
    """The same of transformers."""
    adapters = Adapters(checkpoint.model, checkpoint.vocabulary.hash, preprocess_of(checkpoint.processor))
    reader = InputReader(
        checkpoint.model, checkpoint.processor, checkpoint.vocabulary, adapters, feature_cache_images=0
    )
    item = reader.check(replace(prompt, adapter=None), checkpoint.model.config.text_config.max_position_embeddings)
    ids = torch.tensor([item.ids])
    logits = checkpoint.model(input_ids=ids, image_features=reader.features([item])).logits
    return list(item.ids), logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]


def main(
    model: Annotated[str, typer.Option(help="A shipped model or a checkpoint folder.")] = "nano",
    prompts: Annotated[int, typer.Option(min=1)] = 200,
    split: Annotated[str, typer.Option(help="Where the scenes come from.")] = "compositions",
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
) -> None:
    """Compare the two engines."""
    recorder = Recorder()
    Generalist.from_pretrained(model, engine=recorder).answer(requests(split, prompts))
    bound = recorder.prompts
    free = [replace(prompt, constraint=None) for prompt in bound]
    sampling = Sampling(max_new_tokens=max_new_tokens)
    checkpoint = load_checkpoint(resolve_model(model))
    transformers = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    with VllmEngine(resolve_model(model)) as vllm:
        for name, asked in (("with the grammar", bound), ("without a grammar", free)):
            compare(name, vllm.generate(asked, sampling), in_batches(transformers, asked, sampling))
        apart = 0.0
        for prompt in free:
            ids, ours = prompt_logprobs(vllm, prompt)
            expected_ids, theirs = expected_logprobs(checkpoint, prompt)
            assert ids == expected_ids, "the prompts differ"
            apart = max(apart, float((ours - theirs).abs().max()))
        print(f"prompts: log-probabilities within {apart:.1e}")


if __name__ == "__main__":
    typer.run(main)
