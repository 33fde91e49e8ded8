"""Losses on image tokens: what they ask, of which models, and that they can be learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generalist.model import Checkpoint, GeneralistForConditionalGeneration, load_checkpoint
from generalist.tokens import Vocabulary
from generalist.training.examples import Batch
from generalist_adapters.finetune.looking import Looking
from generalist_adapters.finetune.packing import PicturePacker, collate
from generalist_adapters.finetune.pictures import Picture, Region
from generalist_adapters.finetune.questions import Asked, Drawing


@pytest.fixture
def base(tiny_base: Path) -> Checkpoint:
    return load_checkpoint(tiny_base)


def batch_of(base: Checkpoint, corners: list[tuple[float, float]]) -> Batch:
    """A picture with one square for each corner, boxed."""
    rows = []
    for x, y in corners:
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[int(y * 32) : int(y * 32) + 16, int(x * 32) : int(x * 32) + 16] = 255
        region = Region(label="cell", xyxy=(x, y, x + 0.5, y + 0.5))
        asked = Asked(
            task="detect", text="Detect cells.", answer=(Drawing(label="cell", kind="box", regions=(region,)),)
        )
        picture = Picture(id="p", image=Image.fromarray(pixels), boxes=(region,))
        rows.append(PicturePacker(base.vocabulary, base.model.config.grid, ["cell", "other"]).pack(picture, [asked]))
    return collate(rows, base.vocabulary, base.processor)


def losses(looking: Looking, batch: Batch, totals: dict[str, float]) -> torch.Tensor:
    model = looking.model
    seen = model.get_image_features(batch["pixel_values"])
    with looking.recording():
        from generalist.training.examples import block_causal_mask

        model.model(
            input_ids=batch["ids"], image_features=seen.pooler_output, position_ids=batch["positions"],
            attention_mask=block_causal_mask(batch["segments"]), use_cache=False,
        )  # fmt: skip
    assert seen.last_hidden_state is not None and seen.pooler_output is not None
    return looking.loss(batch, seen.last_hidden_state, seen.pooler_output, totals)


CORNERS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)]


def test_what_is_asked_can_be_learnt(base: Checkpoint) -> None:
    looking = Looking(base.model, base.vocabulary, ["cell", "other"])
    batch = batch_of(base, CORNERS)
    looking.fit_place([batch])
    totals = looking.asked(batch)
    assert totals["name"] == 4 and totals["place"] == 16 and totals["attention"] > 4 * 4
    base.model.requires_grad_(True)
    optimizer = torch.optim.Adam(base.model.parameters(), lr=3e-3)
    values = []
    for _ in range(12):
        loss = losses(looking, batch, totals)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]


def test_the_batches_of_a_step_add_up(base: Checkpoint) -> None:
    looking = Looking(base.model, base.vocabulary, ["cell", "other"])
    whole = batch_of(base, CORNERS)
    looking.fit_place([whole])
    totals = looking.asked(whole)
    with torch.no_grad():
        parts = sum(losses(looking, batch_of(base, [corner]), totals) for corner in CORNERS)
        assert torch.allclose(losses(looking, whole, totals), torch.as_tensor(parts), atol=1e-5)


def test_the_place_is_how_known_tokens_say_it(base: Checkpoint) -> None:
    looking = Looking(base.model, base.vocabulary, [])
    moved = [(0.0, 0.0), (0.1, 0.0), (0.0, 0.15), (0.2, 0.1), (0.05, 0.1)]
    batch = batch_of(base, moved)
    looking.fit_place([batch])
    totals = {"attention": 1.0, "name": 1.0, "place": looking.asked(batch)["place"]}
    looking.attends = False
    with torch.no_grad():
        fitted = losses(looking, batch, totals)
        wrong = dict(batch, boxes=batch["boxes"] + 0.2)
        assert losses(looking, wrong, totals) > fitted + 0.1


def test_nothing_is_asked_of_pictures_without_things(base: Checkpoint) -> None:
    looking = Looking(base.model, base.vocabulary, ["cell"])
    looking.fit_place([batch_of(base, CORNERS)])
    asked = Asked(task="detect", text="Detect all objects.", answer=("There is nothing.",))
    row = PicturePacker(base.vocabulary, base.model.config.grid).pack(
        Picture(id="p", image=Image.new("RGB", (9, 9))), [asked]
    )
    batch = collate([row], base.vocabulary, base.processor)
    assert looking.asked(batch) == {"attention": 0, "name": 0, "place": 0}
    assert losses(looking, batch, {"attention": 1e-6, "name": 1e-6, "place": 1e-6}) == 0


def test_models_that_it_is_not_made_for_are_left_alone(
    make_model: Callable[[str], GeneralistForConditionalGeneration], vocab: Vocabulary
) -> None:
    for name in ("swin", "siglip", "dinov2+gpt2"):
        looking = Looking(make_model(name), vocab, ["cell"])
        assert not looking.attends
        before = looking.model.model.language_model.config._attn_implementation
        with looking.recording():
            assert looking.model.model.language_model.config._attn_implementation == before
    assert not Looking(make_model("siglip"), vocab, ["cell"]).names


def test_the_attention_is_what_it_was_before(base: Checkpoint) -> None:
    looking = Looking(base.model, base.vocabulary, ["cell"])
    config = base.model.model.language_model.config
    before = config._attn_implementation
    with pytest.raises(KeyboardInterrupt), looking.recording():
        assert config._attn_implementation == "generalist_recording"
        raise KeyboardInterrupt
    assert config._attn_implementation == before
