"""A question about a scene and its exact answer, as data.

An answer is text with *targets* in it: which things a phrase draws, and how. It names things, not
tokens, so that the same question serves any vocabulary and any codec.
"""

from __future__ import annotations

from dataclasses import dataclass

from generalist.types import Kind, PromptKind
from generalist_datasets.world.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A phrase and what it draws.

    ``things`` index ``scene.things``. Without things: ``surface`` names an entry of ``SURFACES`` (a mask of
    it), ``document`` the concept card that is meant (kind ``doc``); kind ``depth`` is the whole scene.
    """

    label: str
    kind: Kind
    things: tuple[int, ...] = ()
    surface: str = ""
    document: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A visual prompt: how thing number ``thing`` is shown to the model.

    ``beside``: a box takes in this thing as well; ``excludes``: a point says that this thing is not meant.
    """

    kind: PromptKind
    thing: int
    beside: int | None = None
    excludes: bool = False


Answer = tuple[str | Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An earlier question and its answer."""

    text: str
    answer: Answer
    drawn: tuple[Drawn, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question-answer pair.

    ``task`` is a name of ``generalist.tasks.TASKS``; ``ability`` says what it takes to answer (``ABILITIES``),
    so that quality can be told apart by it. ``negative``: what is asked about is not there. ``earlier``: the
    scene of the first of two images; things of the answer belong to the second. ``about``: the things to look at
    while an answer in words is said; answers that draw tell it by their targets.
    """

    task: str
    ability: str
    text: str
    answer: Answer
    drawn: tuple[Drawn, ...] = ()
    history: tuple[Turn, ...] = ()
    earlier: Scene | None = None
    negative: bool = False
    about: tuple[int, ...] = ()


def answer_text(answer: Answer) -> str:
    """The words of an answer, without what they draw."""
    return "".join(piece if isinstance(piece, str) else piece.label for piece in answer)
