"""A visual head (:mod:`generalist.heads`) in training: the model stays as it is, so nothing of it can be forgotten.

What its classes are follows from the pictures that it learns from, so that, unlike the methods of ``METHODS``, it is
made with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from generalist.adapter_spec import AdapterSpec, write_spec
from generalist.engine.transformers_engine import TransformersEngine
from generalist.heads.head import Head
from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError
from generalist_adapters.attached import Attached, SpecFields
from generalist_adapters.config import MethodConfig

NAME = "head"
TASKS = ("detect", "segment", "count")
"""What a head can learn."""
_TRYING = "trying"


class AttachedHead(Attached):
    """``head`` beside ``model``, whose vocabulary has the hash ``vocab_hash``."""

    def __init__(
        self, model: GeneralistForConditionalGeneration, head: Head, tasks: Sequence[str], vocab_hash: str
    ) -> None:
        super().__init__(model, MethodConfig(), tasks)
        self.head, self._vocab_hash = head, vocab_hash

    def parameters(self) -> dict[str, nn.Parameter]:
        return {f"visual_head.{name}": parameter for name, parameter in self.head.network.named_parameters()}

    def save(self, folder: str | Path, spec_fields: SpecFields) -> list[Path]:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.head.save(folder)
        write_spec(folder, AdapterSpec(**spec_fields, method=NAME, rank=0, alpha=0.0, targets=(), tasks=self.tasks))
        return [folder]

    def serve_in(self, engine: TransformersEngine) -> str:
        """Saved and loaded as it will be, so that what is measured is what is served."""
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder, SpecFields(name=_TRYING, base="base", vocab_hash=self._vocab_hash))
            engine.load_adapter(_TRYING, folder)
        return _TRYING

    def detach(self) -> None:
        self._end()

    def merge(self) -> GeneralistForConditionalGeneration:
        raise GeneralistError("a visual head is no update of the model's weights; serve it as an adapter")
