"""LoRA adapters by name, added row by row: one batch mixes them with each other and with the base.

A row is a sequence for the language model and an image for the vision tower and the projector. While the model reads
rows of which some have an adapter, hooks on its linear layers add what each row's adapter says; at all other times the
model is untouched, so that the base costs and says what it does without adapters.

Shapes: R rows, T positions of each, r the rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from generalist.adapter_folder import LoraWeights, has_head, read_config, read_weights
from generalist.adapter_spec import check_vocabulary
from generalist.engine import not_loaded
from generalist.heads.head import Head, Preprocess
from generalist.model import GeneralistForConditionalGeneration
from generalist.types import ChatRequest, GeneralistError, Seen

_READER = "the transformers engine"
_IMAGE_PARTS = ("model.vision_tower.", "model.projector.")

_Hook: TypeAlias = Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """An adapter in the model's memory. It does not change: a name that is loaded again stands for another one.

    ``number``: of its loading; what was read with an adapter is kept under it. ``image_number``: the same if it reads
    images otherwise than the base, else 0. ``weights`` by layer: ``down`` [in, r] and ``up`` [r, out], already scaled.
    A ``head`` has none: what it does not answer itself is the base's to answer.
    """

    name: str
    number: int
    folder: Path
    weights: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    image_number: int = 0
    head: Head | None = None


class Adapters:
    """The adapters of one model, for whose tower ``preprocess`` makes images ready.

    Safe to share between threads: they read with the model one after the other.

    A request keeps the adapter that it began with, whatever is loaded or unloaded meanwhile.
    """

    def __init__(self, model: GeneralistForConditionalGeneration, vocab_hash: str, preprocess: Preprocess) -> None:
        self._model, self._preprocess = model, preprocess
        self._vocab_hash = vocab_hash
        self._linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        self._loaded: Mapping[str, Adapter] = {}
        self._numbers = count(1)
        self._changing, self._reading = Lock(), Lock()

    @property
    def loaded(self) -> Mapping[str, Adapter]:
        """By name, as it is now."""
        return self._loaded

    def get(self, name: str | None) -> Adapter | None:
        """The adapter of a name, None for None; raises ``UnknownAdapter`` when it is not loaded."""
        if name is None:
            return None
        if (found := self._loaded.get(name)) is None:
            raise not_loaded(name, self._loaded)
        return found

    def load(self, name: str, folder: str | Path) -> None:
        """Make the adapter of ``folder`` usable under ``name``, which from now on stands for this one.

        Raises :class:`~generalist.types.GeneralistError` for a folder that is neither plain LoRA of this model nor a
        head for its tower.
        """
        adapter = self._head(name, folder) if has_head(folder) else self._lora(name, folder)
        with self._changing:  # a new dictionary: others may be looking at this one
            self._loaded = {**self._loaded, name: adapter}

    def look(self, request: ChatRequest) -> Seen | None:
        """What a head answers by itself; None for an adapter that is none, and for a question that it cannot answer."""
        adapter = self.get(request.adapter)
        if adapter is None or adapter.head is None:
            return None
        with self.applied([]):  # the tower as it is, whatever others read with it meanwhile
            return adapter.head.answer(request)

    def _head(self, name: str, folder: str | Path) -> Adapter:
        with self.applied([]):
            head = Head.load(folder, self._model, self._preprocess, self._vocab_hash)
        return Adapter(name=name, number=next(self._numbers), folder=Path(folder), head=head)

    def _lora(self, name: str, folder: str | Path) -> Adapter:
        config = read_config(folder, _READER)
        check_vocabulary(folder, self._vocab_hash)
        shapes = {layer: tuple(linear.weight.shape) for layer, linear in self._linears.items()}
        weights = read_weights(folder, config, shapes, "the model", _READER)
        number = next(self._numbers)
        return Adapter(
            name=name,
            number=number,
            folder=Path(folder),
            weights={layer: self._placed(folder, layer, one) for layer, one in weights.items()},
            image_number=number if any(layer.startswith(_IMAGE_PARTS) for layer in weights) else 0,
        )

    def unload(self, name: str) -> None:
        """Forget an adapter; requests under way with it are finished. Raises ``UnknownAdapter``."""
        with self._changing:
            if name not in self._loaded:
                raise not_loaded(name, self._loaded)
            self._loaded = {other: adapter for other, adapter in self._loaded.items() if other != name}

    @contextmanager
    def applied(self, rows: Sequence[Adapter | None]) -> Iterator[None]:
        """What the model reads meanwhile are these rows, in their order along the first dimension."""
        with self._reading:
            hooks = self._hooks(rows)
            handles = [self._linears[layer].register_forward_hook(hook) for layer, hook in hooks.items()]
            try:
                yield
            finally:
                for handle in handles:
                    handle.remove()

    def _placed(self, folder: str | Path, layer: str, weights: LoraWeights) -> tuple[Tensor, Tensor]:
        to = self._linears[layer].weight
        halves = (weights.a, weights.b.double() * weights.scale)
        down, up = (half.t().to(to.dtype).contiguous() for half in halves)
        if not (down.isfinite().all() and up.isfinite().all()):
            raise GeneralistError(f"{folder}: the update of {layer!r} is too large for {to.dtype}; train it anew")
        return down.to(to.device), up.to(to.device)

    def _hooks(self, rows: Sequence[Adapter | None]) -> dict[str, _Hook]:
        places: dict[Adapter, list[int]] = {}
        for place, adapter in enumerate(rows):
            if adapter is not None:
                places.setdefault(adapter, []).append(place)
        if len(places) == 1 and len(next(iter(places.values()))) == len(rows):
            (adapter,) = places
            return {layer: _for_all(*weights) for layer, weights in adapter.weights.items()}
        by_layer: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
        for adapter, numbers in places.items():
            index = torch.tensor(numbers, device=self._model.device)
            for layer, weights in adapter.weights.items():
                by_layer.setdefault(layer, []).append((index, *weights))
        return {layer: _for_some(len(rows), parts) for layer, parts in by_layer.items()}


def _for_all(down: Tensor, up: Tensor) -> _Hook:
    """Adds the update of one adapter to every row."""

    def add(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + inputs[0] @ down @ up

    return add


def _for_some(rows: int, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> _Hook:
    """Adds each update (int64[n] of the rows that it is for, ``down``, ``up``) to its rows."""
    order = torch.cat([index for index, _, _ in parts])

    def add(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        # [R, T, ...]: a tower that cuts images into windows keeps those of an image together.
        read = inputs[0].reshape(rows, -1, inputs[0].shape[-1])
        written = output.reshape(rows, -1, output.shape[-1])
        updates = [read[index] @ down @ up for index, down, up in parts]
        return written.index_add(0, order, torch.cat(updates)).view_as(output)

    return add
