"""Conversations as other tools load them: through Hugging Face's json loader, and through our own reader."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from generalist.types import (
    Box,
    DepthMap,
    GeneralistError,
    Grounded,
    Mask,
    Message,
    Output,
    Point,
    Sample,
    VisualPrompt,
)
from generalist_datasets.converters import Written, convert, new_folder, write_messages
from generalist_datasets.readers import read_records
from generalist_datasets.records import Problems

W, H = 40, 20
IMAGE = Image.new("RGB", (W, H), "red")


def grounded(label: str, at: int, output: Output, ref: int = 0) -> Grounded:
    return Grounded(label=label, span=(at, at + len(label)), image=0, ref=ref, output=output)


def sample(text: str = "yes", *targets: Grounded, **more: Any) -> Sample:
    values = {"id": "s", "image": IMAGE, "task": "chat", "prompt": "What?", "text": text, "targets": targets, **more}
    return Sample(**values)


def write(out: Path, *samples: Sample, files: tuple[Path, ...] = ()) -> Written:
    with new_folder(out) as folder:
        return write_messages(((sample, files) for sample in samples), folder)


def turns(out: Path, name: str = "messages.jsonl") -> list[list[tuple[str, str]]]:
    entries = [json.loads(line) for line in (out / name).read_text().splitlines()]
    return [
        [
            (m["role"], "".join("<image>" if p["type"] == "image" else p["text"] for p in m["content"]))
            for m in e["messages"]
        ]
        for e in entries
    ]


def test_boxes_and_points_are_lists_in_pixels(tmp_path: Path) -> None:
    places = ((0.0, 0.0, 0.5, 1.0), (0.1, 0.2, 0.31, 0.4))
    dogs = [grounded("dog", 0, Box(xyxy=xyxy), ref) for ref, xyxy in enumerate(places)]
    nose = grounded("nose", 4, Point(xy=(0.5, 0.26)))
    write(tmp_path / "out", sample("dog", *dogs), sample("The nose is there.", nose), sample("No dog is there."))
    answers = [conversation[-1][1] for conversation in turns(tmp_path / "out")]
    assert json.loads(answers[0]) == [
        {"bbox_2d": [0, 0, 20, 20], "label": "dog"},
        {"bbox_2d": [4, 4, 12, 8], "label": "dog"},
    ]
    words, listed = answers[1].split("\n")
    assert words == "The nose is there."
    assert json.loads(listed) == [{"point_2d": [20, 5], "label": "nose"}]
    assert answers[2] == "No dog is there."


def test_words_that_are_only_labels_are_not_repeated(tmp_path: Path) -> None:
    targets = (grounded("dog", 0, Box(xyxy=(0, 0, 1, 1))), grounded("cat", 5, Box(xyxy=(0, 0, 1, 1))))
    write(tmp_path / "out", sample("dog, cat", *targets))
    (conversation,) = turns(tmp_path / "out")
    assert [entry["label"] for entry in json.loads(conversation[-1][1])] == ["dog", "cat"]


def test_a_dialogue_about_two_images_with_drawings(tmp_path: Path) -> None:
    drawn = (VisualPrompt(kind="box", xyxy=(0, 0, 0.5, 0.5)), VisualPrompt(kind="point", xy=(1, 1)))
    history = (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Hello?", visual_prompts=drawn[1:]),
        Message(role="assistant", text="Hello."),
    )
    other = Image.new("RGB", (W, H), "blue")
    write(tmp_path / "out", sample(history=history, earlier_images=(other,), visual_prompts=drawn[:1]))
    (conversation,) = turns(tmp_path / "out")
    assert conversation == [
        ("system", "Be brief."),
        ("user", '<image><image>Hello?\n[{"point_2d": [40, 20]}]'),
        ("assistant", "Hello."),
        ("user", 'What?\n[{"bbox_2d": [0, 0, 20, 10]}]'),
        ("assistant", "yes"),
    ]
    (record,) = read_records(tmp_path / "out")
    assert [np.asarray(Image.open(path))[0, 0].tolist() for path in record.images] == [[0, 0, 255], [255, 0, 0]]


def test_what_has_no_convention_is_left_out_and_counted(tmp_path: Path) -> None:
    bitmap = np.ones((H, W), bool)
    mask = Mask(size=(H, W), counts="0P", xyxy=(0, 0, 1, 1))
    depth = DepthMap(values=np.ones((H, W), np.float32))
    result = write(
        tmp_path / "out",
        sample("dog", grounded("dog", 0, Box(xyxy=(0, 0, 1, 1))), grounded("dog", 0, mask, 1)),
        sample("scene", grounded("scene", 0, depth)),
        sample(visual_prompts=(VisualPrompt(kind="scribble", bitmap=bitmap),)),
        sample(visual_prompts=tuple(VisualPrompt(kind="point", xy=(0, n), excludes=bool(n)) for n in (0, 1))),
        sample(),
    )
    assert result.counts == {"conversations": 1}
    assert result.left_out == {
        "conversations with masks": 1,
        "conversations with depth maps": 1,
        "conversations with a scribble drawn by the user": 1,
        "conversations with a point on what is not meant": 1,
    }


def test_splits_have_files_of_their_own(tmp_path: Path) -> None:
    result = write(tmp_path / "out", sample(meta={"split": "train"}), sample(meta={"split": "val"}), sample())
    assert result.files == ("train.jsonl", "val.jsonl", "messages.jsonl")
    assert [record.split for record in read_records(tmp_path / "out")] == ["", "train", "val"]


def test_a_picture_is_saved_once(tmp_path: Path) -> None:
    write(tmp_path / "out", sample(), sample(image=IMAGE.copy()), sample(image=Image.new("RGB", (H, W), "red")))
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2


def test_hugging_face_loads_real_captions(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    source = shared_data("flickr8k-100")
    written = convert(source, "messages", tmp_path / "out", options=None)
    assert written.counts == {"conversations": 500}
    file = str(tmp_path / "out" / "messages.jsonl")
    loaded = load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 500
    answers = [row["messages"][-1]["content"][0]["text"] for row in loaded]
    assert answers == [caption for record in read_records(source) for caption in record.captions]
    assert all(Path(row["images"][0]).is_file() for row in loaded)

    records = list(read_records(tmp_path / "out"))
    assert [record.turns[-1].text for record in records] == answers
    assert [record.turns[0].role for record in records] == ["user"] * 500


def test_real_boxes_come_back(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    source = tmp_path / "bccd"
    real = shared_data("bccd")
    for folder in ("Annotations", "JPEGImages"):
        (source / folder).mkdir(parents=True)
        for file in sorted((real / folder).iterdir())[:20]:
            (source / folder / file.name).symlink_to(file)
    convert(source, "messages", tmp_path / "out")
    written: dict[str, list[Any]] = {}
    for file in (tmp_path / "out").glob("*.jsonl"):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            question, answer = (message["content"][-1]["text"] for message in entry["messages"])
            if question == "Detect all objects.":
                written[entry["images"][0]] = json.loads(answer)
    for record in read_records(source):
        boxes = sorted((entry["label"], *entry["bbox_2d"]) for entry in written[str(record.image)])
        assert boxes == sorted((annotation.label, *(annotation.xyxy or ())) for annotation in record.annotations)


# --- the whole way ------------------------------------------------------------------------------------


def conversation(image: str) -> str:
    asked = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "What?"}]}
    return json.dumps({"messages": [asked, {"role": "assistant", "content": "Red."}]}) + "\n"


def test_a_picture_in_a_data_url_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path / "cache"))
    buffer = io.BytesIO()
    IMAGE.save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    (tmp_path / "talk.jsonl").write_text(conversation(url))
    convert(tmp_path / "talk.jsonl", "messages", tmp_path / "out")
    (record,) = read_records(tmp_path / "out")
    assert record.image.parent == tmp_path / "out" / "images"
    assert record.image.read_bytes() == buffer.getvalue()


def test_a_picture_that_cannot_be_decoded_costs_only_its_record(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "talk.jsonl").write_text(conversation("b.png") + conversation("a.png"))
    problems = Problems(strict=False)
    written = convert(tmp_path / "talk.jsonl", "messages", tmp_path / "out", problems=problems)
    assert written.counts == {"conversations": 1}
    assert [problem.kind for problem in problems.kept] == ["unreadable picture"]
    with pytest.raises(GeneralistError, match="unreadable picture"):
        convert(tmp_path / "talk.jsonl", "messages", tmp_path / "strict")
    assert not (tmp_path / "strict").exists()
