"""A client for a server of ours, with typed answers.

from generalist_serving.client import Client

with Client("http://127.0.0.1:8000") as client:
    answer = client.segment("photo.jpg", "the red mug")
    answer.text, answer.masks, answer.to_supervision()
    answer.overlay().save("overlay.png")
"""

from __future__ import annotations

from generalist_serving.client.answers import ClientAnswer, ModelInfo, ScoredToken
from generalist_serving.client.errors import ClientError
from generalist_serving.client.http import AsyncClient, Client
from generalist_serving.client.reading import StreamEvent
from generalist_serving.client.stores import DocumentHit, Evidence, Reranked, StoreInfo

__all__ = [
    "AsyncClient",
    "Client",
    "ClientAnswer",
    "ClientError",
    "DocumentHit",
    "Evidence",
    "ModelInfo",
    "Reranked",
    "ScoredToken",
    "StoreInfo",
    "StreamEvent",
]
