"""A request, and what an engine gets of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from generalist.types.errors import GeneralistError
from generalist.types.given import Given
from generalist.types.kinds import PromptKind
from generalist.types.outputs import DocHit
from generalist.types.replies import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualPrompt:
    """What the user drew on an image, in 0-1 of that image.

    ``box``: ``xyxy``. ``point``: ``xy``. ``mask`` and ``scribble``: ``bitmap`` bool [H, W],
    which must have the image's size and at least one set pixel.

    ``excludes``: a point beside what is meant (label 0 of SAM's points), for a drawing that alone could mean more.
    """

    kind: PromptKind
    xyxy: tuple[float, float, float, float] | None = None
    xy: tuple[float, float] | None = None
    bitmap: np.ndarray | None = None
    excludes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. ``images`` come before the text, ``visual_prompts`` after it."""

    role: Literal["system", "user", "assistant"]
    text: str = ""
    images: tuple[Image.Image, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()


MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose tokens. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 keep everything.

    ``top_logprobs`` chooses nothing: it is how many of the likeliest tokens of each step are told.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 256
    seed: int | None = None
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise GeneralistError(f"temperature is {self.temperature}; use 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise GeneralistError(f"top_p is {self.top_p}; use a value above 0 and up to 1")
        if self.top_k < 0:
            raise GeneralistError(f"top_k is {self.top_k}; use 0 (off) or more")
        if self.max_new_tokens < 1:
            raise GeneralistError(f"max_new_tokens is {self.max_new_tokens}; use 1 or more")
        if not 0 <= self.top_logprobs <= MAX_TOP_LOGPROBS:
            raise GeneralistError(f"top_logprobs is {self.top_logprobs}; use 0 to {MAX_TOP_LOGPROBS}")


class Documents(Protocol):
    """The documents that a reply may name, and what decodes their identifiers.

    An open index; ``generalist.documents.DocumentIndex`` is one.
    """

    @property
    def kind(self) -> Literal["doc"]: ...

    @property
    def vocab_hash(self) -> str:
        """Of the vocabulary that the identifiers are written in."""
        ...

    @property
    def identifiers(self) -> str:
        """As :class:`Constraint` has them. Raises :class:`GeneralistError` when the index cannot be read any more."""
        ...

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> Sequence[DocHit | None]:
        """The document of each ref, in order; None where there is none. Never raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A conversation, and what to do with it.

    ``task`` names an entry of ``tasks.TASKS``. With an ``index`` the reply may name documents of it.
    """

    messages: tuple[Message, ...]
    task: str = "chat"
    adapter: str | None = None
    sampling: Sampling = Sampling()
    index: Documents | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """What the reply may look like: ``grammar``, an xgrammar EBNF over token ids, as text.

    With a ``json_schema`` (a JSON Schema, as text) it is JSON of that schema in text tokens instead, and draws nothing.
    Text rather than a compiled object, so that it is hashable, travels to any engine
    (in-process or a vLLM server) and is compiled once per engine. For the same reason ``identifiers`` is the path
    of a file (``generalist.identifiers``): with it, only identifiers of that collection may stand within ``<doc>``.
    """

    grammar: str
    identifiers: str | None = None
    json_schema: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What an engine sees. ``token_ids`` hold one ``<image>`` token per image; the engine expands it.

    ``index`` decodes the documents of the reply; what binds the engine to it is the ``constraint``. A ``given`` reply
    is said as it is, whole and unconstrained.
    """

    token_ids: tuple[int, ...]
    images: tuple[Image.Image, ...] = ()
    adapter: str | None = None
    constraint: Constraint | None = None
    index: Documents | None = None
    given: Given | None = None
