"""The server without HTTP: events, whole answers, stops, several replies, and how work ends early."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from generalist.decoders.hub import HubDepth, HubMasks
from generalist.hub_drawing import HubDrawing
from generalist.pipeline import Generalist
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, DepthMap, GeneralistError, Mask, Message, Sampling
from generalist_serving.backend import Busy, UnknownAdapter
from generalist_serving.events import Answered, Ask, Drawing, End, Event, Outcome, Plan, Text, Token
from generalist_serving.service import Service

from ..generalist.scripted_model import scripted
from .routes import run
from .scripted_backend import DOG, Ids, ScriptedBackend, scripted_line

PICTURE = Image.new("RGB", (200, 100))
PLANNED = "<Task>- Name: dog Unit: box Num: 1</Task>" + DOG
TWO = DOG + " A <Phrase>cat</Phrase>(<Unit>point</Unit>[0]<loc_0001><loc_0002>) too."
MASK = "<Phrase>cat</Phrase>(<Unit>mask</Unit>[0]" + "<loc_0000>" * 2 + "<loc_0063>" * 2 + "<mask_001>" * 16 + ")"


def asked(text: str = "Where is the dog?", *, adapter: str | None = None, seed: int | None = None, **more) -> Ask:
    message = Message(role="user", text=text, images=(PICTURE,))
    return Ask(request=ChatRequest(messages=(message,), adapter=adapter, sampling=Sampling(seed=seed)), **more)


def served(vocab: Vocabulary, *replies: list[int], outcomes: list[Outcome] | None = None, **backend) -> Service:
    observe = None if outcomes is None else outcomes.append
    engine = ScriptedBackend(replies, **backend)
    return Service(scripted_line(vocab, docs=True), engine, model="nano", observe=observe)


def events_of(service: Service, ask: Ask) -> list[tuple[int, Event]]:
    async def collect() -> list[tuple[int, Event]]:
        return [event async for event in service.stream(ask)]

    return run(collect())


def text_of(events: list[tuple[int, Event]], number: int = 0) -> str:
    return "".join(event.text for at, event in events if at == number and isinstance(event, Text))


def answer(service: Service, ask: Ask) -> Answered:
    (only,) = run(service.answer(ask))
    return only


def test_a_stream_tells_the_plan_the_words_and_each_drawing_once_in_order(vocab: Vocabulary, ids: Ids) -> None:
    events = [event for _, event in events_of(served(vocab, ids(PLANNED)), asked())]
    assert isinstance(events[0], Plan) and events[0].plan[0].name == "dog"
    (drawn,) = [event for event in events if isinstance(event, Drawing)]
    before = "".join(event.text for event in events[: events.index(drawn)] if isinstance(event, Text))
    assert before == "The dog"
    assert drawn.visual["index"] == 0 and drawn.visual["box"] == [51.56, 25.78, 101.56, 75.78]
    end = events[-1]
    assert isinstance(end, End) and end.finish_reason == "stop" and end.reply.text == "The dog sits."
    assert end.usage.completion_tokens == len(ids(PLANNED))


@pytest.mark.parametrize("written", [PLANNED, TWO, MASK, "Just words.", "a<loc_0001>b", "(not a unit"])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_an_answer_is_that_of_the_engine_however_it_comes(
    vocab: Vocabulary, ids: Ids, written: str, piece: int
) -> None:
    whole = scripted(vocab, [ids(written)], docs=True)[0].answer([asked().request])[0]
    got = answer(served(vocab, ids(written), piece=piece), asked()).answer
    assert got.to_dict() == whole.to_dict()


def test_a_streamed_drawing_has_the_score_of_the_whole_answer(vocab: Vocabulary, ids: Ids) -> None:
    model: Generalist = scripted(vocab, [ids(DOG)])[0]
    (drawn,) = [e for _, e in events_of(served(vocab, ids(DOG)), asked()) if isinstance(e, Drawing)]
    assert drawn.visual == model.answer([asked().request])[0].to_visual()[0]
    assert drawn.visual["score"] == pytest.approx(math.exp(-0.2), abs=1e-4)


def test_drawings_are_numbered_through_a_reply(vocab: Vocabulary, ids: Ids) -> None:
    visual = answer(served(vocab, ids(TWO)), asked()).visual
    assert [(entry["index"], entry["type"]) for entry in visual] == [(0, "box"), (1, "point")]


# --- stop ---


@pytest.mark.parametrize("piece", [1, 3, 1000])
@pytest.mark.parametrize("stop, text, drawings", [
    ((" too",), "The dog sits. A cat", 2),
    ((" A cat",), "The dog sits.", 1),
    (("g sits",), "The do", 0),
    (("never", "cat"), "The dog sits. A ", 1),
    (("The",), "", 0),
    (("never",), "The dog sits. A cat too.", 2),
])  # fmt: skip
def test_a_reply_ends_before_a_stop_string_with_its_drawings(
    vocab: Vocabulary, ids: Ids, stop: tuple[str, ...], text: str, drawings: int, piece: int
) -> None:
    service = served(vocab, ids(TWO), piece=piece)
    events = events_of(service, asked(stop=stop))
    assert text_of(events) == text
    got = answer(service, asked(stop=stop))
    assert got.answer.text == text and len(got.visual) == drawings == len(got.answer.reply.phrases)
    assert got.answer.finish_reason == "stop"


def test_a_stop_string_ends_the_work(vocab: Vocabulary, ids: Ids) -> None:
    service = served(vocab, ids(TWO))
    usage = answer(service, asked(stop=("dog",))).answer.usage
    assert usage.completion_tokens < len(ids(TWO)) and usage.prompt_tokens > 0
    assert (service.backend.cancelled, service.backend.running) == (1, 0)


# --- tokens ---


def test_tokens_have_their_text_bytes_and_the_names_of_special_ones(vocab: Vocabulary, ids: Ids) -> None:
    written = "<Phrase>é</Phrase>!"
    tokens = answer(served(vocab, ids(written)), asked(logprobs=True)).tokens
    assert len(tokens) == len(ids(written))
    assert tokens[0] == Token(text="<Phrase>", data=None, logprob=-0.1)
    assert b"".join(token.data or b"" for token in tokens).decode() == "é!"


@pytest.mark.parametrize("logprob, told", [(-math.inf, -9999.0), (math.nan, -9999.0), (0.0, 0.0)])
def test_log_probabilities_are_finite(vocab: Vocabulary, ids: Ids, logprob: float, told: float) -> None:
    tokens = answer(served(vocab, ids("Hi"), logprob=logprob), asked(logprobs=True)).tokens
    assert {token.logprob for token in tokens} == {told}


def test_tokens_behind_a_stop_string_are_not_told(vocab: Vocabulary, ids: Ids) -> None:
    tokens = answer(served(vocab, ids(DOG)), asked(stop=(" sits",), logprobs=True)).tokens
    assert b"".join(token.data or b"" for token in tokens).startswith(b"The dog")
    assert not any((token.data or b"").endswith(b"s") for token in tokens)


# --- several replies ---


def test_several_replies_run_side_by_side_with_seeds_of_their_own(vocab: Vocabulary, ids: Ids) -> None:
    service = served(vocab, ids("one"), ids("two"), ids("three"), delay=0.001)
    answers = run(service.answer(asked(n=3, seed=5)))
    assert [one.answer.text for one in answers] == ["one", "two", "three"]
    assert [sampling.seed for sampling in service.backend.samplings] == [5, 6, 7]


def test_a_full_queue_refuses_all_replies_of_a_request(vocab: Vocabulary, ids: Ids) -> None:
    service = served(vocab, ids(DOG), delay=0.01, capacity=1)
    with pytest.raises(Busy) as caught:
        run(service.answer(asked(n=2)))
    assert caught.value.seconds == 7 and service.backend.running == 0


# --- what is refused, and how work ends early ---


def test_refusals_come_before_the_first_event(vocab: Vocabulary, ids: Ids) -> None:
    with pytest.raises(GeneralistError, match="no text"):
        events_of(served(vocab, ids(DOG)), asked(" "))
    with pytest.raises(UnknownAdapter):
        events_of(served(vocab, ids(DOG)), asked(adapter="nobody"))
    with pytest.raises(GeneralistError, match="at most 3"):
        events_of(served(vocab, ids(DOG), max_prompt_tokens=3), asked())


def test_models_are_the_base_and_its_adapters(vocab: Vocabulary) -> None:
    service = served(vocab, [1], adapters={"birds": "/a"})
    assert service.adapter_of("nano") is None and service.adapter_of("birds") == "birds"
    with pytest.raises(UnknownAdapter, match="'cats'"):
        service.adapter_of("cats")


@pytest.mark.parametrize("n", [1, 3])
def test_who_stops_listening_stops_the_engine(vocab: Vocabulary, ids: Ids, n: int) -> None:
    outcomes: list[Outcome] = []
    service = served(vocab, ids(DOG), outcomes=outcomes, delay=0.005)

    async def hear_one() -> None:
        async with aclosing(service.stream(asked(n=n))) as events:
            await anext(events)

    run(hear_one())
    assert service.backend.running == 0 and service.backend.cancelled == n
    assert [outcome.ended for outcome in outcomes] == ["cancelled"] * n


def test_a_cancelled_answer_stops_the_engine(vocab: Vocabulary, ids: Ids) -> None:
    service = served(vocab, ids(DOG), delay=0.01)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(service.answer(asked(n=2)), 0.03)

    run(give_up())
    assert service.backend.running == 0 and service.backend.cancelled == 2


def test_a_failing_engine_fails_its_request_only(vocab: Vocabulary, ids: Ids) -> None:
    service = served(vocab, ids(DOG), fails_at=3)
    with pytest.raises(RuntimeError, match="scripted"):
        run(service.answer(asked(n=2)))
    assert service.backend.running == 0
    service.backend.fails_at = None
    assert answer(service, asked()).answer.text == "The dog sits."


def test_the_observer_hears_how_each_reply_went(vocab: Vocabulary, ids: Ids) -> None:
    outcomes: list[Outcome] = []
    service = served(vocab, ids(TWO + "<loc_0001>"), outcomes=outcomes)
    answer(service, asked())
    (went,) = outcomes
    assert (went.task, went.adapter, went.ended, went.issues) == ("chat", None, "stop", 1)
    assert dict(went.units) == {"box": 1, "point": 1} and went.usage.completion_tokens > 10
    assert 0 <= (went.first_token_s or 0) <= went.seconds
    for ask, ended in ((asked(""), "refused"), (asked(adapter="nobody"), "refused")):
        with pytest.raises(GeneralistError):
            answer(service, ask)
        assert outcomes[-1].ended == ended
    service.backend.capacity = 0
    with pytest.raises(Busy):
        answer(service, asked())
    assert outcomes[-1].ended == "busy" and len(outcomes) == 4


# --- JSON ---


def test_json_is_asked_of_the_engine_by_its_schema(vocab: Vocabulary, ids: Ids) -> None:
    service = served(vocab, ids('{"a": 1}'))
    schema = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert json.loads(answer(service, asked(json_schema=schema)).answer.text) == {"a": 1}
    constraint = service.backend.prompts[0].constraint
    assert constraint is not None and constraint.json_schema == schema


def test_a_schema_that_cannot_be_read_is_refused(vocab: Vocabulary, ids: Ids) -> None:
    with pytest.raises(GeneralistError, match="not valid"):
        answer(served(vocab, ids("{}")), asked(json_schema='{"type": "nope"}'))


class Sure:
    """Draws masks as they are, and is a quarter sure of each."""

    def draw(self, image: Image.Image, prompts: Sequence[Any]) -> list[Mask]:
        assert image is PICTURE
        return [replace(prompt, score=0.25) for prompt in prompts]


def test_what_another_model_draws_keeps_its_score(vocab: Vocabulary, ids: Ids) -> None:
    line = scripted_line(vocab, docs=True)
    drawing = HubDrawing(line, masks=cast(HubMasks, Sure()))
    backend = ScriptedBackend([ids(TWO[:-1] + ", " + MASK)])
    service = Service(line, backend, model="nano", drawing=drawing)
    plain = answer(served(vocab, ids(TWO[:-1] + ", " + MASK)), asked())
    redrawn = answer(service, asked())
    assert [entry["type"] for entry in redrawn.visual] == ["box", "point", "mask"]
    assert redrawn.visual[:2] == plain.visual[:2]
    assert redrawn.visual[2]["score"] == 0.25 != plain.visual[2]["score"]
    assert redrawn.answer.outputs[2].output.score == 0.25
    assert service.tasks == served(vocab).tasks


class Slow:
    """Draws depth once it is told to; counts who came."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def draw(self, image: Image.Image) -> DepthMap:
        assert self.go.wait(20)
        return DepthMap(values=np.ones((100, 200), np.float32), unit="metre")


def test_too_many_who_wait_for_depth_are_told_so(vocab: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generalist_serving.service._MOST_SEEN", 2)
    line, slow, outcomes = scripted_line(vocab), Slow(), list[Outcome]()
    drawing = HubDrawing(line, depth=cast(HubDepth, slow))
    service = Service(line, ScriptedBackend([]), model="nano", drawing=drawing, observe=outcomes.append)

    async def work() -> None:
        first, second = (asyncio.create_task(service.answer(asked("Estimate the depth."))) for _ in range(2))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await service.answer(asked("Estimate the depth."))
        second.cancel()
        await asyncio.sleep(0)
        third = asyncio.create_task(service.answer(asked("Estimate the depth.")))
        await asyncio.sleep(0)
        slow.go.set()
        for (whole,) in await asyncio.gather(first, third):
            assert (whole.answer.text, whole.visual[0]["type"]) == ("scene", "depth")

    run(work())
    assert sorted(outcome.ended for outcome in outcomes) == ["busy", "cancelled", "stop", "stop"]
