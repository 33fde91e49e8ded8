"""The same promises for every vision tower and language model of the table in conftest.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from generalist.model import GeneralistForConditionalGeneration, GeneralistModel, register
from generalist.types import GeneralistError

Model = GeneralistForConditionalGeneration


def images(model: Model, count: int, seed: int = 0) -> torch.Tensor:
    height, width = model.config.image_hw
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def prompt(model: Model, *parts: int | str) -> list[int]:
    """Token ids of numbers and "image"s."""
    expanded = [model.config.image_token_id] * model.config.num_image_tokens
    return [1, *(token for part in parts for token in (expanded if part == "image" else [int(part)]))]


def batch(*prompts: list[int]) -> dict[str, torch.Tensor]:
    """Padded on the left."""
    length = max(map(len, prompts))
    ids = [[0] * (length - len(p)) + p for p in prompts]
    mask = [[0] * (length - len(p)) + [1] * len(p) for p in prompts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def reply(model: Model, *prompts: list[int], **kwargs: Any) -> list[list[int]]:
    inputs = batch(*prompts)
    kwargs = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, **kwargs}
    out = model.generate(**inputs, **kwargs)
    return out[:, inputs["input_ids"].shape[1] :].tolist()


def logits(model: Model, prompt_ids: list[int], **kwargs: Any) -> torch.Tensor:
    """[L, V]."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([prompt_ids]), **kwargs).logits[0]


def test_a_prompt_with_an_image_gives_logits_and_a_loss(model: Model) -> None:
    ids = prompt(model, 10, "image", 11, 12, 13)
    labels = torch.tensor([ids])
    labels[:, :-3] = -100
    out = model(input_ids=torch.tensor([ids]), pixel_values=images(model, 1), labels=labels)
    assert out.logits.shape == (1, len(ids), 60)
    # the loss of each of the last three tokens, given everything before it
    expected = functional.cross_entropy(out.logits[0, -4:-1], torch.tensor([11, 12, 13]))
    torch.testing.assert_close(out.loss, expected)


def test_a_padded_batch_replies_as_its_prompts_alone_do(model: Model) -> None:
    prompts = [prompt(model, 20), prompt(model, "image", 21, 22), prompt(model, "image", 23, "image", 24)]
    pixels = images(model, 3)
    together = reply(model, *prompts, pixel_values=pixels)
    alone = [
        reply(model, prompts[0])[0],
        reply(model, prompts[1], pixel_values=pixels[:1])[0],
        reply(model, prompts[2], pixel_values=pixels[1:])[0],
    ]
    assert together == alone
    assert len({tuple(r) for r in alone}) == 3


def test_without_a_cache_the_reply_is_the_same(model: Model) -> None:
    prompts = [prompt(model, "image", 21, 22), prompt(model, "image", 23, "image", 24)]
    kwargs: dict[str, Any] = {"pixel_values": images(model, 3)}
    assert reply(model, *prompts, **kwargs, use_cache=True) == reply(model, *prompts, **kwargs, use_cache=False)


def test_an_image_changes_what_follows_it_and_nothing_before(model: Model) -> None:
    ids = prompt(model, "image", 20, "image", 21, 22)
    second = len(ids) - 2 - model.config.num_image_tokens  # where the second image starts
    pixels = images(model, 2)
    before = logits(model, ids, pixel_values=pixels)
    changed = logits(model, ids, pixel_values=torch.stack([pixels[0], images(model, 1, seed=9)[0]]))
    torch.testing.assert_close(changed[:second], before[:second])
    assert (changed[second:] - before[second:]).abs().amax(1).min() > 1e-3


def test_features_take_the_places_of_the_image_tokens(model: Model) -> None:
    seen: list[torch.Tensor] = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    inputs = batch(prompt(model, 20, "image"), prompt(model, "image", 21, "image", 22))
    pixels = images(model, 3)
    with torch.no_grad():
        model(**inputs, pixel_values=pixels)
        features = model.get_image_features(pixels).pooler_output
    hook.remove()
    assert features.shape == (3, model.config.num_image_tokens, 32)
    is_image = inputs["input_ids"] == model.config.image_token_id
    torch.testing.assert_close(seen[0][is_image], features.flatten(0, 1))
    words = model.get_input_embeddings()(inputs["input_ids"][~is_image])
    torch.testing.assert_close(seen[0][~is_image], words)


