"""``generalist data convert`` as its user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from generalist import cli
from generalist_datasets.readers import read_records


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Two pictures, three boxes, and a row that names no picture."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    for name in ("street.png", "park.png"):
        Image.new("RGB", (40, 30)).save(folder / name)
    rows = ("image,label,x1,y1,x2,y2", "street.png,car,1,2,20,20", "street.png,dog,5,6,30,28", "park.png,dog,3,2,9,8")
    (folder / "boxes.csv").write_text("\n".join([*rows, "gone.png,dog,1,2,3,4"]) + "\n")
    return folder


def test_coco(boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.execute(["data", "convert", str(boxes), "--to", "coco", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"2 images, 3 annotations, 2 categories written in {out}: instances_all.json",
        f"left out, since they are broken: 1 missing image; `generalist data check {boxes}` says where",
    ]
    records = list(read_records(out))
    assert [(a.label, a.xyxy) for record in records for a in record.annotations] == [
        ("car", (1, 2, 20, 20)),
        ("dog", (5, 6, 30, 28)),
        ("dog", (3, 2, 9, 8)),
    ]
    assert records[0].image == boxes / "street.png"


def test_messages_with_images_named_relative_to_their_folder(
    boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "convert", str(boxes / "boxes.csv"), "--to", "messages", "--out", str(tmp_path / "out")]
    assert cli.execute([*arguments, "--format", "csv", "--images", str(boxes)]) == 0
    assert "conversations written" in capsys.readouterr().out
    text = (tmp_path / "out" / "messages.jsonl").read_text()
    assert '"images": ["street.png"]' in text
    assert str(boxes) not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["boxes", "--to", "coco", "--out", "boxes"], "there is something already"),
        (["missing", "--to", "coco", "--out", "out"], "no such file or folder"),
        (["boxes", "--to", "coco", "--out", "out", "--images", "nowhere"], "--images is nowhere"),
        (["boxes", "--to", "coco", "--out", "out", "--format", "cocoa"], "there is no format 'cocoa'"),
        (["boxes", "--to", "yolo", "--out", "out"], "'yolo' is not one of 'coco', 'messages'"),
    ],
)
def test_a_mistake_is_one_line(
    boxes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.execute(["data", "convert", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and says in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_the_form_has_no_place_for_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("dog", "cat"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name / "1.png")
    arguments = ["data", "convert", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--to", "coco"]
    assert cli.execute(arguments) == 0
    assert "left out, since coco has no place for them: 2 classes without a place" in capsys.readouterr().out


def test_a_set_of_which_nothing_is_left_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    arguments = ["data", "convert", str(tmp_path), "--format", "imagefolder", "--to", "messages"]
    assert cli.execute([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "nothing in it can be written as messages" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
