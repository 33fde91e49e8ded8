"""What can be asked: the same methods for the client that waits and for the one that does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from generalist.pipeline import EVERYTHING
from generalist.tasks import question
from generalist.types import Message, Sampling, VisualPrompt
from generalist_serving.client.asking import Asked, Images, ask_chat, ask_image

A_co = TypeVar("A_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)


class Questions(ABC, Generic[A_co, S_co]):
    """Asks for an answer (``A_co``) or a stream of one (``S_co``).

    An image is a path, a URL, encoded bytes, a PIL image or an array; where several are given, drawings lie on the
    last one. URLs are for the server to read, which takes http(s) only where it is allowed to. ``visual_prompts``
    are what the user drew on the last image, from ``generalist.visual.box_prompt`` and its like. ``model`` names the
    base or an adapter, for one question.
    """

    @abstractmethod
    def _answer(self, ask: Callable[[], Asked]) -> A_co: ...

    @abstractmethod
    def _stream(self, ask: Callable[[], Asked]) -> S_co: ...

    def ask(
        self,
        image: Images,
        prompt: str,
        *,
        task: str = "chat",
        visual_prompts: Sequence[VisualPrompt] = (),
        sampling: Sampling | None = None,
        model: str | None = None,
    ) -> A_co:
        """Ask ``prompt``, in so many words, about an image, several images, or none (None)."""
        return self._answer(
            partial(
                ask_image,
                image,
                prompt,
                task=task,
                visual_prompts=visual_prompts,
                sampling=sampling,
                model=model,
            )
        )

    def stream(
        self,
        image: Images,
        prompt: str,
        *,
        task: str = "chat",
        visual_prompts: Sequence[VisualPrompt] = (),
        sampling: Sampling | None = None,
        model: str | None = None,
    ) -> S_co:
        """Like :meth:`ask`, piece by piece: text, the plan and each drawing as they come, the whole answer at last."""
        return self._stream(
            partial(
                ask_image,
                image,
                prompt,
                task=task,
                visual_prompts=visual_prompts,
                sampling=sampling,
                model=model,
            )
        )

    def detect(self, image: Images, what: str = EVERYTHING, **options: Any) -> A_co:
        """A box for each ``what``; ``options`` as for :meth:`ask`, here and below."""
        return self.ask(image, question("detect", what), task="detect", **options)

    def point(self, image: Images, what: str, **options: Any) -> A_co:
        """A point on ``what``."""
        return self.ask(image, question("point", what), task="point", **options)

    def segment(self, image: Images, what: str = EVERYTHING, **options: Any) -> A_co:
        """A mask of ``what``."""
        return self.ask(image, question("segment", what), task="segment", **options)

    def depth(self, image: Images, **options: Any) -> A_co:
        """The depth of every pixel."""
        return self.ask(image, question("depth"), task="depth", **options)

    def caption(self, image: Images, **options: Any) -> A_co:
        """A description in words."""
        return self.ask(image, question("caption"), task="caption", **options)

    def count(self, image: Images, what: str, **options: Any) -> A_co:
        """How many ``what`` there are, in words."""
        return self.ask(image, question("count", what), task="count", **options)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        task: str = "chat",
        sampling: Sampling | None = None,
        model: str | None = None,
    ) -> A_co:
        """Continue a conversation that ends with a user message; drawings lie on its last image."""
        return self._answer(partial(ask_chat, messages, task=task, sampling=sampling, model=model))

    def stream_chat(
        self,
        messages: Sequence[Message],
        *,
        task: str = "chat",
        sampling: Sampling | None = None,
        model: str | None = None,
        logprobs: bool = False,
    ) -> S_co:
        """Like :meth:`chat`, piece by piece; with ``logprobs`` the answer holds its ``tokens``."""
        return self._stream(partial(ask_chat, messages, task=task, sampling=sampling, model=model, logprobs=logprobs))
