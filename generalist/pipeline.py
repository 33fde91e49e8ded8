"""The whole line: ChatRequest -> Prompt -> Generation -> Reply -> Answer.

1. ``line.prepare``: a request's words, images and drawings -> Prompt.
2. ``engine.generate``: Prompt -> Generation (token ids and log-probabilities).
3. ``line.answer``: Generation -> Reply -> Answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from generalist.adapter_spec import adapter_name
from generalist.answer import Answer
from generalist.engine import Engine
from generalist.hub_line import HubLine, hub_dialect
from generalist.images import ImageSource, load_image
from generalist.line import Line, StreamEvent
from generalist.loading import DEFAULT_MODEL, load_hub_model, load_transformers_engine, resolve_model, shipped_models
from generalist.tasks import get_task, question
from generalist.tokens import Vocabulary
from generalist.types import (
    ChatRequest,
    Documents,
    GeneralistError,
    Generation,
    Message,
    Prompt,
    Sampling,
    VisualPrompt,
)

if TYPE_CHECKING:
    import torch

    from generalist.decoders import Decoder
    from generalist.hub_drawing import HubDrawing

__all__ = [
    "DEFAULT_MODEL",
    "EVERYTHING",
    "Generalist",
    "Images",
    "Line",
    "StreamEvent",
    "load_hub_model",
    "load_transformers_engine",
    "resolve_model",
    "shipped_models",
]

Images: TypeAlias = ImageSource | Sequence[ImageSource] | None

EVERYTHING = "all objects"


class Generalist:
    """A model that answers about images. Make one with :meth:`from_pretrained`.

    ``seed`` and ``adapter``, the name of one that the engine has loaded, are used where a request names none.
    ``drawing``: what draws masks or depth in the model's place.
    """

    def __init__(
        self,
        engine: Engine,
        line: Line | HubLine,
        *,
        seed: int | None = None,
        adapter: str | None = None,
        drawing: HubDrawing | None = None,
    ) -> None:
        self.engine = engine
        self.line = line
        self.drawing = drawing
        self._seed = seed
        self._adapter = adapter

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: str | torch.dtype | None = None,
        engine: Engine | None = None,
        seed: int | None = None,
        adapter: str | Path | None = None,
        dialect: str | None = None,
        masks: str | Path | None = None,
        depth: str | Path | None = None,
    ) -> Generalist:
        """Load a shipped model by name, or a checkpoint folder: of ours, or of a vision-language model from the hub.

        ``device``: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps". ``dtype``: by default
        float32 on a CPU and bfloat16 elsewhere. ``adapter``: the folder of one that answers instead of the base.
        ``engine`` replaces the in-process one, and then device and dtype are its business, and the adapter must be
        loaded there by its name (``adapter_spec.adapter_name``). Raises :class:`GeneralistError` for what cannot be
        loaded. ``dialect``: how a model from the hub is asked and read, where that does not follow from the
        ``model_type`` of its ``config.json``. ``masks`` and ``depth``: folders, or ids of the hub whose files are on
        this machine, of models that draw these in its place: SAM, SAM 2 or SAM 3; Depth Anything, DPT or ZoeDepth.
        """
        folder = resolve_model(model)
        spoken = hub_dialect(folder, dialect)
        if spoken is not None:
            if engine is not None or adapter is not None:
                raise GeneralistError(f"{folder} is a model from the hub; it takes no other engine and no adapter")
            hub_engine, hub_line = load_hub_model(folder, spoken, device, dtype)
            return cls(hub_engine, hub_line, seed=seed, drawing=_open_drawing(hub_line, masks, depth, device))
        vocabulary = None
        name = None if adapter is None else adapter_name(adapter)
        if engine is None:
            engine, vocabulary = load_transformers_engine(folder, device, dtype)
            if name is not None and adapter is not None:
                engine.load_adapter(name, adapter)
        line = Line.from_folder(folder, vocabulary)
        return cls(engine, line, seed=seed, adapter=name, drawing=_open_drawing(line, masks, depth, device))

    @property
    def vocabulary(self) -> Vocabulary:
        return self._own_line.vocabulary

    @property
    def decoders(self) -> dict[str, Decoder]:
        return self._own_line.decoders

    @property
    def _own_line(self) -> Line:
        if not isinstance(self.line, Line):
            raise GeneralistError("a model from the hub has no vocabulary and no decoders of ours")
        return self.line

    # --- asking ---

    def ask(
        self,
        image: Images,
        prompt: str,
        *,
        task: str = "chat",
        visual_prompts: Sequence[VisualPrompt] = (),
        sampling: Sampling | None = None,
        index: Documents | None = None,
    ) -> Answer:
        """Ask ``prompt``, in so many words, about an image, several images, or none (None).

        ``image``: a path, bytes, PIL image or array, or a list of these. ``visual_prompts`` are drawn on
        the last image. ``task`` says what may be drawn and how long the reply may get; see ``tasks.TASKS``.
        ``index``: an open one (``generalist.documents.DocumentIndex``), whose documents the reply may name.
        """
        return self.answer([self._request(image, prompt, task, visual_prompts, sampling, index)])[0]

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

    def chat(
        self,
        messages: Sequence[Message],
        *,
        task: str = "chat",
        sampling: Sampling | None = None,
        index: Documents | None = None,
    ) -> Answer:
        """Continue a conversation that ends with a user message; drawings lie on its last image."""
        chosen = self._sampling(task, sampling)
        return self.answer([ChatRequest(messages=tuple(messages), task=task, sampling=chosen, index=index)])[0]

    def stream(
        self,
        image: Images,
        prompt: str,
        *,
        task: str = "chat",
        visual_prompts: Sequence[VisualPrompt] = (),
        sampling: Sampling | None = None,
        index: Documents | None = None,
    ) -> Iterator[StreamEvent]:
        """Like :meth:`ask`, piece by piece: text as it is written, each drawing once it is whole (unscored)."""
        return self.answer_stream(self._request(image, prompt, task, visual_prompts, sampling, index))

    # --- whole requests ---

    def answer(self, requests: Sequence[ChatRequest]) -> list[Answer]:
        """Answer requests, in order; those that share a sampling run as one batch."""
        return self._answer(requests) if self.drawing is None else self.drawing.answer(requests, self._answer)

    def answer_stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """Stream one request. What is wrong with it is raised here, not at the first ``next``."""
        return self._stream(request) if self.drawing is None else self.drawing.stream(request, self._stream)

    # --- steps ---

    def _answer(self, requests: Sequence[ChatRequest]) -> list[Answer]:
        prompts = [self._prepare(request) for request in requests]
        generations: dict[int, Generation] = {}
        for sampling in dict.fromkeys(request.sampling for request in requests):
            rows = [row for row, request in enumerate(requests) if request.sampling == sampling]
            generated = self.engine.generate([prompts[row] for row in rows], sampling)
            generations.update(zip(rows, generated, strict=True))
        return [self.line.answer(prompt, generations[row]) for row, prompt in enumerate(prompts)]

    def _stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        prompt = self._prepare(request)
        return self._events(prompt, self.engine.stream(prompt, request.sampling))

    def _prepare(self, request: ChatRequest) -> Prompt:
        if request.adapter is None and self._adapter is not None:
            request = replace(request, adapter=self._adapter)
        prompt = self.line.prepare(request)
        look = getattr(self.engine, "look", None)  # of engines that have visual heads
        seen = look(request) if look is not None and isinstance(self.line, Line) else None
        return prompt if seen is None else self._own_line.give(prompt, seen)

    def _events(self, prompt: Prompt, tokens: Iterator[int]) -> Iterator[StreamEvent]:
        try:
            yield from self.line.events(prompt, tokens)
        finally:
            close = getattr(tokens, "close", None)
            if close is not None:  # a caller who stops listening stops the engine
                close()

    def _ask_task(self, task: str, image: Images, what: str, options: Mapping[str, Any]) -> Answer:
        return self.ask(image, question(task, what), task=task, **options)

    def _request(
        self,
        image: Images,
        prompt: str,
        task: str,
        visual_prompts: Sequence[VisualPrompt],
        sampling: Sampling | None,
        index: Documents | None = None,
    ) -> ChatRequest:
        if not prompt.strip():
            raise GeneralistError(f"the prompt is empty ({prompt[:20]!r}); say what to do, such as 'What is this?'")
        sources = [] if image is None else list(image) if isinstance(image, list | tuple) else [image]
        images = tuple(load_image(cast(ImageSource, source)) for source in sources)
        message = Message(role="user", text=prompt, images=images, visual_prompts=tuple(visual_prompts))
        return ChatRequest(messages=(message,), task=task, sampling=self._sampling(task, sampling), index=index)

    def _sampling(self, task: str, sampling: Sampling | None) -> Sampling:
        chosen = sampling or Sampling(max_new_tokens=get_task(task).max_new_tokens)
        return replace(chosen, seed=self._seed) if chosen.seed is None else chosen


def _open_drawing(
    line: Line | HubLine, masks: str | Path | None, depth: str | Path | None, device: str
) -> HubDrawing | None:
    if masks is None and depth is None:
        return None
    # Here, so that a model without them imports no torch.
    from generalist.hub_drawing import HubDrawing

    return HubDrawing.open(line, masks=masks, depth=depth, device=device)
