"""Training: it learns, resumes to the bit, and what it exports computes what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from generalist.decoders import DepthCodec, MaskCodec
from generalist.model import (
    GeneralistConfig,
    GeneralistForConditionalGeneration,
    GeneralistProcessor,
    load_checkpoint,
    save_checkpoint,
)
from generalist.tokens import Vocabulary
from generalist.training.recipe import Recipe, location_sigma, rate_factor
from generalist.training.train import Run, _beginning, normalise
from generalist.training.trainee import Trainee
from generalist.types import GeneralistError
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.layout import Menu

World = tuple[Assets, Menu]

TEXT = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 2, "tie_word_embeddings": False,
}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
RECIPE = Recipe(images=32, batch_size=2, warmup_steps=2)


@pytest.fixture(scope="session")
def codecs(vocab: Vocabulary) -> tuple[MaskCodec, DepthCodec]:
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(160, 64, 64, generator=generator) > 0.5
    masks = MaskCodec.fit(crops, entries=vocab.sizes.mask_codes, components=32)
    return masks, DepthCodec(vocab.sizes.depth_grid, vocab.sizes.depth_codes).eval()


@pytest.fixture(scope="session")
def world(toy_assets: Assets, toy_menu: Menu) -> World:
    return toy_assets, toy_menu


def make_run(
    folder: Path,
    vocab: Vocabulary,
    world: World,
    codecs: tuple[MaskCodec, DepthCodec],
    recipe: Recipe = RECIPE,
) -> Run:
    torch.manual_seed(1)
    model = GeneralistForConditionalGeneration(
        GeneralistConfig.for_vocabulary(vocab, vision_config=VISION, text_config=TEXT)
    )
    return Run(
        folder, recipe, model=model, vocab=vocab, assets=world[0], menu=world[1], masks=codecs[0], depths=codecs[1]
    )


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.trainee.state_dict().items()}


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, vocab: Vocabulary, world: World, codecs: tuple[MaskCodec, DepthCodec]
) -> None:
    whole = make_run(tmp_path / "whole", vocab, world, codecs)
    whole.train()
    first = make_run(tmp_path / "parts", vocab, world, codecs)
    for batch, _ in zip(first._upcoming(), range(5), strict=False):
        first._learn(batch)
        first.step += 1
    first.save_state()
    (tmp_path / "parts" / "state").rename(tmp_path / "parts" / "state.old")  # as a crash while saving leaves it
    second = make_run(tmp_path / "parts", vocab, world, codecs)
    second.resume()
    assert second.step == 5
    second.train()
    expected, got = weights(whole), weights(second)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    changed = weights(make_run(tmp_path / "fresh", vocab, world, codecs))
    assert not torch.equal(changed["token_embedding"], got["token_embedding"])


def test_the_exported_model_computes_what_was_trained(
    tmp_path: Path, vocab: Vocabulary, world: World, codecs: tuple[MaskCodec, DepthCodec]
) -> None:
    run = make_run(tmp_path / "run", vocab, world, codecs)
    run.train()
    batch = run.batches[0][0]
    run.filler(batch)
    with torch.inference_mode():
        trained = run.trainee(normalise(batch["image"]), batch)
    run.export(tmp_path / "checkpoint")
    plain = load_checkpoint(tmp_path / "checkpoint").model
    with torch.inference_mode():
        from generalist.training.packing import block_causal_mask

        logits = plain(
            input_ids=batch["ids"],
            pixel_values=normalise(batch["image"]),
            attention_mask=block_causal_mask(batch["segments"]),
            position_ids=batch["positions"],
        ).logits.flatten(0, 1)[trained["selected"]]
    # The file holds bfloat16.
    torch.testing.assert_close(logits, trained["logits"], atol=0.05, rtol=0.05)
    assert logits.std() > 10 * (logits - trained["logits"]).std()
    assert {p.name for p in (tmp_path / "checkpoint").iterdir()} >= {
        "mask_codec.safetensors",
        "depth_codec.safetensors",
    }
    names = (tmp_path / "checkpoint" / "names.txt").read_text().splitlines()
    assert names == [concept.name for concept in world[0].concepts]


def test_going_on_from_a_checkpoint_begins_with_its_predictions(
    tmp_path: Path, vocab: Vocabulary, world: World, codecs: tuple[MaskCodec, DepthCodec]
) -> None:
    run = make_run(tmp_path / "run", vocab, world, codecs)
    run.train()
    run.export(tmp_path / "checkpoint")
    model = load_checkpoint(tmp_path / "checkpoint").model
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    folded = Trainee(model, vocab, [[5], [6, 7]], trained=True).folded_state()
    assert folded.keys() == expected.keys()
    for name, value in folded.items():
        torch.testing.assert_close(value, expected[name], atol=0.02, rtol=0.02)


@pytest.mark.parametrize(("start", "codecs"), [("", None), ("nano", Path("codecs"))])
def test_a_run_has_one_beginning(start: str, codecs: Path | None) -> None:
    with pytest.raises(GeneralistError, match=r"give either --codecs, .* or --start"):
        _beginning(start, codecs)


def test_another_kind_of_model_is_refused_as_a_beginning(tmp_path: Path, vocab: Vocabulary) -> None:
    other = GeneralistConfig.for_vocabulary(vocab, vision_config=VISION | {"stem": "patch"}, text_config=TEXT)
    processor = GeneralistProcessor.for_model(other, vocab)
    save_checkpoint(tmp_path / "other", GeneralistForConditionalGeneration(other), processor, vocab)
    with pytest.raises(GeneralistError, match="--start goes on from models like nano"):
        _beginning(str(tmp_path / "other"), None)


def test_losses_fall(tmp_path: Path, vocab: Vocabulary, world: World, codecs: tuple[MaskCodec, DepthCodec]) -> None:
    run = make_run(
        tmp_path, vocab, world, codecs, Recipe(images=4096, batch_size=4, warmup_steps=2, learning_rate=5e-3)
    )
    batch = run.batches[run.recipe.chunks - 1][0]
    first = run._learn({k: v.clone() for k, v in batch.items()})
    for _ in range(12):
        last = run._learn({k: v.clone() for k, v in batch.items()})
    assert last["token"] < 0.9 * first["token"]
    assert last["patch_name"] < 0.9 * first["patch_name"]
    assert last["loc"] < first["loc"]


def test_a_folder_belongs_to_one_recipe(
    tmp_path: Path, vocab: Vocabulary, world: World, codecs: tuple[MaskCodec, DepthCodec]
) -> None:
    make_run(tmp_path, vocab, world, codecs)
    with pytest.raises(GeneralistError, match=r"another recipe .*seed 0 -> 3"):
        make_run(tmp_path, vocab, world, codecs, Recipe(images=32, batch_size=2, warmup_steps=2, seed=3))
    assert json.loads((tmp_path / "recipe.json").read_text())["seed"] == 0


def test_several_processes_are_refused(
    tmp_path: Path,
    vocab: Vocabulary,
    world: World,
    codecs: tuple[MaskCodec, DepthCodec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    with pytest.raises(GeneralistError, match="started as 2 processes; start one"):
        make_run(tmp_path / "run", vocab, world, codecs)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(
    tmp_path: Path, vocab: Vocabulary, world: World, codecs: tuple[MaskCodec, DepthCodec]
) -> None:
    run = make_run(tmp_path, vocab, world, codecs)
    with torch.no_grad():
        run.trainee.output.weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="the loss is nan at step 0"):
        run._learn(run.batches[0][0])


def test_schedules() -> None:
    recipe = Recipe(images=160_000)
    assert rate_factor(0, recipe) < 0.05 and rate_factor(100, recipe) == 1.0
    assert rate_factor(recipe.steps // 3, recipe) == 1.0
    assert 0.4 < rate_factor(int(recipe.steps * 0.7), recipe) < 0.6
    assert location_sigma(0, recipe) == 6.0 and location_sigma(recipe.steps // 2, recipe) == 1.5
