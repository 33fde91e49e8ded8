"""From the events of ``n`` replies to the choices of chat completion chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from generalist.types import Grounded, Usage
from generalist_serving.api.replies import citation, formatted, infos, issue_dicts, logprob_dict, plan_text, previews
from generalist_serving.events import Ask, Drawing, End, Event, Plan, Text, Token

Choice = Mapping[str, Any]


class ChunkWriter:
    """Writes the choices of a stream; each drawing is sent once, whole.

    OpenAI's client puts list entries together by their ``index``, so every entry has one. Formats other than the
    native one are of a whole answer (they number labels, or hold an image), and come with the last piece.
    ``hits`` of a search come with the first. ``usages`` are those of the replies that have ended.
    """

    def __init__(self, ask: Ask, *, visual_format: str, overlay: bool, hits: Sequence[Mapping[str, Any]] = ()) -> None:
        self.usages: list[Usage] = []
        self._ask = ask
        self._format = visual_format
        self._overlay = overlay
        self._hits = hits
        self._images = [image for message in ask.request.messages for image in message.images]
        self._replies = [_Reply() for _ in range(ask.n)]

    def begin(self) -> Iterator[Choice]:
        """The first piece of every reply."""
        for number in range(self._ask.n):
            more: dict[str, Any] = {"image": infos(self._images)} if self._images else {}
            more |= {"search_results": self._hits} if self._hits else {}
            yield _choice(number, {"role": "assistant", "content": "", **more})

    async def write(self, number: int, event: Event) -> list[Choice]:
        """The pieces that an event makes."""
        reply = self._replies[number]
        if isinstance(event, Token):
            reply.tokens.append(event)  # goes with what it says, which comes next
            return []
        deltas = await self._last(reply, event) if isinstance(event, End) else self._deltas(reply, event)
        if reply.tokens and isinstance(event, End) and not deltas:
            deltas = [{}]
        pieces = [_choice(number, delta, logprobs=reply.take_logprobs()) for delta in deltas]
        if isinstance(event, End):
            pieces.append(_choice(number, {}, finish_reason=event.finish_reason))
        return pieces

    def _deltas(self, reply: _Reply, event: Text | Plan | Drawing) -> list[dict[str, Any]]:
        if isinstance(event, Text):
            return [{"content": event.text}]
        if isinstance(event, Plan):
            text = plan_text(event.plan)
            return [{"reasoning_content": text}] if text else []
        reply.grounded.append(event.grounded)
        reply.visual.append(event.visual)
        delta: dict[str, Any] = {"visual": [event.visual]} if self._format == "native" else {}
        if event.visual["type"] == "document":
            delta["annotations"] = [citation(reply.documents, event.visual)]
            reply.documents += 1
        return [delta] if delta else []

    async def _last(self, reply: _Reply, end: End) -> list[dict[str, Any]]:
        self.usages.append(end.usage)
        delta: dict[str, Any] = {}
        if self._format != "native":
            delta["visual"] = await asyncio.to_thread(formatted, self._format, reply.visual, self._images)
        if self._overlay and reply.grounded:
            delta["images"] = await asyncio.to_thread(previews, reply.grounded, self._images)
        if end.reply.issues:
            delta["issues"] = issue_dicts(end.reply.issues)
        return [delta] if delta else []


class _Reply:
    """What has been sent of one reply, and the tokens that wait for what they say."""

    def __init__(self) -> None:
        self.grounded: list[Grounded] = []
        self.visual: list[Mapping[str, Any]] = []
        self.documents = 0
        self.tokens: list[Token] = []

    def take_logprobs(self) -> dict[str, Any] | None:
        taken, self.tokens = self.tokens, []
        return {"content": [logprob_dict(token) for token in taken], "refusal": None} if taken else None


def _choice(
    number: int,
    delta: Mapping[str, Any],
    *,
    finish_reason: str | None = None,
    logprobs: Mapping[str, Any] | None = None,
) -> Choice:
    return {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
