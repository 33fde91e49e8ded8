"""Where the model looked when it wrote an answer, which only a model in this process can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from generalist.pipeline import Generalist
from generalist.tasks import get_task
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, GeneralistError, Message, Sampling

if TYPE_CHECKING:
    from generalist.engine.transformers_engine import TransformersEngine

ELSEWHERE = (
    "To see where a model looked, it has to be one of ours and to run in this process: start the demo without --url "
    "and with the transformers engine."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """A reply and where the model looked: ``tokens`` as people read them; ``maps`` float32 [T, rows, columns] and
    ``share`` float32 [T], see :class:`~generalist.engine.attention.ReplyAttention`."""

    tokens: tuple[str, ...]
    maps: np.ndarray
    share: np.ndarray


class Looker:
    """Tells where the model of this process looks, once it is there (:meth:`use`)."""

    def __init__(self) -> None:
        self._model: Generalist | None = None
        self._one = Lock()

    def use(self, model: Generalist) -> None:
        """This is the model; its engine is the transformers engine."""
        self._model = model

    @property
    def ready(self) -> bool:
        return self._model is not None

    def look(self, image: Image.Image, words: str, task: str, adapter: str | None) -> Looked:
        """The answer to ``words`` about ``image``, and where the model looked at each token.

        It is asked again, greedily as the demo asks, because the API does not tell the ids of an answer's tokens.
        Takes as long as an answer; to be called in a thread. Raises :class:`GeneralistError`.
        """
        if self._model is None:
            raise GeneralistError(ELSEWHERE.removesuffix("."))
        model, sampling = self._model, Sampling(max_new_tokens=get_task(task).max_new_tokens)
        message = Message(role="user", text=words, images=(image,))
        prompt = model.line.prepare(ChatRequest(messages=(message,), task=task, adapter=adapter, sampling=sampling))
        with self._one:  # visitors wait for each other, so that the server's own batch goes on meanwhile
            reply = model.engine.generate([prompt], sampling)[0].token_ids
            engine: TransformersEngine = model.engine  # type: ignore[assignment]
            attention = engine.attention(prompt, reply)
        return Looked(
            tokens=tuple(_names(reply, model.vocabulary)),
            maps=attention.maps[:, 0],
            share=attention.share,
        )


def _names(ids: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    """Tokens as people read them: special ones by their names."""
    return [vocabulary.name(one) if one in vocabulary.special_ids else vocabulary.decode_text([one]) for one in ids]
