"""A visual head: what it answers, on whatever tower, and the file that it is kept in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generalist.heads.head import Head, preprocess_of
from generalist.heads.pyramid import Pyramid
from generalist.model import Checkpoint, GeneralistForConditionalGeneration
from generalist.types import Box, ChatRequest, GeneralistError, Mask, Message, Seen, VisualPrompt
from generalist.visual import mask_bitmap

from ...generalist_adapters import conftest as towers
from ...pictures import noise
from ..random_heads import NAMES, random_head, write_head

make_model = towers.make_model
PICTURE = noise(60, 40)


def asked(text: str, task: str = "chat", *images: Image.Image, **more: Any) -> ChatRequest:
    message = Message(role="user", text=text, images=images or (PICTURE,), **more)
    return ChatRequest(messages=(message,), task=task)


@pytest.fixture
def head(tiny_checkpoint: Checkpoint) -> Head:
    return random_head(tiny_checkpoint)


def see(head: Head, text: str) -> Seen:
    seen = head.answer(asked(text))
    assert seen is not None
    return seen


def test_boxes_masks_and_numbers(head: Head) -> None:
    groups = dict(see(head, "Detect all objects.").drawn)
    assert groups.keys() == {"cat", "dog"}
    for boxes in groups.values():
        assert all(isinstance(box, Box) and 0 < (box.score or 0) < 1 for box in boxes)
        middles = [box.xyxy[0] + box.xyxy[2] for box in boxes if isinstance(box, Box)]
        assert middles == sorted(middles)
    assert dict(see(head, "Detect the dogs.").drawn) == {"dog": groups["dog"]}
    assert see(head, "How many dogs are there?").text.isdigit()
    ((name, best),) = see(head, "Where is the dog?").drawn
    assert name == "dog" and best == (max(groups["dog"], key=lambda box: box.score or 0),)

    whole = dict(see(head, "Segment everything.").drawn)
    assert whole.keys() == {"dog", "grass"} and len(whole["grass"]) == 1 < len(whole["dog"])  # stuff has no instances
    assert see(head, "Segment all objects.").drawn == (("dog", whole["dog"]),)
    bitmaps = [mask_bitmap(mask) for masks in whole.values() for mask in masks if isinstance(mask, Mask)]
    seen = np.sum(bitmaps, axis=0)
    assert seen.shape == (40, 60) and seen.max() == 1  # no pixel is of two things


def test_what_is_not_there_is_said(tiny_checkpoint: Checkpoint) -> None:
    head = random_head(tiny_checkpoint)
    with torch.no_grad():
        head.network.heat[-1].get_parameter("bias").fill_(-50.0)
    assert see(head, "Detect all objects.").text == "There is nothing."
    assert see(head, "Detect the cats.").text == "There is no cat."
    assert see(head, "How many cats are there?").text == "0"


def test_what_it_leaves_to_the_model(head: Head, tiny_checkpoint: Checkpoint) -> None:
    drawn = VisualPrompt(kind="point", xy=(0.5, 0.5))
    assert head.answer(asked("Detect all objects.", "chat", visual_prompts=(drawn,))) is None
    assert head.answer(asked("Detect the grass.")) is None  # which has masks only
    assert head.answer(asked("What is this?")) is None
    assert head.answer(ChatRequest(messages=(Message(role="user", text="Detect all objects."),))) is None
    less = random_head(tiny_checkpoint, replace(NAMES, tasks=("count",)))
    assert less.answer(asked("Detect all objects.")) is None and less.answer(asked("How many cats are there?"))


@pytest.mark.parametrize("name", towers.MODELS)
def test_every_tower_has_maps(name: str, make_model: Callable[[str], GeneralistForConditionalGeneration]) -> None:
    model = make_model(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    pyramid = Pyramid(model)
    maps = pyramid.read(torch.randn(2, 3, *model.config.image_hw))
    assert [tuple(one.shape) for one in maps] == [(2, x.channels, x.rows, x.columns) for x in pyramid.levels]
    assert not torch.equal(maps[-1][0], maps[-1][1]) and not any(m._forward_hooks for m in model.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def load(folder: Path, checkpoint: Checkpoint) -> Head:
    return Head.load(folder, checkpoint.model, preprocess_of(checkpoint.processor), checkpoint.vocabulary.hash)


def test_saved_and_loaded_it_sees_the_same(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = write_head(tmp_path / "pets", tiny_checkpoint)
    heads = random_head(tiny_checkpoint), load(folder, tiny_checkpoint)
    before, after = (see(one, "Segment everything.") for one in heads)
    assert before.drawn == after.drawn and len(after.drawn) == 2


def test_a_file_of_something_else_is_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path, make_model: Callable[[str], Any]
) -> None:
    folder = write_head(tmp_path / "pets", tiny_checkpoint)
    path = folder / "head.safetensors"
    whole = load_file(path)
    names: dict[str, object] = {"tasks": ["detect"], "boxes": ["a"], "masks": [], "stuff": [], "said": {"a": "a"}}
    content = {"names": names, "levels": []}
    bad: list[tuple[dict[str, torch.Tensor], object]] = [
        (whole, {}), (whole, []), (whole, None), (whole, content),
        *((whole, {**content, "names": wrong}) for wrong in (
            3, {}, {**names, "boxes": []}, {**names, "boxes": ["a", "a"]}, {**names, "boxes": ["\n"]},
            {**names, "boxes": [3]}, {**names, "said": [1]}, {**names, "stuff": ["b"]},
            {**names, "boxes": [f"c{k}" for k in range(20_000)]},
        )),
    ]  # fmt: skip
    for tensors, told in bad:
        save_file(tensors, path, metadata={"head": json.dumps(told)})
        with pytest.raises(GeneralistError, match=r"^[^\n]*head.safetensors: no visual head for this model[^\n]*$"):
            load(folder, tiny_checkpoint)
    good = write_head(tmp_path / "good", tiny_checkpoint) / "head.safetensors"
    head_json = json.dumps({"names": {}})
    for changed in (
        {name: t for name, t in whole.items() if name != "usual"}, {**whole, "usual": torch.full((4,), torch.nan)},
        {**whole, "usual": torch.zeros(5)}, {**whole, "usual": torch.zeros(4, dtype=torch.int64)},
    ):  # fmt: skip
        metadata = _metadata(good)
        save_file(changed, path, metadata=metadata)
        with pytest.raises(GeneralistError, match="no visual head for this model"):
            load(folder, tiny_checkpoint)
    save_file(whole, path, metadata={"head": head_json[:-1]})
    with pytest.raises(GeneralistError, match="not readable as a head"):
        load(folder, tiny_checkpoint)
    path.write_bytes(b"x" * 50)
    with pytest.raises(GeneralistError, match="not readable as a head"):
        load(folder, tiny_checkpoint)
    other = make_model("swin")
    with pytest.raises(GeneralistError, match="it reads another vision tower"):
        Head.load(good.parent, other, preprocess_of(tiny_checkpoint.processor), tiny_checkpoint.vocabulary.hash)
    with pytest.raises(GeneralistError, match="vocab_hash"):
        Head.load(good.parent, tiny_checkpoint.model, preprocess_of(tiny_checkpoint.processor), "other")


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())
