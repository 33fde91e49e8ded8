"""Weights of the base model that are trained themselves, and what they were before."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError
from generalist_adapters.config import PARTS, MethodConfig

_EMBEDDINGS = ("embed", "position_bias")  # of tokens, patches, positions; Swin's table of relative positions


class BaseWeights:
    """Some of a model's own parameters, made to require gradients. Keeps a copy of each."""

    def __init__(self, model: GeneralistForConditionalGeneration, names: Iterable[str]) -> None:
        own = dict(model.named_parameters())
        self.parameters: dict[str, nn.Parameter] = {name: own[name] for name in names}
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self._before = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @classmethod
    def of_options(cls, model: GeneralistForConditionalGeneration, config: MethodConfig) -> BaseWeights:
        """What ``train_norms`` and ``train_embeddings`` ask for, within the targets."""
        names: dict[str, None] = {}
        for part in config.targets:
            prefix = PARTS[part]
            for path, module in model.get_submodule(prefix).named_modules(prefix=prefix):
                for name, _ in module.named_parameters(prefix=path, recurse=False):
                    is_norm = "norm" in type(module).__name__.lower()
                    is_embedding = any(word in name.removeprefix(f"{prefix}.") for word in _EMBEDDINGS)
                    if (is_norm and config.train_norms) or (is_embedding and not is_norm and config.train_embeddings):
                        names[name] = None
        return cls(model, names)

    @classmethod
    def of_parts(cls, model: GeneralistForConditionalGeneration, config: MethodConfig) -> BaseWeights:
        """Everything in the targets; the head belongs to the language model."""
        prefixes = [f"{PARTS[part]}." for part in config.targets]
        if "language" in config.targets:
            prefixes.append("lm_head.")
        return cls(model, [name for name, _ in model.named_parameters() if name.startswith(tuple(prefixes))])

    @torch.no_grad()
    def restore(self) -> None:
        """Give the parameters the values they had."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self._before[name])

    def check_none(self, purpose: str) -> None:
        """Raises :class:`GeneralistError` when there are any, which cannot be ``purpose``."""
        if self.parameters:
            first = next(iter(self.parameters))
            raise GeneralistError(
                f"{len(self.parameters)} weights of the model itself are trained ({first}, ...), which cannot be "
                f"{purpose}; turn train_norms and train_embeddings off, or merge the adapter into a checkpoint"
            )
