import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generalist.constrain import reply_constraint
from generalist.engine.batch import Batch
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.types import Constraint, GeneralistError, Prompt, Sampling, Usage
from generalist_serving.backend import Backend, Busy, Piece, UnknownAdapter
from generalist_serving.batching import TransformersBackend

from ..generalist import conftest
from ..generalist.random_adapters import write_adapter

tiny_checkpoint = conftest.tiny_checkpoint


@pytest.fixture
def engine(tiny_checkpoint: Checkpoint) -> TransformersEngine:
    return TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)


def use(
    engine: TransformersEngine,
    vocab: Vocabulary,
    action: Callable[[TransformersBackend], Coroutine[Any, Any, None]],
    **options: int,
) -> None:
    """Run ``action`` with a backend, which is closed in the end."""

    async def run() -> None:
        backend = TransformersBackend(engine, vocab, **options)
        try:
            await action(backend)
        finally:
            await asyncio.wait_for(backend.close(), 20)

    asyncio.run(run())


def picture(seed: int) -> Image.Image:
    pixels = torch.randint(0, 256, (40, 50, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def ask(vocab: Vocabulary, text: str, *images: Image.Image, constraint: Constraint | None = None) -> Prompt:
    s = vocab.structure
    ids = [s[BOS], s[USER], *[vocab.image] * len(images), *vocab.encode_text(text), s[ASSISTANT]]
    return Prompt(token_ids=tuple(ids), images=images, constraint=constraint)


async def collect(pieces: AsyncIterator[Piece]) -> list[Piece]:
    return [piece async for piece in pieces]


def ids_of(pieces: list[Piece]) -> tuple[int, ...]:
    return tuple(token for piece in pieces for token in piece.token_ids)


def test_many_at_once_get_what_each_would_get_alone(engine: TransformersEngine, vocab: Vocabulary) -> None:
    boxes = reply_constraint(vocab, ("box",), plan=False)
    asked = [
        (
            ask(vocab, "x" * number, *[picture(number % 3)] * (number % 2), constraint=boxes if number % 3 else None),
            Sampling(temperature=number % 2 * 1.3, seed=number, max_new_tokens=2 + number),
        )
        for number in range(12)
    ]

    async def action(backend: TransformersBackend) -> None:
        protocol: Backend = backend
        answers = await asyncio.gather(*(collect(protocol.run(*one)) for one in asked))
        for (prompt, sampling), pieces in zip(asked, answers, strict=True):
            alone = engine.generate([prompt], sampling)[0]
            assert ids_of(pieces) == alone.token_ids
            logprobs = [logprob for piece in pieces for logprob in piece.logprobs]
            assert logprobs == pytest.approx(alone.logprobs, abs=1e-4)
            assert (pieces[-1].finish_reason, pieces[-1].usage) == (alone.finish_reason, alone.usage)
            assert all(piece.finish_reason is None for piece in pieces[:-1])
            # A stop string may make any piece the last one that is read.
            told = {piece.usage.prompt_tokens if piece.usage else None for piece in pieces}
            assert told == {alone.usage.prompt_tokens}

    use(engine, vocab, action, max_batch=5)


def test_a_short_reply_does_not_wait_for_a_long_one(engine: TransformersEngine, vocab: Vocabulary) -> None:
    async def action(backend: TransformersBackend) -> None:
        async with aclosing(backend.run(ask(vocab, "long"), Sampling(max_new_tokens=400))) as long:
            await anext(long)
            pieces = await collect(backend.run(ask(vocab, "short"), Sampling(max_new_tokens=3)))
            assert len(ids_of(pieces)) == 3
            assert backend.running == 1

    use(engine, vocab, action)


def test_who_stops_listening_stops_the_work(engine: TransformersEngine, vocab: Vocabulary) -> None:
    async def action(backend: TransformersBackend) -> None:
        other = asyncio.create_task(collect(backend.run(ask(vocab, "other"), Sampling(max_new_tokens=30))))
        async with aclosing(backend.run(ask(vocab, "long"), Sampling(max_new_tokens=3000))) as pieces:
            await anext(pieces)
        waits = asyncio.create_task(collect(backend.run(ask(vocab, "cancelled"), Sampling(max_new_tokens=3000))))
        await asyncio.sleep(0)
        waits.cancel()
        assert len(ids_of(await other)) == 30
        began = time.monotonic()
        await backend.close()
        assert time.monotonic() - began < 5
        assert (backend.running, backend.waiting) == (0, 0)

    use(engine, vocab, action)


def test_the_queue_has_an_end(engine: TransformersEngine, vocab: Vocabulary) -> None:
    async def action(backend: TransformersBackend) -> None:
        first = backend.run(ask(vocab, "first"), Sampling(max_new_tokens=2000))
        await anext(first)
        second = asyncio.create_task(collect(backend.run(ask(vocab, "second"), Sampling(max_new_tokens=1))))
        await asyncio.sleep(0.05)
        assert (backend.running, backend.waiting) == (1, 1)
        with pytest.raises(Busy) as busy:
            await anext(backend.run(ask(vocab, "third"), Sampling()))
        assert 1 <= busy.value.seconds <= 30
        await first.aclose()
        assert len(ids_of(await second)) == 1
        assert len(ids_of(await collect(backend.run(ask(vocab, "third"), Sampling(max_new_tokens=2))))) == 2

    use(engine, vocab, action, max_batch=1, max_queue=1)


@pytest.mark.parametrize("how", ["check", "run"])
def test_what_cannot_be_run_is_refused_first(engine: TransformersEngine, vocab: Vocabulary, how: str) -> None:
    bad = [
        (Prompt(token_ids=(5,) * 9000), GeneralistError, "9000 tokens"),
        (Prompt(token_ids=(5,), images=(picture(1),)), GeneralistError, "0 <image> tokens"),
        (Prompt(token_ids=(5,), adapter="cats"), UnknownAdapter, "'cats'"),
        (ask(vocab, "x", constraint=Constraint(grammar="root ::= (")), GeneralistError, "not valid"),
    ]

    async def action(backend: TransformersBackend) -> None:
        for prompt, kind, says in bad:
            with pytest.raises(kind, match=says):
                await (backend.check(prompt) if how == "check" else anext(backend.run(prompt, Sampling())))
        assert (backend.running, backend.waiting) == (0, 0)
        assert len(await collect(backend.run(ask(vocab, "x"), Sampling(max_new_tokens=1)))) == 1

    use(engine, vocab, action)


def test_a_step_that_fails_ends_its_rows_and_no_more(
    engine: TransformersEngine, vocab: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, broken = Batch.step, threading.Event()

    def fragile(batch: Batch) -> None:
        if broken.is_set() and len(batch) == 2:
            broken.clear()
            raise ZeroDivisionError("out of luck")
        step(batch)

    monkeypatch.setattr(Batch, "step", fragile)

    async def action(backend: TransformersBackend) -> None:
        broken.set()
        runs = [collect(backend.run(ask(vocab, text), Sampling(max_new_tokens=500))) for text in ("a", "b")]
        errors = await asyncio.gather(*runs, return_exceptions=True)
        assert [type(error) for error in errors] == [RuntimeError, RuntimeError]
        assert errors[0] is not errors[1]
        assert all("out of luck" in str(error) for error in errors)
        assert len(ids_of(await collect(backend.run(ask(vocab, "a"), Sampling(max_new_tokens=5))))) == 5

    use(engine, vocab, action)


def test_a_prompt_that_fails_hurts_nobody_else(
    engine: TransformersEngine, vocab: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = TransformersEngine.start

    def fragile(self: TransformersEngine, inputs: Any, rows: Any) -> Any:
        if len(inputs[0].ids) == 1:
            raise MemoryError("no room")
        return start(self, inputs, rows)

    monkeypatch.setattr(TransformersEngine, "start", fragile)

    async def action(backend: TransformersBackend) -> None:
        good = asyncio.create_task(collect(backend.run(ask(vocab, "good"), Sampling(max_new_tokens=50))))
        with pytest.raises(RuntimeError, match="no room"):
            await collect(backend.run(Prompt(token_ids=(5,)), Sampling()))
        assert len(ids_of(await good)) == 50

    use(engine, vocab, action)


def test_closing_finishes_what_was_accepted(engine: TransformersEngine, vocab: Vocabulary) -> None:
    async def action(backend: TransformersBackend) -> None:
        runs = [backend.run(ask(vocab, text), Sampling(max_new_tokens=40)) for text in "abc"]
        begun = await asyncio.gather(*(anext(pieces) for pieces in runs))
        await backend.close()
        rest = await asyncio.gather(*(collect(pieces) for pieces in runs))
        assert [len(ids_of([first, *pieces])) for first, pieces in zip(begun, rest, strict=True)] == [40, 40, 40]
        with pytest.raises(Busy):
            await anext(backend.run(ask(vocab, "late"), Sampling()))

    use(engine, vocab, action)


def test_usage_counts_every_position_of_an_image(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine, vocab: Vocabulary
) -> None:
    prompt = ask(vocab, "hello", picture(1))
    length = len(prompt.token_ids) - 1 + tiny_checkpoint.model.config.num_image_tokens

    async def action(backend: TransformersBackend) -> None:
        pieces = await collect(backend.run(prompt, Sampling(max_new_tokens=2)))
        assert pieces[-1].usage == Usage(prompt_tokens=length, completion_tokens=2)

    use(engine, vocab, action)


def test_adapters_come_and_go_while_requests_are_answered(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint, vocab: Vocabulary, tmp_path: Path
) -> None:
    folders = {name: write_adapter(tmp_path / name, tiny_checkpoint.model, n) for n, name in enumerate("abcde")}
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    asked = [
        (replace(ask(vocab, f"question {n}", picture(n % 3)), adapter=name), Sampling(max_new_tokens=4 + n))
        for n in range(10)
        for name in (None, *folders)
    ]
    alone = [engine.generate([prompt], sampling)[0] for prompt, sampling in asked]
    for name in folders:
        engine.unload_adapter(name)

    async def action(backend: TransformersBackend) -> None:
        for name, folder in folders.items():
            await backend.load_adapter(name, str(folder))
        assert backend.adapters == {name: str(folder) for name, folder in folders.items()}
        answers = [asyncio.create_task(collect(backend.run(*one))) for one in asked]
        while backend.waiting + backend.running < len(asked):
            await asyncio.sleep(0)
        await asyncio.gather(*(backend.check(prompt) for prompt, _ in asked))  # all have been read behind these
        await backend.load_adapter("a", str(folders["b"]))
        await backend.unload_adapter("c")
        for pieces, expected in zip(await asyncio.gather(*answers), alone, strict=True):
            assert ids_of(pieces) == expected.token_ids
        with pytest.raises(UnknownAdapter, match="'c' is not loaded; use one of a, b, d, e"):
            await anext(backend.run(replace(asked[0][0], adapter="c"), Sampling()))
        (now,) = [await collect(backend.run(replace(prompt, adapter="a"), sampling)) for prompt, sampling in asked[:1]]
        assert ids_of(now) == alone[2].token_ids  # what "b" said

    use(engine, vocab, action, max_queue=100)


def test_the_likeliest_tokens_come_with_the_pieces(engine: TransformersEngine, vocab: Vocabulary) -> None:
    prompt, sampling = ask(vocab, "hello"), Sampling(max_new_tokens=6, top_logprobs=4)
    expected = engine.generate([prompt], sampling)[0].top_logprobs

    async def action(backend: TransformersBackend) -> None:
        told, plain = await asyncio.gather(
            collect(backend.run(prompt, sampling)), collect(backend.run(prompt, Sampling(max_new_tokens=6)))
        )
        tops = [top for piece in told for top in piece.top_logprobs]
        assert [[token for token, _ in top] for top in tops] == [[token for token, _ in top] for top in expected]
        assert all(piece.top_logprobs == () for piece in plain)

    use(engine, vocab, action)


def test_an_adapter_that_cannot_be_loaded(engine: TransformersEngine, vocab: Vocabulary, tmp_path: Path) -> None:
    async def action(backend: TransformersBackend) -> None:
        with pytest.raises(GeneralistError, match=r"adapter_config\.json: cannot be read"):
            await backend.load_adapter("cats", str(tmp_path))
        with pytest.raises(UnknownAdapter, match="'cats' is not loaded"):
            await backend.unload_adapter("cats")
        assert backend.adapters == {}

    use(engine, vocab, action)


@pytest.mark.parametrize(("options", "says"), [({"max_batch": 0}, "max_batch is 0"), ({"max_queue": -1}, "-1")])
def test_sizes_that_make_no_sense(
    engine: TransformersEngine, vocab: Vocabulary, options: dict[str, int], says: str
) -> None:
    with pytest.raises(GeneralistError, match=says):
        TransformersBackend(engine, vocab, **options)
