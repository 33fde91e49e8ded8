"""What a language model has read of a batch of rows.

Shapes: R rows, T new positions, S positions in all, V logits; I images of n positions, width D.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from generalist.model import GeneralistForConditionalGeneration


class Context:
    """Keys and values of the positions read so far, and which of these are padding."""

    def __init__(self, model: GeneralistForConditionalGeneration) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._lengths: Tensor | None = None  # int64[R]
        self._mask: Tensor | None = None  # int64[R, S], None while nothing is padded

    @torch.inference_mode()
    def read(self, ids: Tensor, features: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Read ``ids`` int64[R, T] behind what was read before; the logits [R, V] of the last position.

        ``features`` [I, n, D] belong to the ``<image>`` ids, in reading order. ``mask`` int64[R, T] is 0
        on padding, which stands on the left. Only the first call may have either.
        """
        rows, width = ids.shape
        if self._lengths is None:
            self._lengths = torch.zeros(rows, dtype=torch.int64, device=ids.device)
            self._mask = mask
        elif self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(rows, width)], dim=-1)
        steps = torch.arange(width, device=ids.device)[None] if mask is None else (mask.cumsum(-1) - 1).clamp(min=0)
        output = self._model(
            input_ids=ids,
            image_features=features,
            attention_mask=self._mask,
            position_ids=self._lengths[:, None] + steps,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._lengths = self._lengths + (width if mask is None else mask.sum(-1))
        logits: Tensor = output.logits[:, -1]
        return logits

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Forget every row but these."""
        assert self._lengths is not None
        index = torch.tensor(rows, device=self._lengths.device)
        self._cache.reorder_cache(index)  # type: ignore[arg-type]
        self._lengths = self._lengths[index]
        self._mask = None if self._mask is None else self._mask[index]

    @torch.inference_mode()
    def fork(self) -> Context:
        """A copy that reads on by itself."""
        # Copied in depth: some kinds of layers write their states in place.
        other = Context(self._model)
        other._cache = copy.deepcopy(self._cache)
        other._lengths, other._mask = self._lengths, self._mask
        return other
