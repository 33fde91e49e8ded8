"""The thread that owns vLLM, with an engine in its place that echoes its prompts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from generalist_serving.vllm_engine.loop import Loop, Submission


class Echo:
    """Says the tokens of each prompt, one a step and request; asserts that one thread alone touches it."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.left: dict[str, list[int]] = {}
        self.batches: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.fault: Exception | None = None

    def has_unfinished_requests(self) -> bool:
        assert threading.current_thread() is self.thread
        return bool(self.left)

    def add_request(self, name: str, prompt: dict[str, Any], params: Any, lora_request: Any) -> None:
        assert threading.current_thread() is self.thread
        if not prompt["prompt_token_ids"]:
            raise ValueError("the prompt is empty")
        self.left[name] = list(prompt["prompt_token_ids"])

    def abort_request(self, names: list[str]) -> None:
        assert threading.current_thread() is self.thread
        for name in names:
            self.left.pop(name, None)

    def step(self) -> list[Any]:
        assert threading.current_thread() is self.thread
        self.hold.wait()
        if self.fault is not None:
            raise self.fault
        self.batches.append(len(self.left))
        said = {name: left.pop(0) for name, left in self.left.items()}
        outputs = [SimpleNamespace(request_id=name, token=said[name], finished=not self.left[name]) for name in said]
        self.left = {name: left for name, left in self.left.items() if left}
        return outputs


class Told:
    """A request and what was delivered of it."""

    def __init__(self, name: str, tokens: list[int]) -> None:
        self.tokens: list[int] = []
        self.end: Future[None] = Future()
        prompt = {"prompt_token_ids": tokens}
        self.submission = Submission(id=name, prompt=prompt, params=None, adapter=None, deliver=self._deliver)

    def _deliver(self, output: Any) -> None:
        if isinstance(output, Exception):
            self.end.set_exception(output)
            return
        self.tokens.append(output.token)
        if output.finished:
            self.end.set_result(None)


@pytest.fixture
def made() -> list[Any]:
    return []


@pytest.fixture
def loop(made: list[Any]) -> Iterator[Loop]:
    def start() -> Echo:
        made.append(Echo())
        return made[0]

    loop = Loop(start, lambda engine: made.append("stopped"))
    yield loop
    made[0].hold.set()
    loop.close()


def test_requests_of_many_threads_share_steps(loop: Loop, made: list[Any]) -> None:
    made[0].hold.clear()
    asked = [Told(str(number), [number] * 20) for number in range(8)]
    threads = [threading.Thread(target=loop.submit, args=([one.submission],)) for one in asked]
    for thread in threads:
        thread.start()
    made[0].hold.set()
    for number, one in enumerate(asked):
        one.end.result(timeout=10)
        assert one.tokens == [number] * 20
    assert sum(made[0].batches) == 160
    assert len(made[0].batches) < 80


def test_a_refusal_ends_one_request_alone(loop: Loop) -> None:
    good, bad = Told("good", [1, 2]), Told("bad", [])
    loop.submit([good.submission, bad.submission])
    good.end.result(timeout=10)
    with pytest.raises(ValueError, match="the prompt is empty"):
        bad.submission.accepted.result()


def test_nothing_of_an_ended_request_is_delivered(loop: Loop, made: list[Any]) -> None:
    made[0].hold.clear()
    dropped, kept = Told("dropped", [1] * 50), Told("kept", [2] * 5)
    loop.submit([dropped.submission])
    loop.abort(["dropped", "dropped", "never heard of"])
    made[0].hold.set()
    loop.submit([kept.submission])
    kept.end.result(timeout=10)
    assert len(dropped.tokens) < 5
    assert not dropped.end.done()
    loop.abort(["kept"])  # has ended by itself


def test_a_failure_reaches_everyone_who_waits_and_everyone_who_comes(loop: Loop, made: list[Any]) -> None:
    made[0].hold.clear()
    asked = [Told(str(number), [1] * 5) for number in range(3)]
    loop.submit([one.submission for one in asked])
    made[0].fault = MemoryError("no room\nat all")
    made[0].hold.set()
    for one in asked:
        with pytest.raises(RuntimeError, match=r"vLLM failed \(no room at all\); make a new engine"):
            one.end.result(timeout=10)
    with pytest.raises(RuntimeError, match="vLLM failed"):
        loop.submit([Told("late", [1]).submission])


def test_closing_ends_what_is_under_way(loop: Loop, made: list[Any]) -> None:
    made[0].hold.clear()
    told = Told("a", [1] * 1000)
    loop.submit([told.submission])
    closer = threading.Thread(target=loop.close)
    closer.start()
    made[0].hold.set()
    closer.join(timeout=10)
    with pytest.raises(RuntimeError, match="the engine is closed"):
        told.end.result(timeout=10)
    loop.close()
    with pytest.raises(RuntimeError, match="the engine is closed"):
        loop.call(lambda engine: None)
    loop.abort(["a"])
    assert made[1:] == ["stopped"]


def test_what_is_called_may_fail_without_harm(loop: Loop) -> None:
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda engine: 1 // 0)
    assert loop.call(lambda engine: engine.has_unfinished_requests()) is False


def test_an_engine_that_does_not_start_says_why() -> None:
    def start() -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        Loop(start, lambda engine: None)