def test_features_computed_before_give_the_same_reply(model: Model) -> None:
    ids, pixels = prompt(model, "image", 20, "image", 21), images(model, 2)
    features = model.get_image_features(pixels).pooler_output.detach()
    assert reply(model, ids, image_features=features) == reply(model, ids, pixel_values=pixels)


def test_gradients_reach_every_part(model: Model) -> None:
    ids = torch.tensor([prompt(model, "image", 20, 21)])
    model.zero_grad()
    model(input_ids=ids, pixel_values=images(model, 1), labels=ids).loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    model.zero_grad()
    parts = [".".join(name.split(".")[:2]) for name in reached]
    assert {"model.vision_tower", "model.projector", "model.language_model"} <= set(parts)
    untouched = {name for name, _ in model.named_parameters()} - reached
    # transformers' towers have parts that nobody uses here: pooling, masking; relu6 can silence a conv
    assert not [name for name in untouched if not any(w in name for w in ("head", "mask", "pool", "stem.features"))]


def test_bfloat16_runs_and_stays_near(model: Model) -> None:
    ids, pixels = prompt(model, "image", 20, 21), images(model, 1)
    exact = logits(model, ids, pixel_values=pixels)
    narrow = type(model)._from_config(type(model.config).from_dict(model.config.to_dict()), dtype=torch.bfloat16)
    narrow.load_state_dict(model.state_dict())
    rough = logits(narrow.eval(), ids, pixel_values=pixels)
    assert rough.dtype == torch.bfloat16
    assert functional.cosine_similarity(rough.float(), exact).min() > 0.97


def test_saved_and_loaded_it_is_the_same_model(model: Model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    ids, pixels = prompt(model, "image", 20), images(model, 1)
    assert torch.equal(logits(loaded.eval(), ids, pixel_values=pixels), logits(model, ids, pixel_values=pixels))
    tied = loaded.lm_head.weight is loaded.get_input_embeddings().weight
    assert tied == model.config.text_config.tie_word_embeddings


def test_auto_classes_find_it(one_model: Model, tmp_path: Path) -> None:
    register()
    register()
    one_model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).num_image_tokens == one_model.config.num_image_tokens
    assert isinstance(AutoModel.from_pretrained(tmp_path), GeneralistModel)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, Model)
    ids, pixels = prompt(one_model, "image", 20), images(one_model, 1)
    assert reply(loaded, ids, pixel_values=pixels) == reply(one_model, ids, pixel_values=pixels)


@pytest.mark.parametrize("how", [{"num_beams": 2}, {"num_beams": 3, "num_return_sequences": 2}])
def test_beams_take_the_images_of_their_own_prompt(one_model: Model, how: dict[str, int]) -> None:
    prompts = [prompt(one_model, "image", 20, "image", 21), prompt(one_model, "image", 22)]
    pixels = images(one_model, 3)
    together = reply(one_model, *prompts, pixel_values=pixels, **how)
    alone = reply(one_model, prompts[0], pixel_values=pixels[:2], **how)
    alone += reply(one_model, prompts[1], pixel_values=pixels[2:], **how)
    assert together == alone


@pytest.mark.parametrize("additive", [False, True])
def test_prompts_packed_in_one_row_do_not_see_each_other(one_model: Model, additive: bool) -> None:
    first, second = prompt(one_model, "image", 20, 21), prompt(one_model, 22, "image", 23)
    pixels = images(one_model, 2)
    row = torch.cat([torch.zeros(len(first)), torch.ones(len(second))])
    allowed = (row[:, None] == row[None, :]).tril()[None, None]
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min) if additive else allowed
    positions = torch.cat([torch.arange(len(first)), torch.arange(len(second))])[None]
    packed = logits(one_model, first + second, pixel_values=pixels, attention_mask=mask, position_ids=positions)
    torch.testing.assert_close(packed[: len(first)], logits(one_model, first, pixel_values=pixels[:1]))
    torch.testing.assert_close(packed[len(first) :], logits(one_model, second, pixel_values=pixels[1:]))


