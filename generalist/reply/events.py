"""What a streamed reply tells while it is being written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from generalist.types import ParseIssue, Phrase, PlanItem


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """More of the clean text, phrase labels included; joined, the deltas are ``Reply.text``."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseDone:
    """A phrase with its whole unit, or with none; its text came before as deltas."""

    phrase: Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDone:
    """The plan, once it is closed."""

    plan: tuple[PlanItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """The reply left the grammar here."""

    issue: ParseIssue


Event: TypeAlias = TextDelta | PhraseDone | PlanDone | Issue
