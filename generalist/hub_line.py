"""The line of an unchanged vision-language model from the hub: requests to its own words, its answers to drawings.

1. ``prepare``: request -> the dialect's words -> the text of the model's chat template.
2. ``answer``: token ids -> text -> the dialect's reading -> Answer; each drawing scored by the tokens that drew it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from generalist.answer import Answer
from generalist.dialects import DIALECTS, MODEL_TYPES, Dialect, Drawn, Question, Reader, Sizes, get_dialect
from generalist.reply import TextDelta
from generalist.tasks import TASKS, get_task, question
from generalist.types import ChatRequest, GeneralistError, Generation, Grounded, Message, Phrase, Prompt, Reply

if TYPE_CHECKING:
    from generalist.engine.hub_engine import HubPrompt
    from generalist.engine.hub_processor import HubProcessor, TextPieces

OURS = "generalist"


def hub_dialect(folder: Path, dialect: str | None = None) -> str | None:
    """The name of the dialect that a checkpoint folder speaks; None for a checkpoint of ours.

    ``dialect`` overrides what its ``model_type`` says. Raises :class:`GeneralistError` for an unknown name or type.
    """
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever loads it says what is wrong
    model_type = content.get("model_type") if isinstance(content, dict) else None
    if dialect is not None and dialect not in DIALECTS:
        get_dialect(dialect)
    if not isinstance(model_type, str) or model_type == OURS:
        if dialect is not None:
            raise GeneralistError(f"{folder} is a checkpoint of ours, which speaks no dialect; leave {dialect!r} out")
        return None
    if dialect is None and model_type not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        raise GeneralistError(
            f"{folder} has model_type {model_type[:80]!r}, whose dialect is not known (known: {known}); "
            f"name one of {', '.join(DIALECTS)}, json if it has none of its own"
        )
    return dialect or MODEL_TYPES[model_type]


class HubLine:
    """All of a model from the hub but its engine.

    ``constrained``: answers to tasks that draw keep to the dialect's form where that is regular.
    """

    def __init__(self, dialect: Dialect, processor: HubProcessor, *, constrained: bool = True) -> None:
        self.dialect = dialect
        self._processor = processor
        self._constrained = constrained

    def prepare(self, request: ChatRequest) -> HubPrompt:
        """What the engine gets for a request; :class:`GeneralistError` when the model has no words for it."""
        from generalist.engine.hub_engine import HubPrompt

        if request.index is not None:
            raise GeneralistError("a model from the hub names no documents; leave the index out, or use one of ours")
        *before, last = request.messages or (Message(role="assistant"),)
        if last.role != "user":
            raise GeneralistError(f"the last message is from {last.role!r}; end with a user message")
        if not last.text.strip():
            raise GeneralistError(f"the question has no text ({last.text!r}); say what to do, such as 'What is this?'")
        if self._processor.has_template:
            self._check_texts(request.messages)
        images = tuple(image for message in request.messages for image in message.images)
        asking = self._question(request, last, images)
        asked = self.dialect.ask(asking)
        turns = [replace(message, visual_prompts=()) for message in before]
        if asked.system:
            turns.insert(0, Message(role="system", text=asked.system))
        turns.append(Message(role="user", text=asked.text, images=last.images))
        return HubPrompt(
            text=self._processor.prompt(turns),
            images=images,
            adapter=request.adapter,
            constraint=self.dialect.constraint(asking) if self._constrained else None,
            question=asking,
        )

    def answer(self, prompt: Prompt, generation: Generation) -> Answer:
        """The answer that a generation means."""
        reading = self.reading(prompt)
        events: list[TextDelta | Drawn] = []
        logprobs = generation.logprobs or (None,) * len(generation.token_ids)
        for token, logprob in zip(generation.token_ids, logprobs, strict=True):
            events += reading.feed(token, logprob)
        events += reading.finish()
        drawn = [event for event in events if isinstance(event, Drawn)]
        return Answer(
            reply=reading.reply(),
            outputs=tuple(item for one in drawn for item in reading.ground(one)),
            usage=generation.usage,
            images=prompt.images,
            finish_reason=generation.finish_reason,
        )

    def events(self, prompt: Prompt, tokens: Iterator[int]) -> Iterator[TextDelta | Grounded]:
        """The same piece by piece; drawings are not scored."""
        reading = self.reading(prompt)
        for token in tokens:
            for event in reading.feed(token):
                yield event.item if isinstance(event, Drawn) else event
        for event in reading.finish():
            yield event.item if isinstance(event, Drawn) else event

    def reading(self, prompt: Prompt) -> HubReading:
        """A reader of the reply to a prompt that :meth:`prepare` made."""
        from generalist.engine.hub_engine import HubPrompt

        assert isinstance(prompt, HubPrompt)
        return HubReading(self.dialect.reader(prompt.question), self._processor.pieces())

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the model has words for, whatever they are about."""
        return tuple(name for name in TASKS if _takes(self.dialect, name))

    def _check_texts(self, messages: Sequence[Message]) -> None:
        """Refuse words that the model would take for the end of a turn, or for an image."""
        for message in messages:
            mark = self._processor.mark_in(message.text)
            if mark is not None:
                raise GeneralistError(f"the text holds {mark!r}, a mark of the model's own; write it in another way")

    def _question(self, request: ChatRequest, last: Message, images: Sequence[object]) -> Question:
        sizes = None
        if images:
            image = [image for message in request.messages for image in message.images][-1]
            resized = self._processor.resized(image)
            sizes = Sizes(submitted=image.size, resized=resized, image=len(images) - 1)
        elif last.visual_prompts:
            raise GeneralistError("the question has drawings and no image; add the image that they are drawn on")
        return Question(text=last.text, task=request.task, visual_prompts=last.visual_prompts, sizes=sizes)


