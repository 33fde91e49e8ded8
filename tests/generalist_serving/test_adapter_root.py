"""What a server takes for an adapter: nothing outside of its folder, and nothing that could run code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generalist.adapter_spec import AdapterSpec, write_spec
from generalist.types import GeneralistError
from generalist_serving.adapter_root import adapter_folder, find_adapters

SPEC = AdapterSpec(name="felines", base="nano", method="lora", rank=4, alpha=8, targets=(), tasks=(), vocab_hash="0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of adapters with one good one, beside what must not be loaded."""
    write(tmp_path / "adapters" / "cats")
    write(tmp_path / "adapters" / "deep" / "dogs")
    write(tmp_path / "secret")
    return tmp_path / "adapters"


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    (folder / "adapter_model.safetensors").write_text("")
    return folder


@pytest.mark.parametrize("path", ["cats", "deep/dogs", "./deep/../cats", "deep//dogs/"])
def test_folders_below_the_root_are_found(root: Path, path: str) -> None:
    assert adapter_folder(root, path).is_relative_to(root)
    assert adapter_folder(root, str(root / path)) == adapter_folder(root, path)


@pytest.mark.parametrize("path", [
    "", ".", "..", "../secret", "deep/../../secret", "/", "/etc", "~", "~/secret", "cats\0", "nothing", "deep",
    "hf-user/adapter", "https://example.com/cats", "file:///etc", "cats/adapter_model.safetensors", "x" * 5000,
    "\udcff", "cats/../../secret",
])  # fmt: skip
def test_nothing_else_is(root: Path, path: str) -> None:
    with pytest.raises(GeneralistError, match=r"no adapter .* in the server's folder of adapters"):
        adapter_folder(root, path)


def test_links_lead_nowhere(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    half = write(root / "half")
    (half / "adapter_model.safetensors").unlink()
    (half / "adapter_model.safetensors").symlink_to(root.parent / "secret" / "adapter_model.safetensors")
    for path in ("link", "half"):
        with pytest.raises(GeneralistError, match="no adapter"):
            adapter_folder(root, path)


@pytest.mark.parametrize("name", ["adapter_model.bin", "x.PT", "modeling.py", "weights.pkl"])
def test_what_could_run_code_keeps_a_folder_out(root: Path, name: str) -> None:
    (root / "cats" / name).write_text("")
    with pytest.raises(GeneralistError, match="only safetensors"):
        adapter_folder(root, "cats")


def test_every_adapter_directly_in_the_folder_is_found(root: Path) -> None:
    write(root / "birds")
    write_spec(root / "birds", SPEC)
    (root / "notes").mkdir()
    (root / "notes" / "readme.txt").write_text("no adapter")
    (root / "adapter_config.json").write_text("a file, not a folder")
    assert find_adapters(root, "nano") == {"felines": root / "birds", "cats": root / "cats"}
    assert find_adapters(None, "nano") == {}


@pytest.mark.parametrize("folder, says", [
    ("nowhere", r"--adapters .*nowhere: cannot read this folder \(No such file"),
    ("secret/adapter_config.json", "cannot read this folder"),
    ("nul\0byte", "cannot read this folder"),
])  # fmt: skip
def test_what_is_no_folder_of_adapters(root: Path, folder: str, says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        find_adapters(root.parent / folder, "nano")


def test_a_broken_adapter_is_named(root: Path) -> None:
    for number, (name, content, says) in enumerate((
        ("adapter_config.json", '{"peft_type": "IA3"}', "peft_type is 'IA3', which this server cannot serve"),
        ("adapter.json", "{}", "has no name"),
        ("adapter_model.bin", "", "only safetensors are read"),
    )):  # fmt: skip
        broken = write(root / f"broken{number}")
        (broken / name).write_text(content)
        with pytest.raises(GeneralistError, match=says) as raised:
            find_adapters(root, "nano")
        assert str(raised.value).startswith(str(broken))
        for file in (*broken.iterdir(),):
            file.unlink()
    half = write(root / "half")
    (half / "adapter_config.json").unlink()
    with pytest.raises(GeneralistError, match=r"half: there is no adapter 'half' .* holds adapter_config.json and"):
        find_adapters(root, "nano")


def test_a_link_out_of_the_folder_is_told(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    with pytest.raises(GeneralistError, match="link: there is no adapter 'link'"):
        find_adapters(root, "nano")


def test_names_are_there_once(root: Path) -> None:
    with pytest.raises(GeneralistError, match="the name 'cats' is taken by the model; change one"):
        find_adapters(root, "cats")
    write(root / "felines")
    write_spec(write(root / "z"), SPEC)
    with pytest.raises(GeneralistError, match=r"z: the name 'felines' is taken by .*felines; change one"):
        find_adapters(root, "nano")
