from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor

from generalist.model import Checkpoint, GeneralistImageProcessor, GeneralistProcessor, register
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

RED = Image.new("RGB", (40, 20), (255, 0, 0))


@pytest.fixture(scope="session")
def processor(tiny_checkpoint: Checkpoint) -> GeneralistProcessor:
    return tiny_checkpoint.processor


# --- images ---


def test_pixels_are_normalised_as_the_stem_expects() -> None:
    pixels = GeneralistImageProcessor()(RED)["pixel_values"]
    assert (pixels.shape, pixels.dtype) == ((1, 3, 192, 192), torch.float32)
    expected = torch.tensor([(255 - 127) / 128, -127 / 128, -127 / 128])
    torch.testing.assert_close(pixels[0].mean((1, 2)), expected)


def test_the_whole_image_is_squashed_not_cropped() -> None:
    image = Image.new("RGB", (100, 20))
    image.paste((255, 255, 255), (50, 0, 100, 20))
    pixels = GeneralistImageProcessor(size={"height": 32, "width": 16}, image_mean=[0] * 3, image_std=[1] * 3)(image)
    values = pixels["pixel_values"][0, 0]
    assert values.shape == (32, 16)
    assert values[:, :6].max() < 0.1
    assert values[:, 10:].min() > 0.9


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "LA"])
def test_other_modes_become_rgb(mode: str) -> None:
    assert GeneralistImageProcessor()(RED.convert(mode))["pixel_values"].shape == (1, 3, 192, 192)


def test_arrays_and_nested_lists_are_images_too() -> None:
    process = GeneralistImageProcessor()
    one = process(RED)["pixel_values"]
    many = process([[RED, np.asarray(RED)], [torch.from_numpy(np.array(RED))]])["pixel_values"]
    assert torch.equal(many, one.expand(3, -1, -1, -1))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2500, 2000)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    pixels = GeneralistImageProcessor()(Image.new("RGB", size, (255, 0, 0)))["pixel_values"]
    torch.testing.assert_close(pixels, GeneralistImageProcessor()(RED)["pixel_values"])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("cat.png", "an image is a str"),
        ([None], "an image is a NoneType"),
        ([], "no images were given"),
        (np.zeros((4, 4, 3)), r"float64 \(4, 4, 3\); use uint8"),
        (np.zeros((4, 4), np.uint8), r"uint8 \(4, 4\); use uint8 \[height, width, 3\]"),
    ],
)
def test_what_is_no_image_is_named(images: Any, message: str) -> None:
    with pytest.raises(GeneralistError, match=message):
        GeneralistImageProcessor()(images)


@pytest.mark.parametrize(
    "fields", [{"size": {"height": 0, "width": 4}}, {"image_std": [1, 1, 0]}, {"image_mean": [0.5]}]
)
def test_settings_that_cannot_work_are_named(fields: dict[str, Any]) -> None:
    with pytest.raises(GeneralistError):
        GeneralistImageProcessor(**fields)


# --- text ---


def test_the_chat_template_writes_the_conversation_as_trained(
    processor: GeneralistProcessor, vocab: Vocabulary
) -> None:
    s, text = vocab.structure, vocab.encode_text
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "the dog"}, {"type": "image"}, {"type": "image"}]},
        {"role": "assistant", "content": "The cat"},
        {"role": "user", "content": [{"type": "text", "text": "  a\nmap "}]},
    ]
    written = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    expected = [
        *(s["<bos>"], s["<system>"], *text("Be brief.")),
        *(s["<user>"], vocab.image, vocab.image, *text("the dog")),
        *(s["<assistant>"], *text("The cat"), vocab.eos),
        *(s["<user>"], *text("  a\nmap "), s["<assistant>"]),
    ]
    assert processor.tokenizer(written)["input_ids"] == expected
    done = processor.apply_chat_template(messages[:3], tokenize=False)
    assert done.endswith("The cat<eos>")


def test_an_unknown_role_is_refused(processor: GeneralistProcessor) -> None:
    with pytest.raises(Exception, match="role is tool; use system, user or assistant"):
        processor.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_image_tokens_are_repeated_and_prompts_padded_on_the_left(
    processor: GeneralistProcessor, vocab: Vocabulary
) -> None:
    texts = ["<bos><user><image>dog<assistant>", "<bos><user><image><image>a red cat<assistant>"]
    inputs = processor(text=texts, images=[[RED], [RED, RED]], padding=True, return_tensors="pt")
    assert inputs["pixel_values"].shape == (3, 3, 32, 32)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert (ids == vocab.image).sum(1).tolist() == [4, 8]
    assert (ids[mask == 0] == vocab.pad).all()
    assert (mask[:, -1].tolist(), mask[0, 0].item(), mask[1, 0].item()) == ([1, 1], 0, 1)


def test_text_alone_needs_no_image(processor: GeneralistProcessor) -> None:
    assert set(processor(text="<bos><user>dog<assistant>")) == {"input_ids", "attention_mask"}


def test_what_it_makes_is_what_the_model_takes(tiny_checkpoint: Checkpoint) -> None:
    messages = [{"role": "user", "content": [{"type": "image", "image": RED}, {"type": "text", "text": "dog"}]}]
    inputs = tiny_checkpoint.processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    out = tiny_checkpoint.model.generate(**inputs, max_new_tokens=3, min_new_tokens=3)
    assert out.shape[1] == inputs["input_ids"].shape[1] + 3


def test_typed_special_tokens_can_be_kept_as_text(processor: GeneralistProcessor, vocab: Vocabulary) -> None:
    typed = "<loc_0001> and <image>"
    ids = processor.tokenizer(typed, split_special_tokens=True)["input_ids"]
    assert ids == vocab.encode_text(typed)
    assert all(vocab.is_text(i) for i in ids)


def test_using_the_processor_leaves_the_vocabulary_alone(processor: GeneralistProcessor, vocab: Vocabulary) -> None:
    processor.tokenizer("<loc_0001>")
    assert all(vocab.is_text(i) for i in vocab.encode_text("<loc_0001>"))


def test_no_token_is_added_or_moved(processor: GeneralistProcessor, vocab: Vocabulary) -> None:
    assert processor.tokenizer.get_vocab() == vocab.tokenizer.get_vocab()
    assert (processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id) == (vocab.pad, vocab.eos)
    assert processor.image_token_id == vocab.image


def test_saved_and_loaded_it_does_the_same(processor: GeneralistProcessor, tmp_path: Path) -> None:
    register()
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "generalist"}')
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, GeneralistProcessor)
    assert isinstance(AutoImageProcessor.from_pretrained(tmp_path), GeneralistImageProcessor)
    assert loaded.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    request: dict[str, Any] = {"text": "<bos><user><image>dog<assistant>", "images": [RED], "return_tensors": "pt"}
    before, after = processor(**request), loaded(**request)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loaded.chat_template == processor.chat_template


def test_every_image_takes_the_same_number_of_tokens(processor: GeneralistProcessor) -> None:
    counts = processor._get_num_multimodal_tokens(image_sizes=[(10, 10), (4000, 20)])
    assert counts["num_image_tokens"] == [4, 4]
