"""From the events of a reply to the events of OpenAI's Responses API, and to its whole response."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from generalist.types import Grounded, ParseIssue, PlanItem, Usage
from generalist_serving.api.replies import (
    formatted,
    infos,
    issue_dicts,
    logprob_dict,
    plan_text,
    previews,
    usage_dict,
)
from generalist_serving.events import Ask, Drawing, End, Event, FinishReason, Plan, Text, Token

Sent = dict[str, Any]
SearchCall = Mapping[str, Any]
"""The item of what was looked up, without its status."""
_SEARCH_STEPS = ("in_progress", "searching", "completed")


class ReplySoFar:
    """What is known of a reply. ``entries`` are native; ``visual`` is what will be sent of them."""

    def __init__(self, asked_images: Sequence[Image.Image], search: SearchCall | None = None) -> None:
        self.search = search
        self.reasoning_id = f"rs_{uuid.uuid4().hex}"
        self.message_id = f"msg_{uuid.uuid4().hex}"
        self.asked_images = tuple(asked_images)
        self.plan: Sequence[PlanItem] = ()
        self.text: list[str] = []
        self.entries: list[Mapping[str, Any]] = []
        self.grounded: list[Grounded] = []
        self.visual: Any = self.entries
        self.images: list[dict[str, Any]] = []
        self.tokens: list[Token] = []
        self.issues: Sequence[ParseIssue] = ()

    def citations(self) -> list[Sent]:
        """The documents among the drawings."""
        return [_citation(entry) for entry in self.entries if entry["type"] == "document"]

    def reasoning(self, status: str) -> Sent:
        """The item of the plan."""
        summary = [{"type": "summary_text", "text": plan_text(self.plan)}] if status != "in_progress" else []
        return {"id": self.reasoning_id, "type": "reasoning", "status": status, "summary": summary}

    def part(self) -> Sent:
        """The words of the message."""
        return {
            "type": "output_text",
            "text": "".join(self.text),
            "annotations": self.citations(),
            "logprobs": [logprob_dict(token) for token in self.tokens],
        }

    def message(self, status: str) -> Sent:
        """The item of the words and drawings."""
        begun = status != "in_progress"
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [self.part()] if begun else [],
            "visual": self.visual if begun else [],
            "image": infos(self.asked_images),
            "images": self.images,
            "issues": issue_dicts(self.issues),
        }

    def searched(self, status: str) -> list[Sent]:
        """The item of what was looked up, if anything was; what was found comes with the end."""
        if self.search is None:
            return []
        return [{**self.search, "status": status} | ({} if status == "completed" else {"results": None})]

    def output(self, status: str) -> list[Sent]:
        """All items."""
        planned = [self.reasoning("completed")] if self.plan else []
        return [*self.searched("completed"), *planned, self.message(status)]


def response_dict(head: Sent, reply: ReplySoFar, finish_reason: FinishReason, usage: Usage) -> Sent:
    """The whole response."""
    status = "completed" if finish_reason == "stop" else "incomplete"
    counts = usage_dict([usage])
    return {
        **_common(head),
        "status": status,
        "incomplete_details": None if status == "completed" else {"reason": "max_output_tokens"},
        "output": reply.output(status),
        "usage": {
            "input_tokens": counts["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": counts["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counts["total_tokens"],
        },
    }


def _common(head: Sent) -> Sent:
    fixed = {"object": "response", "error": None, "parallel_tool_calls": False, "previous_response_id": None}
    return {**head, **fixed, "store": False}


def _citation(entry: Mapping[str, Any]) -> Sent:
    name = entry["title"] or entry["document_id"]
    return {"type": "file_citation", "file_id": entry["document_id"], "filename": name, "index": entry["span"][1]}


class EventWriter:
    """Writes the events of one response, in OpenAI's order; each drawing is sent once, whole.

    A drawing comes as ``visual`` of a text delta without text, since Responses has no event for it; all of them
    stand in the message item that is done. Formats other than the native one come with that item only.
    """

    def __init__(
        self, ask: Ask, head: Sent, *, visual_format: str, overlay: bool, search: SearchCall | None = None
    ) -> None:
        self._head = head
        self._format = visual_format
        self._overlay = overlay
        self._reply = ReplySoFar([image for message in ask.request.messages for image in message.images], search)
        self._first = 0 if search is None else 1  # the place of what comes behind the search
        self._number = -1
        self._place: int | None = None  # of the message among the items, once it is begun
        self._waiting: list[Token] = []  # for what they say

    def event(self, kind: str, **content: Any) -> Sent:
        """An event with the next number."""
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **content}

    def begin(self) -> list[Sent]:
        """The first events."""
        begun = {**_common(self._head), "status": "in_progress", "incomplete_details": None, "output": []}
        response = {**begun, "usage": None}
        return [
            self.event("response.created", response=response),
            self.event("response.in_progress", response=response),
            *self._searched(),
        ]

    def _searched(self) -> list[Sent]:
        """What was looked up, which is over when a stream begins."""
        if self._reply.search is None:
            return []
        place = {"item_id": self._reply.search["id"], "output_index": 0}
        (begun,), (done,) = self._reply.searched("in_progress"), self._reply.searched("completed")
        return [
            self.event("response.output_item.added", output_index=0, item=begun),
            *(self.event(f"response.file_search_call.{how}", **place) for how in _SEARCH_STEPS),
            self.event("response.output_item.done", output_index=0, item=done),
        ]

    async def write(self, event: Event) -> list[Sent]:
        """The events that an event of the reply makes."""
        if isinstance(event, Plan):
            return self._plan(event) if event.plan and self._place is None and not self._reply.plan else []
        if isinstance(event, Token):
            self._waiting.append(event)
            return []
        opened = self._open()
        if isinstance(event, Text):
            self._reply.text.append(event.text)
            return [*opened, self._delta(event.text)]
        return opened + (self._drawing(event) if isinstance(event, Drawing) else await self._end(event))

    def _plan(self, event: Plan) -> list[Sent]:
        self._reply.plan = event.plan
        at = self._first
        place = {"item_id": self._reply.reasoning_id, "output_index": at, "summary_index": 0}
        text = plan_text(event.plan)
        said = {"type": "summary_text", "text": text}
        return [
            self.event("response.output_item.added", output_index=at, item=self._reply.reasoning("in_progress")),
            self.event("response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""}),
            self.event("response.reasoning_summary_text.delta", **place, delta=text),
            self.event("response.reasoning_summary_text.done", **place, text=text),
            self.event("response.reasoning_summary_part.done", **place, part=said),
            self.event("response.output_item.done", output_index=at, item=self._reply.reasoning("completed")),
        ]

    def _open(self) -> list[Sent]:
        """Begin the message, unless it has been."""
        if self._place is not None:
            return []
        self._place = self._first + bool(self._reply.plan)
        item = self._reply.message("in_progress")
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [
            self.event("response.output_item.added", output_index=self._place, item=item),
            self.event("response.content_part.added", **self._at(), part=empty),
        ]

    def _drawing(self, event: Drawing) -> list[Sent]:
        self._reply.entries.append(event.visual)
        self._reply.grounded.append(event.grounded)
        sent = [self._delta("", visual=[event.visual])] if self._format == "native" else []
        if event.visual["type"] == "document":
            number = len(self._reply.citations()) - 1
            cited = {"annotation_index": number, "annotation": _citation(event.visual)}
            sent.append(self.event("response.output_text.annotation.added", **self._at(), **cited))
        return sent

    async def _end(self, event: End) -> list[Sent]:
        reply = self._reply
        reply.issues = event.reply.issues
        sent = [self._delta("")] if self._waiting else []
        if self._format != "native":
            reply.visual = await asyncio.to_thread(formatted, self._format, reply.entries, reply.asked_images)
        if self._overlay:
            reply.images = await asyncio.to_thread(previews, reply.grounded, reply.asked_images)
        response = response_dict(self._head, reply, event.finish_reason, event.usage)
        part = reply.part()
        return [
            *sent,
            self.event("response.output_text.done", **self._at(), text=part["text"], logprobs=part["logprobs"]),
            self.event("response.content_part.done", **self._at(), part=part),
            self.event("response.output_item.done", output_index=self._place, item=response["output"][-1]),
            self.event(f"response.{response['status']}", response=response),
        ]

    def _delta(self, text: str, **more: Any) -> Sent:
        taken, self._waiting = self._waiting, []
        self._reply.tokens += taken
        logprobs = [logprob_dict(token) for token in taken]
        return self.event("response.output_text.delta", **self._at(), delta=text, logprobs=logprobs, **more)

    def _at(self) -> Sent:
        return {"item_id": self._reply.message_id, "output_index": self._place, "content_index": 0}
