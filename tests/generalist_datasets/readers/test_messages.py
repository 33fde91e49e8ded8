"""Conversations in the forms that people have them in, and in those that cannot be used."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.readers import data_urls, messages
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Problems, Record

PNG = io.BytesIO()
Image.new("RGB", (3, 2), "red").save(PNG, "PNG")
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG.getvalue()).decode()}"

ASKED = {"role": "user", "content": "What is it?"}
ANSWERED = {"role": "assistant", "content": "A dog."}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, a.png beside the conversations and images/b.png."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for path in (folder / "a.png", folder / "images" / "b.png"):
        path.write_bytes(PNG.getvalue())
    return folder


def read(path: Path) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(messages.READER.read(path, problems, Options())), problems


def write(folder: Path, *entries: Any, name: str = "train.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return file


def names(record: Record) -> list[str]:
    return [path.name for path in record.images]


FORMS: dict[str, dict[str, Any]] = {
    "openai": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "a.png"}},
                    {"type": "text", "text": "What is it?"},
                ],
            },
            ANSWERED,
        ]
    },
    "openai responses": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": "a.png"},
                    {"type": "input_text", "text": "What is it?"},
                ],
            },
            {"role": "assistant", "content": [{"type": "output_text", "text": "A dog."}]},
        ]
    },
    "trl": {
        "messages": [
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
        ],
        "images": ["a.png"],
    },
    "images beside the messages": {"messages": [ASKED, ANSWERED], "images": [{"path": "a.png", "bytes": None}]},
    "prompt and completion": {"prompt": [ASKED], "completion": [ANSWERED], "image": "a.png"},
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A dog."},
        ],
        "images": ["a.png"],
    },
    "llava": {
        "id": "000",
        "image": "a.png",
        "conversations": [{"from": "human", "value": "What is it?\n<image>"}, {"from": "gpt", "value": "A dog."}],
    },
    "image in its part": {
        "messages": [
            {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What is it?"}]},
            ANSWERED,
        ]
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_list", [False, True])
def test_every_form_says_the_same(folder: Path, form: str, as_list: bool) -> None:
    if as_list:
        (folder / "train.json").write_text(json.dumps([FORMS[form]], indent=1))
    else:
        write(folder, FORMS[form])
    assert messages.READER.detect(folder)
    (record,), problems = read(folder)
    assert [(turn.role, turn.text) for turn in record.turns] == [("user", "What is it?"), ("assistant", "A dog.")]
    assert record.images == (folder / "a.png",)
    assert record.split == "train"
    assert not problems.counts


def test_images_keep_the_order_in_which_they_are_shown(folder: Path) -> None:
    asked = {"from": "human", "value": "Compare <image>\nwith <image>."}
    write(folder, {"conversations": [asked, {"from": "gpt", "value": "Alike."}], "images": ["b.png", "a.png"]})
    (record,), _ = read(folder)
    assert names(record) == ["b.png", "a.png"]
    assert record.turns[0].text == "Compare with ."


def test_system_texts_and_many_turns(folder: Path) -> None:
    turns = [
        {"role": "developer", "content": "Be brief."},
        ASKED,
        ANSWERED,
        {"role": "user", "content": "Sure?"},
        {"role": "model", "content": "Yes."},
    ]
    write(folder, {"messages": turns, "images": "a.png"})
    (record,), _ = read(folder)
    assert [turn.role for turn in record.turns] == ["system", "user", "assistant", "user", "assistant"]


# --- data URLs ----------------------------------------------------------------------------------------


def with_image(url: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}, ANSWERED]}


def test_a_data_url_becomes_a_file_of_the_cache_once(folder: Path, cache: Path) -> None:
    write(folder, with_image(DATA_URL), with_image(DATA_URL.replace(";base64", ";charset=x;BASE64")))
    first, second = read(folder)[0]
    assert first.images == second.images
    assert first.image.is_relative_to(cache)
    assert first.image.read_bytes() == PNG.getvalue()
    assert len(list(first.image.parent.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_named(folder: Path, tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    write(folder, with_image(DATA_URL))
    with pytest.raises(GeneralistError, match="GENERALIST_CACHE"):
        read(folder)


def test_a_picture_of_too_many_bytes_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_urls, "MOST_BYTES", 10)
    write(folder, with_image(DATA_URL))
    assert read(folder)[1].counts == {("error", "not an image"): 1}


# --- what cannot be used ------------------------------------------------------------------------------


def talk(*turns: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(turns), "images": ["a.png"], **more}


BROKEN: list[tuple[str, str, Any]] = [
    ("error", "missing field", {"id": 1}),  # no conversation
    ("error", "wrong type", {"messages": "hello"}),  # text for the list
    ("error", "wrong type", {"prompt": "What?", "completion": [ANSWERED]}),  # half of it is text
    ("error", "wrong type", talk("hello")),  # text for a message
    ("error", "wrong type", talk({"role": "user"}, ANSWERED)),  # no content
    ("error", "wrong type", talk({"role": "user", "content": 3}, ANSWERED)),  # a number for content
    ("error", "wrong type", talk({"role": "user", "content": [3]}, ANSWERED)),  # a number for a part
    ("error", "wrong type", talk({"role": "user", "content": [{"type": "text"}]}, ANSWERED)),  # a text part without
    ("error", "unknown part", talk({"role": "user", "content": [{"type": "video"}]}, ANSWERED)),  # not for us
    ("error", "unknown role", talk({"role": "moderator", "content": "x"}, ANSWERED)),  # who?
    ("error", "unknown role", talk({"role": ["user"], "content": "x"}, ANSWERED)),  # a list for the role
    ("error", "roles out of turn", talk(ANSWERED, ASKED)),  # the answer first
    ("error", "roles out of turn", talk(ASKED, ASKED, ANSWERED)),  # two questions
    ("error", "roles out of turn", talk(ASKED, {"role": "system", "content": "x"}, ANSWERED)),  # system in between
    ("error", "no answer", talk(ASKED)),  # a question only
    ("error", "no answer", talk(ASKED, {"role": "assistant", "content": " "})),  # an empty answer
    ("error", "no answer", talk()),  # nothing
    ("error", "missing image", talk(ASKED, ANSWERED, images=["c.png"])),  # not there
    ("error", "missing image", talk({"role": "user", "content": "<image><image>"}, ANSWERED)),  # one is listed
    ("error", "missing image", talk(ASKED, ANSWERED, images=["n" * 100_000])),  # longer than names are
    ("error", "missing image", talk(ASKED, ANSWERED, images=["../.."])),  # a folder
    ("error", "missing image", talk(ASKED, ANSWERED, images=["a\0.png"])),  # NUL
    ("error", "wrong type", talk(ASKED, ANSWERED, images=[7])),  # a number for a name
    ("error", "wrong type", talk(ASKED, ANSWERED, images=[{"bytes": "x"}])),  # nothing that names it
    ("error", "image on the network", with_image("https://example.org/a.png")),  # is not downloaded
    ("error", "not an image", with_image("data:text/html;base64,AAAA")),  # a page
    ("error", "not an image", with_image("data:image/png;base64,A")),  # not base64
    ("error", "not an image", with_image("data:image/png;base64,")),  # empty
    ("error", "not an image", with_image("data:image/png")),  # cut off
    ("warning", "no image", {"messages": [ASKED, ANSWERED]}),  # text only
    ("warning", "tool call", talk(ASKED, {"role": "tool", "content": "42"}, ANSWERED)),  # a tool answers
    ("warning", "tool call", talk(ASKED, {"role": "assistant", "content": None, "tool_calls": [{}]})),  # or is called
]


@pytest.mark.parametrize("at", range(len(BROKEN)), ids=lambda at: f"{BROKEN[at][1]} {at}")
@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
def test_what_cannot_be_used_is_left_out_and_named(folder: Path, at: int, name: str) -> None:
    severity, kind, entry = BROKEN[at]
    entries = [FORMS["trl"], entry, FORMS["llava"]]
    if name.endswith(".json"):
        (folder / name).write_text(json.dumps(entries))
    else:
        write(folder, *entries, name=name)
    records, problems = read(folder / name)
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [
        (severity, kind, "line 2" if name == "train.jsonl" else "[1]")
    ]
    assert len(records) == 2
    assert all(len(problem.detail) < 200 for problem in problems.kept)


BROKEN_FILES = {
    b"[": "not valid JSON",  # cut off
    b"[{}, {": "missing field",  # the first entry is read
    b"[" * 100_000: "not valid JSON",  # nested deeper than any parser goes
    b"\xff\xfe[\x00": "not UTF-8 text",  # UTF-16
    b'["\xff"]': "not valid JSON",  # not UTF-8
    b"": None,  # nothing
    b"[]": None,  # no entry
}


@pytest.mark.parametrize("content", BROKEN_FILES, ids=lambda content: repr(content[:10]))
def test_a_broken_file_is_an_error_of_one_line(folder: Path, content: bytes) -> None:
    (folder / "train.json").write_bytes(content)
    records, problems = read(folder / "train.json")
    assert records == []
    assert [problem.kind for problem in problems.kept][:1] == ([BROKEN_FILES[content]] if BROKEN_FILES[content] else [])


def test_a_folder_without_conversations_is_not_taken_for_one(folder: Path) -> None:
    write(folder, {"file_name": "a.png", "text": "a dog"}, name="metadata.jsonl")
    (folder / "labels.json").write_text('{"images": [], "annotations": []}')
    (folder / "train.jsonl").mkdir()
    assert not messages.READER.detect(folder)
    assert not messages.READER.detect(folder / "missing.json")
    with pytest.raises(GeneralistError, match="no conversations"):
        read(folder)
