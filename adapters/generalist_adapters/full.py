"""Full fine-tuning, to compare the others with: every weight of the targets is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from generalist.model import GeneralistForConditionalGeneration
from generalist_adapters.attached import Attached, SpecFields
from generalist_adapters.base_weights import BaseWeights
from generalist_adapters.config import MethodConfig
from generalist_adapters.own_file import write_own

FILE = "full.safetensors"


class Full:
    """All weights of the targets."""

    name = "full"
    merges = True

    def attach(
        self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str], seed: int
    ) -> Attached:
        """See :class:`~generalist_adapters.methods.Method`. There is nothing that ``seed`` could decide."""
        return FullAttached(model, config, tasks)


class FullAttached(Attached):
    """The model's own weights under training; a copy of them is kept for :meth:`detach`."""

    def __init__(self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str]) -> None:
        super().__init__(model, config, tasks)
        self._base = BaseWeights.of_parts(model, config)

    def parameters(self) -> dict[str, nn.Parameter]:
        return self._base.parameters

    def save(self, folder: str | Path, spec_fields: SpecFields) -> list[Path]:
        """``full.safetensors``, the trained weights by their names in the model; no engine serves it as an adapter."""
        return [write_own(Path(folder), FILE, self.state_dict(), Full.name, spec_fields, self.tasks)]

    def detach(self) -> None:
        self._base.restore()
        self._end()

    def merge(self) -> GeneralistForConditionalGeneration:
        self._end()
        return self.model
