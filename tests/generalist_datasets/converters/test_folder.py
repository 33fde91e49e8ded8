"""The folder that is written: new, whole, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets.converters.folder import MOST_SPLITS, new_folder


def test_it_is_there_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder.path / "a.txt").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_nothing_is_left_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="broken"), new_folder(tmp_path / "out") as folder:
        (folder.path / "a.txt").write_text("a")
        raise GeneralistError("broken")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder.path / "a.txt").write_text("a")
    assert (tmp_path / "out" / "a.txt").exists()


@pytest.mark.parametrize("name, says", [(".", "this is the current folder"), ("/", "there is something already")])
def test_folders_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GeneralistError, match=says), new_folder(Path(name)):
        raise AssertionError("it must not get here")


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_there_is_never_touched(tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    elif there == "link":
        out.symlink_to("nowhere")
    else:
        (out / "mine").mkdir(parents=True)
    with pytest.raises(GeneralistError, match="there is something already"), new_folder(out):
        raise AssertionError("it must not get here")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", tmp_path / ("n" * 300)):
        with pytest.raises(GeneralistError, match="cannot write this folder"), new_folder(out):
            raise AssertionError("it must not get here")


def test_names_of_splits_are_names_of_files_and_few(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="more than 32 splits"), new_folder(tmp_path / "out") as folder:
        assert folder.split_name("train") == "train"
        assert "/" not in folder.split_name("../../etc")
        for number in range(MOST_SPLITS):
            folder.split_name(f"split{number}")
