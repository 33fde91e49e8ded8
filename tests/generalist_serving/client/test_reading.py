"""What the client makes of answers, whole and in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from generalist.reply.events import PlanDone, TextDelta
from generalist.types import (
    Box,
    DepthMap,
    DocHit,
    GeneralistError,
    Grounded,
    Mask,
    ParseIssue,
    PlanItem,
    Point,
    Usage,
)
from generalist.visual import to_visual
from generalist_serving.client import ClientAnswer, ClientError

from .asked import BOX, CLIENTS, INFO, Server, asking, chunk, completion

PICTURE = Image.new("RGB", (100, 80), (255, 255, 255))
PLAN = "- Name: dog Unit: box Num: 1\n- Name: the cat Unit: mask Num: 2"
PLANNED = (PlanItem(name="dog", kind="box", num=1), PlanItem(name="the cat", kind="mask", num=2))
EVERY_PIXEL = coco_mask.encode(np.ones((80, 100), np.uint8, order="F"))["counts"].decode()
FULL = Mask(size=(80, 100), counts=EVERY_PIXEL, xyxy=(0, 0, 1, 1), score=0.5)


def detected(*visual: dict[str, Any], image: Any = PICTURE, **message: Any) -> ClientAnswer:
    reply = completion(visual=list(visual), **message)
    return asking("sync", Server(reply), lambda client: client.detect(image))


def entries(*outputs: Any, label: str = "dog") -> list[dict[str, Any]]:
    grounded = [Grounded(label=label, span=(4, 7), image=0, ref=i, output=o) for i, o in enumerate(outputs)]
    return to_visual(grounded, [(100, 80)])


@pytest.mark.parametrize("kind", CLIENTS)
def test_everything_is_typed(kind: str) -> None:
    depth = DepthMap(values=np.full((80, 100), 2.5, np.float32))
    named = DocHit(doc_id="d", title="A dog", text="It is asleep.", evidence=(6, 12))
    visual = entries(Box(xyxy=(0.1, 0.25, 0.5, 0.75), score=0.9), Point(xy=(0.5, 0.5)), FULL, depth, named)
    issues = [{"index": 0, "at": 3, "expected": "a box", "got": "x"}]
    reply = completion(visual=visual, reasoning_content=PLAN, issues=issues)
    answer = asking(kind, Server(reply), lambda client: client.detect(PICTURE))
    assert answer.boxes == (Box(xyxy=(0.1, 0.25, 0.5, 0.75), score=0.9),)
    assert answer.points == (Point(xy=(0.5, 0.5)),) and answer.masks == (FULL,)
    assert answer.documents == (named,) and np.allclose(answer.depth.values, 2.5)
    assert visual[-1]["evidence"] == [{"text": "asleep", "span": [6, 12]}]
    assert answer.plan == PLANNED and answer.issues == (ParseIssue(at=3, expected="a box", got="x"),)
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=5) and answer.model == "nano"
    assert answer.finish_reason == "stop" and list(answer.visual) == visual and answer.sizes == ((100, 80),)
    assert [g.ref for g in answer.outputs] == [0, 1, 2, 3, 4]


def test_an_answer_in_words_only() -> None:
    answer = detected(content="Yes.")
    assert answer.text == "Yes." and answer.outputs == () and answer.plan is None and answer.depth is None


# --- supervision and overlays ---------------------------------------------------------------------------


def test_boxes_for_supervision() -> None:
    cat = {**BOX, "label": "cat", "box": [0, 0, 100, 80]}
    found = detected(BOX, cat, {**BOX, "index": 2}).to_supervision()
    np.testing.assert_allclose(found.xyxy, [[10, 20, 50, 60], [0, 0, 100, 80], [10, 20, 50, 60]])
    assert list(found.class_id) == [0, 1, 0] and list(found.data["class_name"]) == ["dog", "cat", "dog"]
    assert list(found.confidence) == [0.9] * 3 and found.mask is None


def test_masks_for_supervision() -> None:
    found = detected(*entries(FULL)).to_supervision()
    assert found.mask.shape == (1, 80, 100) and found.mask.all()
    mixed = detected(BOX, *entries(FULL)).to_supervision()
    assert len(mixed) == 2 and mixed.mask is None


def test_nothing_and_unscored_for_supervision() -> None:
    assert len(detected().to_supervision()) == 0
    assert len(detected(*entries(Point(xy=(0, 0)), DocHit(doc_id="d"))).to_supervision()) == 0
    assert detected({**BOX, "score": None}).to_supervision().confidence is None


def test_the_overlay_is_drawn_on_what_was_sent() -> None:
    answer = detected(BOX)
    drawn = answer.overlay()
    assert drawn.size == (100, 80) and np.asarray(drawn).min() < 255
    assert np.array_equal(np.asarray(answer.overlay(PICTURE)), np.asarray(drawn))


def test_overlays_that_cannot_be_drawn() -> None:
    answer = detected(BOX, image="https://example.com/a.png")
    with pytest.raises(GeneralistError, match="sent as a URL; give its picture"):
        answer.overlay()
    with pytest.raises(GeneralistError, match="picture is 10x10 and the image that was asked about 100x80"):
        answer.overlay(Image.new("RGB", (10, 10)))
    assert answer.overlay(PICTURE).size == (100, 80)
    with pytest.raises(GeneralistError, match="no image to draw on"):
        ClientAnswer(text="").overlay()


# --- streams ----------------------------------------------------------------------------------------------

STREAM = "".join(
    [
        ": a comment\n\n",
        chunk(role="assistant", content="", image=INFO),
        chunk(reasoning_content=PLAN),
        chunk(content="The\u2028 "),
        chunk(content="dogs"),
        chunk(visual=[BOX]),
        chunk(visual=[{**BOX, "index": 1}]),
        chunk(content="\x85 sit."),
        chunk("length"),
        'data: {"model": "nano", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}\n\n',
        "data: [DONE]\n\n",
    ]
).encode()


def streamed(kind: str, data: bytes, size: int | None = None) -> list[Any]:
    def pieces() -> Iterator[bytes]:
        step = size or len(data)
        yield from (data[at : at + step] for at in range(0, len(data), step))

    class Cut(httpx.AsyncByteStream, httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return pieces()

        async def __aiter__(self) -> Any:
            for piece in pieces():
                yield piece

    reply = httpx.Response(200, stream=Cut(), headers={"content-type": "text/event-stream"})
    return asking(kind, Server(reply), lambda client: client.stream(PICTURE, "Where are the dogs?"))


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("size", [None, 1, 7, 64])
def test_a_stream_comes_in_pieces(kind: str, size: int | None) -> None:
    *events, answer = streamed(kind, STREAM, size)
    assert events[:3] == [PlanDone(plan=PLANNED), TextDelta(text="The\u2028 "), TextDelta(text="dogs")]
    first, second = events[3:5]
    assert (first.ref, second.ref) == (0, 1) and first.output == Box(xyxy=(0.1, 0.25, 0.5, 0.75), score=0.9)
    assert events[5:] == [TextDelta(text="\x85 sit.")]
    assert answer.text == "The\u2028 dogs\x85 sit." and answer.outputs == (first, second)
    assert answer.plan == PLANNED and answer.usage == Usage(prompt_tokens=7, completion_tokens=5)
    assert answer.finish_reason == "length" and answer.images[0].size == (100, 80)


def test_a_stream_asks_for_its_usage() -> None:
    server = Server(STREAM)
    asking("sync", server, lambda client: client.stream(PICTURE, "Where?", task="detect"))
    assert server.body["stream"] is True and server.body["stream_options"] == {"include_usage": True}
    assert server.body["task"] == "detect"


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_stream_that_fails(kind: str) -> None:
    error = {"error": {"message": "it broke", "type": "server_error", "param": None, "code": "internal"}}
    with pytest.raises(ClientError, match="it broke") as raised:
        streamed(kind, f"{chunk(content='The')}data: {json.dumps(error)}\n\n".encode())
    assert raised.value.code == "internal"


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_stream_that_breaks_off(kind: str) -> None:
    with pytest.raises(ClientError, match="ended within the answer") as raised:
        streamed(kind, STREAM[: len(STREAM) // 2])
    assert raised.value.code == "stream"


@pytest.mark.parametrize("data", [b"data: {\n", b"data: []\n", b'data: {"model": "a"}\n', b'data: {"error": 1}\n'])
def test_streams_of_other_programs(data: bytes) -> None:
    with pytest.raises(ClientError) as raised:
        streamed("sync", data)
    assert raised.value.code == "answer"
