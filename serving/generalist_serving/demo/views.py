"""What the components of the page show of a conversation, as JSON values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from generalist.tasks import TASKS
from generalist_serving.client import ModelInfo
from generalist_serving.demo.conversations import Conversation, Turn
from generalist_serving.demo.order import number
from generalist_serving.demo.stage import StageImage, StageValue, stage_value

TASK_NAMES = {
    "chat": "Automatic",
    "detect": "Find all",
    "box": "Box",
    "point": "Point",
    "segment": "Outline",
    "depth": "Depth",
    "caption": "Describe",
    "count": "Count",
}
"""What the page calls the tasks."""

HINTS = {
    "chat": "Ask about the picture, such as: Where is the dog?",
    "detect": "What to find, such as: apples. Empty for everything",
    "box": "What to put a box around, such as: the red mug",
    "point": "What to point to, such as: the red mug",
    "segment": "What to outline, such as: the red apple. Empty for everything",
    "depth": "Nothing to say here: send to see how far everything is",
    "caption": "Nothing to say here: send for a description",
    "count": "What to count, such as: apples",
}


_FILES = {"overlay": "Overlay", "coco": "COCO", "mask": "Masks", "depth": "Depth"}
"""Kinds of files of an answer, and what the page calls them."""


def task_choices() -> list[tuple[str, str]]:
    """(name, task) of all tasks, for a menu."""
    return [(TASK_NAMES.get(name, name.capitalize()), name) for name in TASKS]


def model_choices(models: Sequence[ModelInfo]) -> list[tuple[str, str]]:
    """(name, model) of all models, for a menu."""
    return [(model.name if model.parent is None else f"{model.name} (adapter)", model.name) for model in models]


def hint(task: str) -> Any:
    """The question's box with a hint for ``task``."""
    return gr.Textbox(placeholder=HINTS.get(task, ""))


def stage(conversation: Conversation) -> StageValue:
    """The shown picture, what is drawn on it for the answer that is shown, and what the visitor is to have drawn."""
    picture, turn = conversation.shown, conversation.shown_turn
    image: StageImage | None = None
    if picture is not None:
        image = StageImage(url=picture.url, width=picture.size[0], height=picture.size[1], name=picture.name)
    value = stage_value(image, turn.on(picture) if turn else (), prompts=conversation.prompts)
    value["drawing"], value["at"] = conversation.drawing, number()
    return value


def pictures(conversation: Conversation) -> dict[str, Any]:
    """The value of :func:`~generalist_serving.demo.parts.Pictures`."""
    sent = {picture.id for turn in conversation.turns for picture in turn.sent}
    entries = [
        {"id": one.id, "url": one.url, "name": one.name, "removable": one.id not in sent}
        for one in conversation.pictures
    ]
    return {"pictures": entries, "shown": conversation.shown and conversation.shown.id, "at": number()}


def transcript(conversation: Conversation, *, editable: bool = True, editing: bool = False) -> dict[str, Any]:
    """The value of :func:`~generalist_serving.demo.parts.Transcript`.

    ``editable``: the last question can be changed; ``editing``: it is being changed.
    """
    last = conversation.last if editable else None
    turns = [_turn(turn, conversation) | {"last": turn is last} for turn in conversation.turns]
    whole = f"conversations/{conversation.id}.zip" if turns else ""
    shown = conversation.shown_turn and conversation.shown_turn.id
    return {"turns": turns, "shown": shown, "download": whole, "editing": editing, "at": number()}


def segments(text: str, visual: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``text`` in pieces; ``units`` are the indices of what is drawn for a piece.

    >>> segments("A dog.", [{"index": 0, "span": [2, 5]}])
    [{'text': 'A ', 'units': []}, {'text': 'dog', 'units': [0]}, {'text': '.', 'units': []}]
    """
    drawn: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for entry in visual:
        start, stop = entry["span"]
        drawn[start, stop].append(entry["index"])
    pieces: list[dict[str, Any]] = []
    at = 0
    for (start, stop), units in sorted(drawn.items()):
        if not at <= start < stop <= len(text):  # what an answer says of itself need not be so
            continue
        pieces += [{"text": text[at:start], "units": []}, {"text": text[start:stop], "units": units}]
        at = stop
    pieces.append({"text": text[at:], "units": []})
    return [piece for piece in pieces if piece["text"]]


def _turn(turn: Turn, conversation: Conversation) -> dict[str, Any]:
    asked = turn.asked
    return {
        "id": turn.id,
        "question": asked.text(),
        "task": "" if asked.task == "chat" else TASK_NAMES.get(asked.task, asked.task),
        "model": asked.model or "",
        "pictures": [{"url": picture.url, "name": picture.name} for picture in turn.pictures],
        "drawn": [_drawn(prompt) for prompt in asked.prompts],
        "state": turn.state,
        "error": turn.error,
        "segments": segments(turn.text, turn.visual),
        "drawings": len(turn.visual),
        "downloads": downloads(turn, conversation),
        "details": details(turn) if turn.over else None,
    }


def downloads(turn: Turn, conversation: Conversation) -> list[dict[str, str]]:
    """Links to the files of an answer, see ``routes``."""
    there = {str(entry["type"]) for entry in turn.visual if entry.get("image") is not None}
    kinds = [kind for kind in _FILES if kind in there or (there and kind in ("overlay", "coco"))]
    return [{"url": f"conversations/{conversation.id}/{turn.id}/{kind}", "label": _FILES[kind]} for kind in kinds]


def details(turn: Turn) -> dict[str, Any]:
    """What else is known of an answer that is over."""
    answer = turn.answer
    usage = [f"{turn.seconds:.1f} s"]
    if answer is not None:
        counts = answer.usage
        usage.insert(0, f"{counts.prompt_tokens} tokens read, {counts.completion_tokens} written")
        usage += ["cut at its limit"] if answer.finish_reason == "length" else []
        usage += [answer.model] if answer.model else []
    return {
        "plan": [f"{item.num} × {item.name} ({item.kind})" for item in turn.plan],
        "usage": " · ".join(usage),
        "issues": [f"at token {one.at}: expected {one.expected}, got {one.got}" for one in answer.issues]
        if answer
        else [],
        "tokens": [[token.text, round(token.logprob, 4)] for token in answer.tokens] if answer else [],
    }


def _drawn(prompt: Mapping[str, Any]) -> str:
    name = "excluded point" if prompt.get("label") == 0 else str(prompt.get("type"))
    numbers = prompt.get("box") or prompt.get("point")
    return f"{name} {', '.join(f'{value:g}' for value in numbers)}" if numbers else name
