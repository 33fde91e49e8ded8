"""Answers that are written in the background: kept as they come, stopped, failed, told in one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from generalist.reply.events import PlanDone, TextDelta
from generalist.types import Box, GeneralistError, Grounded, PlanItem, Usage
from generalist_serving.client import ClientAnswer, ClientError, ModelInfo
from generalist_serving.demo.answering import Answerer, sentence, watch
from generalist_serving.demo.conversations import Conversation, Question, Turn

from .test_conversations import picture

DOG = Grounded(label="dog", span=(2, 5), image=0, ref=0, output=Box(xyxy=(0, 0, 0.5, 0.5), score=0.9))
ENTRY = {"index": 0, "type": "box", "image": 0, "label": "dog", "span": [2, 5], "box": [0, 0, 20, 15], "score": 0.91}
PLAN = (PlanItem(name="dog", kind="box", num=1),)
WHOLE = ClientAnswer(text="A dog.", visual=(ENTRY,), plan=PLAN, usage=Usage(prompt_tokens=3, completion_tokens=4))


class Server:
    """Streams ``events``, among which an exception is raised and a number is a pause in seconds."""

    def __init__(self, *events: object) -> None:
        self.events = events
        self.asked: list[dict[str, Any]] = []
        self.listed = 0

    async def stream_chat(self, messages: object, **options: Any) -> AsyncIterator[object]:
        self.asked.append({"messages": messages, **options})
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            if isinstance(event, float):
                await asyncio.sleep(event)
            else:
                yield event

    async def models(self) -> tuple[ModelInfo, ...]:
        self.listed += 1
        return (ModelInfo(name="nano"),)


def answering(server: Server, then: Callable[[Turn], Coroutine[Any, Any, None]] | None = None) -> Turn:
    """The turn of a question, when it is over."""

    async def run() -> Turn:
        talk = Conversation()
        talk.add([picture()])
        turn = talk.ask(Question(words="Where?", task="box", model="cats", picture=talk.shown))
        Answerer(server).start(talk, turn)  # type: ignore[arg-type]
        if then is not None:
            await then(turn)
        assert turn.task is not None
        await turn.task
        return turn

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_an_answer_as_it_comes() -> None:
    server = Server(PlanDone(plan=PLAN), TextDelta(text="A dog"), DOG, TextDelta(text="."), WHOLE)
    seen: list[tuple[str, int]] = []

    async def look(turn: Turn) -> None:
        async for _ in watch(turn):
            seen.append((turn.text, len(turn.visual)))

    turn = answering(server, look)
    assert seen[-1] == ("A dog.", 1) and turn.state == "done" and not turn.lost
    assert turn.plan == PLAN and turn.visual == [ENTRY] and turn.answer is WHOLE
    (asked,) = server.asked
    assert (asked["task"], asked["model"], asked["logprobs"]) == ("box", "cats", True)


def test_a_drawing_is_there_before_the_end() -> None:
    turn = answering(Server(TextDelta(text="A dog"), DOG, ClientError("broke", code="stream")))
    (entry,) = turn.visual
    assert (entry["index"], entry["box"], entry["score"]) == (0, [0.0, 0.0, 20.0, 15.0], 0.9)
    assert turn.state == "failed" and turn.text == "A dog" and not turn.lost


def test_what_has_come_is_kept_when_it_is_stopped() -> None:
    async def stop(turn: Turn) -> None:
        while not turn.text:
            await asyncio.sleep(0.001)
        turn.stop()
        turn.stop()

    turn = answering(Server(TextDelta(text="A dog"), 10.0, WHOLE), stop)
    assert (turn.state, turn.text, turn.error) == ("stopped", "A dog", "")


def test_who_looks_late_sees_the_end_once() -> None:
    async def late(turn: Turn) -> None:
        assert turn.task is not None
        await turn.task
        assert [None async for _ in watch(turn)] == [None]

    answering(Server(WHOLE), late)


def test_a_defect_of_ours_is_not_shown_to_the_visitor(caplog: pytest.LogCaptureFixture) -> None:
    turn = answering(Server(RuntimeError("secret path")))
    assert turn.state == "failed" and turn.lost and "secret" not in turn.error
    assert "secret path" in caplog.text


def test_models_are_not_asked_for_at_every_look() -> None:
    server = Server()

    async def look() -> None:
        answerer = Answerer(server)  # type: ignore[arg-type]
        assert await answerer.models() == await answerer.models()

    asyncio.run(look())
    assert server.listed == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ClientError("http://x cannot be reached (refused)", code="connection"), "The server cannot be reached"),
        (ClientError("no", code="timeout"), "The server cannot be reached"),
        (ClientError("queue is full", status=503, code="overloaded"), "The server is busy"),
        (ClientError("the API key is wrong", status=401), "does not let this page in"),
        (ClientError("the prompt is 9 tokens long; use 5", status=400), "The prompt is 9 tokens long; use 5."),
        (ClientError("the connection broke within the answer ()", code="stream"), "The connection broke"),
        (GeneralistError("the box\nis empty"), "The box is empty."),
    ],
)
def test_one_plain_sentence(error: ClientError | GeneralistError, told: str) -> None:
    assert told in sentence(error) and "\n" not in sentence(error)
