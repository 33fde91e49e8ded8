"""The table of methods: name -> how a model is adapted.

Example::

    attached = METHODS["mtlora"].attach(model, MethodConfig(task_rank=4), ["detect", "segment"], seed=0)
    optimizer = torch.optim.AdamW(attached.parameters().values())
    attached.set_task("detect")
    model(**batch).loss.backward()
    ...
    attached.save(folder, {"name": "cells", "base": "nano", "vocab_hash": vocabulary.hash})
    attached.detach()  # the base again
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from generalist.model import GeneralistForConditionalGeneration
from generalist_adapters.attached import Attached, Row, SpecFields
from generalist_adapters.config import PARTS, MethodConfig
from generalist_adapters.full import Full
from generalist_adapters.lora import Lora
from generalist_adapters.mtlora import MultiTaskLora
from generalist_adapters.side import Side

__all__ = ["METHODS", "PARTS", "Attached", "Method", "MethodConfig", "Row", "SpecFields"]


class Method(Protocol):
    """A way to adapt a model. ``merges``: its update can be written into the model's own weights."""

    @property
    def name(self) -> str: ...

    @property
    def merges(self) -> bool: ...

    def attach(
        self, model: GeneralistForConditionalGeneration, config: MethodConfig, tasks: Sequence[str], seed: int
    ) -> Attached:
        """Put a new adapter into ``model``, in place; its outputs stay bit-identical until something is trained.

        ``tasks``: what will be trained, at least one of ``generalist.tasks.TASKS``. ``seed`` decides the
        adapter's first weights. Only the adapter's parameters require gradients afterwards.
        Raises :class:`~generalist.types.GeneralistError` for what cannot be adapted, and leaves the model as it was.
        """
        ...


METHODS: dict[str, Method] = {method.name: method for method in (Lora(), MultiTaskLora(), Side(), Full())}
