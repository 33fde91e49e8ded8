"""What a dialect is: how one family of vision-language models is asked, and how its answer is read.

Nothing here needs torch. Coordinates are 0-1 of the submitted, upright image on our side and whatever the
model was trained on on its own; a :class:`Question` carries the sizes that lie between the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from generalist.dialects.writer import Event, Reading, Writer
from generalist.tasks import TASKS, get_task
from generalist.types import Constraint, GeneralistError, VisualPrompt

Size: TypeAlias = tuple[int, int]

MAX_CHARACTERS = 400_000
"""Of one answer; what comes behind is reported and not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """(W, H) in pixels of the image that is drawn on: as ``submitted``, and as ``resized`` by the model's processor.

    ``image``: which of the question's images that is.
    """

    submitted: Size
    resized: Size
    image: int = 0

    def __post_init__(self) -> None:
        for name, size in (("submitted", self.submitted), ("resized", self.resized)):
            if len(size) != 2 or min(size) < 1:
                raise GeneralistError(f"the {name} size is {size}; use (width, height) of at least 1 pixel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The last turn of a conversation, and what its answer is read by.

    Without an image ``sizes`` is None: the answer is text.
    """

    text: str
    task: str = "chat"
    visual_prompts: tuple[VisualPrompt, ...] = ()
    sizes: Sizes | None = None

    @property
    def thing(self) -> str:
        """What the task is about: "the red mug" of "Where is the red mug?"; the whole text when put in other words.

        Empty for tasks about the whole image.
        """
        spec = get_task(self.task)
        if self.task == "chat" or not spec.takes_text:
            return ""
        before, after = spec.instruction.split("{}")
        match = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", self.text.strip(), re.IGNORECASE | re.DOTALL)
        return match[1].strip() if match else self.text.strip()

    @property
    def draws(self) -> bool:
        """Whether the task asks for drawings, and for nothing else."""
        return self.task != "chat" and bool(TASKS[self.task].emits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the model is told: the user's turn, and the system's if the dialect needs one."""

    text: str
    system: str = ""


class Reader:
    """Reads an answer as it is written: ``feed`` its pieces, then ``finish``; :meth:`reading` is what is known.

    However an answer is cut into pieces, the same text and drawings come out; nothing raises.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.out = Writer(question.sizes.image if question.sizes else 0)
        self._taken = 0
        self._cut = False

    def feed(self, text: str) -> list[Event]:
        """Take the next characters; what became known through them, in order."""
        kept = text[: MAX_CHARACTERS - self._taken]
        if kept:
            self.take(kept)
        self._taken += len(kept)
        if len(kept) < len(text) and not self._cut:
            self._cut = True
            self.out.issue(MAX_CHARACTERS, "the end", "more characters")
        return self.out.drain()

    def finish(self) -> list[Event]:
        """Say that nothing more comes; call it once. Returns what is still due."""
        self.end()
        return self.out.drain()

    def reading(self) -> Reading:
        return self.out.reading()

    # --- for dialects ---

    def take(self, text: str) -> None:
        """Read ``text``: at least one character."""
        raise NotImplementedError

    def end(self) -> None:
        """The answer is over."""
        raise NotImplementedError


class Dialect(Protocol):
    """How a family of models is asked and how its answers are read."""

    @property
    def name(self) -> str: ...

    def ask(self, question: Question) -> Asked:
        """The words for a question; :class:`GeneralistError` for what the dialect has none for."""
        ...

    def reader(self, question: Question) -> Reader:
        """A reader of the answer to ``question``."""
        ...

    def constraint(self, question: Question) -> Constraint | None:
        """What an answer must look like where that is regular: a JSON schema, or a grammar over characters."""
        ...


def parse(dialect: Dialect, text: str, question: Question) -> Reading:
    """What a whole answer says; never raises, whatever the text."""
    reader = dialect.reader(question)
    reader.feed(text)
    reader.finish()
    return reader.reading()


def refuse(dialect: str, task: str, tasks: Sequence[str]) -> GeneralistError:
    """The error for a task that a dialect cannot be asked for."""
    return GeneralistError(
        f"models of the dialect {dialect!r} have no answer for task {task!r}; use {', '.join(tasks)}"
    )


def only_kinds(dialect: str, prompts: Sequence[VisualPrompt], kinds: Sequence[str]) -> None:
    """Refuse drawings of the user's that a dialect has no words for."""
    for prompt in prompts:
        if prompt.kind not in kinds:
            usable = " or ".join(kinds) or "words alone"
            raise GeneralistError(f"models of the dialect {dialect!r} cannot be shown a {prompt.kind}; use {usable}")
        if prompt.excludes:
            raise GeneralistError(f"models of the dialect {dialect!r} cannot be shown what is not meant; leave it out")
