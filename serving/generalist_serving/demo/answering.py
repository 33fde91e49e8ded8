"""One answer: asked of the server in the background, so that it goes on while the page is loaded anew."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Protocol

from generalist.reply.events import PlanDone, TextDelta
from generalist.types import GeneralistError
from generalist.visual import to_visual
from generalist_serving.client import AsyncClient, ClientAnswer, ClientError, ModelInfo, StreamEvent
from generalist_serving.demo.conversations import Conversation, Turn

log = logging.getLogger(__name__)

PAUSE_S = 0.05
"""Between two looks at an answer: text that comes faster is shown together."""
_MODELS_FOR_S = 2.0


class Answerer:
    """Asks the server; a page that leaves does not end its answer."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._models: tuple[ModelInfo, ...] = ()
        self._models_at = float("-inf")

    async def models(self) -> tuple[ModelInfo, ...]:
        """The base and its adapters, no more than some seconds old; :class:`ClientError` when there is no answer."""
        if time.monotonic() - self._models_at > _MODELS_FOR_S:
            self._models = await self._client.models()
            self._models_at = time.monotonic()
        return self._models

    def start(self, conversation: Conversation, turn: Turn) -> None:
        """Begin to answer."""
        turn.task = asyncio.create_task(self._answer(conversation, turn))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _answer(self, conversation: Conversation, turn: Turn) -> None:
        begun = time.monotonic()
        try:
            messages = await asyncio.to_thread(conversation.messages, turn)
            events = self._client.stream_chat(messages, task=turn.asked.task, model=turn.asked.model, logprobs=True)
            async for event in events:
                await _take(turn, event)
                turn.seconds = time.monotonic() - begun
                turn.version += 1
            turn.state = "done"
        except asyncio.CancelledError:
            turn.state = "stopped"
        except (ClientError, GeneralistError) as error:
            turn.state, turn.error = "failed", sentence(error)
        except Exception:
            log.exception("an answer failed")
            turn.state, turn.error = "failed", "Something went wrong in the demo itself. Please try again."
        finally:
            turn.seconds = time.monotonic() - begun
            turn.version += 1


class Work(Protocol):
    """What goes on in the background; ``version`` grows with every change."""

    @property
    def version(self) -> int: ...

    @property
    def over(self) -> bool: ...


async def watch(*work: Work) -> AsyncIterator[None]:
    """Yields at once and whenever there is more of it, at most every ``PAUSE_S``; ends when all of it is over."""
    seen: list[int] | None = None
    over = False
    while not over:
        over = all(one.over for one in work)
        versions = [one.version for one in work]
        if versions != seen:
            seen = versions
            yield
        if not over:
            await asyncio.sleep(PAUSE_S)


async def _take(turn: Turn, event: StreamEvent) -> None:
    turn.state = "writing"
    if isinstance(event, TextDelta):
        turn.text += event.text
    elif isinstance(event, PlanDone):
        turn.plan = event.plan
    elif isinstance(event, ClientAnswer):
        turn.text, turn.visual, turn.plan, turn.answer = event.text, list(event.visual), event.plan or (), event
    else:
        sizes = [picture.size for picture in turn.sent]
        entries = await asyncio.to_thread(to_visual, [event], sizes)  # a depth map is encoded again
        turn.visual += [{**entry, "index": len(turn.visual)} for entry in entries]


def sentence(error: ClientError | GeneralistError) -> str:
    """What a visitor is told."""
    if isinstance(error, ClientError):
        if error.code in ("connection", "timeout"):
            return "The server cannot be reached or does not answer. Your question is kept; try again in a moment."
        if error.status == 503:
            return "The server is busy. Your question is kept; try again in a moment."
        if error.status in (401, 403):
            return f"The server does not let this page in ({error.message}). Check its address and key."
        if error.code == "stream":
            return "The connection broke within the answer. Ask again for the rest."
    message = error.message if isinstance(error, ClientError) else str(error)
    message = " ".join(message.split())[:300]
    return f"{message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}"
