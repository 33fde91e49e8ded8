"""``VllmEngine``: a checkpoint served by vLLM, to the same terms as ``TransformersEngine``."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from weakref import finalize

from generalist.constrain import compile_constraint
from generalist.engine.inputs import check_prompt
from generalist.identifiers import check_vocabulary, load_identifiers
from generalist.model.checkpoint import load_parts
from generalist.types import Constraint, GeneralistError, Generation, Prompt, Sampling
from generalist_serving.vllm_engine import requests
from generalist_serving.vllm_engine.adapters import Adapters
from generalist_serving.vllm_engine.loop import Loop, Submission
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
        parts = load_parts(folder)
        longest = int(parts.config.text_config.max_position_embeddings)
        context = longest if max_context is None else max_context
        adapters = adapters or {}
        mixed = len(adapters) if max_adapters is None else max_adapters
        _check_options(context, longest, max_batch, mixed, max_lora_rank, adapters)
        self._vocabulary = parts.vocabulary
        self._image_processor = parts.processor.image_processor
        self._image_tokens = parts.config.num_image_tokens
        self._context = context
        self._default_grammar = _default_grammar(parts.vocabulary.eos) if _is_padded(parts) else None
        settings = Settings(
            folder=Path(folder),
            device=device,
            dtype=dtype or ("float32" if device == "cpu" else "bfloat16"),
            max_context=context,
            max_images=max(1, context // self._image_tokens),
            max_batch=max_batch,
            max_adapters=mixed,
            max_lora_rank=min(rank for rank in MAX_LORA_RANKS if rank >= max_lora_rank),
            options=options or {},
        )
        self._adapters = Adapters(Path(folder), max_lora_rank if mixed else 0)
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
        return self._context - 1

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """One generation for each prompt; they run beside those of other callers.

        An exception, also one of the caller's such as KeyboardInterrupt, ends all of them.
        """
        wanted = [self._request(prompt, sampling) for prompt in prompts]
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
        eos = self._vocabulary.eos
        return [requests.generation(request, output, eos) for request, output in zip(wanted, outputs, strict=True)]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """The token ids of ``generate([prompt], sampling)``, each as soon as it is chosen.

        The request runs from now on, whether or not its tokens are asked for; closing the iterator ends it.
        """
        request = self._request(prompt, sampling)
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        submission = self._submission(request, arrived.put, streamed=True)
        self._submit([submission])
        return _Stream(request, arrived, self._vocabulary.eos, lambda: self._loop.abort([submission.id]))

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

    def _request(self, prompt: Prompt, sampling: Sampling) -> Request:
        """Everything that can be wrong with a prompt is looked at here, before vLLM sees it."""
        adapter = self._adapters.get(prompt.adapter)
        tokens = check_prompt(prompt, self._vocabulary, self._image_tokens, self.max_prompt_tokens)
        if prompt.constraint is not None:
            self._check_constraint(prompt.constraint)
        return Request(
            token_ids=prompt.token_ids,
            # Shrunk here, in the caller's thread; vLLM's own preparation then has little to do and less to copy.
            images=tuple(map(self._image_processor.shrink, prompt.images)),
            constraint=prompt.constraint,
            sampling=sampling,
            adapter=adapter,
            prompt_tokens=tokens,
            budget=min(sampling.max_new_tokens, self._context - tokens),
        )

    def _check_constraint(self, constraint: Constraint) -> None:
        if constraint.json_schema:
            shown = constraint.json_schema[:40]
            raise GeneralistError(f"engine 'vllm' writes no JSON of a schema ({shown!r}...); use engine 'transformers'")
        compile_constraint(constraint, self._vocabulary)
        if constraint.identifiers is not None:
            check_vocabulary(load_identifiers(constraint.identifiers), self._vocabulary, constraint.identifiers)

    def _submission(self, request: Request, deliver: Callable[[Any], None], *, streamed: bool = False) -> Submission:
        return Submission(
            id=str(next(self._numbers)),
            prompt=requests.vllm_prompt(request),
            params=requests.vllm_sampling(request, streamed=streamed, default_grammar=self._default_grammar),
            adapter=request.adapter,
            deliver=deliver,
        )

    def _submit(self, submissions: Sequence[Submission]) -> None:
        self._loop.submit(submissions)
        for one in submissions:
            try:
                one.accepted.result()
            except ValueError as error:
                raise GeneralistError(f"vLLM refuses the request ({' '.join(str(error).split())})") from error


class _Stream(Iterator[int]):
    """Tokens as they arrive. A class, not a generator: closing one that was never asked must end its request too."""

    def __init__(self, request: Request, arrived: queue.SimpleQueue[Any], eos: int, abort: Callable[[], None]) -> None:
        self._request = request
        self._arrived = arrived
        self._eos = eos
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
        self._ready = requests.new_tokens(output, self._eos)[::-1]
        if output.finished:
            self._abort.detach()
            requests.check_finished(self._request, output, self._eos)


def _fulfil(result: Future[Any]) -> Callable[[Any], None]:
    def deliver(output: Any) -> None:
        if isinstance(output, BaseException):
            result.set_exception(output)
        elif output.finished:
            result.set_result(output)

    return deliver


def _is_padded(parts: Any) -> bool:
    """Whether the model has rows of logits that belong to no token."""
    return int(parts.config.text_config.vocab_size) > parts.vocabulary.size


def _default_grammar(eos: int) -> str:
    """Every token of the vocabulary, and nothing else."""
    return f"root ::= any*\nany ::= ExcludeToken({eos})\n"


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
