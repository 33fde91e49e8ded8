"""Answers and conversations as files: one JSON document and the pictures that it names, in a zip."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from generalist.types import GeneralistError
from generalist_serving.demo.conversations import Conversation, Picture, Turn
from generalist_serving.demo.downloads import Download, download_files, safe_name, zip_files

log = logging.getLogger(__name__)


def turn_files(turn: Turn) -> list[Download]:
    """Everything that an answer draws, as files; none of it where the server sent what is not valid.

    Takes a while: call it in a thread.
    """
    files: list[Download] = []
    for picture in dict.fromkeys(turn.sent):
        numbers = [number for number, one in enumerate(turn.sent) if one is picture]
        visual = [{**entry, "image": numbers[0]} for entry in turn.visual if entry.get("image") in numbers]
        try:
            image = picture.image() if visual else None
            files += download_files(image, visual, name=picture.name, image_index=numbers[0]) if image else ()
        except GeneralistError as error:
            log.warning("an answer cannot be written to files: %s", error)
    return files


def one_file(files: Sequence[Download], name: str) -> tuple[str, bytes]:
    """(name, bytes) of the only file, or of a zip called ``name`` of several."""
    return (files[0].name, files[0].data) if len(files) == 1 else (f"{name}.zip", zip_files(files))


def conversation_zip(conversation: Conversation) -> bytes:
    """``conversation.json`` with everything that was said and drawn; pictures, overlays, masks and depth beside it.

    The pictures are upright, and drawings are in their pixels. Takes a while: call it in a thread.
    """
    buffer = io.BytesIO()
    sent = [picture for turn in conversation.turns for picture in turn.sent]
    names = {
        picture: _name(number, picture)
        for number, picture in enumerate(dict.fromkeys([*sent, *conversation.pictures]), 1)
    }
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for picture, name in names.items():
            archive.writestr(name, picture.data)
        turns = []
        for number, turn in enumerate(conversation.turns, 1):
            files = {f"turn-{number}/{file.name}": file.data for file in turn_files(turn)}
            for name, data in files.items():
                archive.writestr(name, data)
            turns.append(_turn(turn, names, list(files)))
        pictures = [
            {"file": name, "name": picture.name, "width": picture.size[0], "height": picture.size[1]}
            for picture, name in names.items()
        ]
        document = {"title": conversation.title, "pictures": pictures, "turns": turns}
        archive.writestr(
            "conversation.json", json.dumps(document, indent=2, ensure_ascii=False).encode(errors="replace")
        )
    return buffer.getvalue()


def _name(number: int, picture: Picture) -> str:
    ending = "png" if picture.media_type == "image/png" else "jpg"
    return f"pictures/{number}-{safe_name(picture.name.rsplit('.', 1)[0], 'picture')}.{ending}"


def _turn(turn: Turn, names: Mapping[Picture, str], files: Sequence[str]) -> dict[str, Any]:
    answer = turn.answer
    return {
        "question": turn.asked.text(),
        "task": turn.asked.task,
        "model": (answer.model if answer else turn.asked.model) or None,
        "visual_prompts": [dict(prompt) for prompt in turn.asked.prompts],
        "images": [names[picture] for picture in turn.sent],
        "state": turn.state,
        "error": turn.error or None,
        "text": turn.text,
        "visual": [dict(entry) for entry in turn.visual],
        "plan": [{"name": item.name, "kind": item.kind, "num": item.num} for item in turn.plan],
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens if answer else None,
            "completion_tokens": answer.usage.completion_tokens if answer else None,
            "seconds": round(turn.seconds, 3),
        },
        "issues": [{"at": i.at, "expected": i.expected, "got": i.got} for i in (answer.issues if answer else ())],
        "finish_reason": answer.finish_reason if answer else None,
        "files": list(files),
    }
