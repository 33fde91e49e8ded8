"""A model that draws: loaded when it is needed first, its features of the last few images kept, its work counted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from PIL import Image

from generalist.decoders.hub.source import Source
from generalist.decoders.hub.work import Features, Ledger, Work

T = TypeVar("T")


class HubModel(Generic[T]):
    """What the decoders of this package share; ``T`` is what is kept of an image. Threads that share one take turns.

    ``device``: "auto" is a GPU if there is one.
    """

    what: ClassVar[str]
    """What it draws, in one word."""
    model_types: ClassVar[tuple[str, ...]]

    def __init__(self, source: Source, device: str = "auto") -> None:
        self.source = source
        self._device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self._ledger = Ledger()
        self._features = Features(self._encode, self._ledger)
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.RLock()

    @classmethod
    def open(cls, name: str | Path, device: str = "auto") -> Self:
        """Of a folder or an id of the hub; :class:`GeneralistError` for what is not there or draws something else."""
        return cls(Source.find(name, cls.what, cls.model_types), device)

    @property
    def work(self) -> Work:
        """What it has done so far."""
        return self._ledger.work

    def _load(self) -> tuple[Any, Any]:
        """(model, image processor)."""
        if self._loaded is None:
            auto_class, processor_class = self._classes()
            with self._ledger.timed("load_s"):
                processor = self.source.load_processor(processor_class)
                self._loaded = self.source.load_model(auto_class, self._device), processor
        return self._loaded

    # --- for decoders ---

    def _classes(self) -> tuple[Any, Any]:
        """Of the model and of an image processor that needs no torchvision."""
        raise NotImplementedError

    def _encode(self, image: Image.Image) -> T:
        """What is kept of an image."""
        raise NotImplementedError
