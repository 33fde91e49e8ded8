"""Identifiers in vLLM's second model runner, which serves GPUs.

Imported by vLLM alone, by name: ``generalist_serving.vllm_plugin.identifiers_v2:Identifiers``. The replies so far
lie on the GPU; what is new of them is fetched in one copy a step, and only when a request has identifiers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcessor, LogitsProcRequestState

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

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        if vllm_config.speculative_config is not None:
            raise ValueError("identifiers do not go with speculative decoding; start vLLM without it")
        self._end = end_token(vllm_config)
        self._states = req_states
        self._slots: dict[int, Follower] = {}

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        self._slots.pop(req_idx, None)  # of the slot's former request
        found = follower(sampling_params, self._end)
        if found is not None:
            self._slots[req_idx] = found
        return found is not None

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        """``logits`` float32 [requests, V], changed in place."""
        slots = ctx.idx_mapping_np.tolist()
        rows = [row for row, slot in enumerate(slots) if slot in self._slots]
        if not rows:
            return logits
        # Each sequence as long as it is now, which is exact without speculative decoding.
        ends = [int(ctx.seq_lens_upper_bound_np[row]) for row in rows]
        for row, new in zip(rows, self._new_tokens([slots[row] for row in rows], ends), strict=True):
            found = self._slots[slots[row]]
            allowed = found.follow(new)
            if allowed is not None:
                ids = torch.tensor(allowed, dtype=torch.int64).to(logits.device, non_blocking=True)
                keep_only(logits[row], ids, found.end)
        return logits

    def _new_tokens(self, slots: list[int], ends: list[int]) -> list[list[int]]:
        """The tokens of each slot's reply that its follower has not read, up to a position of its sequence."""
        begins = [int(self._states.prompt_len.np[slot]) + self._slots[slot].read for slot in slots]
        places = [(slot, at) for slot, begin, end in zip(slots, begins, ends, strict=True) for at in range(begin, end)]
        if not places:
            return [[] for _ in slots]
        held = self._states.all_token_ids.gpu
        index = torch.tensor(places, dtype=torch.int64).T.to(held.device, non_blocking=True)
        tokens = iter(held[index[0], index[1]].tolist())
        return [[next(tokens) for _ in range(begin, end)] for begin, end in zip(begins, ends, strict=True)]
