"""What a language model has read of a batch of rows.

Shapes: R rows, T new positions, S positions in all, V logits; I images of n positions, width D.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from generalist.engine.adapters import Adapter, Adapters
from generalist.model import GeneralistForConditionalGeneration


class Context:
    """Keys and values of the positions read so far, which of these are padding, and the adapter of each row."""

    def __init__(
        self, model: GeneralistForConditionalGeneration, adapters: Adapters, rows: Sequence[Adapter | None]
    ) -> None:
        self._model = model
        self._adapters = adapters
        self._rows = tuple(rows)
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
        with self._adapters.applied(self._rows):
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
        self._rows = tuple(self._rows[row] for row in rows)
        self._lengths = self._lengths[index]
        if self._mask is not None:
            self._mask = self._mask[index]
            self._drop_padding()

    @property
    def can_join(self) -> bool:
        """Whether rows of another context fit in: not where layers keep a window or a running state."""
        return all(type(layer) is DynamicLayer for layer in self._cache.layers)

    @torch.inference_mode()
    def join(self, others: Sequence[Context]) -> None:
        """Take in the rows of ``others`` behind the own ones, shorter ones padded on the left.

        All have read something and :attr:`can_join`. The others are used up.
        """
        contexts = [self, *others]
        assert all(context._lengths is not None and context.can_join for context in contexts)
        masks = [context._whole_mask() for context in contexts]
        width = max(mask.shape[-1] for mask in masks)
        for mine, *theirs in zip(*(_grown(context._cache) for context in contexts), strict=True):
            mine.keys = _stack([mine.keys, *(layer.keys for layer in theirs)], width)
            mine.values = _stack([mine.values, *(layer.values for layer in theirs)], width)
        self._rows = tuple(row for context in contexts for row in context._rows)
        self._lengths = torch.cat([cast(Tensor, context._lengths) for context in contexts])
        self._mask = torch.cat([_widen(mask, width, dim=-1) for mask in masks])
        self._drop_padding()

    def _whole_mask(self) -> Tensor:
        if self._mask is not None:
            return self._mask
        assert self._lengths is not None
        return self._lengths.new_ones(len(self._lengths), self._cache.get_seq_length())

    def _drop_padding(self) -> None:
        """Forget the positions that are padding in every row, and the mask when nothing else is."""
        assert self._lengths is not None and self._mask is not None
        shortest, longest = (int(length) for length in self._lengths.aminmax())
        if (cut := self._mask.shape[-1] - longest) and self.can_join:
            for layer in _grown(self._cache):
                layer.keys, layer.values = layer.keys[:, :, cut:], layer.values[:, :, cut:]
            self._mask = self._mask[:, cut:]
        if shortest == self._mask.shape[-1]:
            self._mask = None

    @torch.inference_mode()
    def fork(self) -> Context:
        """A copy that reads on by itself."""
        # Copied in depth: some kinds of layers write their states in place.
        other = Context(self._model, self._adapters, self._rows)
        other._cache = copy.deepcopy(self._cache)
        other._lengths, other._mask = self._lengths, self._mask
        return other


class _Grown(Protocol):
    """A layer of a cache that has read something: keys and values [R, heads, S, head width]."""

    keys: Tensor
    values: Tensor


def _grown(cache: DynamicCache) -> list[_Grown]:
    return cast(list[_Grown], cache.layers)


def _widen(tensor: Tensor, width: int, dim: int) -> Tensor:
    """``tensor`` with zeros put in front along ``dim`` until it is ``width`` wide."""
    shape = list(tensor.shape)
    shape[dim] = width - shape[dim]
    return torch.cat([tensor.new_zeros(shape), tensor], dim=dim) if shape[dim] else tensor


def _stack(states: Sequence[Tensor], width: int) -> Tensor:
    return torch.cat([_widen(rows, width, dim=-2) for rows in states])
