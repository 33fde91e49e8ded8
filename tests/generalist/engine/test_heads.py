"""Visual heads in the engine: adapters by name, in one batch with others, and replies like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from generalist.decoders import MaskCodec
from generalist.decoders.box import BoxDecoder
from generalist.decoders.mask import MaskDecoder
from generalist.engine import UnknownAdapter
from generalist.engine.batch import Batch
from generalist.engine.transformers_engine import TransformersEngine
from generalist.given import write
from generalist.line import Line
from generalist.model import Checkpoint
from generalist.pipeline import Generalist
from generalist.tokens import Vocabulary
from generalist.types import (
    Box,
    ChatRequest,
    GeneralistError,
    Grounded,
    Message,
    Prompt,
    Sampling,
    Seen,
    VisualPrompt,
)

from ...pictures import noise
from ..random_adapters import write_adapter
from ..random_heads import write_head

PICTURE = noise(60, 40)
SHORT = Sampling(max_new_tokens=4)


@pytest.fixture
def engine(tiny_checkpoint: Checkpoint, tmp_path: Path) -> TransformersEngine:
    """With a head "pets" and a LoRA "cats"."""
    made = TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)
    made.load_adapter("pets", write_head(tmp_path / "pets", tiny_checkpoint))
    made.load_adapter("cats", write_adapter(tmp_path / "cats", tiny_checkpoint.model))
    return made


@pytest.fixture(scope="module")
def line(vocab: Vocabulary) -> Line:
    """With a mask codec of noise."""
    import torch

    crops = torch.rand(160, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    masks = MaskDecoder(vocab, MaskCodec.fit(crops, entries=vocab.sizes.mask_codes, components=4))

    def encode(drawn: VisualPrompt) -> tuple[tuple[float, float, float, float], tuple[int, ...]]:
        assert drawn.bitmap is not None
        return masks.encode(drawn.bitmap)

    return Line(vocab, {"box": BoxDecoder(vocab), "mask": masks}, encode_mask=encode)


def asked(text: str, adapter: str | None) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", text=text, images=(PICTURE,)),), adapter=adapter, sampling=SHORT)


def drawn(outputs: tuple[Grounded, ...]) -> list[tuple[str, object]]:
    return [(one.label, one.output) for one in outputs]


def test_it_answers_what_it_knows_and_the_model_the_rest(engine: TransformersEngine, line: Line) -> None:
    model = Generalist(engine, line)
    texts = [("Detect all objects.", "pets"), ("What is it?", "pets"), ("What is it?", None), ("What is it?", "cats"),
             ("Segment everything.", "pets"), ("How many dogs are there?", "pets")]  # fmt: skip
    requests = [asked(*one) for one in texts]
    answers = model.answer(requests)
    for request, answer in zip(requests, answers, strict=True):
        assert answer.reply == model.answer([request])[0].reply and not answer.issues
    boxes, said, base, lora, masks, number = answers
    for answer, request in ((boxes, requests[0]), (masks, requests[4])):
        seen = engine.look(request)
        assert seen is not None and len(answer.outputs) > 4
        assert drawn(answer.outputs) == [(name, one) for name, outputs in seen.drawn for one in outputs]
        assert answer.text == ", ".join(name for name, _ in seen.drawn) and answer.finish_reason == "stop"
        assert answer.usage.completion_tokens > SHORT.max_new_tokens  # nothing is generated, so nothing is cut
    assert said.reply == base.reply != lora.reply and number.text.isdigit()
    assert all(entry["type"] == "mask" and entry["score"] for entry in masks.to_visual())


def test_streamed_and_batched_it_says_the_same(engine: TransformersEngine, line: Line) -> None:
    model, request = Generalist(engine, line), asked("Segment everything.", "pets")
    whole = model.answer([request])[0]
    events = list(model.answer_stream(request))
    assert drawn(tuple(one for one in events if isinstance(one, Grounded))) == drawn(whole.outputs)

    seen = engine.look(request)
    assert seen is not None
    batch, prompt = Batch(engine), line.give(line.prepare(request), seen)
    other = batch.join(plain := line.prepare(asked("What is it?", None)), engine.check(plain), SHORT)
    speaker = batch.join(prompt, engine.check(prompt), SHORT)
    assert not speaker.is_speaking and prompt.given is not None
    assert tuple(speaker.row.ids) == prompt.given.token_ids and len(batch) == int(other.is_speaking)


def test_names_come_and_go(engine: TransformersEngine, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert set(engine.adapters) == {"pets", "cats"}
    first = engine.look(asked("Detect all objects.", "pets"))
    engine.load_adapter("pets", write_head(tmp_path / "again", tiny_checkpoint, seed=1))
    second = engine.look(asked("Detect all objects.", "pets"))
    assert first and second and first.drawn != second.drawn
    assert engine.look(asked("Detect all objects.", "cats")) is engine.look(asked("Detect all objects.", None)) is None
    engine.unload_adapter("pets")
    with pytest.raises(UnknownAdapter, match="'pets' is not loaded"):
        engine.look(asked("Detect all objects.", "pets"))
    (tmp_path / "again" / "head.safetensors").write_bytes(b"x")
    with pytest.raises(GeneralistError, match="not readable as a head"):
        engine.load_adapter("pets", tmp_path / "again")
    assert set(engine.adapters) == {"cats"}


def test_a_long_list_is_numbered_anew(line: Line, vocab: Vocabulary) -> None:
    boxes = tuple(Box(xyxy=(k / 200, 0.1, k / 200 + 0.2, 0.3), score=0.5) for k in range(100))
    prompt = line.give(Prompt(token_ids=(0,), images=(PICTURE,)), Seen(drawn=(("dog", boxes),)))
    given = prompt.given
    assert given is not None
    outputs = [one for event in line.events(prompt, iter(given.token_ids)) if isinstance(one := event, Grounded)]
    assert [one.output for one in outputs] == list(boxes) and [one.ref for one in outputs][63:65] == [63, 0]
    assert sum(given.logprobs) == pytest.approx(400 * -0.6931, rel=1e-3)


def test_masks_need_a_codec(vocab: Vocabulary, engine: TransformersEngine) -> None:
    seen = engine.look(asked("Segment everything.", "pets"))
    assert seen is not None
    with pytest.raises(GeneralistError, match="a Mask cannot be written with this checkpoint"):
        write(seen, vocab, None)
