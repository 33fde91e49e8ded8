"""What training costs with each method of adapting: trained parameters, peak memory of a step, time of a step.

    python tests/benchmarks/adapters_memory.py                      nano
    python tests/benchmarks/adapters_memory.py --model vit-b        random weights: a ViT-B/16 at 224 pixels, a small LM
    python tests/benchmarks/adapters_memory.py --device cuda --batch 32

Every method runs in a process of its own on the same random batch. Memory is the highest that a step takes above what
the model with its adapter and optimizer holds when idle, so it is activations, gradients and scratch. Time is the least
of all steps: other work on the machine only adds to it. Ratios are to LoRA in the same parts.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration, load_checkpoint
from generalist.pipeline import resolve_model
from generalist.tokens import Vocabulary
from generalist_adapters.methods import METHODS, MethodConfig

VIT_B = {
    "model_type": "siglip_vision_model",
    **{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    **{"image_size": 224, "patch_size": 16, "vision_use_head": False},
}
SEEING, EVERYTHING = ("vision", "projector"), ("vision", "projector", "language")
RUNS: dict[str, tuple[str, MethodConfig]] = {
    "lora, seeing": ("lora", MethodConfig(targets=SEEING)),
    "mtlora, seeing": ("mtlora", MethodConfig(targets=SEEING)),
    "side": ("side", MethodConfig(targets=SEEING)),
    "full, seeing": ("full", MethodConfig(targets=SEEING)),
    "lora, everything": ("lora", MethodConfig(targets=EVERYTHING)),
    "mtlora, everything": ("mtlora", MethodConfig(targets=EVERYTHING)),
    "full, everything": ("full", MethodConfig(targets=EVERYTHING)),
}
TASKS = ("detect", "segment", "depth")
WORDS = 64
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
"""Lets glibc give freed tensors back at once, so that resident memory is memory in use; it costs time."""


def make_model(name: str) -> GeneralistForConditionalGeneration:
    if name != "vit-b":
        return load_checkpoint(resolve_model(name)).model
    torch.manual_seed(0)
    vocabulary = Vocabulary.load(resolve_model("nano"))
    return GeneralistForConditionalGeneration(GeneralistConfig.for_vocabulary(vocabulary, vision_config=VIT_B))


def run(label: str, model_name: str, device: str, batch: int, steps: int) -> dict[str, float]:
    """Trained and all parameters; the least seconds of ``steps`` steps; with 0 steps instead the bytes of one."""
    torch.set_num_threads(1 if device == "cpu" else 4)
    method, config = RUNS[label]
    model = make_model(model_name).to(device)
    attached = METHODS[method].attach(model, config, TASKS, seed=0)
    model.train()
    optimizer = torch.optim.AdamW(attached.parameters().values(), lr=1e-4)
    inputs = make_inputs(model, batch)

    def step(task: str) -> None:
        attached.set_task(task)
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step(TASKS[0])  # the optimizer's state is there from now on
    row = attached.report()[-1]
    found = {"trained": float(row.trained), "total": float(row.total)}
    if not steps:
        return {**found, "bytes": statistics.median(peak(partial(step, TASKS[0]), device) for _ in range(3))}
    return {**found, "seconds": min(seconds(partial(step, TASKS[k % len(TASKS)]), device) for k in range(steps))}


def make_inputs(model: GeneralistForConditionalGeneration, batch: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    config = model.config
    words = torch.randint(300, config.text_config.vocab_size, (batch, WORDS), generator=generator)
    words[words == config.image_token_id] = 300
    images = torch.full((batch, config.num_image_tokens), config.image_token_id)
    pixels = torch.randn(batch, 3, *config.image_hw, generator=generator)
    ids = torch.cat([images, words], dim=1)
    return {"input_ids": ids.to(model.device), "pixel_values": pixels.to(model.device)}


def peak(work: Callable[[], None], device: str) -> float:
    """Bytes that ``work`` takes at most above what is held before."""
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def seconds(work: Callable[[], None], device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="a shipped model, a checkpoint folder, or vit-b")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=9)
    options: Any = parser.parse_args()
    context = multiprocessing.get_context("spawn")  # nothing is left over from the method before
    found: dict[str, dict[str, float]] = {}
    print(f"{options.model}, batch {options.batch}, {options.device}")
    print(f"{'':<20} {'trained':>12} {'of all':>7} {'MiB':>8} {'x LoRA':>7} {'s/step':>8} {'x LoRA':>7}")
    for label in RUNS:
        row: dict[str, float] = {}
        for steps, allocator in ((0, RETURNING), (options.steps, {})):
            with patch.dict(os.environ, allocator), context.Pool(1) as pool:
                row |= pool.apply(run, (label, options.model, options.device, options.batch, steps))
        found[label] = row
        against = found["lora, everything" if "everything" in label else "lora, seeing"]
        memory, took = row["bytes"] / against["bytes"], row["seconds"] / against["seconds"]
        print(
            f"{label:<20} {row['trained']:>12,.0f} {row['trained'] / row['total']:>7.1%} "
            f"{row['bytes'] / 2**20:>8.1f} {memory:>7.2f} {row['seconds']:>8.3f} {took:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