def test_padding_does_not_shift_positions(model: Model) -> None:
    ids, pixels = prompt(model, "image", 20, 21), images(model, 1)
    padded = batch(ids, prompt(model, *range(20, 50)))
    with torch.no_grad():
        first = model(**padded, pixel_values=pixels, use_cache=True)
        torch.testing.assert_close(first.logits[0, -len(ids) :], logits(model, ids, pixel_values=pixels))
        mask = torch.cat([padded["attention_mask"], torch.ones(2, 1, dtype=torch.long)], dim=1)
        step = torch.tensor([[22], [23]])
        second = model(input_ids=step, attention_mask=mask, past_key_values=first.past_key_values)
    torch.testing.assert_close(second.logits[0, -1], logits(model, [*ids, 22], pixel_values=pixels)[-1])


def test_only_the_wanted_logits_are_computed(one_model: Model) -> None:
    ids, pixels = prompt(one_model, "image", 20, 21), images(one_model, 1)
    every = logits(one_model, ids, pixel_values=pixels)
    torch.testing.assert_close(logits(one_model, ids, pixel_values=pixels, logits_to_keep=2), every[-2:])
    wanted = torch.tensor([1, len(ids) - 1])
    torch.testing.assert_close(logits(one_model, ids, pixel_values=pixels, logits_to_keep=wanted), every[wanted])


def test_an_image_token_in_a_reply_is_suppressed_and_would_do_no_harm(fresh_model: Model) -> None:
    image = fresh_model.config.image_token_id
    with torch.no_grad():
        fresh_model.get_input_embeddings().weight[:] = 0  # tied: all logits are equal, the lowest id wins
    suppressed = fresh_model.generation_config.suppress_tokens
    fresh_model.generation_config.suppress_tokens = [*range(image)]
    assert reply(fresh_model, prompt(fresh_model, 20))[0] == [image] * 8
    fresh_model.generation_config.suppress_tokens = [*range(image), *suppressed]
    assert reply(fresh_model, prompt(fresh_model, 20))[0] == [image + 1] * 8


@pytest.mark.parametrize(
    ("parts", "count", "message"),
    [
        pytest.param(("image", 20), 2, "hold 4 image tokens and 2 images", id="an image too many"),
        pytest.param(("image", "image", 20), 1, "hold 8 image tokens and 1 images", id="an image too few"),
        pytest.param((5, 20), 1, "hold 1 image tokens and 1 images", id="token not repeated"),
        pytest.param(("image", 20), 0, "hold 4 image tokens and 0 images", id="no images at all"),
        pytest.param((20,), 1, "hold 0 image tokens and 1 images", id="no image token"),
    ],
)
def test_images_and_image_tokens_must_match(
    one_model: Model, parts: tuple[int | str, ...], count: int, message: str
) -> None:
    pixels = images(one_model, count) if count else None
    with pytest.raises(GeneralistError, match=message):
        logits(one_model, prompt(one_model, *parts), pixel_values=pixels)


def test_inputs_that_contradict_each_other_are_errors(one_model: Model) -> None:
    ids, pixels = torch.tensor([prompt(one_model, "image")]), images(one_model, 1)
    features = one_model.get_image_features(pixels).pooler_output
    embeds = one_model.get_input_embeddings()(ids)
    for kwargs, message in [
        ({}, "exactly one"),
        ({"input_ids": ids, "inputs_embeds": embeds}, "exactly one"),
        ({"input_ids": ids, "pixel_values": pixels, "image_features": features}, "not both"),
        ({"inputs_embeds": embeds, "pixel_values": pixels}, "images need input_ids"),
        ({"input_ids": ids, "pixel_values": pixels[..., :48]}, "resize images to 64 x 64"),
    ]:
        with pytest.raises(GeneralistError, match=message):
            one_model(**kwargs)
