"""A model's line without its engine.

1. ``prepare``: a request's words, images and drawings -> Prompt, with the grammar of what may be drawn.
2. ``answer``: Generation -> Reply -> Answer; each drawing decoded, scored, tied to its words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from generalist.answer import Answer, ground, make_answer
from generalist.constrain import reply_constraint
from generalist.given import DRAWN, GivenDecoder, write
from generalist.identifiers import check_vocabulary
from generalist.prompt import XYXY, EncodeMask, build
from generalist.reply import PhraseDone, PlanDone, StreamParser, TextDelta, parse
from generalist.scores import Scores
from generalist.tasks import get_task
from generalist.tokens import Vocabulary
from generalist.types import (
    ChatRequest,
    Constraint,
    Documents,
    GeneralistError,
    Generation,
    Grounded,
    Kind,
    Phrase,
    Prompt,
    Reply,
    Seen,
    VisualPrompt,
)

if TYPE_CHECKING:
    from generalist.decoders import Decoder

StreamEvent: TypeAlias = TextDelta | PlanDone | Grounded


class Line:
    """All of a model but its engine: from requests to prompts, and from tokens to answers.

    ``scores`` says how drawings are scored, plainly by default. ``encode_mask`` is needed for mask prompts only. A
    server that runs the engine in its own way has one of these.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        decoders: Mapping[str, Decoder],
        *,
        scores: Scores | None = None,
        encode_mask: EncodeMask | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.decoders = dict(decoders)
        self.scores = scores or Scores()
        self._encode_mask = encode_mask
        self._constraints: dict[tuple[Kind, ...], Constraint] = {}

    @classmethod
    def from_folder(cls, folder: Path, vocabulary: Vocabulary | None = None) -> Line:
        """The line of a checkpoint folder; :class:`GeneralistError` for what cannot be loaded."""
        # Here, so that a line made of other parts needs no torch.
        from generalist.decoders import load_decoders
        from generalist.decoders.mask import MaskDecoder

        scores = Scores.load(folder)
        vocabulary = vocabulary or Vocabulary.load(folder)
        decoders = load_decoders(folder, vocabulary)
        masks = decoders["mask"]
        assert isinstance(masks, MaskDecoder)

        def encode_mask(prompt: VisualPrompt) -> tuple[XYXY, tuple[int, ...]]:
            assert prompt.bitmap is not None  # prompt.build has looked
            return masks.encode(prompt.bitmap)

        return cls(vocabulary, decoders, scores=scores, encode_mask=encode_mask)

    def prepare(self, request: ChatRequest) -> Prompt:
        """What the engine gets for a request; :class:`GeneralistError` when the request is wrong."""
        for message in request.messages:
            if not message.text.isascii() and message.text != message.text.encode("utf-8", "replace").decode():
                raise GeneralistError("the prompt is not valid Unicode: it has bytes that are not UTF-8; retype it")
        prompt = build(request, self.vocabulary, self._encode_mask)
        constraint = self._constraint(request.task, bool(prompt.images), request.index)
        return replace(prompt, constraint=constraint, index=request.index)

    def give(self, prompt: Prompt, seen: Seen) -> Prompt:
        """The prompt with what was ``seen`` as its reply, which an engine says instead of writing one."""
        return replace(prompt, given=write(seen, self.vocabulary, self._encode_mask))

    def answer(self, prompt: Prompt, generation: Generation) -> Answer:
        """The answer that a generation means."""
        reply = parse(generation.token_ids, self.vocabulary)
        return make_answer(reply, generation, prompt.images, self._decoders_of(prompt), self.scores)

    def ground(
        self, phrase: Phrase, prompt: Prompt, logprobs: Sequence[float] = (), before: Sequence[Phrase] = ()
    ) -> list[Grounded]:
        """What a phrase draws, scored by the reply so far: its ``logprobs``, if there are any, and its phrases.

        The score in the whole answer may differ a little: how long a list gets is known only at its end.
        """
        (*_, scores) = self.scores.of(Reply(phrases=(*before, phrase)), logprobs)
        return ground(phrase, prompt.images, self._decoders_of(prompt), scores)

    def events(self, prompt: Prompt, tokens: Iterator[int]) -> Iterator[StreamEvent]:
        """The answer piece by piece while its tokens come; drawings are not scored."""
        parser = StreamParser(self.vocabulary)
        for token in tokens:
            yield from self._known(parser.feed(token), prompt)
        yield from self._known(parser.finish(), prompt)

    def _known(self, events: Sequence[object], prompt: Prompt) -> Iterator[StreamEvent]:
        for event in events:
            if isinstance(event, PhraseDone):
                yield from self.ground(event.phrase, prompt)
            elif isinstance(event, TextDelta | PlanDone):
                yield event

    def _decoders_of(self, prompt: Prompt) -> Mapping[str, Decoder]:
        decoders = self.decoders if prompt.index is None else {**self.decoders, "doc": prompt.index}
        if prompt.given is None:
            return decoders
        return {**decoders, **{kind: GivenDecoder(kind=kind, outputs=prompt.given.outputs) for kind in DRAWN}}

    def _constraint(self, task: str, has_image: bool, index: Documents | None) -> Constraint:
        """What this task may draw, this prompt has a place for, and this checkpoint or the index can decode."""
        emits = get_task(task).emits
        if index is not None and "doc" not in emits:
            raise GeneralistError(f"task {task!r} names no documents; use task 'chat', or leave the index out")
        known = {*self.decoders, *(() if index is None else ("doc",))}
        kinds = tuple(kind for kind in emits if kind in known and (has_image or kind == "doc"))
        if kinds not in self._constraints:
            self._constraints[kinds] = reply_constraint(self.vocabulary, kinds=kinds, plan=bool(kinds))
        if index is None:
            return self._constraints[kinds]
        identifiers = index.identifiers  # first: it looks whether the index has changed
        check_vocabulary(index, self.vocabulary, identifiers)
        return replace(self._constraints[kinds], identifiers=identifiers)
