"""What the page fetches beside Gradio's own routes: pictures in and out, and files of conversations.

Who knows the id of a picture or a conversation may read it; ids cannot be guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from generalist.types import GeneralistError
from generalist_serving.demo.conversations import Picture
from generalist_serving.demo.downloads import safe_name
from generalist_serving.demo.export import conversation_zip, one_file, turn_files
from generalist_serving.demo.samples import Sample
from generalist_serving.demo.store import Store

MAX_UPLOAD_BYTES = 20 * 1024 * 1024
_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
    "cache-control": "private, max-age=86400, immutable",
}


def router(store: Store, samples: Mapping[str, Sample]) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.post("/pictures")
    async def add_picture(request: Request, name: str = "picture") -> JSONResponse:
        """Keep the picture that is the body; {id} of it, or {error}, a sentence for the visitor."""
        data = await _body(request)
        if data is None:
            return _refused(413, f"{name[:80]}: pictures may have {MAX_UPLOAD_BYTES // 2**20} MB at most.")
        try:
            picture = await asyncio.to_thread(Picture.read, data, name)
        except GeneralistError as error:
            return _refused(400, f"{error}.")
        store.keep(picture)
        return JSONResponse({"id": picture.id})

    @routes.get("/pictures/{picture_id}")
    async def get_picture(picture_id: str) -> Response:
        """A picture."""
        picture = store.picture(picture_id)
        if picture is None:
            return Response(status_code=404)
        return Response(picture.data, media_type=picture.media_type, headers=_HEADERS)

    @routes.get("/samples/{name}")
    async def get_sample(name: str) -> Response:
        """One of the pictures to begin with."""
        if name not in samples:
            return Response(status_code=404)
        data = await asyncio.to_thread(samples[name].path.read_bytes)
        return Response(data, media_type="image/png", headers=_HEADERS)

    @routes.get("/conversations/{conversation_id}.zip")
    async def get_conversation(conversation_id: str) -> Response:
        """All of a conversation as files."""
        conversation = store.conversation(conversation_id)
        if conversation is None:
            return Response("This conversation is no longer there.", status_code=404)
        data = await asyncio.to_thread(conversation_zip, conversation)
        return _download(f"{safe_name(conversation.title, 'conversation')}.zip", data)

    @routes.get("/conversations/{conversation_id}/{turn_id}/{kind}")
    async def get_drawings(conversation_id: str, turn_id: str, kind: str) -> Response:
        """What an answer draws, as files of one kind (see ``downloads``): one, or a zip of several."""
        conversation = store.conversation(conversation_id)
        turn = next((one for one in conversation.turns if one.id == turn_id), None) if conversation else None
        files = await asyncio.to_thread(turn_files, turn) if turn else []
        wanted = [file for file in files if file.kind == kind]
        if not wanted:
            return Response("This answer is no longer there.", status_code=404)
        return _download(*one_file(wanted, kind))

    return routes


async def _body(request: Request) -> bytes | None:
    """The body; None where it is too large, which is noticed before all of it has come."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_UPLOAD_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status)


def _download(name: str, data: bytes) -> Response:
    headers = {**_HEADERS, "cache-control": "no-store"}
    headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(data, media_type="application/octet-stream", headers=headers)
