"""Side-tuning as a method: the side network attached to a model, its file, and images embedded with it.

The tower runs without gradients: its weights are frozen and nothing before it is trained, so nothing of it is kept for
a backward pass. What the side network gives is added to the tower's tokens in front of the projector.

One side adapter can act in a model at a time. vLLM does not run the side network: give it the embeddings that
:func:`image_embeddings` computes instead of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from generalist.adapter_spec import SPEC, read_spec
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.model.configuration import vision_grid, vision_width
from generalist.types import GeneralistError
from generalist_adapters.attached import Attached, SpecFields, seeded
from generalist_adapters.config import MethodConfig
from generalist_adapters.own_file import read_own, write_own
from generalist_adapters.side_network import SideNetwork
from generalist_adapters.tower import TowerReader

FILE = "side.safetensors"
_NAME = "side."


class Side:
    """A side network; of the options only ``side_width`` concerns it."""

    name = "side"
    merges = False

    def attach(
        self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str], seed: int
    ) -> SideAttached:
        """See :class:`~generalist_adapters.methods.Method`."""
        if "vision" not in config.targets:
            raise GeneralistError(
                f"targets is {', '.join(config.targets)}; the method side reads the vision tower: name vision"
            )
        return SideAttached(model, config, tasks, seed)


class SideAttached(Attached):
    """The side network, and the hooks that feed it and add what it gives."""

    def __init__(
        self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str], seed: int
    ) -> None:
        self._reader = TowerReader(model)
        widths = self._reader.widths()
        super().__init__(model, config, tasks)
        vision = model.config.vision_config
        with seeded(seed):
            network = SideNetwork(vision_grid(vision), widths, vision_width(vision), config.side_width)
        self._network = network.to(model.device)
        self._hooks = [*self._reader.hooks(), model.model.projector.register_forward_pre_hook(self._join)]

    def _join(self, projector: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        tokens, *rest = inputs
        pixels, states = self._reader.take()
        added = self._network(pixels.to(self._network.join.weight.dtype), [state.float() for state in states])
        return tokens + added.to(tokens.dtype), *rest

    def parameters(self) -> dict[str, nn.Parameter]:
        return {f"{_NAME}{name}": parameter for name, parameter in self._network.named_parameters()}

    def save(self, folder: str | Path, spec_fields: SpecFields) -> list[Path]:
        """``side.safetensors`` and ``adapter.json``; :func:`apply` reads them."""
        return [write_own(Path(folder), FILE, self.state_dict(), Side.name, spec_fields, self.tasks)]

    def detach(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._end()

    def merge(self) -> GeneralistForConditionalGeneration:
        raise GeneralistError("a side network is no update of weights; keep the adapter beside its base model")


def apply(model: GeneralistForConditionalGeneration, folder: str | Path) -> SideAttached:
    """Put the side adapter of ``folder`` into ``model``; its ``detach`` takes it out again.

    Engines made over the model compute with it; make a new one afterwards, because they keep features of images.
    Raises :class:`GeneralistError` for a folder that holds something else or does not fit.
    """
    spec = read_spec(folder)
    if spec is None or spec.method != Side.name:
        found = "none" if spec is None else repr(spec.method)
        raise GeneralistError(f"{Path(folder) / SPEC}: method is {found}; use a folder of the method side")
    if spec.vocab_hash != model.config.vocab_hash:
        raise GeneralistError(
            f"{Path(folder) / SPEC}: vocab_hash is {spec.vocab_hash!r}, the model's vocabulary is "
            f"{model.config.vocab_hash!r}; use the model that the adapter was trained on ({spec.base!r})"
        )
    tensors, _ = read_own(Path(folder) / FILE)
    stem = tensors.get(f"{_NAME}stem.bias")
    if stem is None or stem.ndim != 1:
        raise GeneralistError(f"{Path(folder) / FILE}: holds no side network; fetch the file again")
    try:
        # Every task is alike to it, also for an adapter that names none.
        attached = Side().attach(model, MethodConfig(side_width=len(stem)), spec.tasks or ("chat",), seed=0)
    except GeneralistError as error:
        raise GeneralistError(f"{Path(folder) / FILE}: {error}") from error
    try:
        attached.load_state_dict(tensors)
    except GeneralistError as error:
        attached.detach()
        raise GeneralistError(f"{Path(folder) / FILE}: {error}") from error
    return attached


@torch.inference_mode()
def image_embeddings(
    model: GeneralistForConditionalGeneration, processor: GeneralistProcessor, images: Sequence[Image.Image]
) -> torch.Tensor:
    """[I, n, D] of images as the language model reads them, with whatever is attached to ``model``.

    vLLM takes them in place of the images (``image_embeds``), started with ``enable_mm_embeds``.
    """
    pixels = processor.image_processor(list(images))["pixel_values"]
    features = model.get_image_features(pixels.to(model.device)).pooler_output
    assert isinstance(features, torch.Tensor)
    return features
