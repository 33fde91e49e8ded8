"""How fast vLLM answers for the shipped model, beside the in-process engine and a bare vLLM loop.

    OMP_NUM_THREADS=2 python tests/benchmarks/vllm_throughput.py

64 mixed requests with images, 32 at a time, by default each with an image of its own. Prints seconds and processor
seconds (which say more on a machine that others use too) for: TransformersEngine at several batch sizes; the whole
line (words, grammar, decoding, drawings) over VllmEngine from 32 threads; and a plain loop over the same vLLM with the
same prompts that reads nothing of the answers. Then the second question about the same images: calls of the vision
tower and time to the first token. At last, how many of 500 random replies are well-formed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import load_checkpoint
from generalist.pipeline import EVERYTHING, Generalist, resolve_model
from generalist.reply import parse
from generalist.tasks import TASKS, question
from generalist.types import ChatRequest, Message, Prompt, Sampling
from generalist_serving.vllm_engine import VllmEngine

SAMPLES = Path(__file__).resolve().parents[2] / "datasets" / "samples"
THINGS = {"desk": "the laptop", "orchard": "the red apple", "picnic": "the basket", "street": "the bus"}
WORDS = {"chat": "What is in the picture?", "detect": EVERYTHING, "segment": EVERYTHING}
REQUESTS, CONCURRENCY = 64, 32
BATCH_SIZES = (8, 16, 32, 64)
WELL_FORMED = 500


def mixed_requests(count: int, max_new_tokens: int, same_image: int = 1) -> list[ChatRequest]:
    """Every task about the sample images in turn; as many requests as ``same_image`` are about one picture."""
    chosen = []
    specs = list(TASKS.values())
    for number in range(count):
        name, thing = list(THINGS.items())[number // len(specs) % len(THINGS)]
        with Image.open(SAMPLES / f"{name}.png") as opened:
            image = opened.convert("RGB").rotate(number // same_image, expand=False)
        spec = specs[number % len(specs)]
        words = question(spec.name, WORDS.get(spec.name, thing) if spec.takes_text else "")
        message = Message(role="user", text=words, images=(image,))
        sampling = Sampling(max_new_tokens=max_new_tokens)
        chosen.append(ChatRequest(messages=(message,), task=spec.name, sampling=sampling))
    return chosen


@dataclass(frozen=True, order=True)
class Cost:
    """Seconds on the clock and of the processor, all threads together; and tokens said."""

    seconds: float
    processor: float
    tokens: int = 0


def timed(function: Callable[[], Any]) -> tuple[Cost, Any]:
    begin, used = time.perf_counter(), time.process_time()
    result = function()
    return Cost(time.perf_counter() - begin, time.process_time() - used), result


def measure_batches(model: Generalist, requests: Sequence[ChatRequest]) -> dict[int, Cost]:
    """What the in-process engine takes for all requests, by batch size."""
    model.answer(requests[:2])
    found = {}
    for size in BATCH_SIZES:
        model.engine = _without_caches(model.engine)
        batches = [requests[at : at + size] for at in range(0, len(requests), size)]
        found[size], _ = timed(lambda batches=batches: [model.answer(batch) for batch in batches])
    return found


def _without_caches(engine: Any) -> TransformersEngine:
    """Anew: no image has been seen."""
    return TransformersEngine(engine._model, engine._reader._processor, engine._vocabulary)


def measure_line(model: Generalist, requests: Sequence[ChatRequest]) -> Cost:
    """The whole line, from as many threads as there are requests at a time."""
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        cost, answers = timed(lambda: list(threads.map(lambda one: model.answer([one])[0], requests)))
    return replace(cost, tokens=sum(answer.usage.completion_tokens for answer in answers))


def measure_bare(engine: VllmEngine, prompts: Sequence[Prompt], sampling: Sampling) -> Cost:
    """vLLM alone: a loop that keeps as many requests under way and drops the answers."""
    wanted = [engine._reader.read(prompt, sampling, engine._adapters) for prompt in prompts]
    ready = [
        (
            # The pictures as they are: to shrink them is a part of the work either way.
            {"prompt_token_ids": list(prompt.token_ids), "multi_modal_data": {"image": list(prompt.images)}},
            engine._reader.sampling_params(one, streamed=False),
        )
        for prompt, one in zip(prompts, wanted, strict=True)
    ]

    def loop(vllm: Any) -> int:
        tokens, left = 0, list(enumerate(ready))[::-1]
        while left or vllm.has_unfinished_requests():
            while left and vllm.get_num_unfinished_requests() < CONCURRENCY:
                number, (prompt, params) = left.pop()
                vllm.add_request(f"bare-{number}", prompt, params)
            for output in vllm.step():
                tokens += len(output.outputs[0].token_ids) if output.finished else 0
        return tokens

    cost, tokens = timed(lambda: engine.call(loop))
    return replace(cost, tokens=tokens)


def forget(engine: VllmEngine) -> None:
    """Empty vLLM's caches."""

    def reset(vllm: Any) -> None:
        vllm.reset_mm_cache()
        vllm.reset_encoder_cache()
        vllm.reset_prefix_cache()

    engine.call(reset)


