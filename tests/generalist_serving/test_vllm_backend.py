"""The backend around vLLM's asynchronous engine, of which a scripted one stands in here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generalist.engine import not_loaded
from generalist.tokens import Vocabulary
from generalist.types import Constraint, GeneralistError, Prompt, Sampling
from generalist_serving.backend import Busy, Piece, UnknownAdapter
from generalist_serving.vllm_backend import VllmBackend
from generalist_serving.vllm_engine.requests import Request
from generalist_serving.vllm_plugin import identifiers

PROMPT = Prompt(token_ids=(1, 2, 3))
GREEDY = Sampling()


@dataclass
class Adapters:
    """Those of an engine, without the checks of their files."""

    loaded: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.loaded)

    @property
    def folders(self) -> dict[str, str]:
        return {name: one.lora_path for name, one in self.loaded.items()}

    def get(self, name: str | None) -> Any:
        if name is not None and name not in self.loaded:
            raise not_loaded(name, self.loaded)
        return None if name is None else self.loaded[name]

    def load(self, name: str, folder: str, add: Any) -> Any:
        one = SimpleNamespace(lora_int_id=len(self.loaded) + 1, lora_path=folder)
        add(one)
        before, self.loaded[name] = self.loaded.get(name), one
        return before

    def unload(self, name: str) -> Any:
        self.get(name)
        return self.loaded.pop(name)


class Engine:
    """Says ``said``, one (ids, reason) after the other; waits for ``gate`` before each."""

    def __init__(self, said: list[tuple[list[int], str | None]]) -> None:
        self.said = said
        self.error: Exception | None = None
        self.refuses = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[dict[str, Any]] = []
        self.aborted = 0
        self.adapters: list[int] = []
        self.ended: list[float] = []

    async def generate(self, prompt: Any, params: Any, name: str, *, lora_request: Any) -> AsyncIterator[Any]:
        self.asked.append({"prompt": prompt, "params": params, "name": name, "adapter": lora_request})
        try:
            for ids, reason in self.said:
                await self.gate.wait()
                if self.error is not None:
                    raise self.error
                at = range(0, 3 * len(ids), 3)  # the chosen one, then the two likeliest, one of them impossible
                logprobs = SimpleNamespace(
                    logprobs=[-0.5, -0.2, -math.inf] * len(ids),
                    token_ids=[1, 2, 3] * len(ids),
                    start_indices=list(at),
                    end_indices=[begin + 3 for begin in at],
                )
                one = SimpleNamespace(token_ids=ids, finish_reason=reason, logprobs=logprobs)
                yield SimpleNamespace(outputs=[one], finished=reason is not None)
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise

    async def add_lora(self, adapter: Any) -> None:
        if self.refuses:
            raise Exception("Call to add_lora method failed: too large")
        self.adapters.append(adapter.lora_int_id)

    async def remove_lora(self, number: int) -> None:
        self.adapters.remove(number)

    def shutdown(self, timeout: float) -> None:
        self.ended.append(timeout)


class Reader:
    """Lets every prompt through."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def read(self, prompt: Prompt, sampling: Sampling, adapters: Adapters) -> Request:
        if prompt.token_ids == (0,):
            raise GeneralistError("the prompt has token id 0")
        return Request(
            token_ids=prompt.token_ids,
            images=(),
            constraint=prompt.constraint,
            sampling=sampling,
            adapter=adapters.get(prompt.adapter),
            prompt_tokens=len(prompt.token_ids),
            budget=9,
        )

    def sampling_params(self, request: Request, *, streamed: bool) -> Any:
        assert streamed
        return request.sampling


@pytest.fixture
def engine(vocab: Vocabulary) -> Engine:
    return Engine([([5, 6], None), ([7, vocab.eos], "stop")])


@pytest.fixture
def backend(engine: Engine, vocab: Vocabulary) -> VllmBackend:
    return VllmBackend(engine, Reader(vocab), Adapters(), max_batch=2, max_queue=1)  # type: ignore[arg-type]


async def pieces_of(backend: VllmBackend, prompt: Prompt = PROMPT, sampling: Sampling = GREEDY) -> list[Piece]:
    return [piece async for piece in backend.run(prompt, sampling)]


async def ask(backend: VllmBackend) -> asyncio.Task[list[Piece]]:
    """A request that waits at the gate of its engine."""
    asked = asyncio.create_task(pieces_of(backend))
    await asyncio.sleep(0.05)
    return asked


def test_a_reply_comes_in_pieces_without_the_end_token(backend: VllmBackend, engine: Engine) -> None:
    first, last = asyncio.run(pieces_of(backend))
    assert (first.token_ids, first.logprobs, first.finish_reason) == ((5, 6), (-0.5, -0.5), None)
    assert (last.token_ids, last.logprobs, last.finish_reason) == ((7,), (-0.5,), "stop")
    assert last.usage is not None and (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 3)
    assert engine.asked[0]["prompt"] == {"prompt_token_ids": [1, 2, 3]}
    engine.said = [([5], "length")]
    assert asyncio.run(pieces_of(backend))[0].finish_reason == "length"
    assert engine.asked[0]["name"] != engine.asked[1]["name"]


def test_the_likeliest_tokens_are_told_where_asked_for(backend: VllmBackend) -> None:
    first, last = asyncio.run(pieces_of(backend, sampling=Sampling(top_logprobs=2)))
    assert first.top_logprobs == (((2, -0.2),), ((2, -0.2),))
    assert last.top_logprobs == (((2, -0.2),),)
    assert asyncio.run(pieces_of(backend))[0].top_logprobs == ()


