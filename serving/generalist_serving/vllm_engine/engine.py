"""``VllmEngine``: a checkpoint served by vLLM, to the same terms as ``TransformersEngine``."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from weakref import finalize

from generalist.types import GeneralistError, Generation, Prompt, Sampling
from generalist_serving.vllm_engine import requests
from generalist_serving.vllm_engine.adapters import Adapters
from generalist_serving.vllm_engine.loop import Loop, Submission
from generalist_serving.vllm_engine.reading import Reader
from generalist_serving.vllm_engine.requests import Request
from generalist_serving.vllm_engine.start import MAX_LORA_RANKS, Settings, start, stop

T = TypeVar("T")


class VllmEngine:
    """An :class:`~generalist.engine.Engine` over vLLM, for many threads at once.

    Requests of all callers share batches. A row draws from a generator of its own with its seed, as vLLM draws: a
    seed repeats a reply here, but is another reply than ``TransformersEngine``'s. Prompt beginnings and image
    features are kept and used again.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        adapters: Mapping[str, str | Path] | None = None,
        max_adapters: int | None = None,
        max_lora_rank: int = 16,
        max_batch: int = 64,
        max_context: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Load the checkpoint in ``folder``.

        ``device``: "cpu", "cuda", "cuda:1"; vLLM is built for one kind. ``dtype``: by default float32 on a CPU and
        bfloat16 elsewhere. ``adapters``: folders by name. ``max_adapters``: how many a batch may mix, by default as
        many as are given; 0 makes an engine without them. ``max_context``: by default the model's. ``options``: of
        vLLM's ``EngineArgs``, for example ``{"gpu_memory_utilization": 0.5}``. Raises :class:`GeneralistError`.
        """
        reader = self._reader = Reader(folder, max_context)
        adapters = adapters or {}
        mixed = len(adapters) if max_adapters is None else max_adapters
        _check_options(reader.context, reader.longest, max_batch, mixed, max_lora_rank, adapters)
        settings = Settings(
            folder=Path(folder),
            device=device,
            dtype=dtype or ("float32" if device == "cpu" else "bfloat16"),
            max_context=reader.context,
            max_images=max(1, reader.context // reader.image_tokens),
            max_batch=max_batch,
            max_adapters=mixed,
            max_lora_rank=min(rank for rank in MAX_LORA_RANKS if rank >= max_lora_rank),
            options=options or {},
        )
        self._adapters = Adapters(Path(folder), max_lora_rank if mixed else 0, reader.vocabulary.hash)
        self._numbers = count()
        self._loop = Loop(lambda: start(settings), stop)
        self._closer = finalize(self, self._loop.close)  # also at the end of the program
        try:
            for name, place in adapters.items():
                self.load_adapter(name, place)
        except BaseException:
            self.close()
            raise

    # --- the protocol ---

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, every position of an image counted, that leaves room for one new token."""
        return self._reader.max_prompt_tokens

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """One generation for each prompt; they run beside those of other callers.

        An exception, also one of the caller's such as KeyboardInterrupt, ends all of them.
        """
        wanted = [self._reader.read(prompt, sampling, self._adapters) for prompt in prompts]
        if not wanted:
            return []
        results: list[Future[Any]] = [Future() for _ in wanted]
        submissions = [
            self._submission(request, _fulfil(result)) for request, result in zip(wanted, results, strict=True)
        ]
        try:
            self._submit(submissions)
            outputs = [result.result() for result in results]
        except BaseException:
            self._loop.abort([one.id for one in submissions])
            raise
        ends = self._reader.vocabulary.ends
        return [requests.generation(request, output, ends) for request, output in zip(wanted, outputs, strict=True)]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """The token ids of ``generate([prompt], sampling)``, each as soon as it is chosen.

        The request runs from now on, whether or not its tokens are asked for; closing the iterator ends it.
        """
        request = self._reader.read(prompt, sampling, self._adapters)
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        submission = self._submission(request, arrived.put, streamed=True)
        self._submit([submission])
        return _Stream(request, arrived, self._reader.vocabulary.ends, lambda: self._loop.abort([submission.id]))

    # --- adapters ---

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names that ``Prompt.adapter`` may have."""
        return self._adapters.names

    def load_adapter(self, name: str, folder: str | Path) -> None:
        """Load a LoRA adapter in PEFT's format; a name that is loaded already stands for the new one from now on.

        Raises :class:`GeneralistError` for an adapter that vLLM cannot serve.
        """
        before = self._adapters.load(name, folder, lambda one: self._loop.call(lambda vllm: vllm.add_lora(one)))
        self._forget(before)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; requests under way with it are finished."""
        self._forget(self._adapters.unload(name))

    def _forget(self, adapter: Any) -> None:
        if adapter is not None:
            self._loop.call(lambda vllm: vllm.remove_lora(adapter.lora_int_id))

    # --- the engine itself ---

    def call(self, function: Callable[[Any], T]) -> T:
        """``function`` of vLLM's ``LLMEngine``, between two of its steps: for measuring and for tests."""
        return self._loop.call(function)

    def close(self) -> None:
        """End every request and vLLM. May be called again."""
        self._closer()

    def __enter__(self) -> VllmEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- steps ---

    def _submission(self, request: Request, deliver: Callable[[Any], None], *, streamed: bool = False) -> Submission:
        return Submission(
            id=str(next(self._numbers)),
            prompt=requests.vllm_prompt(request),
            params=self._reader.sampling_params(request, streamed=streamed),
            adapter=request.adapter,
            deliver=deliver,
        )

    def _submit(self, submissions: Sequence[Submission]) -> None:
        self._loop.submit(submissions)
        for one in submissions:
            try:
                one.accepted.result()
            except Exception as error:
                if told := requests.refusal(error):
                    raise told from error
                raise


