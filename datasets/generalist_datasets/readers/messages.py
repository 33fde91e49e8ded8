"""Conversations about images, as chat models are tuned on: one JSON object a line, or one list of them.

Understood, also mixed within a file:

- OpenAI, and TRL's vision form: ``{"messages": [{"role": "user", "content": TEXT or PARTS}, ...], "images": [...]}``
  with parts ``{"type": "text", "text": ...}``, ``{"type": "image_url", "image_url": {"url": ...}}``,
  ``{"type": "image", "image": ...}``, or ``{"type": "image"}`` for the next one of ``images``;
- the same as ``prompt`` and ``completion``;
- ShareGPT and LLaVA: ``{"conversations": [{"from": "human", "value": "<image>\n..."}, ...], "image": ...}``.

An image is a file name relative to the JSON file, a ``file://`` or a ``data:`` URL. What a data URL holds is
written to the cache, since a record's images are files. Nothing is downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from generalist.types import GeneralistError
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.coco_layout import split_of
from generalist_datasets.readers.data_urls import save_data_url
from generalist_datasets.readers.fields import as_object, show
from generalist_datasets.readers.json_stream import Defect, stream_entries
from generalist_datasets.readers.lines import JsonObject, is_object, json_lines, read_head
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Problems, Record, TurnText, Where

Role: TypeAlias = Literal["system", "user", "assistant"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_TOOL_ROLES = frozenset(["tool", "function", "function_call", "observation", "tool_call", "tool_response"])
_KEYS = re.compile(r'"(?:messages|conversations|completion)"\s*:\s*\[')
_HEAD = 4 * 2**20  # the first conversation may begin with a picture in base64
_PLACEHOLDERS = re.compile(r"(?:[ \t]*<image>[ \t]*\n?)+")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def _detect(path: Path) -> bool:
    return bool(_files(path))


def _read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    files = [path] if os.path.isfile(path) else _files(path)
    if not files:
        raise GeneralistError(f"{path}: no conversations there; name a .jsonl or .json file with them")
    for file in files:
        split = split_of(file, path)
        folders = [options.images] if options.images else [file.parent, file.parent / "images"]
        for where, entry in _entries(file, problems):
            try:
                record = _record(entry, where, split, folders)
            except _Left as left:
                problems.warn(left.kind, where, str(left))
            except Defect as defect:
                problems.error(defect.kind, where, str(defect))
            else:
                yield record


READER = Reader(
    name="messages",
    summary="conversations in OpenAI, TRL, ShareGPT or LLaVA form (.jsonl or .json)",
    detect=_detect,
    read=_read,
)


class _Left(Defect):
    """Why a conversation is left out although nothing is wrong with it."""


def _files(path: Path) -> list[Path]:
    """Files of conversations: ``path`` itself, or those directly in it, by name."""
    if os.path.isdir(path):
        try:
            names = sorted(name for name in os.listdir(path) if name.endswith((".jsonl", ".json")))
        except OSError:
            return []
        candidates = [path / name for name in names[:64]]
    else:
        candidates = [path] if path.suffix in (".jsonl", ".json") else []
    return [file for file in candidates if _KEYS.search(read_head(file, _HEAD))]


def _entries(file: Path, problems: Problems) -> Iterator[tuple[Where, JsonObject]]:
    if not read_head(file, 1024).lstrip().startswith("["):
        yield from json_lines(file, problems)
        return
    try:
        for entry in stream_entries(file, ("",)):
            where = Where(file=file, entry=f"[{entry.index}]")
            if is_object(entry.value, where, problems):
                yield where, entry.value
    except Defect as bad:
        problems.error(bad.kind, Where(file=file), f"{bad}; nothing behind it is read")
    except OSError as error:
        problems.unreadable(file, error)


# --- one conversation ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Images:
    """The images of a conversation: ``listed`` beside it, ``shown`` in its turns, in order."""

    listed: list[object]
    shown: list[object] = field(default_factory=list)

    def show_next(self) -> None:
        if not self.listed:
            raise Defect("missing image", "the conversation shows more images than it lists")
        self.shown.append(self.listed.pop(0))


def _record(entry: JsonObject, where: Where, split: str, folders: list[Path]) -> Record:
    messages = _messages(entry)
    images = _Images(_listed(entry))
    turns = tuple(_turn(message, images) for message in messages)
    images.shown += images.listed  # listed, and no word of where: before the first question
    _check_order(turns)
    if not images.shown:
        raise _Left("no image", "a conversation without an image is left out")
    own_id = entry.get("id")
    return Record(
        id=str(own_id) if isinstance(own_id, str | int) and own_id != "" else f"{where.file.name}, {where.entry}",
        images=tuple(_image(source, folders) for source in images.shown),
        where=where,
        split=split,
        turns=turns,
    )


def _messages(entry: JsonObject) -> list[object]:
    if "completion" in entry:
        parts: tuple[object, ...] = (entry.get("prompt"), entry["completion"])
    else:
        parts = (entry.get("messages", entry.get("conversations")),)
    if all(part is None for part in parts):
        raise Defect("missing field", "messages, conversations, or prompt and completion")
    messages: list[object] = []
    for part in parts:
        if not isinstance(part, list):
            raise Defect("wrong type", f"a list of messages is needed, not {show(part)}")
        messages += part
    return messages


def _listed(entry: JsonObject) -> list[object]:
    value: object = next((entry[key] for key in ("images", "image") if entry.get(key) is not None), [])
    return list(value) if isinstance(value, list) else [value]


def _turn(message: object, images: _Images) -> TurnText:
    fields = as_object(message)
    role = fields.get("role", fields.get("from"))
    content = fields.get("content", fields.get("value"))
    if (isinstance(role, str) and role in _TOOL_ROLES) or fields.get("tool_calls") or fields.get("function_call"):
        raise _Left("tool call", "a conversation with calls of tools is left out")
    if not isinstance(role, str) or role not in _ROLES:
        raise Defect("unknown role", f"role is {show(role)}; use system, user or assistant")
    if isinstance(content, str):
        return TurnText(role=_ROLES[role], text=_without_placeholders(content, images))
    if not isinstance(content, list):
        raise Defect("wrong type", f"content is {show(content)}, neither text nor a list of parts")
    texts = [text for part in content if (text := _part(as_object(part), images))]
    return TurnText(role=_ROLES[role], text="\n".join(texts))


def _without_placeholders(text: str, images: _Images) -> str:
    """Each ``<image>`` is one of the listed images; they come before the text."""
    for _ in range(text.count("<image>")):
        images.show_next()
    return _PLACEHOLDERS.sub(" ", text).strip()


def _part(part: dict[str, object], images: _Images) -> str:
    """The text of a part; an image is noted in ``images``."""
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text"):
        text = part.get("text")
        if not isinstance(text, str):
            raise Defect("wrong type", f"text is {show(text)}")
        return text.strip()
    if kind in ("image_url", "input_image", "image"):
        source = next((part[key] for key in ("image_url", "image", "url", "path") if part.get(key) is not None), None)
        if source is None:
            images.show_next()
        else:
            images.shown.append(source)
        return ""
    raise Defect("unknown part", f"type is {show(kind)}; use text, image_url or image")


def _check_order(turns: tuple[TurnText, ...]) -> None:
    """System texts first, then user and assistant in turn."""
    roles = [turn.role for turn in turns]
    talk = roles[next((at for at, role in enumerate(roles) if role != "system"), len(roles)) :]
    expected = [("user", "assistant")[at % 2] for at in range(len(talk))]
    if talk != expected:
        at = next(at for at, pair in enumerate(zip(talk, expected, strict=True)) if pair[0] != pair[1])
        found = len(roles) - len(talk) + at
        raise Defect("roles out of turn", f"message {found} is from the {roles[found]}, expected the {expected[at]}")
    if not any(turn.role == "assistant" and turn.text for turn in turns):
        raise Defect("no answer", "the assistant says nothing")


def _image(source: object, folders: list[Path]) -> Path:
    if isinstance(source, dict):  # {"url": ...} of OpenAI, {"path": ...} of Hugging Face
        named = cast(dict[str, Any], source)
        source = next((named[key] for key in ("url", "path") if isinstance(named.get(key), str)), source)
    if not isinstance(source, str):
        raise Defect("wrong type", f"an image is {show(source)}; use a file name or a URL")
    if source.startswith("data:"):
        return save_data_url(source)
    name = source.removeprefix("file://")
    if _URL.match(name):
        raise Defect("image on the network", f"{show(source)} is not downloaded; save it and name the file")
    found = resolve_image(name, folders)
    if found is None:
        raise Defect("missing image", show(source))
    return found
