"""Pascal VOC against supervision, and what is said of broken files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.readers import voc
from generalist_datasets.readers.base import Options
from generalist_datasets.records import PixelValues, Problems, Record

BOX = "<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
CAT = f"<object><name>cat</name>{BOX}</object>"


def picture(path: Path, size: tuple[int, int] = (80, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def xml(
    objects: str = CAT, *, name: str = "a.jpg", size: str = "<width>80</width><height>40</height>", more: str = ""
) -> str:
    return f"<annotation><filename>{name}</filename><size>{size}</size>{more}{objects}</annotation>"


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(voc.read(path, problems, options or Options())), problems


def one(tmp_path: Path, text: str | bytes) -> tuple[list[Record], Problems]:
    picture(tmp_path / "JPEGImages/a.jpg")
    write(tmp_path / "Annotations/a.xml", text)
    return read(tmp_path)


# --- against supervision ------------------------------------------------------------------------------------


def test_real_data_is_what_supervision_reads(shared_data: Callable[[str], Path]) -> None:
    import supervision as sv

    root = shared_data("bccd")
    theirs = sv.DetectionDataset.from_pascal_voc(str(root / "JPEGImages"), str(root / "Annotations"))
    records, problems = read(root)
    assert voc.detect(root)
    assert not problems.counts
    assert [r.id for r in records] == sorted(r.id for r in records)
    assert {str(r.image) for r in records} == set(theirs.image_paths)
    for record in records:
        expected = theirs.annotations[str(record.image)]
        assert [a.label for a in record.annotations] == [theirs.classes[c] for c in expected.class_id]
        assert np.abs(np.array([a.xyxy for a in record.annotations]) - expected.xyxy).max() < 0.5
    assert sum(len(r.annotations) for r in records) == 4888
    splits = {s: {r.where.file.stem for r in records if r.split == s} for s in ("train", "val", "test")}
    for split, stems in splits.items():
        assert stems == set((root / "ImageSets/Main" / f"{split}.txt").read_text().split())


def test_generated_polygons_are_what_supervision_reads(tmp_path: Path) -> None:
    import supervision as sv

    corners = [(3, 4), (33.5, 4), (20, 30)]
    polygon = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(corners, 1))
    records, problems = one(tmp_path, xml(f"<object><name>cat</name>{BOX}<polygon>{polygon}</polygon></object>{CAT}"))
    theirs = sv.DetectionDataset.from_pascal_voc(str(tmp_path / "JPEGImages"), str(tmp_path / "Annotations"))
    (expected,) = theirs.annotations.values()
    assert not problems.counts
    drawn, boxed = records[0].annotations
    assert drawn.segment == ((2, 3, 32.5, 3, 19, 29),)
    assert boxed.segment is None
    np.testing.assert_allclose([drawn.xyxy, boxed.xyxy], expected.xyxy)


# --- arrangements -------------------------------------------------------------------------------------------


def test_pixels_count_from_one_and_corners_may_be_swapped(tmp_path: Path) -> None:
    box = "<bndbox><xmax>1</xmax><ymax>1</ymax><xmin> 80 </xmin><ymin>40.0</ymin></bndbox>"
    ((record,), problems) = one(tmp_path, xml(f"<object><name> big\n cat </name>{box}</object>"))
    assert not problems.counts
    assert [(a.label, a.xyxy) for a in record.annotations] == [("big cat", (0, 0, 80, 40))]
    assert record.size == (80, 40)


def test_files_beside_pictures_in_split_folders(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / split / "a.jpg")
        write(tmp_path / split / "a.xml", xml(name="another.jpg"))
    assert voc.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not problems.counts
    assert [(r.split, r.id) for r in records] == [("train", "train/a"), ("val", "valid/a")]


def test_picture_that_only_the_file_names(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages/photo 7.jpg")
    write(tmp_path / "Annotations/a.xml", xml(name="C:\\data\\photo 7.jpg"))
    (record,), problems = read(tmp_path)
    assert record.image.name == "photo 7.jpg"
    assert not problems.counts
    assert [r.image for r in read(tmp_path / "Annotations/a.xml")[0]] == [record.image]


def test_years_of_a_devkit(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        picture(tmp_path / "VOCdevkit" / year / "JPEGImages/a.jpg")
        write(tmp_path / "VOCdevkit" / year / "Annotations/a.xml", xml())
        write(tmp_path / "VOCdevkit" / year / "ImageSets/Main/train.txt", "a\nb\n" if year == "VOC2007" else "a\n")
    assert voc.detect(tmp_path)
    records, problems = read(tmp_path)
    assert [(r.image.parts[-3], r.split) for r in records] == [("VOC2007", "train"), ("VOC2012", "train")]
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [("warning", "missing label", "line 2")]


def label_picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(values)
    made.putpalette([i for n in range(256) for i in (n, 0, 0)])
    made.save(path)


def test_masks_of_objects(tmp_path: Path) -> None:
    values = np.zeros((40, 80), np.uint8)
    values[:10, :10], values[20:30, 20:30], values[11] = 1, 2, 255
    label_picture(tmp_path / "SegmentationObject/a.png", values)
    ((record,), problems) = one(tmp_path, xml(CAT * 3, more="<segmented>1</segmented>"))
    file = tmp_path / "SegmentationObject/a.png"
    expected = [PixelValues(file=file, value=1), PixelValues(file=file, value=2), None]
    assert [a.segment for a in record.annotations] == expected
    assert not problems.counts


def test_masks_of_classes(tmp_path: Path) -> None:
    values = np.zeros((40, 80), np.uint8)
    values[:10, :10], values[20:30, 20:30], values[11] = 8, 15, 255
    label_picture(tmp_path / "SegmentationClass/a.png", values)
    ((record,), problems) = one(tmp_path, xml(more="<segmented>1</segmented>"))
    assert [(a.label, a.stuff) for a in record.annotations] == [("cat", False), ("cat", True), ("person", True)]
    assert record.annotations[2].segment == PixelValues(file=tmp_path / "SegmentationClass/a.png", value=15)
    assert not problems.counts


# --- broken files ---------------------------------------------------------------------------------------------


def test_other_xml_is_not_voc(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.xml", "<annotations><image/></annotations>")
    assert not voc.detect(tmp_path)
    assert not voc.detect(tmp_path / "nothing here")


BOMB = (
    '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">'
    + "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 10))
    + "]>"
).replace("&x0;", "&x;")

MALFORMED_FILES: list[tuple[str | bytes, str]] = [
    ("", "not valid XML"),
    ("<annotation><object>", "not valid XML"),  # cut
    (BOMB + "<annotation>&x9;</annotation>", "not valid XML"),  # entities that multiply
    ((BOMB + "<annotation>&x9;</annotation>").encode("utf-16"), "not valid XML"),  # the same in disguise
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "not valid XML"),
    ('<?xml version="1.0" encoding="klingon"?><annotation/>', "not valid XML"),
    (b"<annotation>\xff\xfe</annotation>", "not valid XML"),
    ("<a>" * 100_000, "not valid XML"),  # deeper than the stack
    ("<annotations/>", "wrong type"),
    ("<annotation>" + " " * (8 << 20) + "</annotation>", "unreadable file"),  # too large
]


@pytest.mark.parametrize(("text", "kind"), MALFORMED_FILES)
def test_malformed_file(tmp_path: Path, text: str | bytes, kind: str) -> None:
    picture(tmp_path / "JPEGImages/b.jpg")
    write(tmp_path / "Annotations/b.xml", xml(name="b.jpg"))
    records, problems = one(tmp_path, text)
    assert [r.image.name for r in records] == ["b.jpg"]  # the next file is read
    (problem,) = problems.kept
    assert (problem.severity, problem.kind, problem.where.file.name) == ("error", kind, "a.xml")
    assert "\n" not in str(problem)


def thing(box: str, name: str = "<name>dog</name>") -> str:
    return f"<object>{name}{box}</object>"


MALFORMED_OBJECTS = [
    (thing(BOX, ""), "missing field"),
    (thing(BOX, "<name>  </name>"), "missing field"),
    (thing(""), "missing field"),
    (thing(BOX.replace("<xmax>30</xmax>", "")), "missing field"),
    (thing(BOX.replace("30", "")), "not a number"),
    (thing(BOX.replace("30", "nan")), "not a number"),
    (thing(BOX.replace("30", "-inf")), "not a number"),
    (thing(BOX.replace("30", "1e400")), "not a number"),
    (thing(BOX.replace("30", "9" * 5000)), "not a number"),
    (thing(BOX.replace("30", "3 0")), "not a number"),
    (thing(BOX + "<polygon><x1>1</x1><y1>2</y1></polygon>"), "polygon with fewer than 3 points"),
    (thing(BOX + "<polygon><x1>one</x1><y1>2</y1></polygon>"), "not a number"),
]


@pytest.mark.parametrize(("written", "kind"), MALFORMED_OBJECTS)
def test_malformed_object(tmp_path: Path, written: str, kind: str) -> None:
    ((record,), problems) = one(tmp_path, xml(CAT + written + CAT))
    assert [a.where.entry for a in record.annotations] == ["object 1", "object 3"]
    (problem,) = problems.kept
    assert (problem.severity, problem.kind, problem.where.entry) == ("error", kind, "object 2")
    assert len(str(problem)) < 400


@pytest.mark.parametrize(
    "size", ["<width>0</width><height>40</height>", "<width>80</width>", f"<width>{'9' * 99}</width>"]
)
def test_false_size(tmp_path: Path, size: str) -> None:
    ((record,), problems) = one(tmp_path, xml(size=size))
    assert record.size is None
    assert len(record.annotations) == 1
    assert dict(problems.counts) == {("warning", "wrong picture size"): 1}


@pytest.mark.parametrize("name", ["b.jpg", "", "../../etc/passwd", "x" * 9000, "https://example.org/a.jpg"])
def test_missing_picture(tmp_path: Path, name: str) -> None:
    write(tmp_path / "Annotations/a.xml", xml(name=name))
    records, problems = read(tmp_path)
    assert not records
    assert dict(problems.counts) == {("error", "missing image"): 1}
    with pytest.raises(GeneralistError, match=r"a\.xml: missing image"):
        list(voc.read(tmp_path, Problems(), Options()))


def test_broken_mask(tmp_path: Path) -> None:
    write(tmp_path / "SegmentationObject/a.png", b"\x89PNG\r\n\x1a\nnothing")
    ((record,), problems) = one(tmp_path, xml(more="<segmented>1</segmented>"))
    assert [a.segment for a in record.annotations] == [None]
    assert [(p.kind, p.where.file.name) for p in problems.kept] == [("unreadable file", "a.png")]
