"""Tasks, and labelled examples of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from generalist.types.kinds import Kind
from generalist.types.outputs import Grounded
from generalist.types.requests import Message, VisualPrompt


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
