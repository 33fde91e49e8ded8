"""What a search found, as clients see it; several routes tell of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from generalist.documents import Hit
from generalist_serving.api.settings import Settings


class SearchedText(BaseModel):
    """Words of a document."""

    type: Literal["text"] = "text"
    text: str


class EvidenceEntry(BaseModel):
    """Words of a hit that speak for it."""

    text: str
    span: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        description="[start, stop) in the hit's text, in characters; null for words of its title."
    )
    score: float


class SearchHit(BaseModel):
    """A document that was found."""

    file_id: str
    filename: str = Field(description="The title, or the id where there is none.")
    score: float = Field(description="The higher, the better; comparable within one answer.")
    attributes: dict[str, str | float | bool] = {}
    content: list[SearchedText]
    evidence: list[EvidenceEntry] = []


def hit_dict(hit: Hit, settings: Settings) -> dict[str, Any]:
    """A :class:`SearchHit` as JSON; of a long text its beginning, with the evidence that stands there."""
    found = hit.to_dict()
    text = found["text"][: settings.max_hit_chars]
    return {
        "file_id": found["document_id"],
        "filename": found["title"] or found["document_id"],
        "score": found["score"],
        "attributes": {},
        "content": [{"type": "text", "text": text}],
        "evidence": [one for one in found["evidence"] if one["span"] is None or one["span"][1] <= len(text)],
    }
