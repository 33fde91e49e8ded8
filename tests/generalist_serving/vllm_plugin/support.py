"""What the tests of the plugin share: questions about the sample images, random adapters, vLLM asked directly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from generalist.constrain import reply_constraint
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint, load_checkpoint
from generalist.prompt import build
from generalist.tasks import TASKS, question
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, Message, Prompt

SAMPLES = Path(__file__).resolve().parents[3] / "datasets" / "samples"
THINGS = {"desk": "the laptop", "orchard": "the red apple", "picnic": "the basket", "street": "the bus"}
RANK, ALPHA = 8, 16


def sample(name: str) -> Image.Image:
    with Image.open(SAMPLES / f"{name}.png") as opened:
        return opened.convert("RGB")


def ask(words: str, images: Sequence[Image.Image], vocabulary: Vocabulary) -> Prompt:
    return build(ChatRequest(messages=(Message(role="user", text=words, images=tuple(images)),)), vocabulary)


def prompts_over_all_tasks(vocabulary: Vocabulary) -> list[Prompt]:
    """Every task about every sample image, with the grammar of the task."""
    prompts = []
    for name, thing in THINGS.items():
        image = sample(name)
        for spec in TASKS.values():
            words = question(spec.name, thing if spec.takes_text else "")
            constraint = reply_constraint(vocabulary, kinds=[kind for kind in spec.emits if kind != "doc"])
            prompts.append(replace(ask(words, [image], vocabulary), constraint=constraint))
    return prompts


def free(prompts: Iterable[Prompt]) -> list[Prompt]:
    return [replace(prompt, constraint=None) for prompt in prompts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter in PEFT's format: ``folder`` on disk, and what it adds to each weight."""

    folder: Path
    deltas: dict[str, torch.Tensor]

    def merged(self, checkpoint: Path) -> TransformersEngine:
        """The model that the adapter makes of a checkpoint, without vLLM."""
        changed = load_checkpoint(checkpoint)
        with torch.no_grad():
            for name, delta in self.deltas.items():
                changed.model.get_submodule(name).weight += delta  # type: ignore[operator]
        return TransformersEngine(changed.model, changed.processor, changed.vocabulary)


def make_adapter(folder: Path, model: torch.nn.Module, parts: Sequence[str], scale: float, seed: int) -> Adapter:
    """An adapter at random of every linear layer whose name holds one of ``parts``."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    deltas: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or not any(part in name for part in parts):
            continue
        width_out, width_in = module.weight.shape
        a = torch.randn(RANK, width_in, generator=generator) * width_in**-0.5
        b = torch.randn(width_out, RANK, generator=generator) * scale * width_in**-0.5
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
        deltas[name] = ALPHA / RANK * b @ a
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    config["target_modules"] = sorted({name.rsplit(".", maxsplit=1)[-1] for name in deltas})
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return Adapter(folder=folder, deltas=deltas)


def run_in_vllm(prompts: Sequence[dict[str, Any]], **sampling: Any) -> Callable[[Any], list[Any]]:
    """For ``VllmEngine.call``: what vLLM itself answers to prompts in its own form, greedily."""

    def run(engine: Any) -> list[Any]:
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, detokenize=False, **sampling)
        for number, prompt in enumerate(prompts):
            engine.add_request(f"raw-{number}", prompt, params.clone())
        outputs = {}
        while engine.has_unfinished_requests():
            outputs.update({output.request_id: output for output in engine.step() if output.finished})
        return [outputs[f"raw-{number}"] for number in range(len(prompts))]

    return run


def expanded(prompt: Prompt, checkpoint: Checkpoint) -> list[int]:
    """The ids with every position of an image, as the model reads them."""
    image, copies = checkpoint.vocabulary.image, checkpoint.model.config.num_image_tokens
    return [i for token in prompt.token_ids for i in [token] * (copies if token == image else 1)]
