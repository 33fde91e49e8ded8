"""The values that travel between the parts: pure data, no torch.

Geometry is relative to the EXIF-corrected image (x right, y down, 0-1), so that a value
means the same thing at every resolution; ``visual`` output converts to pixels at the edge.
Everything is frozen: a stage makes a new value instead of changing the one it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

Kind = Literal["box", "point", "mask", "depth", "doc"]
"""What a reply can draw."""

PromptKind = Literal["box", "point", "mask", "scribble"]
"""What a user can draw."""

KINDS: tuple[Kind, ...] = ("box", "point", "mask", "depth", "doc")
PROMPT_KINDS: tuple[PromptKind, ...] = ("box", "point", "mask", "scribble")


class GeneralistError(ValueError):
    """A mistake of the caller's: one line that names the thing, shows its value, says what to do.

    The CLI prints it and exits with status 2; the server answers HTTP 4xx.
    """


# --- typed outputs -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Axis-aligned box: ``xyxy`` = (x1, y1, x2, y2) in 0-1 with x1 <= x2 and y1 <= y2."""

    xyxy: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A single location: ``xy`` in 0-1."""

    xy: tuple[float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A binary mask at image resolution: ``size`` = (H, W) in pixels, ``counts`` = compressed COCO RLE."""

    size: tuple[int, int]
    counts: str
    xyxy: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthMap:
    """Depth of every pixel: ``values`` float32 [H, W], in ``unit``; larger is farther."""

    values: np.ndarray
    unit: Literal["metre", "relative"] = "metre"
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocHit:
    """A document of an index, found by the identifier that the model wrote."""

    doc_id: str
    title: str = ""
    text: str = ""
    score: float | None = None


Output: TypeAlias = Box | Point | Mask | DepthMap | DocHit


# --- a reply, as parsed from token ids -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """One drawn thing: ``[index] payload``.

    ``codes`` are the payload's codes counted within their block of the vocabulary
    (location bins, mask codes, depth codes; text token ids for ``doc``), in the order written.
    ``tokens`` = [start, stop) of the payload in the reply's token ids: it locates the
    log-probabilities and takes no part in equality.
    """

    index: int
    codes: tuple[int, ...]
    tokens: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The decoding type of a phrase and the things drawn for it."""

    kind: Kind
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A concept in the text: ``span`` = [start, stop) in characters of the reply's clean text."""

    text: str
    span: tuple[int, int]
    unit: Unit | None = None
    tokens: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One line of the plan: what will be drawn, how, and how many (REF-VLM's VD-CoT)."""

    name: str
    kind: Kind
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseIssue:
    """Where a reply left the grammar: token offset ``at``, what was ``expected``, what was ``got``."""

    at: int
    expected: str
    got: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A parsed reply. ``plan`` is None when the model wrote none; ``issues`` is empty when well-formed."""

    text: str = ""
    phrases: tuple[Phrase, ...] = ()
    plan: tuple[PlanItem, ...] | None = None
    issues: tuple[ParseIssue, ...] = ()


# --- a request -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualPrompt:
    """What the user drew on an image, in 0-1 of that image.

    ``box``: ``xyxy``. ``point``: ``xy``. ``mask`` and ``scribble``: ``bitmap`` bool [H, W],
    which must have the image's size and at least one set pixel.
    """

    kind: PromptKind
    xyxy: tuple[float, float, float, float] | None = None
    xy: tuple[float, float] | None = None
    bitmap: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. ``images`` come before the text, ``visual_prompts`` after it."""

    role: Literal["system", "user", "assistant"]
    text: str = ""
    images: tuple[Image.Image, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose tokens. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 keep everything."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 256
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise GeneralistError(f"temperature is {self.temperature}; use 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise GeneralistError(f"top_p is {self.top_p}; use a value above 0 and up to 1")
        if self.top_k < 0:
            raise GeneralistError(f"top_k is {self.top_k}; use 0 (off) or more")
        if self.max_new_tokens < 1:
            raise GeneralistError(f"max_new_tokens is {self.max_new_tokens}; use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A conversation, and what to do with it. ``task`` names an entry of ``tasks.TASKS``."""

    messages: tuple[Message, ...]
    task: str = "chat"
    adapter: str | None = None
    sampling: Sampling = Sampling()


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
    """What an engine sees. ``token_ids`` hold one ``<image>`` token per image; the engine expands it."""

    token_ids: tuple[int, ...]
    images: tuple[Image.Image, ...] = ()
    adapter: str | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts. ``prompt_tokens`` counts every position an image takes."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What an engine returns.

    ``token_ids`` without the end token; ``logprobs`` (natural log, same length) are the model's
    own over what the grammar allows: a token that it forces has log-probability 0. Identifiers narrow
    the choice but not what is counted, so that a document which the model does not believe in scores low
    even where no other is left (as GENRE scores them).
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    usage: Usage = Usage()


# --- an answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grounded:
    """A typed output tied to the words it belongs to and to the image it lies on."""

    label: str
    span: tuple[int, int]
    image: int
    ref: int
    output: Output


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task: how to ask for it, what it draws, how long it may get, how it is measured.

    ``instruction`` holds ``{}`` where the thing asked about goes, or none when nothing is asked about.
    """

    name: str
    instruction: str
    emits: tuple[Kind, ...]
    max_new_tokens: int
    metric: str

    @property
    def takes_text(self) -> bool:
        return "{}" in self.instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled example of any task. ``targets`` are in the order of the phrases of ``text``.

    ``image`` is the one that is drawn on; ``earlier_images`` come before it in the question; ``history``
    holds the turns before the question, which speak of the same images.
    """

    id: str
    image: Image.Image
    task: str
    prompt: str
    text: str
    targets: tuple[Grounded, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()
    earlier_images: tuple[Image.Image, ...] = ()
    history: tuple[Message, ...] = ()
    meta: Mapping[str, object] = field(default_factory=dict)
