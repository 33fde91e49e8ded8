"""What a check says of a data set of images: the right numbers, and every defect with its place."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist_datasets.check import Report, check, pictures
from generalist_datasets.check.images import check_images
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.records import (
    Annotation,
    DepthFile,
    Keypoint,
    Problems,
    Record,
    TurnText,
    Where,
)

LIST = Path("list.json")


def at(number: int) -> Where:
    return Where(file=LIST, entry=f"images[{number}]")


def write_picture(path: Path, size: tuple[int, int] = (40, 20), seed: int | None = None) -> Path:
    """Noise that is different for every name."""
    pixels = np.random.default_rng(zlib.crc32(path.name.encode()) if seed is None else seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


def box(label: str, *xyxy: float, **fields: object) -> Annotation:
    return Annotation(**{"label": label, "where": Where(file=LIST, entry=f"of {label}"), "xyxy": xyxy, **fields})


def checked(records: Iterable[Record], folder: Path, declared: Iterable[str] = ()) -> Report:
    def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
        for label in declared:
            problems.declare(label, Where(file=LIST, entry="classes"))
        yield from records

    reader = Reader(name="made", summary="made up", detect=lambda path: True, read=read)
    return check_images(reader, folder, Options(), lambda record: None)


def found(report: Report) -> dict[str, tuple[str, int]]:
    return {finding.kind: (finding.severity, finding.count) for finding in report.findings}


def details(report: Report, kind: str) -> list[str]:
    (finding,) = (finding for finding in report.findings if finding.kind == kind)
    return [f"{e.file}: {e.entry}: {e.detail}" for e in finding.examples]


def test_counts_by_class_and_split_and_sizes(tmp_path: Path) -> None:
    records = [
        Record(
            id="1",
            images=(write_picture(tmp_path / "a.png", (400, 400)),),
            where=at(0),
            split="train",
            annotations=(
                box("dog", 0, 0, 20, 20),
                box("dog", 0, 0, 80, 80),
                box("cat", 0, 0, 200, 200),
                box("cat", 0, 0, 400, 400, crowd=True),
            ),
            captions=("One.", "Two."),
        ),
        Record(
            id="2",
            images=(write_picture(tmp_path / "b.png", (40, 20)),),
            where=at(1),
            split="val",
            annotations=(box("dog", 0, 0, 40, 20),),
            turns=(TurnText(role="user", text="Hello?"),),
        ),
        Record(id="3", images=(write_picture(tmp_path / "c.png", (40, 20)),), where=at(2), split="val"),
    ]
    report = checked(records, tmp_path)
    assert report.images.by_split == {"train": 1, "val": 2} and report.empty == 1
    assert report.annotations.by_class == {"dog": {"train": 2, "val": 1}, "cat": {"train": 2}}
    assert (report.annotations.boxes, report.annotations.crowds, report.captions, report.turns) == (5, 1, 2, 1)
    sizes = report.object_sizes
    assert (sizes.small, sizes.medium, sizes.large) == (2, 1, 1), "800 pixels are small, the crowd does not count"
    assert report.pictures.smallest == report.pictures.median == (40, 20) and report.pictures.largest == (400, 400)
    assert [(s.width, s.height, s.pictures) for s in report.pictures.common] == [(40, 20, 2), (400, 400, 1)]
    assert found(report) == {"image without annotations": ("warning", 1)} and report.usable


def test_relative_sizes_are_the_root_of_the_share_of_the_picture(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", (100, 100))
    sides = (1, 3, 7, 15, 30, 60, 100)  # per cent
    things = tuple(box("dog", 0, 0, side, side) for side in sides)
    report = checked([Record(id="1", images=(image,), where=at(0), annotations=things)], tmp_path)
    assert [(b.low, b.high, b.count) for b in report.object_sizes.relative] == [
        (0, 0.02, 1), (0.02, 0.05, 1), (0.05, 0.1, 1), (0.1, 0.2, 1), (0.2, 0.4, 1), (0.4, 1, 2),
    ]  # fmt: skip


def test_pictures_that_are_missing_cut_or_no_pictures(tmp_path: Path) -> None:
    whole = write_picture(tmp_path / "whole.png", (64, 64))
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-2000])
    (tmp_path / "text.jpg").write_text("no picture")
    names = ("whole.png", "cut.png", "text.jpg", "gone.jpg")
    records = [
        Record(id=name, images=(tmp_path / name,), where=at(k), captions=("A.",)) for k, name in enumerate(names)
    ]
    report = checked(records, tmp_path)
    assert found(report) == {"unreadable file": ("error", 2), "missing image": ("error", 1)} and not report.usable
    unreadable, missing = details(report, "unreadable file"), details(report, "missing image")
    assert any("cut.png" in line and "truncated" in line for line in unreadable)
    assert any("text.jpg" in line and "not a readable image" in line for line in unreadable)
    assert missing == [f"list.json: images[3]: {tmp_path / 'gone.jpg'}"]


def test_a_cut_picture_is_found_outside_the_sample_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DECODED", 3)
    for form in ("jpg", "png"):
        names = [f"{form}{k}.{form}" for k in range(30)]
        for name in names:
            write_picture(tmp_path / name)
        broken = tmp_path / random.Random(form).choice(names)
        broken.write_bytes(broken.read_bytes()[:-200])
        records = [Record(id=n, images=(tmp_path / n,), where=at(0), captions=("A.",)) for n in names]
        report = checked(records, tmp_path / form)
        assert 3 <= report.pictures.decoded <= 4
        assert [line.split(":")[0] for line in details(report, "unreadable file")] == [str(broken)]


def test_sizes_that_differ_from_the_file(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", (40, 20))
    sizes = {"same": (40, 20), "scaled": (80, 40), "other": (40, 40)}
    records = [
        Record(id=name, images=(image,), where=Where(file=LIST, entry=name), size=size, captions=("A.",))
        for name, size in sizes.items()
    ]
    report = checked(records, tmp_path)
    assert [(f.severity, f.examples[0].entry) for f in report.findings] == [("error", "other"), ("warning", "scaled")]
    assert "the annotations say 40x40" in report.findings[0].examples[0].detail


def test_a_size_that_was_taken_from_the_turned_picture_is_right(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    record = Record(id="1", images=(tmp_path / "a.jpg",), where=at(0), size=(20, 40), captions=("A.",))
    report = checked([record], tmp_path)
    assert report.findings == () and report.pictures.largest == (20, 40)


def test_duplicates_across_splits_are_found_by_their_bytes(tmp_path: Path) -> None:
    # larger than the ends that are compared first, and the same at both ends
    pixels = np.zeros((100, 100, 3), np.uint8)
    for name in ("a", "twin", "other"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.bmp")
    pixels[50, 50] = 255
    Image.fromarray(pixels).save(tmp_path / "other.bmp")
    small = write_picture(tmp_path / "small.png", (4, 4), seed=1)
    write_picture(tmp_path / "again.png", (4, 4), seed=1)
    assert small.stat().st_size < 8192 < (tmp_path / "a.bmp").stat().st_size
    placed = {"a.bmp": "train", "twin.bmp": "val", "other.bmp": "val", "small.png": "train", "again.png": "train"}
    records = [
        Record(id=name, images=(tmp_path / name,), where=at(k), split=split, captions=("A.",))
        for k, (name, split) in enumerate(placed.items())
    ]
    report = checked(records, tmp_path)
    assert found(report) == {"duplicate image across splits": ("warning", 1), "duplicate image": ("warning", 1)}
    (across,) = details(report, "duplicate image across splits")
    assert across.startswith("list.json: images[1]: ") and "twin.bmp (val) has the bytes of" in across
    assert "a.bmp (train)" in across
    assert "again.png" in details(report, "duplicate image")[0]


def test_one_file_in_two_splits_is_a_duplicate_and_twice_in_one_is_not(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png")
    records = [
        Record(id=str(k), images=(image,), where=at(k), split=split, captions=("A.",))
        for k, split in enumerate(("train", "train", "test"))
    ]
    report = checked(records, tmp_path)
    assert found(report) == {"duplicate image across splits": ("warning", 1)} and report.pictures.readable == 1


def test_boxes_and_points_that_cannot_be_right(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", (40, 20))
    things = (
        box("rounded", -1, 0, 41, 20),
        box("partly", 30, 0, 50, 20),
        box("wholly", 50, 0, 60, 20),
        box("flat", 3, 3, 3, 9),
        box("point", 0, 0, 4, 4, keypoints=(Keypoint(name="nose", xy=(99.0, 1.0)),)),
    )
    report = checked([Record(id="1", images=(image,), where=at(0), annotations=things)], tmp_path)
    assert details(report, "box outside the image") == [
        "list.json: of partly: 30,0,50,20 is partly outside 40x20",
        "list.json: of wholly: 50,0,60,20 is outside 40x20",
    ]
    assert details(report, "empty box") == ["list.json: of flat: 3,3,3,9"]
    assert details(report, "point outside the image") == ["list.json: of point: 'nose' at 99,1 is outside 40x20"]


def test_classes_unused_alike_and_unbalanced(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png")
    things = (*(box("person", 0, 0, 4, 4) for _ in range(100)), box("Person", 0, 0, 4, 4), box("tree", 0, 0, 4, 4))
    record = Record(id="1", images=(image,), where=at(0), annotations=things)
    report = checked([record], tmp_path, declared=("person", "tree", "zebra"))
    assert report.labels.declared == 3 and report.labels.used == 3
    assert report.labels.unused == ("zebra",) and report.labels.similar == (("person", "Person"),)
    assert details(report, "label never used") == ["list.json: classes: zebra"]
    assert details(report, "similar class names") == ["list.json: classes: 'person' (100) and 'Person' (1)"]
    assert "'person' has 100, 'tree' 1" in details(report, "unbalanced classes")[0]


def test_ids_that_occur_twice(tmp_path: Path) -> None:
    images = [write_picture(tmp_path / f"{k}.png") for k in range(3)]
    records = [
        Record(id="same", images=(image,), where=at(k), split=split, captions=("A.",))
        for k, (image, split) in enumerate(zip(images, ("train", "train", "val"), strict=True))
    ]
    assert details(checked(records, tmp_path), "duplicate id") == ["list.json: images[1]: 'same' in split train"]


def test_pictures_that_nothing_refers_to(tmp_path: Path) -> None:
    record = Record(id="1", images=(write_picture(tmp_path / "a.png"),), where=at(0), captions=("A.",))
    forgotten = write_picture(tmp_path / "forgotten.png")
    write_picture(tmp_path / "mask.bmp")
    (tmp_path / "notes.txt").write_text("no picture")
    assert details(checked([record], tmp_path), "picture never referred to") == [f"{forgotten}: : "]


def test_a_picture_without_a_mask_is_reported_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_picture(tmp_path / "images" / f"{name}.png", (4, 2))
    (tmp_path / "masks").mkdir()
    Image.new("L", (4, 2), 1).save(tmp_path / "masks" / "a.png")
    report = check(tmp_path)
    assert isinstance(report, Report) and report.images.total == 1
    assert [(f.kind, f.count, Path(f.examples[0].file).name) for f in report.findings] == [
        ("missing label", 1, "b.png")
    ]


def test_depth_maps(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", (4, 2))
    stored = np.array([[0, 1000, 2000, 2000], [2000, 2000, 2000, 8000]], np.uint16)
    Image.fromarray(stored).save(tmp_path / "depth.tif")
    np.save(tmp_path / "empty.npy", np.zeros((2, 4)))
    (tmp_path / "broken.npy").write_bytes(b"no array")
    names = ("depth.tif", "empty.npy", "broken.npy", "gone.npy")
    records = [
        Record(id=name, images=(image,), where=at(k), depth=DepthFile(file=tmp_path / name))
        for k, name in enumerate(names)
    ]
    report = checked(records, tmp_path)
    depth = report.depth
    assert (depth.maps, depth.read, depth.nearest, depth.median, depth.farthest) == (4, 2, 1.0, 2.0, 8.0)
    assert depth.unknown == pytest.approx((1 / 8 + 1) / 2)
    assert found(report) == {
        "missing depth map": ("error", 1),
        "unreadable file": ("error", 1),
        "depth map without a known value": ("warning", 1),
    }


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    report = checked([], tmp_path)
    assert found(report) == {"nothing to read": ("error", 1)} and not report.usable


def test_a_conversation_without_pictures_is_counted(tmp_path: Path) -> None:
    turns = (TurnText(role="user", text="Hello?"), TurnText(role="assistant", text="Yes."))
    report = checked([Record(id="1", images=(), where=at(0), turns=turns)], tmp_path)
    assert report.usable and report.turns == 2 and report.pictures.median is None


def test_the_report_is_the_same_every_time_and_keeps_at_most_20_places(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png")
    things = tuple(box(f"thing {k}", 100, 100, 200, 200) for k in range(50))
    records = [Record(id="1", images=(image,), where=at(0), annotations=things)]
    first, second = checked(records, tmp_path).to_dict(), checked(records, tmp_path).to_dict()
    assert first == second
    (outside,) = (f for f in first["findings"] if f["kind"] == "box outside the image")
    assert outside["count"] == 50 and len(outside["examples"]) == 20
    assert (first["errors"], first["warnings"], first["usable"]) == (0, 50, True)
