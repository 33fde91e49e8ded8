"""An index with the models that search it, loaded when a search first needs them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generalist.documents.asking import Question
from generalist.documents.bases import BaseModel, check_base, load_base
from generalist.documents.beam import BeamOptions, Search, write
from generalist.documents.collection import Collection
from generalist.documents.search import Searcher
from generalist.index.automaton import TextAutomaton
from generalist.index.store import Index
from generalist.types import GeneralistError

if TYPE_CHECKING:
    from generalist.documents.dense import Encoder
    from generalist.documents.models import TokenModel


def open_searcher(folder: str | Path, model: str | None = None, device: str = "auto") -> Searcher:
    """What searches an index in every mode. Raises :class:`GeneralistError` for what is no sound index.

    Args:
        folder: of the index.
        model: that writes identifiers; by default the base of the index, with what it has learnt for it.
        device: of the models.
    """
    collection = Collection.open(folder)
    models = Models(collection.index, model, device)
    return Searcher(collection, models.write, models.encoder)


class Models:
    """The models of one index. Safe to share between threads; each is loaded once."""

    def __init__(self, index: Index, model: str | None = None, device: str = "auto") -> None:
        self._index, self._model, self._device = index, model, device
        self._lock = threading.Lock()
        self._generator: TokenModel | None = None
        self._encoder: Encoder | None = None

    def write(self, automaton: TextAutomaton, questions: Sequence[Question], options: BeamOptions) -> list[Search]:
        """Identifiers; see :func:`~generalist.documents.beam.write`."""
        return write(self.generator(), automaton, questions, options)

    def generator(self) -> TokenModel:
        """What writes identifiers; another model than the index's base writes them as it is."""
        from generalist.documents.models import load_model

        with self._lock:
            if self._generator is None:
                base = self._base(self._model)
                learnt = self._index.manifest.generator
                own = base.base.name == self._index.base.name
                adapter = self._index.folder / learnt.folder if own and learnt is not None else None
                self._generator = load_model(base, self._device, adapter)
            return self._generator

    def encoder(self) -> Encoder:
        """What makes vectors: always the index's base; :class:`GeneralistError` where it has not learnt to."""
        from generalist.documents.dense import Encoder

        learnt = self._index.manifest.encoder
        if learnt is None:
            raise GeneralistError(
                f"{self._index.folder}: this index has no vectors; make them with `generalist index train "
                f"{self._index.folder} --mode dense`"
            )
        with self._lock:
            if self._encoder is None:
                self._encoder = Encoder.load(self._base(None), self._index.folder / learnt.folder, self._device)
            return self._encoder

    def _base(self, name: str | None) -> BaseModel:
        base = load_base(name or self._index.base.name)
        check_base(base, self._index.base, self._index.folder)
        return base