class _Stream(Iterator[int]):
    """Tokens as they arrive. A class, not a generator: closing one that was never asked must end its request too."""

    def __init__(
        self, request: Request, arrived: queue.SimpleQueue[Any], ends: Set[int], abort: Callable[[], None]
    ) -> None:
        self._request = request
        self._arrived = arrived
        self._ends = ends
        self._ready: list[int] = []
        self._abort = finalize(self, abort)
        self._abort.atexit = False

    def __next__(self) -> int:
        while not self._ready:
            if not self._abort.alive:
                raise StopIteration
            self._receive()
        return self._ready.pop()

    def close(self) -> None:
        self._ready.clear()
        self._abort()

    def _receive(self) -> None:
        try:
            output = self._arrived.get()
        except BaseException:
            self.close()
            raise
        if isinstance(output, Exception):
            self._abort.detach()
            raise output
        self._ready = requests.new_tokens(output, self._ends)[::-1]
        if output.finished:
            self._abort.detach()
            requests.check_finished(self._request, output, self._ends)


def _fulfil(result: Future[Any]) -> Callable[[Any], None]:
    def deliver(output: Any) -> None:
        if isinstance(output, BaseException):
            result.set_exception(output)
        elif output.finished:
            result.set_result(output)

    return deliver


def _check_options(
    context: int, longest: int, max_batch: int, max_adapters: int, max_lora_rank: int, adapters: Mapping[str, Any]
) -> None:
    if not 2 <= context <= longest:
        raise GeneralistError(f"max_context is {context}; use 2 to {longest}, the model's")
    if max_batch < 1:
        raise GeneralistError(f"max_batch is {max_batch}; use 1 or more")
    if max_adapters < 0 or (adapters and not max_adapters):
        raise GeneralistError(f"max_adapters is {max_adapters} with {len(adapters)} adapters; use 1 or more")
    if not 1 <= max_lora_rank <= MAX_LORA_RANKS[-1]:
        raise GeneralistError(f"max_lora_rank is {max_lora_rank}; use 1 to {MAX_LORA_RANKS[-1]}")