class HubReading:
    """Reads one reply as it is written: tokens to text, text to drawings, each scored by the tokens that drew it."""

    def __init__(self, reader: Reader, pieces: TextPieces) -> None:
        self._reader = reader
        self._pieces = pieces
        self._logprobs: list[float] = []

    def feed(self, token: int, logprob: float | None = None) -> list[TextDelta | Drawn]:
        """Take a token, with its log-probability where drawings are to be scored; what became known by it."""
        if logprob is not None:
            self._logprobs.append(logprob)
        return _known(self._reader.feed(self._pieces.feed(token)))

    def finish(self) -> list[TextDelta | Drawn]:
        """Say that nothing more comes; what is still due."""
        return _known(self._reader.finish())

    def reply(self) -> Reply:
        """All that was read."""
        return self._reader.reading().reply

    def ground(self, item: Phrase | Drawn) -> list[Grounded]:
        """What :meth:`feed` told of, scored; all of its tokens have been read by then."""
        assert isinstance(item, Drawn)  # phrases with codes are of our own models
        return [_scored(item, self._pieces.stops, self._logprobs)]

    def scores(self, reply: Reply) -> tuple[tuple[float, ...], ...]:
        """None for any phrase: how long a reply gets changes no score."""
        return ((),) * len(reply.phrases)

    def named(self, token: int) -> tuple[str, bytes | None]:
        """A token by itself: its text, and its bytes if they are known."""
        text = self._pieces.alone(token)
        return text, None if "\N{REPLACEMENT CHARACTER}" in text else text.encode()


def _known(events: Sequence[object]) -> list[TextDelta | Drawn]:
    return [event for event in events if isinstance(event, TextDelta | Drawn)]


def _takes(dialect: Dialect, task: str) -> bool:
    try:
        dialect.ask(Question(text=question(task, "it" if get_task(task).takes_text else ""), task=task))
    except GeneralistError:
        return False
    return True


def _scored(drawn: Drawn, stops: Sequence[int], logprobs: Sequence[float]) -> Grounded:
    """A drawing with the geometric mean of the probabilities of its tokens, unless the model gave it a score itself."""
    item, (start, stop) = drawn.item, drawn.source
    begins = (0, *stops)
    own = [lp for lp, begin, end in zip(logprobs, begins, stops, strict=False) if end > start and begin < stop]
    if item.output.score is not None or not own:
        return item
    score = math.exp(sum(own) / len(own))
    return replace(item, output=replace(item.output, score=min(max(score, 0.0), 1.0)))
