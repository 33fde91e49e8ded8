"""Checkpoints are found in folders and in the hub's cache; what is not whole says what to do, in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from safetensors.torch import load_file, save_file

from generalist.decoders.hub import HubDepth, HubMasks
from generalist.types import Box, GeneralistError

from ...random_drawers import noise

Find = Callable[[str], Path]
BOX = [Box(xyxy=(0, 0, 1, 1))]


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(drawer_folder: Find, tmp_path: Path) -> Path:
    """A SAM that may be damaged."""
    return Path(shutil.copytree(drawer_folder("sam"), tmp_path / "copy"))


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(GeneralistError) as raised:
        act()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_id_that_is_not_here_names_the_command_that_fetches_it() -> None:
    said = refusal(lambda: HubMasks.open("facebook/sam2.1-hiera-tiny"))
    assert "masks: facebook/sam2.1-hiera-tiny is not on this machine" in said
    assert "`hf download facebook/sam2.1-hiera-tiny`" in said


def test_an_id_whose_files_are_here(drawer_folder: Find, hub_cache: Path) -> None:
    place = hub_cache / "models--owner--my-sam"
    shutil.copytree(drawer_folder("sam"), place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    masks = HubMasks.open("owner/my-sam", "cpu")
    assert len(masks.draw(noise(20, 20), BOX)) == 1
    (place / "snapshots" / "abc" / "model.safetensors").unlink()
    assert "`hf download owner/my-sam`" in refusal(lambda: HubMasks.open("owner/my-sam"))


@pytest.mark.parametrize("name", ["./no/such/folder", "../x", "a/b/c", "", "a b", "x" * 5000, "\0"])
def test_names_that_are_neither(name: str) -> None:
    assert "no folder" in refusal(lambda: HubMasks.open(name)) or "not on this machine" in refusal(
        lambda: HubMasks.open(name)
    )


@pytest.mark.parametrize("content", ["{", "[]", "5", '"sam"', "\udcff", "[" * 100_000, "{}", '{"model_type": 5}'])
def test_a_config_that_is_none(content: str, copy: Path) -> None:
    (copy / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "config.json" in (said := refusal(lambda: HubMasks.open(copy))) or "model_type" in said


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    assert "has no config.json; complete the folder" in refusal(lambda: HubMasks.open(tmp_path))


def test_a_model_of_another_kind(drawer_folder: Find, copy: Path) -> None:
    assert "use a model of type depth_anything" in refusal(lambda: HubDepth.open(copy))
    assert "has model_type 'dpt'; use a model of type sam, sam2" in refusal(lambda: HubMasks.open(drawer_folder("dpt")))


def test_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "no weights in safetensors; complete the folder" in refusal(lambda: HubMasks.open(copy))


def test_weights_cut_short(copy: Path) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    masks = HubMasks.open(copy, "cpu")
    assert "cannot load" in refusal(lambda: masks.draw(noise(20, 20), BOX))


def test_a_weight_that_is_not_there_does_not_stay_random(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    name = next(name for name in tensors if "mask_decoder" in name)
    del tensors[name]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    masks = HubMasks.open(copy, "cpu")
    assert f"lacks 1 weights, such as {name}" in refusal(lambda: masks.draw(noise(20, 20), BOX))


def test_a_configuration_that_the_weights_do_not_fit(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["mask_decoder_config"]["mlp_dim"] = 48
    (copy / "config.json").write_text(json.dumps(config))
    masks = HubMasks.open(copy, "cpu")
    assert "cannot load" in refusal(lambda: masks.draw(noise(20, 20), BOX))


def test_no_preprocessor(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    masks = HubMasks.open(copy, "cpu")
    assert "no usable preprocessor_config.json" in refusal(lambda: masks.draw(noise(20, 20), BOX))
