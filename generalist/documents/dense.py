"""Vectors of texts from an index's own base (ULLME: Man et al. 2024): every token sees every other, and the vector is
the mean over tokens, of unit length.

Shapes: n texts, T tokens, d dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generalist.documents.bases import BaseModel
from generalist.documents.network import Network, load_network
from generalist.documents.sentences import passages
from generalist.documents.vectors import Floats
from generalist.types import GeneralistError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

LONGEST = 512
"""Tokens of one text."""
PIECE = 256
"""Tokens of a piece of a document, about; longer documents have several vectors."""
_AT_ONCE = 4096
"""Tokens that are read together, padding included."""
_DOCUMENTS_AT_ONCE = 256


class Encoder:
    """Texts to vectors. A question and a document are embedded alike."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._tokenizer: Tokenizer = network.base.tokenizer
        self.most_tokens = min(LONGEST, network.longest)
        self.dimensions = int(network.model.get_input_embeddings().weight.shape[1])

    @classmethod
    def load(cls, base: BaseModel, adapter: Path, device: str = "auto") -> Encoder:
        """The base with the update that it learnt for vectors; :class:`GeneralistError` when it cannot be loaded."""
        return cls(load_network(base, device, adapter=adapter))

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors [n, d] of unit length.

        Raises :class:`GeneralistError` for a text that is empty, no Unicode, or longer than :attr:`most_tokens`.
        """
        rows = self._read(texts)
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise GeneralistError(f"the text is empty ({text[:20]!r}); give one that says something")
            if len(row) > self.most_tokens:
                raise GeneralistError(f"the text has {len(row)} tokens; use at most {self.most_tokens}")
        return self._embed(rows)

    def embed_documents(self, documents: Iterable[tuple[str, str]]) -> Iterator[Floats]:
        """For each (title, text) the vectors [r, d] of its pieces; one that says nothing has a vector of zeros."""
        rest = iter(documents)
        while batch := list(islice(rest, _DOCUMENTS_AT_ONCE)):
            pieces = [pieces_of(title, text, self._tokenizer, self.most_tokens) for title, text in batch]
            vectors = self._embed([row for rows in pieces for row in rows])
            yield from np.split(vectors, np.cumsum([len(rows) for rows in pieces])[:-1])

    def _read(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            return [one.ids for one in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        except (TypeError, UnicodeEncodeError) as error:
            raise GeneralistError("a text is not valid Unicode: it has bytes that are not UTF-8; retype it") from error

    def _embed(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Texts of about the same length are read together."""
        import torch

        found = np.zeros((len(rows), self.dimensions), np.float32)
        order = sorted((k for k, row in enumerate(rows) if row), key=lambda k: -len(rows[k]))
        while order:
            count = max(1, _AT_ONCE // len(rows[order[0]]))
            batch, order = order[:count], order[count:]
            with torch.inference_mode():
                found[batch] = pooled(self._network, [rows[k] for k in batch]).cpu().numpy()
        if not np.isfinite(found).all():
            raise RuntimeError("internal error: the model's vectors are not finite; check its weights")
        return found


def pooled(network: Network, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Vectors float32 [n, d] of unit length of texts as token ids, none of them empty."""
    import torch

    decoder: Any = network.decoder
    device = network.model.device
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    there = torch.arange(width, device=device) < torch.tensor([[len(row)] for row in rows], device=device)
    seen = there[:, None, None, :].expand(-1, 1, width, -1)
    positions = torch.arange(width, device=device)[None].expand(len(rows), -1)
    states = decoder(input_ids=ids, attention_mask=seen, position_ids=positions, use_cache=False).last_hidden_state
    weights = there[..., None].float()
    mean = (states.float() * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)


def pieces_of(title: str, text: str, tokenizer: Tokenizer, most: int = LONGEST) -> list[list[int]]:
    """A document cut between sentences into pieces of about :data:`PIECE` tokens, as token ids; each has the title.

    At least one; it is empty where the document says nothing.
    """
    head = tokenizer.encode(title, add_special_tokens=False).ids[: most // 4]
    room = max(1, min(PIECE, most) - len(head))
    sentences = [f" {sentence}" for passage in passages(text) for sentence in passage]
    encoded = tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
    pieces: list[list[int]] = [[]]
    for one in encoded:
        for begin in range(0, len(one.ids), room):
            part = one.ids[begin : begin + room]
            if len(pieces[-1]) + len(part) > room and pieces[-1]:
                pieces.append([])
            pieces[-1] += part
    return [[*head, *piece] for piece in pieces]
