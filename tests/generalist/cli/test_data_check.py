"""``generalist data check`` as its user sees it: the screen, the JSON, the preview, the exit status."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist import cli

HEADER = "image,label,x1,y1,x2,y2"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, beside that of the data."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Two pictures, three boxes, one of which is outside."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    for number, name in enumerate(("street.png", "park.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    rows = (HEADER, "street.png,car,1,2,20,20", "street.png,dog,5,6,30,28", "park.png,dog,30,20,60,29")
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below ``folder``: its bytes and when it was changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_the_screen_says_what_is_there_and_what_is_wrong(
    boxes: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(boxes)
    assert cli.execute(["data", "check", str(boxes)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith(f"{boxes}: csv")
    for line in ("images 2", "dog 2", "car 1", "all classes 3"):
        assert line in lines
    at = lines.index("warning: box outside the image: 1")
    assert lines[at + 1] == f"{boxes / 'boxes.csv'}: line 4 (30,20,60,29 is partly outside 40x30)"
    assert lines[-2:] == ["saved boxes-preview.png", "usable: 0 errors, 1 warning"]
    assert snapshot(boxes) == before
    with Image.open(here / "boxes-preview.png") as sheet:
        assert min(sheet.size) > 100


def test_json_is_the_whole_report(boxes: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["data", "check", str(boxes), "--json", "--no-preview"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == [
        "path", "format", "summary", "images", "empty", "annotations", "labels", "captions", "turns", "depth",
        "pictures", "object_sizes", "findings", "errors", "warnings", "usable", "preview",
    ]  # fmt: skip
    assert shown["annotations"]["by_class"] == {"dog": {"(none)": 2}, "car": {"(none)": 1}}
    assert shown["findings"][0]["examples"][0]["entry"] == "line 4"
    assert shown["preview"] is None and not list(here.iterdir())


def test_what_cannot_be_used_exits_with_2(boxes: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (boxes / "boxes.csv").open("a") as table:
        table.write("park.png,dog,1,two,3,4\ngone.png,dog,1,2,3,4\n")
    assert cli.execute(["data", "check", str(boxes), "--preview", "sheet.jpg"]) == 2
    out = capsys.readouterr().out
    assert "error: not a number: 1" in out and "line 5" in out
    assert "error: missing image: 1" in out and "line 6" in out
    assert out.splitlines()[-1] == "not usable as it is: 2 errors, 1 warning"
    assert (here / "sheet.jpg").is_file(), "the sound part is shown"


def test_nothing_is_written_into_the_data(
    boxes: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(boxes)
    (here / "link").symlink_to(boxes)
    inside = boxes / "pictures.png"
    for target in (inside, Path("link") / "pictures.png", boxes / "new" / "a.png"):
        assert cli.execute(["data", "check", str(boxes), "--preview", str(target)]) == 2
        assert "inside the data" in capsys.readouterr().err
    monkeypatch.chdir(boxes)  # the default would be inside
    assert cli.execute(["data", "check", "."]) == 0
    assert "no preview: name a file outside the data with --preview FILE" in capsys.readouterr().out
    assert cli.execute(["data", "check", "boxes.csv"]) == 0
    assert snapshot(boxes) == before


@pytest.mark.parametrize("arguments, says", [
    (["gone"], "no such file or folder"),
    (["."], "the folder is empty; name one with pictures and their labels"),
    (["../boxes", "--format", "cocoa"], "there is no format 'cocoa'; use one of rgbd, "),
    (["boxes", "--format", "cocoa"], "there is no format 'cocoa'"),
    (["boxes", "--images", "gone"], "--images is gone, which is no folder"),
    (["boxes", "--depth-scale", "0"], "--depth-scale is 0.0"),
    (["boxes", "--depth-scale", "nan"], "--depth-scale is nan"),
    (["boxes", "--preview", "a.png", "--no-preview"], "exclude each other"),
    (["boxes", "--preview", "a.txt"], "cannot write pictures of type '.txt'"),
    (["x" * 5000], "no such file or folder"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(
    arguments: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here.parent / "boxes").mkdir()
    arguments = [f"../{arguments[0]}" if arguments[0] == "boxes" else arguments[0], *arguments[1:]]
    assert cli.execute(["data", "check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and says in captured.err


def test_pictures_may_be_elsewhere(boxes: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    for picture in boxes.glob("*.png"):
        picture.rename(elsewhere / picture.name)
    assert cli.execute(["data", "check", str(boxes), "--no-preview"]) == 2
    assert "missing image" in capsys.readouterr().out
    arguments = ["data", "check", str(boxes), "--images", str(elsewhere)]
    assert cli.execute([*arguments, "--no-preview"]) == 0
    assert cli.execute([*arguments, "--preview", str(elsewhere / "sheet.png")]) == 2
    assert "inside the data" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(boxes: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (boxes / "boxes.csv").open("a") as table:
        table.write("street.png,\x1b[31mred\x07,1,2,3,4\n[bold]gone[/bold].png,dog,1,2,3,4\n")
    assert cli.execute(["data", "check", str(boxes), "--no-preview"]) == 2
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "[bold]gone[/bold].png" in out


def test_a_corpus_is_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "corpus.jsonl").write_text('{"_id": "a", "title": "", "text": "Some words."}\n')
    assert cli.execute(["data", "check", "."]) == 0
    out = capsys.readouterr().out
    assert "documents: 1\n" in out and out.splitlines()[-1] == "usable: 0 errors, 0 warnings"
    assert os.listdir(here) == ["corpus.jsonl"]


def test_real_data(shared_data: Callable[[str], Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["data", "check", str(shared_data("bccd")), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] == "voc" and shown["preview"] == "bccd-preview.png"
    assert shown["images"]["by_split"] == {"train": 205, "val": 87, "test": 72}
    assert shown["annotations"]["total"] == 4888 and set(shown["annotations"]["by_class"]) == {
        "RBC",
        "WBC",
        "Platelets",
    }
