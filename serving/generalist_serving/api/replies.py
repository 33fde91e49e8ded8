"""The parts of an answer that chat completions and responses share, as plain JSON values."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from generalist.draw import draw_overlay
from generalist.grammar import plan_pieces
from generalist.types import DepthMap, Grounded, ParseIssue, PlanItem, Usage
from generalist.visual import image_infos
from generalist_serving.events import Token
from generalist_serving.formats import to_format

PREVIEW_SIDE = 1280
"""The longer side of a preview in pixels, at most."""


def plan_text(plan: Sequence[PlanItem] | None) -> str | None:
    """The plan as the model writes it, one thing a line; None when there is none."""
    return "\n".join("".join(plan_pieces(item)) for item in plan) if plan else None


def usage_dict(usages: Sequence[Usage]) -> dict[str, int]:
    """OpenAI's count of several replies to one prompt."""
    prompt = max((usage.prompt_tokens for usage in usages), default=0)
    written = sum(usage.completion_tokens for usage in usages)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def logprob_dict(token: Token) -> dict[str, Any]:
    """OpenAI's entry of a token."""
    return {**_told(token), "top_logprobs": [_told(one) for one in token.top]}


def _told(token: Token) -> dict[str, Any]:
    data = None if token.data is None else list(token.data)
    return {"token": token.text, "logprob": token.logprob, "bytes": data}


def issue_dicts(issues: Sequence[ParseIssue]) -> list[dict[str, Any]]:
    """Where a reply left the grammar; numbered, as OpenAI's client puts lists together by ``index``."""
    return [{"index": index, **asdict(issue)} for index, issue in enumerate(issues)]


def infos(images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """The ``image`` list."""
    return [dict(info) for info in image_infos([image.size for image in images])]


def formatted(name: str, visual: Sequence[Mapping[str, Any]], images: Sequence[Image.Image]) -> Any:
    """The ``visual`` list in the format called ``name``."""
    return to_format(name, visual, image_infos([image.size for image in images]))


def citation(index: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A document's entry of the ``visual`` list as a citation."""
    start, stop = entry["span"]
    name = entry["title"] or entry["document_id"]
    cited = {"file_id": entry["document_id"], "filename": name, "start_index": start, "end_index": stop}
    return {"index": index, "type": "file_citation", "file_citation": cited}


def citations(visual: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents among the drawings as citations."""
    documents = [entry for entry in visual if entry["type"] == "document"]
    return [citation(index, entry) for index, entry in enumerate(documents)]


def previews(grounded: Sequence[Grounded], images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Every image that something is drawn on, with its drawings; and its depth alone where it would be half hidden.

    In the form of LiteLLM's ``message.images``. Takes a while: call it in a thread.
    """
    pictures: list[Image.Image] = []
    for number, image in enumerate(images):
        drawn = [one for one in grounded if one.image == number]
        depths = [one for one in drawn if isinstance(one.output, DepthMap)]
        if drawn:
            pictures.append(draw_overlay(image, drawn))
        if depths and len(depths) < len(drawn):
            pictures.append(draw_overlay(image, depths))
    return [
        {"index": index, "type": "image_url", "image_url": {"url": _data_url(picture)}}
        for index, picture in enumerate(pictures)
    ]


def _data_url(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