def measure_second_question(model: Generalist, engine: VllmEngine, images: int, repeats: int) -> dict[str, Any]:
    """Medians of the time to the first token, and calls of the vision tower, for a first and a second question."""
    calls: list[int] = []

    def watch(module: Any) -> None:
        method = module.embed_multimodal
        module.embed_multimodal = lambda **kwargs: (calls.append(1), method(**kwargs))[1]

    engine.call(lambda vllm: vllm.apply_model(watch))
    pictures = [one.messages[0].images[0] for one in mixed_requests(images, 1)]
    times: dict[str, list[float]] = {"first": [], "second": []}
    counted: dict[str, int] = {"first": 0, "second": 0}
    for _ in range(repeats):
        forget(engine)
        for which, words in (("first", "What is in the first picture?"), ("second", "Where is the laptop?")):
            message = Message(role="user", text=words, images=tuple(pictures))
            prompt = model._prepare(ChatRequest(messages=(message,)))
            before = len(calls)
            stream = engine.stream(prompt, Sampling(max_new_tokens=8))
            times[which].append(timed(lambda stream=stream: next(stream))[0].seconds)
            stream.close()  # type: ignore[attr-defined]
            counted[which] += len(calls) - before
    engine.call(lambda vllm: vllm.apply_model(lambda module: delattr(module, "embed_multimodal")))
    medians = {which: statistics.median(found) for which, found in times.items()}
    return {"images": images, "seconds": medians, "ratio": medians["first"] / medians["second"], "tower_calls": counted}


def measure_well_formed(model: Generalist, engine: VllmEngine, max_new_tokens: int) -> dict[str, int]:
    """Of random replies: how many are whole, and how many of these have an issue. One that is cut cannot be whole."""
    prompts = [model._prepare(request) for request in mixed_requests(WELL_FORMED, max_new_tokens)]
    sampling = Sampling(temperature=1.5, max_new_tokens=max_new_tokens)
    found = engine.generate(prompts, sampling)
    whole = [one for one in found if one.finish_reason == "stop"]
    cut = [one for one in found if one.finish_reason == "length"]
    issues = sum(bool(parse(one.token_ids, model.vocabulary).issues) for one in whole)
    # Where a reply is cut, only its last, unfinished thing may be wrong.
    issues += sum(len(parse(one.token_ids, model.vocabulary).issues) > 1 for one in cut)
    return {"replies": len(found), "whole": len(whole), "not_well_formed": issues}


def best(costs: Iterable[Cost], clock: str) -> float:
    return min(getattr(cost, clock) for cost in costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3, help="Each timing is the best of so many.")
    parser.add_argument("--same-image", type=int, default=1, help="Requests about each picture.")
    parser.add_argument("--images", type=int, default=4, help="Of a prompt whose second question is timed.")
    options = parser.parse_args()
    folder = resolve_model(options.model)
    requests = mixed_requests(options.requests, options.max_new_tokens, options.same_image)
    checkpoint = load_checkpoint(folder)
    plain = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    with VllmEngine(folder, max_batch=CONCURRENCY) as engine:
        model = Generalist.from_pretrained(folder, engine=engine)
        prompts = [model._prepare(request) for request in requests]
        sampling = requests[0].sampling
        model.answer(requests[:4])  # warm
        lines, bares = [], []
        for _ in range(options.repeats):  # in turn, so that both have the same neighbours on the machine
            forget(engine)
            lines.append(measure_line(model, requests))
            forget(engine)
            bares.append(measure_bare(engine, prompts, sampling))
        batches = measure_batches(Generalist.from_pretrained(folder, engine=plain), requests)
        result = {
            "transformers": {size: asdict(cost) for size, cost in batches.items()},
            "vllm": [asdict(cost) for cost in lines],
            "bare": [asdict(cost) for cost in bares],
            "vllm_against": {
                clock: {
                    "transformers": best(batches.values(), clock) / best(lines, clock),
                    "bare": best(bares, clock) / best(lines, clock),
                }
                for clock in ("seconds", "processor")
            },
            "second_question": measure_second_question(model, engine, options.images, options.repeats + 2),
            "random": measure_well_formed(model, engine, 96),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
