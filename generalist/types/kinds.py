"""What can be drawn."""

from __future__ import annotations

from typing import Literal

Kind = Literal["box", "point", "mask", "depth", "doc"]
"""What a reply can draw."""

PromptKind = Literal["box", "point", "mask", "scribble"]
"""What a user can draw."""

KINDS: tuple[Kind, ...] = ("box", "point", "mask", "depth", "doc")
PROMPT_KINDS: tuple[PromptKind, ...] = ("box", "point", "mask", "scribble")
