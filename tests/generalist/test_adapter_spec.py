from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from generalist.adapter_spec import AdapterSpec, adapter_name, check_vocabulary, read_spec, write_spec
from generalist.types import GeneralistError

CATS = AdapterSpec(
    name="cats-2",
    base="nano",
    method="mtlora",
    rank=20,
    alpha=20.0,
    targets=("model.projector.fc1",),
    tasks=("detect", "segment"),
    vocab_hash="0123456789abcdef",
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_spec(tmp_path, CATS)
    assert read_spec(tmp_path) == CATS
    write_spec(tmp_path, replace(CATS, tasks=()))
    assert read_spec(tmp_path) == replace(CATS, tasks=())
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.json"]


def test_an_adapter_is_called_as_it_says_or_as_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "dogs.v1"
    folder.mkdir()
    assert read_spec(folder) is None
    assert adapter_name(folder) == "dogs.v1"
    write_spec(folder, CATS)
    assert adapter_name(folder) == "cats-2"


@pytest.mark.parametrize("name", ["my cats", "-x", "x" * 65, "caf\u00e9", ".hidden"])
def test_a_folder_that_requests_cannot_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(GeneralistError, match=r"is none for an adapter; use up to 64 letters.*; rename the folder"):
        adapter_name(tmp_path / name)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    check_vocabulary(tmp_path, "f" * 16)  # plain PEFT does not say
    write_spec(tmp_path, CATS)
    check_vocabulary(tmp_path, CATS.vocab_hash)
    with pytest.raises(
        GeneralistError, match=r"the model's vocabulary is 'f+'; use the model .* trained on \('nano'\)"
    ):
        check_vocabulary(tmp_path, "f" * 16)


@pytest.mark.parametrize("change, says", [
    ({"name": "../x"}, "the name '../x' is none"),
    ({"name": ""}, "the name ''"),
    ({"name": 3}, "the name 3"),
    ({"name": "a\n"}, "the name"),
    ({"base": ""}, "base is ''"),
    ({"base": None}, "base is None"),
    ({"method": ["lora"]}, "method is"),
    ({"method": "a\nb"}, r"method is 'a\\nb'"),
    ({"rank": -1}, "rank is -1; use 1 to 512"),
    ({"rank": 513}, "rank is 513"),
    ({"rank": True}, "rank is True"),
    ({"rank": 8.5}, "rank is 8.5"),
    ({"alpha": "2"}, "alpha is '2'"),
    ({"alpha": float("nan")}, "alpha is nan"),
    ({"alpha": 10**400}, "alpha is 1000"),
    ({"targets": "fc1"}, "targets is 'fc1'; use a list"),
    ({"targets": [1]}, "targets is"),
    ({"tasks": {"detect": 1}}, "tasks is"),
    ({"tasks": ["fly"]}, "there is no task 'fly'"),
    ({"vocab_hash": 7}, "vocab_hash is 7"),
    ({"colour": "red"}, "has an unknown field 'colour'; use only name, base"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    (tmp_path / "adapter.json").write_text(json.dumps(asdict(CATS) | change))
    with pytest.raises(GeneralistError, match=says) as raised:
        read_spec(tmp_path)
    told = str(raised.value)
    assert told.startswith(str(tmp_path / "adapter.json")) and "\n" not in told and len(told) < 600


@pytest.mark.parametrize("content, says", [
    (b"", "not readable as JSON"),
    (b"[]", "holds a JSON list, not an object"),
    (b"\xff\xfe", "not readable as JSON"),
    (b"[" * 100_000, "not readable as JSON"),
    (b"{}", "has no name; restore the file, or remove it"),
    (b" " * 1_000_001, "has more than 1000000 bytes"),
])  # fmt: skip
def test_files_that_hold_no_spec(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "adapter.json").write_bytes(content)
    with pytest.raises(GeneralistError, match=says):
        read_spec(tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "adapter.json").mkdir()
    with pytest.raises(GeneralistError, match=r"adapter.json: cannot be read \(Is a directory\)"):
        read_spec(tmp_path)
    (tmp_path / "adapter.json").rmdir()
    (tmp_path / "adapter.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(GeneralistError, match="cannot be read"):
        read_spec(tmp_path)
