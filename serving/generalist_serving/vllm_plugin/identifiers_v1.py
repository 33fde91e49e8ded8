"""Identifiers in vLLM's first model runner, which serves CPUs.

Imported by vLLM alone, by name: ``generalist_serving.vllm_plugin.identifiers_v1:Identifiers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from generalist.engine.sampling import keep_only
from generalist_serving.vllm_plugin.identifiers import Follower, check, end_token, follower

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig


class Identifiers(LogitsProcessor):
    """Keeps the logits of those tokens that continue an identifier which exists."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        check(sampling_params)

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._end = end_token(vllm_config)
        self._device = device
        self._rows: dict[int, tuple[Follower, list[int]]] = {}  # with the reply so far, which vLLM lengthens

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._rows.pop(row, None)
        for row, params, _, reply in batch_update.added:
            self._rows.pop(row, None)
            found = follower(params, self._end)
            if found is not None:
                self._rows[row] = (found, reply)
        for source, target, direction in batch_update.moved:
            moved, replaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if replaced is not None and direction == MoveDirectionality.SWAP:
                self._rows[source] = replaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """``logits`` float32 [requests, V], changed in place."""
        for row, (found, reply) in self._rows.items():
            allowed = found.follow(reply[found.read :])
            if allowed is not None:
                ids = torch.tensor(allowed, dtype=torch.int64).to(self._device, non_blocking=True)
                keep_only(logits[row], ids, found.end)
        return logits
