"""What is said in the demo: pictures, questions, answers that are still being written, and how they follow each other.

A conversation sends each picture once, with the first question after it was added. What is drawn lies on the last
picture of what is sent, so the shown one is sent last, and once more where it is not the newest.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from PIL import Image

from generalist.images import load_image
from generalist.pipeline import EVERYTHING
from generalist.tasks import get_task, question
from generalist.types import GeneralistError, Message, PlanItem, VisualPrompt
from generalist.visual import Size
from generalist_serving.client import ClientAnswer
from generalist_serving.demo.stage import read_prompts

State: TypeAlias = Literal["waiting", "writing", "done", "stopped", "failed"]

_OF_EVERYTHING = ("detect", "segment")
"""Tasks that are about all there is where nothing is named."""
_TITLE_LENGTH = 48
_LARGEST_PNG = 4_000_000
"""Pixels; a larger picture is kept as JPEG."""


def new_id() -> str:
    """Long enough that nobody guesses it: who knows the id of a picture or a conversation may read it."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """An upright picture of a visitor: ``size`` = (W, H), ``data`` encoded as ``media_type``, without metadata."""

    id: str
    name: str
    size: Size
    data: bytes = field(repr=False)
    media_type: str

    @classmethod
    def read(cls, data: bytes, name: str) -> Picture:
        """The picture in an image file; :class:`GeneralistError` when it holds none."""
        try:
            image = load_image(data)
        except GeneralistError as error:
            reason = str(error).removeprefix("the image: ")
            raise GeneralistError(f"{plain_name(name)}: {reason}") from error
        small = image.width * image.height <= _LARGEST_PNG
        buffer = io.BytesIO()
        # Quick rather than small: it travels to a browser that is mostly on this machine.
        image.save(buffer, "PNG", compress_level=3) if small else image.save(buffer, "JPEG", quality=95)
        return cls(
            id=new_id(),
            name=plain_name(name),
            size=image.size,
            data=buffer.getvalue(),
            media_type="image/png" if small else "image/jpeg",
        )

    @property
    def url(self) -> str:
        """Where the page finds it, relative to its own address."""
        return f"pictures/{self.id}"

    def image(self) -> Image.Image:
        """The pixels, decoded."""
        return load_image(self.data)


def plain_name(name: str) -> str:
    """The last part of a file's name, printable and short."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(sign for sign in last if sign.isprintable()).strip()
    return printable[-80:] or "picture"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What a visitor asks. ``prompts``: drawn on ``picture``, as the API's ``visual_prompts``."""

    words: str
    task: str = "chat"
    model: str | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    picture: Picture | None = None

    def text(self) -> str:
        """What the model is asked: a sentence as it is, the name of a thing within the task's own sentence.

        >>> Question(words="the red apple", task="segment").text()
        'Segment the red apple.'
        """
        words = " ".join(self.words.split())
        if not get_task(self.task).takes_text:
            return words or question(self.task)
        words = words or (EVERYTHING if self.task in _OF_EVERYTHING else "")
        return words if words.endswith((".", "?", "!")) or not words else question(self.task, words)


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """A question and what has come of its answer.

    ``pictures``: sent with the question; ``sent``: all of the conversation up to here, which the ``image`` numbers of
    ``visual`` count. ``version`` grows with every change.
    """

    asked: Question
    pictures: tuple[Picture, ...] = ()
    sent: tuple[Picture, ...] = ()
    id: str = field(default_factory=new_id)
    state: State = "waiting"
    text: str = ""
    visual: list[Mapping[str, Any]] = field(default_factory=list)
    plan: tuple[PlanItem, ...] = ()
    answer: ClientAnswer | None = None
    error: str = ""
    seconds: float = 0.0
    version: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        return self.state not in ("waiting", "writing")

    @property
    def lost(self) -> bool:
        """Whether nothing came of it."""
        return self.over and not (self.text or self.visual or self.plan)

    def stop(self) -> None:
        """End an answer that is being written; what has come is kept."""
        if self.task is not None and not self.over:
            self.task.cancel()

    def on(self, picture: Picture | None) -> list[Mapping[str, Any]]:
        """The drawings that lie on ``picture``."""
        numbers = {number for number, one in enumerate(self.sent) if one is picture}
        return [entry for entry in self.visual if entry.get("image") in numbers]


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """Turns about pictures. ``shown`` is the picture on the stage, ``shown_turn`` whose drawings lie on it.

    ``prompts``: what the page is to show as drawn by the visitor, once for each ``drawing``, which is an id.
    """

    id: str = field(default_factory=new_id)
    pictures: list[Picture] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    shown: Picture | None = None
    shown_turn: Turn | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    drawing: str = field(default_factory=new_id)

    @property
    def title(self) -> str:
        words = " ".join(self.turns[0].asked.text().split()) if self.turns else ""
        short = words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1] + "…"
        return short or (self.pictures[0].name if self.pictures else "New conversation")

    @property
    def last(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    @property
    def running(self) -> Turn | None:
        """The turn whose answer is being written."""
        return self.last if self.last and not self.last.over else None

    def add(self, pictures: Sequence[Picture]) -> None:
        """Add pictures and show the last one."""
        self.pictures += [picture for picture in pictures if picture not in self.pictures]
        if pictures:
            self.show(pictures[-1])

    def show(self, picture: Picture | None, turn: Turn | None = None) -> None:
        """Put a picture on the stage, with the drawings of ``turn`` or else of the last turn that has some."""
        self.shown = picture
        self.shown_turn = turn or next((one for one in reversed(self.turns) if one.on(picture)), None)

    def show_turn(self, name: object, unit: object = None) -> None:
        """Show the turn with this id, on the picture that its ``unit`` or else its first drawing lies on."""
        turn = next((one for one in self.turns if one.id == name), None)
        if turn is None:
            return
        entries = [entry for entry in turn.visual if entry["index"] == unit] or turn.visual
        numbers = [entry["image"] for entry in entries if entry.get("image") is not None]
        inside = bool(numbers) and 0 <= numbers[0] < len(turn.sent)
        self.show(turn.sent[numbers[0]] if inside else turn.asked.picture or self.shown, turn)

    def draw(self, prompts: Sequence[Mapping[str, Any]]) -> None:
        """Put ``prompts`` in the place of what the visitor has drawn."""
        self.prompts, self.drawing = tuple(prompts), new_id()

    def picture(self, name: object) -> Picture | None:
        """The picture with this id."""
        return next((one for one in self.pictures if one.id == name), None)

    def remove(self, picture: Picture) -> None:
        """Take away a picture that nothing was asked about yet."""
        if picture in self.pictures and not any(picture in turn.sent for turn in self.turns):
            self.pictures.remove(picture)
            if self.shown is picture:
                self.show(self.pictures[-1] if self.pictures else None)

    def ask(self, asked: Question) -> Turn:
        """A new turn, which is shown; what was drawn is gone with it.

        Raises :class:`GeneralistError` for a question that asks nothing.
        """
        if not asked.text():
            raise GeneralistError("there is no question; write one, such as 'Where is the dog?'")
        before = [turn for turn in self.turns if not turn.lost]
        sent = [picture for turn in before for picture in turn.pictures]
        fresh = [picture for picture in self.pictures if picture not in sent and picture is not asked.picture]
        if asked.picture is not None and (fresh or not sent or sent[-1] is not asked.picture):
            fresh.append(asked.picture)
        turn = Turn(asked=asked, pictures=tuple(fresh), sent=(*sent, *fresh))
        self.turns.append(turn)
        self.shown, self.shown_turn = asked.picture, turn
        self.draw(())
        return turn

    def drop(self, turn: Turn) -> None:
        """Forget a turn; its pictures stay."""
        turn.stop()
        if turn in self.turns:
            self.turns.remove(turn)
            self.show(self.shown)

    def messages(self, turn: Turn) -> list[Message]:
        """What is sent for ``turn``: the turns before it that came to something, and its own question.

        Takes as long as it takes to decode the pictures. :class:`GeneralistError` for what cannot be drawn there.
        """
        messages: list[Message] = []
        for one in self.turns[: self.turns.index(turn)]:
            if not one.lost:
                messages += [_asked(one), Message(role="assistant", text=one.text)]
        size = turn.asked.picture.size if turn.asked.picture else (0, 0)
        return [*messages, _asked(turn, read_prompts(turn.asked.prompts, size))]


def _asked(turn: Turn, drawn: tuple[VisualPrompt, ...] = ()) -> Message:
    images = tuple(picture.image() for picture in turn.pictures)
    return Message(role="user", text=turn.asked.text(), images=images, visual_prompts=drawn)