@pytest.mark.parametrize("reason, logprob, says", [("abort", -0.5, r"ended a request \(abort\)"),
                                                   ("stop", math.nan, "logits are not finite")])  # fmt: skip
def test_what_goes_wrong_inside_is_no_reply(
    backend: VllmBackend, engine: Engine, monkeypatch: pytest.MonkeyPatch, reason: str, logprob: float, says: str
) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    engine.said = [([5], reason)]
    monkeypatch.setattr(
        "generalist_serving.vllm_engine.requests.token_logprobs", lambda output: [logprob] * len(output.outputs)
    )
    with pytest.raises(RuntimeError, match=says):
        asyncio.run(pieces_of(backend))
    assert backend.running == 0


def test_errors_of_vllm_are_told_as_what_they_are(backend: VllmBackend, engine: Engine) -> None:
    exceptions = pytest.importorskip("vllm.exceptions", reason="vLLM is not installed")
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    def wrapped(cause: Exception) -> Exception:
        error = EngineGenerateError()
        error.__cause__ = cause
        return error

    for error, kind, says in (
        (exceptions.VLLMValidationError("top_k is odd"), GeneralistError, "vLLM refuses the request .*top_k is odd"),
        (wrapped(GeneralistError("the image is odd")), GeneralistError, "^the image is odd$"),
        (wrapped(ValueError("odd")), GeneralistError, r"vLLM refuses the request \(odd\)"),
        (exceptions.QueueOverflowError(), Busy, "busy"),
        (wrapped(KeyError("inside")), EngineGenerateError, None),
        (EngineDeadError(), EngineDeadError, None),
    ):
        engine.error = error
        with pytest.raises(kind, match=says):
            asyncio.run(pieces_of(backend))
        assert (backend.running, backend.waiting) == (0, 0)


def test_who_finds_the_queue_full_is_sent_away(backend: VllmBackend, engine: Engine) -> None:
    async def run() -> None:
        engine.gate.clear()
        asked = [await ask(backend) for _ in range(3)]
        assert (backend.running, backend.waiting) == (2, 1)
        with pytest.raises(Busy) as busy:
            await pieces_of(backend)
        assert 1 <= busy.value.seconds <= 30
        engine.gate.set()
        assert all(len(pieces) == 2 for pieces in await asyncio.gather(*asked))
        assert (backend.running, backend.waiting) == (0, 0)
        assert len(await pieces_of(backend)) == 2

    asyncio.run(run())


@pytest.mark.parametrize("begun", [True, False])
def test_who_leaves_ends_the_work(backend: VllmBackend, engine: Engine, begun: bool) -> None:
    async def run() -> None:
        if begun:
            pieces = backend.run(PROMPT, Sampling())
            await anext(pieces)
            await pieces.aclose()
        else:
            engine.gate.clear()
            asked = await ask(backend)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        assert (engine.aborted, backend.running, backend.waiting) == (1, 0, 0)

    asyncio.run(run())


def test_a_prompt_is_looked_at_before_vllm_sees_it(backend: VllmBackend, engine: Engine) -> None:
    for wrong, kind in ((Prompt(token_ids=(0,)), GeneralistError), (replace(PROMPT, adapter="cats"), UnknownAdapter)):
        for asked in (backend.check(wrong), pieces_of(backend, wrong)):
            with pytest.raises(kind):
                asyncio.run(asked)  # type: ignore[arg-type]
    assert engine.asked == []
    assert backend.running == 0


def test_adapters_come_and_go(engine: Engine, vocab: Vocabulary, tmp_path: Path) -> None:
    told: list[list[str]] = []
    backend = VllmBackend(
        engine,
        Reader(vocab),  # type: ignore[arg-type]
        Adapters(),  # type: ignore[arg-type]
        max_batch=2,
        max_queue=1,
        on_adapters=lambda adapters: told.append(list(adapters)),
    )

    async def run() -> None:
        await backend.load_adapter("cats", "cats/1")
        assert backend.adapters == {"cats": "cats/1"}
        await pieces_of(backend, replace(PROMPT, adapter="cats"))
        assert engine.asked[0]["adapter"].lora_int_id == 1
        await backend.load_adapter("cats", "cats/2")
        assert (backend.adapters, engine.adapters) == ({"cats": "cats/2"}, [2])
        engine.refuses = True
        with pytest.raises(ValueError, match="too large"):
            await backend.load_adapter("dogs", "dogs")
        await backend.unload_adapter("cats")
        assert (dict(backend.adapters), engine.adapters) == ({}, [])
        with pytest.raises(UnknownAdapter, match="adapter 'cats' is not loaded"):
            await backend.unload_adapter("cats")

    asyncio.run(run())
    assert told == [["cats"], ["cats"], []]


def test_its_own_identifiers_are_trusted(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted: set[str] = set()
    monkeypatch.setattr(identifiers, "_trusted", trusted)
    asyncio.run(pieces_of(backend, replace(PROMPT, constraint=Constraint(grammar="", identifiers="names"))))
    assert trusted == {"names"}


def test_it_ends_vllm_once(backend: VllmBackend, engine: Engine) -> None:
    asyncio.run(backend.close())
    asyncio.run(backend.close())
    assert engine.ended == [0]
