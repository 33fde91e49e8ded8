"""Visual heads: fitted from a few labelled images, any number of channels, of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generalist.model import Checkpoint, GeneralistForConditionalGeneration, GeneralistProcessor, load_checkpoint
from generalist.pipeline import resolve_model
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_adapters import heads
from generalist_adapters.heads import VisualHead, fit, load

if TYPE_CHECKING:
    from generalist_datasets.world.compose import Assets
    from generalist_datasets.world.layout import Menu

Labelled: TypeAlias = list[tuple[Image.Image, np.ndarray]]

CHANNELS = ["red disc", "blue ring", "depth"]
TRAIN = 6


@pytest.fixture(scope="module")
def scenes(toy_assets: Assets, toy_menu: Menu) -> Labelled:
    """Pictures; where two of the shapes are, and the log of the depth (NaN on whole photographs)."""
    from generalist_datasets.world.compose import compose

    made: Labelled = []
    rng = np.random.default_rng(0)
    while len(made) < TRAIN + 6:
        scene = compose(rng, toy_assets, toy_menu, width=192, height=192, concepts=(0, 1, 2))
        shown = [np.zeros((192, 192), bool) for _ in range(2)]
        for number, thing in enumerate(scene.things):
            if thing.concept in (0, 2):
                shown[thing.concept // 2] |= scene.mask(number)
        depth = np.full((192, 192), np.nan) if scene.depth is None else np.log(scene.depth)
        made.append((Image.fromarray(scene.image), np.stack([*shown, depth]).astype(np.float32)))
    return made


def test_it_beats_what_needs_no_image(scenes: Labelled) -> None:
    """On new scenes, against the mean of the training labels at each pixel, the best answer without looking."""
    nano = load_checkpoint(resolve_model("nano"))
    images, labels = zip(*scenes[:TRAIN], strict=True)
    head = fit(nano.model, nano.processor, images, labels, CHANNELS, seed=0, steps=20)
    floor = np.nanmean(labels, axis=0)
    ours = np.nanmean([np.nanmean((head.predict(i) - true) ** 2, axis=(1, 2)) for i, true in scenes[TRAIN:]], axis=0)
    theirs = np.nanmean([np.nanmean((floor - true) ** 2, axis=(1, 2)) for _, true in scenes[TRAIN:]], axis=0)
    assert (ours < 0.7 * theirs).all(), (ours, theirs)


@pytest.fixture(scope="module")
def tiny(make_model: Callable[[str], GeneralistForConditionalGeneration], vocab: Vocabulary) -> Checkpoint:
    model = make_model("nano-like")
    processor = GeneralistProcessor.for_model(model.config, vocab)
    return Checkpoint(model=model, processor=processor, vocabulary=vocab, folder=Path("none"))


Fit: TypeAlias = Callable[..., VisualHead]


@pytest.fixture(scope="module")
def fit_tiny(tiny: Checkpoint, scenes: Labelled) -> Fit:
    """A head of the tiny model after a few steps; by default of four scenes."""

    def make(labelled: Labelled | None = None, channels: list[str] = CHANNELS, **options: Any) -> VisualHead:
        images, labels = zip(*(scenes[:4] if labelled is None else labelled), strict=True)
        return fit(tiny.model, tiny.processor, images, labels, channels, **{"steps": 3, **options})

    return make


def test_one_seed_is_one_head(fit_tiny: Fit, scenes: Labelled, tiny: Checkpoint) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    one = fit_tiny(seed=1).predict(scenes[5][0])
    torch.manual_seed(9)  # the surroundings decide nothing
    assert np.array_equal(fit_tiny(seed=1).predict(scenes[5][0]), one)
    assert not np.array_equal(fit_tiny(seed=2).predict(scenes[5][0]), one)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.model.state_dict().items())


def test_it_answers_in_the_pixels_of_the_image(fit_tiny: Fit) -> None:
    maps = fit_tiny().predict(Image.new("L", (50, 31)))
    assert maps.dtype == np.float32 and maps.shape == (3, 31, 50)
    assert np.isfinite(maps).all() and (maps[:2] >= 0).all() and (maps[:2] <= 1).all()


def test_saved_and_loaded_it_says_the_same(fit_tiny: Fit, scenes: Labelled, tiny: Checkpoint, tmp_path: Path) -> None:
    head = fit_tiny()
    assert head.save(tmp_path / "adapter").name == "visual_head.safetensors"
    again = load(tiny.model, tiny.processor, tmp_path / "adapter")
    assert again.channels == tuple(CHANNELS)
    assert np.array_equal(again.predict(scenes[5][0]), head.predict(scenes[5][0]))


def test_one_image_is_enough(fit_tiny: Fit, scenes: Labelled) -> None:
    head = fit_tiny(scenes[1:2])
    assert np.isfinite(head.predict(scenes[2][0])).all()


def test_many_channels_and_label_maps_of_other_sizes(fit_tiny: Fit, scenes: Labelled) -> None:
    labelled = [
        (image, np.arange(6, dtype=np.float32)[:, None, None] * np.ones((1, 5 + k, 7), np.float32) + k)
        for k, (image, _) in enumerate(scenes[:3])
    ]
    head = fit_tiny(labelled, [f"c{k}" for k in range(6)])
    means = head.predict(scenes[3][0]).mean((1, 2))
    assert np.allclose(means, np.arange(6) + 1, atol=1.0)


def test_what_is_not_known_teaches_nothing(fit_tiny: Fit, scenes: Labelled) -> None:
    """A half that nothing is known of may hold anything; a channel may be known in some images only."""
    (first, one), (second, other) = scenes[1], scenes[2]
    half = one.copy()
    half[:, :, :96] = np.nan
    other = other.copy()
    other[0] = np.nan
    head = fit_tiny([(first, half), (second, other)], steps=2)
    assert np.isfinite(head.predict(first)).all()
    with pytest.raises(GeneralistError, match="no label map knows anything of channel 'red disc'; leave it out"):
        fit_tiny([(second, other)])


@pytest.mark.parametrize("labels, channels, says", [
    ([np.zeros((1, 4, 4))], ["a", "b"], r"label map 0 is float64 \(1, 4, 4\); use numbers \[2, height, width\]"),
    ([np.zeros((4, 4))], ["a"], r"label map 0 is float64 \(4, 4\)"),
    ([np.zeros((1, 0, 4))], ["a"], r"\(1, 0, 4\)"),
    ([np.full((1, 2, 2), "x")], ["a"], "label map 0 is <U1"),
    ([np.full((1, 2, 2), np.inf)], ["a"], "label map 0 holds infinite values; use NaN where nothing is known"),
    ([np.full((1, 2, 2), np.nan)], ["a"], "knows anything of channel 'a'"),
    ([np.zeros((1, 2, 2))] * 2, ["a"], "1 images and 2 label maps were given"),
    ([], ["a"], "1 images and 0 label maps were given"),
    ([np.zeros((1, 2, 2))], [], r"channels are \[\]; name at least one"),
    ([np.zeros((2, 2, 2))], ["a", "a"], "each once"),
])  # fmt: skip
def test_bad_labels_are_named(labels: list[np.ndarray], channels: list[str], says: str, tiny: Checkpoint) -> None:
    with pytest.raises(GeneralistError, match=says):
        fit(tiny.model, tiny.processor, [Image.new("RGB", (8, 8))], labels, channels)


def test_a_file_of_something_else_is_refused(
    fit_tiny: Fit, tiny: Checkpoint, tmp_path: Path, make_model: Callable[[str], Any]
) -> None:
    with pytest.raises(GeneralistError, match=r"visual_head.safetensors: no such file"):
        load(tiny.model, tiny.processor, tmp_path)
    path = fit_tiny().save(tmp_path)
    whole = load_file(path)
    bad = {
        "nothing": {},
        "short": {n: t for n, t in whole.items() if n != "support.known"},
        "shape": {**whole, "support.labels": whole["support.labels"][:, :, :1].contiguous()},
        "nan": {**whole, "channels.scale": torch.full((3,), torch.nan)},
    }
    for name, tensors in bad.items():
        save_file(tensors, path, metadata={"channels": '["a", "b", "c"]'})
        with pytest.raises(GeneralistError, match=r"^[^\n]*visual_head.safetensors: [^\n]*$"):
            load(tiny.model, tiny.processor, tmp_path), name
    for names in ("3", "[]", '["a"]', "[1, 2, 3]", "{"):
        save_file(whole, path, metadata={"channels": names})
        with pytest.raises(GeneralistError, match="holds no visual head for this model"):
            load(tiny.model, tiny.processor, tmp_path)
    save_file(whole, path, metadata={"channels": '["a", "b", "c"]'})
    other = make_model("swin")
    processor = GeneralistProcessor.for_model(other.config, tiny.vocabulary)
    with pytest.raises(GeneralistError, match="use the model that it was fitted on"):
        load(other, processor, tmp_path)
    path.write_bytes(b"x" * 100)
    with pytest.raises(GeneralistError, match="not readable as safetensors"):
        load(tiny.model, tiny.processor, tmp_path)


def test_other_towers_have_heads_too(make_model: Callable[[str], Any], vocab: Vocabulary, scenes: Labelled) -> None:
    images, labels = zip(*scenes[:2], strict=True)
    for name in ("swin", "siglip", "dinov2+gpt2"):
        model = make_model(name)
        head = heads.fit(model, GeneralistProcessor.for_model(model.config, vocab), images, labels, CHANNELS, steps=1)
        assert head.predict(images[0]).shape == (3, 192, 192), name
