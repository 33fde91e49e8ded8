"""A reply as it is parsed from token ids."""

from __future__ import annotations

from dataclasses import dataclass, field

from generalist.types.kinds import Kind


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
