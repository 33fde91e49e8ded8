"""The whole line: ChatRequest -> Prompt -> Generation -> Reply -> Answer.

1. ``_prepare``: a request's words, images and drawings -> Prompt, with the task's grammar attached.
2. ``engine.generate``: Prompt -> Generation (token ids and log-probabilities).
3. ``parse``: token ids -> Reply.
4. ``make_answer``: Reply -> Answer; each drawing decoded, scored, tied to its words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from generalist.answer import Answer, ground, make_answer
from generalist.engine import Engine
from generalist.images import ImageSource, load_image
from generalist.prompt import XYXY, EncodeMask, build
from generalist.reply import PhraseDone, PlanDone, StreamParser, TextDelta, parse
from generalist.scores import Scores
from generalist.tasks import get_task, question
from generalist.tokens import Vocabulary
from generalist.types import (
    ChatRequest,
    Constraint,
    GeneralistError,
    Generation,
    Grounded,
    Kind,
    Message,
    Phrase,
    Prompt,
    Reply,
    Sampling,
    VisualPrompt,
)

if TYPE_CHECKING:
    import torch

    from generalist.decoders import Decoder

Images: TypeAlias = ImageSource | Sequence[ImageSource] | None
StreamEvent: TypeAlias = TextDelta | PlanDone | Grounded

DEFAULT_MODEL = "nano"
EVERYTHING = "all objects"
_CHECKPOINTS = Path(__file__).parent / "checkpoints"


def shipped_models() -> dict[str, Path]:
    """The checkpoints that come with the package, by name."""
    folders = sorted(_CHECKPOINTS.iterdir()) if _CHECKPOINTS.is_dir() else []
    return {folder.name: folder for folder in folders if (folder / "config.json").is_file()}


def resolve_model(model: str | Path) -> Path:
    """The checkpoint folder of a shipped name or of a path; raises :class:`GeneralistError` for neither."""
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)]
    if os.path.isdir(model):  # unlike Path.is_dir, False for a name that no file can have
        return Path(model)
    names = ", ".join(shipped) or "none"
    raise GeneralistError(f"unknown model {str(model)[:200]!r}; use a shipped one ({names}) or a checkpoint folder")


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
        return replace(prompt, constraint=self._constraint(request.task, bool(prompt.images)))

    def answer(self, prompt: Prompt, generation: Generation) -> Answer:
        """The answer that a generation means."""
        reply = parse(generation.token_ids, self.vocabulary)
        return make_answer(reply, generation, prompt.images, self.decoders, self.scores)

    def ground(
        self, phrase: Phrase, prompt: Prompt, logprobs: Sequence[float] = (), before: Sequence[Phrase] = ()
    ) -> list[Grounded]:
        """What a phrase draws, scored by the reply so far: its ``logprobs``, if there are any, and its phrases.

        The score in the whole answer may differ a little: how long a list gets is known only at its end.
        """
        (*_, scores) = self.scores.of(Reply(phrases=(*before, phrase)), logprobs)
        return ground(phrase, prompt.images, self.decoders, scores)

    def _constraint(self, task: str, has_image: bool) -> Constraint:
        """The grammar of what this task may draw, this checkpoint can decode and this prompt has a place for."""
        from generalist.constrain import reply_constraint

        emits = get_task(task).emits
        kinds = tuple(kind for kind in emits if kind in self.decoders and (has_image or kind == "doc"))
        if kinds not in self._constraints:
            self._constraints[kinds] = reply_constraint(self.vocabulary, kinds=kinds, plan=bool(kinds))
        return self._constraints[kinds]


class Generalist:
    """A model that answers about images. Make one with :meth:`from_pretrained`.

    ``seed`` is used where a request names none.
    """

    def __init__(self, engine: Engine, line: Line, *, seed: int | None = None) -> None:
        self.engine = engine
        self.line = line
        self._seed = seed

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: str | torch.dtype | None = None,
        engine: Engine | None = None,
        seed: int | None = None,
    ) -> Generalist:
        """Load a shipped model by name, or a checkpoint folder.

        ``device``: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps". ``dtype``: by default
        float32 on a CPU and bfloat16 elsewhere. ``engine`` replaces the in-process one, and then device
        and dtype are its business. Raises :class:`GeneralistError` for what cannot be loaded.
        """
        folder = resolve_model(model)
        vocabulary = None
        if engine is None:
            engine, vocabulary = load_transformers_engine(folder, device, dtype)
        return cls(engine, Line.from_folder(folder, vocabulary), seed=seed)

    @property
    def vocabulary(self) -> Vocabulary:
        return self.line.vocabulary

    @property
    def decoders(self) -> dict[str, Decoder]:
        return self.line.decoders

    # --- asking ---

    def ask(
        self,
        image: Images,
        prompt: str,
        *,
        task: str = "chat",
        visual_prompts: Sequence[VisualPrompt] = (),
        sampling: Sampling | None = None,
    ) -> Answer:
        """Ask ``prompt``, in so many words, about an image, several images, or none (None).

        ``image``: a path, bytes, PIL image or array, or a list of these. ``visual_prompts`` are drawn on
        the last image. ``task`` says what may be drawn and how long the reply may get; see ``tasks.TASKS``.
        """
        return self.answer([self._request(image, prompt, task, visual_prompts, sampling)])[0]

    def ask_many(
        self, questions: Sequence[tuple[Images, str]], *, task: str = "chat", sampling: Sampling | None = None
    ) -> list[Answer]:
        """Ask several (image, prompt) pairs at once, in one batch."""
        return self.answer([self._request(image, prompt, task, (), sampling) for image, prompt in questions])

    def detect(self, image: Images, what: str = EVERYTHING, **options: Any) -> Answer:
        """A box for each ``what``; ``options`` as for :meth:`ask`, here and below."""
        return self._ask_task("detect", image, what, options)

    def point(self, image: Images, what: str, **options: Any) -> Answer:
        """A point on ``what``."""
        return self._ask_task("point", image, what, options)

    def segment(self, image: Images, what: str = EVERYTHING, **options: Any) -> Answer:
        """A mask of ``what``."""
        return self._ask_task("segment", image, what, options)

    def depth(self, image: Images, **options: Any) -> Answer:
        """The depth of every pixel."""
        return self._ask_task("depth", image, "", options)

    def caption(self, image: Images, **options: Any) -> Answer:
        """A description in words."""
        return self._ask_task("caption", image, "", options)

    def count(self, image: Images, what: str, **options: Any) -> Answer:
        """How many ``what`` there are, in words."""
        return self._ask_task("count", image, what, options)

    def chat(self, messages: Sequence[Message], *, task: str = "chat", sampling: Sampling | None = None) -> Answer:
        """Continue a conversation that ends with a user message; drawings lie on its last image."""
        request = ChatRequest(messages=tuple(messages), task=task, sampling=self._sampling(task, sampling))
        return self.answer([request])[0]

    def stream(
        self,
        image: Images,
        prompt: str,
        *,
        task: str = "chat",
        visual_prompts: Sequence[VisualPrompt] = (),
        sampling: Sampling | None = None,
    ) -> Iterator[StreamEvent]:
        """Like :meth:`ask`, piece by piece: text as it is written, each drawing once it is whole (unscored)."""
        return self.answer_stream(self._request(image, prompt, task, visual_prompts, sampling))

    # --- whole requests ---

    def answer(self, requests: Sequence[ChatRequest]) -> list[Answer]:
        """Answer requests, in order; those that share a sampling run as one batch."""
        prompts = [self.line.prepare(request) for request in requests]
        generations: dict[int, Generation] = {}
        for sampling in dict.fromkeys(request.sampling for request in requests):
            rows = [row for row, request in enumerate(requests) if request.sampling == sampling]
            generated = self.engine.generate([prompts[row] for row in rows], sampling)
            generations.update(zip(rows, generated, strict=True))
        return [self.line.answer(prompt, generations[row]) for row, prompt in enumerate(prompts)]

    def answer_stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """Stream one request. What is wrong with it is raised here, not at the first ``next``."""
        prompt = self.line.prepare(request)
        return self._events(prompt, self.engine.stream(prompt, request.sampling))

    # --- steps ---

    def _events(self, prompt: Prompt, tokens: Iterator[int]) -> Iterator[StreamEvent]:
        parser = StreamParser(self.vocabulary)
        try:
            for token in tokens:
                yield from self._known(parser.feed(token), prompt)
            yield from self._known(parser.finish(), prompt)
        finally:
            close = getattr(tokens, "close", None)
            if close is not None:  # a caller who stops listening stops the engine
                close()

    def _known(self, events: Sequence[object], prompt: Prompt) -> Iterator[StreamEvent]:
        for event in events:
            if isinstance(event, PhraseDone):
                yield from self.line.ground(event.phrase, prompt)
            elif isinstance(event, TextDelta | PlanDone):
                yield event

    def _ask_task(self, task: str, image: Images, what: str, options: Mapping[str, Any]) -> Answer:
        return self.ask(image, question(task, what), task=task, **options)

    def _request(
        self, image: Images, prompt: str, task: str, visual_prompts: Sequence[VisualPrompt], sampling: Sampling | None
    ) -> ChatRequest:
        if not prompt.strip():
            raise GeneralistError(f"the prompt is empty ({prompt[:20]!r}); say what to do, such as 'What is this?'")
        sources = [] if image is None else list(image) if isinstance(image, list | tuple) else [image]
        images = tuple(load_image(cast(ImageSource, source)) for source in sources)
        message = Message(role="user", text=prompt, images=images, visual_prompts=tuple(visual_prompts))
        return ChatRequest(messages=(message,), task=task, sampling=self._sampling(task, sampling))

    def _sampling(self, task: str, sampling: Sampling | None) -> Sampling:
        chosen = sampling or Sampling(max_new_tokens=get_task(task).max_new_tokens)
        return replace(chosen, seed=self._seed) if chosen.seed is None else chosen


def load_transformers_engine(
    folder: Path, device: str, dtype: str | torch.dtype | None = None
) -> tuple[Engine, Vocabulary]:
    """The in-process engine and its vocabulary; arguments as for :meth:`Generalist.from_pretrained`."""
    import torch

    from generalist.engine.transformers_engine import TransformersEngine
    from generalist.model.checkpoint import load_checkpoint

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    chosen = dtypes.get(dtype) if isinstance(dtype, str) else dtype
    if isinstance(dtype, str) and chosen is None:
        raise GeneralistError(f"dtype is {dtype!r}; use one of {', '.join(dtypes)}")
    if chosen is None:
        chosen = torch.float32 if device == "cpu" else torch.bfloat16
    checkpoint = load_checkpoint(folder, device=device, dtype=chosen)
    engine = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    return engine, checkpoint.vocabulary
