"""From HTTP messages and drawings to a request of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from generalist.types import Message, Sampling
from generalist_serving.api.errors import ApiError
from generalist_serving.api.fields import VisualPrompts
from generalist_serving.api.request_reading import Turn, read_json_schema, read_messages, read_n, read_sampling
from generalist_serving.api.settings import Settings

from ..routes import data_url, run

PROMPTS: TypeAdapter[Any] = TypeAdapter(VisualPrompts)


def read(
    *turns: Turn, drawn: Sequence[dict[str, Any]] = (), task: str = "chat", settings: Settings | None = None
) -> tuple[Message, ...]:
    prompts = PROMPTS.validate_python(list(drawn))
    return run(read_messages(turns, prompts, task=task, settings=settings or Settings(), param="messages"))


def user(*texts: str, images: int = 1) -> Turn:
    return Turn(role="user", texts=texts, images=((data_url(), "messages[0].content[0]"),) * images)


def test_a_conversation_keeps_roles_words_and_images() -> None:
    given = (Turn(role="system", texts=("Be brief.",)), user("What", "is this?", images=2), Turn(role="assistant"))
    system, asked, answered = read(*given)
    assert (system.role, system.text, answered.role, answered.text) == ("system", "Be brief.", "assistant", "")
    assert asked.text == "What\nis this?" and [image.size for image in asked.images] == [(200, 100)] * 2


def test_drawings_are_in_pixels_of_the_last_image() -> None:
    drawn = [{"type": "point", "point": [50, 50]}, {"type": "box", "box": [0, 0, 100, 50.0]}]
    (message,) = read(user("What is this?"), drawn=drawn)
    point, box = message.visual_prompts
    assert (point.kind, point.xy) == ("point", (0.25, 0.5))
    assert (box.kind, box.xyxy) == ("box", (0.0, 0.0, 0.5, 0.5))


def test_points_with_label_0_exclude() -> None:
    drawn = [{"type": "box", "box": [0, 0, 100, 50]}] + [{"type": "point", "point": [5, 5], "label": n} for n in (0, 1)]
    (message,) = read(user("What is this?"), drawn=drawn)
    assert [prompt.excludes for prompt in message.visual_prompts] == [False, True, False]


@pytest.mark.parametrize("kind", ["mask", "scribble"])
def test_painted_pictures_become_bitmaps(kind: str) -> None:
    paint = Image.new("L", (200, 100))
    paint.paste(255, (10, 20, 30, 40))
    (message,) = read(user("What?"), drawn=[{"type": kind, "png": data_url(paint)}])
    (drawn,) = message.visual_prompts
    assert drawn.kind == kind and drawn.bitmap is not None
    assert np.array_equal(drawn.bitmap, np.asarray(paint) > 0)


def test_drawings_belong_to_the_last_question_and_its_earlier_image() -> None:
    turns = (user("What?"), Turn(role="assistant", texts=("A dog.",)), user("And here?", images=0))
    messages = read(*turns, drawn=[{"type": "point", "point": [200, 100]}])
    assert [len(message.visual_prompts) for message in messages] == [0, 0, 1]
    assert messages[2].visual_prompts[0].xy == (1.0, 1.0)


@pytest.mark.parametrize("task, text", [("depth", "Estimate the depth."), ("caption", "Describe the image.")])
def test_a_picture_alone_is_asked_about_in_its_task_s_words(task: str, text: str) -> None:
    assert read(user(), task=task)[0].text == text
    assert read(user("How deep?"), task=task)[0].text == "How deep?"
    assert read(user(), task="detect")[0].text == ""  # about what?


@pytest.mark.parametrize("turns, drawn, settings, said, param", [
    ([user("a", images=3)], [], Settings(max_images=2), "3 images; use at most 2", "messages"),
    ([user("a"), user("b")], [], Settings(max_messages=1), "2 messages", "messages"),
    ([user("abc", "def")], [], Settings(max_text_chars=5), "6 characters", "messages"),
    ([Turn(role="user", images=(("http://example.com/a.png", "here"),))], [], None, "data URL", "here"),
    ([user("a", images=0)], [{"type": "point", "point": [1, 1]}], None, "send one", "visual_prompts"),
    ([user("a"), Turn(role="assistant")], [{"type": "point", "point": [1, 1]}], None, "end with", "visual_prompts"),
    ([user("a")], [{"type": "point", "point": [1, 1]}, {"type": "point", "point": [201, 1]}], None, "outside",
     "visual_prompts[1]"),
    ([user("a")], [{"type": "box", "box": [9, 9, 9, 9]}], None, "empty", "visual_prompts[0]"),
    ([user("a")], [{"type": "point", "point": [1, 1], "label": 0}], None, "draw what is meant", "visual_prompts"),
    ([user("a")], [{"type": "mask", "png": data_url(Image.new("L", (20, 10), 255))}], None, "20x10",
     "visual_prompts[0].png"),
    ([user("a")], [{"type": "mask", "png": data_url(Image.new("L", (200, 100)))}], None, "nothing is drawn",
     "visual_prompts[0].png"),
    ([user("a")], [{"type": "scribble", "png": data_url(form="JPEG")}], None, "PNG", "visual_prompts[0].png"),
])  # fmt: skip
def test_what_breaks_a_limit_is_refused_by_name(
    turns: list[Turn], drawn: list[dict[str, Any]], settings: Settings | None, said: str, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        read(*turns, drawn=drawn, settings=settings)
    assert caught.value.status_code == 400 and caught.value.param == param
    assert said in caught.value.detail


def sampling(task: str = "chat", settings: Settings | None = None, **fields: Any) -> Sampling:
    unset: dict[str, Any] = {"temperature": None, "top_p": None, "top_k": None, "seed": None}
    asked = {"max_tokens": (None, "max_tokens"), **unset, **fields}
    return read_sampling(task, settings or Settings(), **asked)


def test_sampling_is_greedy_and_as_long_as_its_task_unless_told() -> None:
    assert sampling("count") == Sampling(max_new_tokens=32)
    assert sampling("chat", Settings(max_tokens=100)).max_new_tokens == 100
    told = sampling(max_tokens=(5, "max_tokens"), temperature=1.0, top_p=0.5, top_k=3, seed=-1)
    assert told == Sampling(temperature=1.0, top_p=0.5, top_k=3, max_new_tokens=5, seed=-1)


def test_the_server_s_limits_on_tokens_and_replies() -> None:
    with pytest.raises(ApiError, match="max_output_tokens is 2049; use at most 2048"):
        sampling(max_tokens=(2049, "max_output_tokens"))
    assert (read_n(None, Settings()), read_n(8, Settings())) == (1, 8)
    with pytest.raises(ApiError, match="n is 3; use at most 2"):
        read_n(3, Settings(max_n=2))


def test_json_is_text_and_not_for_tasks_that_draw() -> None:
    assert read_json_schema(None, "chat", "format") == '{"type": "object"}'
    assert read_json_schema({"type": "string"}, "caption", "format") == '{"type": "string"}'
    with pytest.raises(ApiError, match="task 'segment' draws"):
        read_json_schema(None, "segment", "format")
    with pytest.raises(ApiError) as caught:
        read_json_schema({"maxItems": 10**9}, "chat", "text.format")
    assert caught.value.param == "text.format"


def test_the_images_of_a_request_share_a_number_of_pixels() -> None:
    mask = {"type": "mask", "png": data_url(Image.new("L", (200, 100), 255))}  # as large as each image
    few = Settings(max_total_pixels=60_000)
    assert len(read(user("What?", images=3), settings=few)[0].images) == 3
    read(user("What?", images=1), drawn=[mask] * 2, settings=few)
    turns = (user("What?", images=2), Turn(role="assistant", texts=("A dog.",)), user("And?", images=2))
    for given, drawn in ((turns, []), ([user("What?", images=2)], [mask] * 2)):
        with pytest.raises(ApiError, match=r"more than 0\.06 megapixels together; scale them down, or send") as raised:
            read(*given, drawn=drawn, settings=few)
        assert raised.value.status_code == 400 and raised.value.param
