"""From the server's answer, whole or in pieces, to typed values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import httpx
from PIL import Image

from generalist.reply.events import PlanDone, TextDelta
from generalist.types import Grounded, ParseIssue, Usage
from generalist.visual import Size, from_visual
from generalist_serving.client.answers import ClientAnswer, ModelInfo, ScoredToken, read_plan
from generalist_serving.client.errors import ClientError, error_of

StreamEvent: TypeAlias = TextDelta | PlanDone | Grounded | ClientAnswer
"""What a stream gives: text and drawings as they come, and the whole answer at last."""

WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading a body raises that is none of ours; see :func:`not_ours`."""


def read_answer(response: httpx.Response, images: Sequence[Image.Image | None]) -> ClientAnswer:
    """The first choice of a chat completion; :class:`ClientError` for anything else."""
    try:
        body = response.json()
        choice = body["choices"][0]
        message = choice["message"]
        sizes = _sizes(message.get("image") or ())
        visual = tuple(message.get("visual") or ())
        return ClientAnswer(
            text=message["content"] or "",
            outputs=from_visual(visual, sizes),
            visual=visual,
            sizes=sizes,
            plan=read_plan(message.get("reasoning_content")),
            usage=_usage(body.get("usage")),
            issues=_issues(message),
            finish_reason=choice["finish_reason"],
            model=body["model"],
            images=tuple(images),
            tokens=_tokens(choice.get("logprobs")),
        )
    except WRONG as error:
        raise not_ours(error, response.status_code) from error


class StreamReader:
    """Reads a streamed chat completion: the bytes of server-sent events, cut anywhere."""

    def __init__(self, images: Sequence[Image.Image | None]) -> None:
        self._done = False
        self._rest = b""
        self._images = tuple(images)
        self._text: list[str] = []
        self._plan: list[str] = []
        self._visual: list[Mapping[str, Any]] = []
        self._outputs: list[Grounded] = []
        self._drawn: Counter[tuple[int, str, tuple[int, int]]] = Counter()
        self._sizes: tuple[Size, ...] = ()
        self._issues: list[ParseIssue] = []
        self._tokens: list[ScoredToken] = []
        self._usage = Usage()
        self._finish_reason = ""
        self._model = ""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """What more bytes say; :class:`ClientError` when they say that the server failed."""
        # Not by the lines of text, which also end at signs that may stand within JSON.
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines for event in self._line(line)]

    def finish(self) -> None:
        """No more bytes come; :class:`ClientError` when the answer is not whole."""
        if not self._done:
            raise ClientError("the connection ended within the answer; try again", code="stream")

    def _line(self, line: bytes) -> list[StreamEvent]:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or self._done:
            return []
        if data == b"[DONE]":
            self._done = True
            return [self._answer()]
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise error_of(chunk)
            self._model = chunk["model"]
            self._usage = _usage(chunk["usage"]) if chunk.get("usage") else self._usage
            return [event for choice in chunk["choices"] for event in self._choice(choice)]
        except WRONG as error:
            raise not_ours(error, None) from error

    def _choice(self, choice: Mapping[str, Any]) -> list[StreamEvent]:
        delta = choice["delta"]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        self._sizes = _sizes(delta["image"]) if delta.get("image") else self._sizes
        self._issues += _issues(delta)
        self._tokens += _tokens(choice.get("logprobs"))
        events: list[StreamEvent] = []
        if delta.get("reasoning_content"):
            self._plan.append(delta["reasoning_content"])
            events += [PlanDone(plan=plan) for plan in [read_plan(delta["reasoning_content"])] if plan]
        if delta.get("content"):
            self._text.append(delta["content"])
            events.append(TextDelta(text=delta["content"]))
        if delta.get("visual"):
            self._visual += delta["visual"]
            events += [self._numbered(item) for item in from_visual(delta["visual"], self._sizes)]
        return events

    def _numbered(self, item: Grounded) -> Grounded:
        """With its place among the drawings of its phrase, of which only this piece's have been counted."""
        key = (item.image, item.label, item.span)
        self._outputs.append(replace(item, ref=self._drawn[key]))
        self._drawn[key] += 1
        return self._outputs[-1]

    def _answer(self) -> ClientAnswer:
        return ClientAnswer(
            text="".join(self._text),
            outputs=tuple(self._outputs),
            visual=tuple(self._visual),
            sizes=self._sizes,
            plan=read_plan("".join(self._plan)),
            usage=self._usage,
            issues=tuple(self._issues),
            finish_reason=self._finish_reason,
            model=self._model,
            images=self._images,
            tokens=tuple(self._tokens),
        )


def read_models(response: httpx.Response) -> tuple[ModelInfo, ...]:
    """The models of a server, at least one; it lists the base first."""
    try:
        models = tuple(
            ModelInfo(name=str(card["id"]), parent=card.get("parent"), tasks=tuple(card.get("tasks") or ()))
            for card in response.json()["data"]
        )
        return (models[0], *models[1:])
    except WRONG as error:
        raise not_ours(error, response.status_code) from error


def _sizes(infos: Sequence[Mapping[str, Any]]) -> tuple[Size, ...]:
    return tuple((int(info["width"]), int(info["height"])) for info in infos)


def _issues(said: Mapping[str, Any]) -> tuple[ParseIssue, ...]:
    """Of a message, or of a piece of one."""
    told = said.get("issues") or ()
    return tuple(ParseIssue(at=one["at"], expected=one["expected"], got=one["got"]) for one in told)


def _tokens(logprobs: Mapping[str, Any] | None) -> tuple[ScoredToken, ...]:
    content = (logprobs or {}).get("content") or ()
    return tuple(ScoredToken(text=str(token["token"]), logprob=float(token["logprob"])) for token in content)


def _usage(usage: Mapping[str, Any] | None) -> Usage:
    counts = usage or {}
    return Usage(prompt_tokens=counts.get("prompt_tokens", 0), completion_tokens=counts.get("completion_tokens", 0))


def not_ours(error: Exception, status: int | None) -> ClientError:
    reason = " ".join(str(error).split())[:200]
    told = f"the answer is not one of this kind of server ({type(error).__name__}: {reason}); check the address"
    return ClientError(told, status=status, code="answer")
