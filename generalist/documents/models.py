"""Models as a search sees them: log-probabilities of the next token, for rows that are kept, copied and dropped.

Shapes: R rows, T new positions, S positions in all, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from generalist.documents.asking import TITLE_END, Question, chat_prompt, text_prompt
from generalist.documents.bases import BaseModel
from generalist.documents.network import load_network
from generalist.pipeline import Line
from generalist.tokens import PHRASE_CLOSE
from generalist.types import GeneralistError, Sampling

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from generalist.engine.context import Context
    from generalist.engine.transformers_engine import TransformersEngine
    from generalist.model import Checkpoint

Floats = npt.NDArray[np.float32]


class Reading(Protocol):
    """What a model has read of some rows."""

    def go_on(self, rows: Sequence[int], tokens: Sequence[int]) -> Floats:
        """Keep ``rows`` (any of them several times), each with a token behind it: log-probabilities [R, V]."""
        ...


class TokenModel(Protocol):
    """A model that can be asked for identifiers. ``end`` is what it writes behind a whole title."""

    @property
    def end(self) -> int: ...

    def read(self, questions: Sequence[Question]) -> tuple[Reading, Floats]:
        """A row for each question, and log-probabilities [R, V] of the first token of an identifier."""
        ...


def load_model(base: BaseModel, device: str = "auto", adapter: Path | None = None) -> TokenModel:
    """The model of a base in this process, with what is in the folder ``adapter`` learnt.

    Raises :class:`GeneralistError` when it cannot be loaded.
    """
    network = load_network(base, device, adapter=adapter)
    if network.checkpoint is None:
        return CausalModel(network.model, base.tokenizer)
    return ChatModel.of(network.checkpoint)


# --- checkpoints of this project -----------------------------------------------------------------------


class ChatModel:
    """A checkpoint in the in-process engine; it sees images."""

    def __init__(self, engine: TransformersEngine, line: Line) -> None:
        self._engine, self._line = engine, line
        self.end = line.vocabulary.structure[PHRASE_CLOSE]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> ChatModel:
        from generalist.engine.transformers_engine import TransformersEngine

        engine = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
        return cls(engine, Line.from_folder(checkpoint.folder, checkpoint.vocabulary))

    def read(self, questions: Sequence[Question]) -> tuple[Reading, Floats]:
        prompts = [chat_prompt(question, self._line) for question in questions]
        items = [self._engine.check(prompt) for prompt in prompts]
        context, logits = self._engine.start(items, self._engine.rows(prompts, items, Sampling()))
        size = self._line.vocabulary.size
        return _ChatReading(self._engine, context, size), _logprobs(logits, size)


class _ChatReading:
    def __init__(self, engine: TransformersEngine, context: Context, size: int) -> None:
        self._engine, self._context, self._size = engine, context, size

    def go_on(self, rows: Sequence[int], tokens: Sequence[int]) -> Floats:
        self._context.keep(rows)
        return _logprobs(self._context.read(self._engine.ids([[token] for token in tokens])), self._size)


# --- any causal language model -------------------------------------------------------------------------


class CausalModel:
    """A causal language model of transformers, with its tokenizer; it reads text alone."""

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._size = int(tokenizer.get_vocab_size(with_added_tokens=True))
        self.end = int(tokenizer.encode(TITLE_END, add_special_tokens=False).ids[-1])

    def read(self, questions: Sequence[Question]) -> tuple[Reading, Floats]:
        prompts = [text_prompt(question, self._tokenizer) for question in questions]
        most = int(getattr(self._model.config, "max_position_embeddings", None) or 2**31)
        longest = max(map(len, prompts))
        if longest + 64 > most:
            raise GeneralistError(f"the question has {longest} tokens; use at most {most - 64} with this model")
        reading = _CausalReading(self._model, self._size)
        return reading, reading.begin(prompts)


class _CausalReading:
    """Keys and values of the rows so far; shorter prompts are padded on the left."""

    def __init__(self, model: Any, size: int) -> None:
        from transformers import DynamicCache

        self._model, self._size = model, size
        self._cache = DynamicCache(config=model.config)
        self._mask: torch.Tensor | None = None

    def begin(self, prompts: Sequence[Sequence[int]]) -> Floats:
        import torch

        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        lengths = torch.tensor([[len(prompt)] for prompt in prompts])
        self._mask = (torch.arange(width)[None] >= width - lengths).long().to(self._model.device)
        return self._forward(ids)

    def go_on(self, rows: Sequence[int], tokens: Sequence[int]) -> Floats:
        import torch

        assert self._mask is not None
        index = torch.tensor(rows, device=self._model.device)
        self._cache.reorder_cache(index)  # type: ignore[arg-type]
        self._mask = torch.cat([self._mask[index], self._mask.new_ones(len(rows), 1)], dim=-1)
        return self._forward(torch.tensor(tokens)[:, None])

    def _forward(self, ids: torch.Tensor) -> Floats:
        """Log-probabilities [R, V] behind ``ids`` int64[R, T]."""
        import torch

        assert self._mask is not None
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=ids.to(self._model.device),
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return _logprobs(output.logits[:, -1], self._size)


def _logprobs(logits: torch.Tensor, size: int) -> Floats:
    """float32 [R, V] on the CPU; rows of the embedding beyond the vocabulary do not count."""
    found: Floats = logits[:, :size].float().log_softmax(-1).cpu().numpy()
    if np.isnan(found).any():
        raise RuntimeError("internal error: the model's logits are not finite; check its weights")
    return found
