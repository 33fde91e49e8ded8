"""``generalist data``: scenes on disk and pictures of them; a mistake is one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from generalist import cli
from generalist_datasets.world import dataset, shards, workers
from generalist_datasets.world.compose import Assets


@pytest.fixture(autouse=True)
def toys(toy_assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy world in the place of the one that is fetched."""
    styles = ("fluent", "twemoji", "noto")
    toys = dataclasses.replace(toy_assets, sprites=dict.fromkeys(styles, toy_assets.sprites["fluent"]))
    monkeypatch.setattr(dataset, "_load", lambda styles, photos: toys)


def world(folder: Path, *arguments: str) -> int:
    return cli.execute(["data", "world", "--out", str(folder), "--size", "64", "--workers", "1", *arguments])


def test_scenes_and_a_preview_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert world(tmp_path / "a" / "scenes", "--n", "5", "--size", "96x64", "--seed", "3") == 0
    manifest = json.loads((tmp_path / "a" / "scenes" / "manifest.json").read_text())
    assert (manifest["count"], manifest["split"], manifest["seed"]) == (5, "train", 3)
    assert manifest["size"] == [96, 64]
    said = capsys.readouterr()
    assert "5 scenes of train" in said.out and manifest["digest"] in said.out and said.err == ""
    picture = tmp_path / "sheet.png"
    assert cli.execute(["data", "preview", str(tmp_path / "a" / "scenes"), "--out", str(picture), "--count", "2"]) == 0
    assert str(picture) in capsys.readouterr().out
    with Image.open(picture) as sheet:
        assert sheet.width > 500 and sheet.height > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "sheet.png"]


def test_an_evaluation_set_is_whole_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from generalist_datasets.world import splits

    small = dataclasses.replace(splits.SPLITS["style"], size=3)
    monkeypatch.setitem(splits.SPLITS, "style", small)
    assert world(tmp_path / "style", "--split", "style") == 0
    assert json.loads((tmp_path / "style" / "manifest.json").read_text())["count"] == 3


@pytest.mark.parametrize("arguments, says", [
    (("--n", "0"), "0 scenes"),
    (("--n", "-3"), "-3 scenes"),
    (("--n", "2", "--split", "trian"), "no split 'trian' of the world; use one of train, compositions, attributes, "),
    (("--n", "1001", "--split", "style"), "has 1000 scenes, not 1001"),
    ((), "say how many scenes with --n"),
    (("--n", "2", "--size", "big"), "--size is 'big'"),
    (("--n", "2", "--size", "3x3"), "size is 3x3"),
    (("--n", "2", "--size", "224x99999"), "size is 224x99999"),
    (("--n", "2", "--seed", "-1"), "seed is -1"),
    (("--n", "2", "--workers", "0"), "--workers is 0"),
    (("--n", "2", "--format", "gif"), "gif"),
    (("--n", "two"), "--n"),
])  # fmt: skip
def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    assert world(tmp_path / "scenes", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and says in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.glob("scenes/*")) == []


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path, tmp_path / ("x" * 300)):
        assert world(folder, "--n", "2") == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1 and "name " in err
    assert (tmp_path / "file").read_text() == "mine"


def test_ctrl_c_leaves_a_folder_that_one_can_go_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    make, made = workers._row, []

    def interrupted(*arguments: object) -> dict[str, object]:
        made.append(arguments)
        if len(made) == 4:
            raise KeyboardInterrupt
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "_row", interrupted)
    assert world(tmp_path, "--n", "6") == 130
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["train-00000.parquet"]
    assert "Traceback" not in capsys.readouterr().err
    assert world(tmp_path, "--n", "6") == 0
    assert len(made) == 4 + 4


@pytest.mark.parametrize("arguments, says", [
    (("missing",), "missing"),
    (("empty",), "empty"),
    (("empty", "--count", "0"), "--count is 0"),
    (("empty", "--out", "sheet.txt"), "sheet.txt"),
    (("empty", "--out", "no/such/sheet.png"), "no/such"),
    (("empty", "--out", "empty/sheet.png"), "--out is inside the data"),
    (("empty", "--images", "gone"), "--images is gone"),
])  # fmt: skip
def test_mistakes_of_a_preview(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...],
    says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert cli.execute(["data", "preview", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and says in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
