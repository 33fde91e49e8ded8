"""Visual heads behind the server: drawings come as from any model, with the head's own scores."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from generalist.decoders.box import BoxDecoder
from generalist.engine.transformers_engine import TransformersEngine
from generalist.line import Line
from generalist.model import Checkpoint
from generalist.types import Box, ChatRequest, Message, Sampling
from generalist_serving.adapter_root import adapter_folder, find_adapters
from generalist_serving.batching import TransformersBackend
from generalist_serving.events import Ask, Drawing
from generalist_serving.service import Service

from ..generalist import conftest
from ..generalist.random_heads import write_head
from ..pictures import noise

tiny_checkpoint = conftest.tiny_checkpoint
PICTURE = noise(60, 40)


def ask(text: str, adapter: str | None, json_schema: str = "") -> Ask:
    message = Message(role="user", text=text, images=(PICTURE,))
    request = ChatRequest(messages=(message,), adapter=adapter, sampling=Sampling(max_new_tokens=4))
    return Ask(request=request, json_schema=json_schema)


def test_it_is_asked_first(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    vocab = tiny_checkpoint.vocabulary
    engine = TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, vocab)
    question = "Detect all objects."

    async def use() -> None:
        backend = TransformersBackend(engine, vocab)
        service = Service(Line(vocab, {"box": BoxDecoder(vocab)}), backend, model="tiny")
        try:
            await backend.load_adapter("pets", str(write_head(tmp_path / "pets", tiny_checkpoint)))
            seen = engine.look(ask(question, "pets").request)
            assert seen is not None
            expected = [
                (name, box.xyxy, box.score) for name, boxes in seen.drawn for box in boxes if isinstance(box, Box)
            ]
            (whole,) = await service.answer(ask(question, "pets"))
            found = [(one.label, one.output.xyxy, one.output.score) for one in whole.answer.outputs
                     if isinstance(one.output, Box)]  # fmt: skip
            assert found == expected and len(found) > 4 and whole.answer.finish_reason == "stop"
            assert [entry["score"] for entry in whole.visual] == [round(score or 0, 4) for _, _, score in expected]
            async with aclosing(service.stream(ask(question, "pets"))) as events:
                streamed = [event.visual async for _, event in events if isinstance(event, Drawing)]
            assert streamed == list(whole.visual)

            for other in (ask("What?", "pets"), ask(question, None), ask(question, "pets", '{"type": "integer"}')):
                (answered,) = await service.answer(other)
                assert answered.answer.usage.completion_tokens <= 4  # the model wrote it
        finally:
            await asyncio.wait_for(backend.close(), 20)

    asyncio.run(use())


def test_a_server_finds_heads_among_its_adapters(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    folder = write_head(root / "pets", tiny_checkpoint)
    assert find_adapters(root, "tiny") == {"pets": folder} and adapter_folder(root, "pets") == folder
    (folder / "adapter.json").unlink()
    with pytest.raises(ValueError, match="no adapter 'pets'"):
        adapter_folder(root, "pets")
