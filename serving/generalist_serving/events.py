"""What becomes known of a reply while it is written, and what is known of it in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from generalist.answer import Answer
from generalist.types import ChatRequest, Grounded, Kind, PlanItem, Reply, Usage

FinishReason: TypeAlias = Literal["stop", "length"]
Ended: TypeAlias = Literal["stop", "length", "cancelled", "busy", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, and how it is to be answered.

    ``n`` replies; with a seed, reply ``i`` draws from ``seed + i``. A reply ends before any of ``stop``. With a
    ``json_schema`` (as text) it is JSON of that schema and draws nothing. ``logprobs`` asks for :class:`Token` events.
    """

    request: ChatRequest
    n: int = 1
    stop: tuple[str, ...] = ()
    json_schema: str = ""
    logprobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """More of the clean text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be drawn, once the plan is whole."""

    plan: tuple[PlanItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """A drawn thing, whole. ``visual`` is its entry of the ``visual`` list, numbered within its reply.

    ``redrawn`` by another model, whose score it has, too.
    """

    grounded: Grounded
    visual: Mapping[str, Any]
    redrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of the reply: its bytes, or the name of a special one; ``logprob`` is finite.

    ``top``: the likeliest ones of its step, where they were asked for.
    """

    text: str
    data: bytes | None
    logprob: float
    top: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The reply is over; ``reply`` is all of it, cut before a stop string.

    ``scores`` of the drawings of each phrase, by the whole reply: a list may have got longer since one was drawn.
    """

    finish_reason: FinishReason
    usage: Usage
    reply: Reply
    scores: tuple[tuple[float, ...], ...] = ()


Event: TypeAlias = Text | Plan | Drawing | Token | End


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """A whole reply: ``visual`` are the entries of ``answer.outputs``; ``tokens`` only where they were asked for."""

    answer: Answer
    visual: tuple[Mapping[str, Any], ...] = ()
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a reply went, for whoever counts: times in seconds, ``units`` drawn things by kind.

    ``first_token_s`` is None when there was no token. ``ended`` is "cancelled" when nobody listened any more, and
    "refused" for a mistake in the request.
    """

    task: str
    adapter: str | None
    ended: Ended
    seconds: float
    first_token_s: float | None = None
    usage: Usage = field(default_factory=Usage)
    units: Mapping[Kind, int] = field(default_factory=dict)
    issues: int = 0
