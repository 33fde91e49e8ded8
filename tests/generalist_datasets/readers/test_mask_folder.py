"""Folders of masks against PIL and numpy, and what is said of broken ones."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.label_pictures import load_label_picture
from generalist_datasets.readers import mask_folder
from generalist_datasets.readers.base import Options
from generalist_datasets.readers.class_table import read_class_table
from generalist_datasets.records import PixelValues, Problems, Record

SKY, ROAD = (128, 128, 128), (128, 64, 0)


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)
    return path


def mask(path: Path, rows: object, dtype: type = np.uint8) -> Path:
    """A picture with these values; each is one pixel, or a colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(rows, dtype)).save(path)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(mask_folder.read(path, problems, options or Options())), problems


def labels(record: Record) -> list[tuple[str, int, bool]]:
    assert all(isinstance(a.segment, PixelValues) for a in record.annotations)
    return [(a.label, a.segment.value, a.stuff) for a in record.annotations if isinstance(a.segment, PixelValues)]


def test_real_data_is_what_pil_and_numpy_read(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("camvid")
    records, problems = read(root)
    assert mask_folder.detect(root)
    assert not problems.counts
    assert {s: sum(r.split == s for r in records) for s in ("train", "test")} == {"train": 80, "test": 60}
    for record in records:
        file = root / record.split / "masks" / f"{record.image.stem}.png"
        expected = np.asarray(Image.open(file))
        assert record.image.parent == root / record.split / "images"
        assert record.size == expected.shape[::-1]
        segments = [PixelValues(file=file, value=v) for v in np.unique(expected).tolist()]
        assert [a.segment for a in record.annotations] == segments
    for record in records[::20]:  # every mask, bit for bit
        ours = load_label_picture(record.where.file).values
        theirs = np.asarray(Image.open(record.where.file))
        assert all(((ours == a) == (theirs == a)).all() for a in np.unique(theirs))


# --- values and names ---------------------------------------------------------------------------------------


def test_names_and_void(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    mask(tmp_path / "masks/a.png", [[0, 1, 2, 3, 255]])
    write(tmp_path / "classes.txt", "background\nsky\nvoid\nroad\ntree\n")
    (record,), problems = read(tmp_path)
    assert labels(record) == [("sky", 1, True), ("road", 3, True)]
    assert not problems.counts
    assert list(problems.declared) == ["sky", "road", "tree"]


def test_value_that_the_table_lacks(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    mask(tmp_path / "masks/a.png", [[0, 1, 9]])
    write(tmp_path / "masks/classes.json", '["sky", "road"]')
    (record,), problems = read(tmp_path)
    assert [name for name, _, _ in labels(record)] == ["sky", "road"]
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [("error", "unknown class", "value 9")]
    with pytest.raises(GeneralistError, match=r"a\.png: value 9: unknown class"):
        list(mask_folder.read(tmp_path, Problems(), Options()))


def test_palette_positions_are_classes_whatever_their_colours(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    path = mask(tmp_path / "masks/a.png", [[0, 1, 2, 255]])
    painted = Image.open(path)
    painted.load()
    painted = painted.convert("P")
    painted.putpalette([*SKY, *ROAD, *SKY] + [0] * 759)
    painted.save(path)
    assert labels(read(tmp_path)[0][0]) == [("class 0", 0, True), ("class 1", 1, True), ("class 2", 2, True)]
    write(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,0::\nsky:128,128,128::\n")
    assert labels(read(tmp_path)[0][0]) == [("sky", 0, True), ("road", 1, True), ("sky", 2, True)]


def test_colours(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    mask(tmp_path / "masks/a.png", [[SKY, ROAD, (0, 0, 0), (1, 2, 3)]])
    (record,), problems = read(tmp_path)
    assert not record.annotations  # colours without a table are no classes
    assert [(p.kind, p.where.file.name) for p in problems.kept] == [("unknown class", "a.png")]
    write(tmp_path / "label_colors.txt", "128 128 128\tSky\n128 64 0\tRoad surface\n0 0 0\tVoid\n")
    (record,), problems = read(tmp_path)
    assert [(name, value) for name, value, _ in labels(record)] == [
        ("Road surface", 128 + 256 * 64),
        ("Sky", 128 * 0x010101),
    ]
    assert [p.detail for p in problems.kept] == ["colour 1,2,3 is not in the table of classes"]


def test_grey_saved_as_colours(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    mask(tmp_path / "masks/a.png", [[(0, 0, 0), (2, 2, 2), (255, 255, 255)]])
    (record,), problems = read(tmp_path)
    assert labels(record) == [("class 0", 0, True), ("class 2", 0x020202, True)]
    assert not problems.counts


@pytest.mark.parametrize("one_bit", [False, True])
def test_black_and_white_is_one_thing(tmp_path: Path, one_bit: bool) -> None:
    for name, rows in {"a": [[0, 255]], "b": [[0, 0]], "c": [[255, 255]]}.items():
        picture(tmp_path / f"images/{name}.jpg")
        mask(tmp_path / f"masks/{name}_mask.png", rows, bool if one_bit else np.uint8)
    records, problems = read(tmp_path)
    assert [labels(r) for r in records] == [[("object", 255, True)], [], [("object", 255, True)]]
    assert not problems.counts


def test_sixteen_bits_hold_classes_and_their_instances(tmp_path: Path) -> None:
    picture(tmp_path / "leftImg8bit/val/town/x_leftImg8bit.png")
    rows = np.zeros((6, 8), np.uint16)
    rows[1:3, 2:5], rows[4, 7], rows[5] = 26000, 26001, 65535
    folder = tmp_path / "gtFine/val/town"
    mask(folder / "x_gtFine_instanceIds.png", rows, np.uint16)
    mask(folder / "x_gtFine_labelIds.png", rows // 1000)
    mask(folder / "x_gtFine_color.png", [[SKY]])
    write(tmp_path / "classes.json", '{"0": "road", "26": "car"}')
    (record,), problems = read(tmp_path)
    assert record.split == "val"
    assert labels(record) == [("road", 0, True), ("car", 26000, False), ("car", 26001, False)]
    assert [a.xyxy for a in record.annotations] == [None, (2, 1, 5, 3), (7, 4, 8, 5)]
    assert not problems.counts


def test_folder_of_instances(tmp_path: Path) -> None:
    picture(tmp_path / "train/images/a.jpg")
    rows = np.zeros((6, 8), np.uint16)
    rows[:2, :3], rows[5, 5], rows[0, 7] = 1, 7, 2000
    mask(tmp_path / "train/instances/a.png", rows, np.uint16)
    (record,), problems = read(tmp_path)
    assert labels(record) == [("object", 1, False), ("object", 7, False), ("object", 2000, False)]
    assert [a.xyxy for a in record.annotations] == [(0, 0, 3, 2), (5, 5, 6, 6), (7, 0, 8, 1)]
    assert not problems.counts


TABLES = [
    ("classes.txt", "sky\nroad\n", {0: "sky", 1: "road"}),
    ("classes.txt", "\ufeff# ours\r\n3 sky\r\n5: dirt road\r\n", {3: "sky", 5: "dirt road"}),
    ("classes.csv", "Pixel Value, Class\n0, sky\n1, road\n", {0: "sky", 1: "road"}),
    ("class_dict.csv", "name,r,g,b\nsky,128,128,128\nroad,128,64,0\n", {0: "sky", 1: "road"}),
    ("label_colors.txt", "128 128 128\t\tsky\n128 64 0 dirt road\n", {0: "sky", 1: "dirt road"}),
    ("classes.json", '[{"id": 4, "name": "sky", "color": [128, 128, 128]}]', {4: "sky"}),
    ("classes.json", '{"4": "sky"}', {4: "sky"}),
]


@pytest.mark.parametrize(("name", "text", "expected"), TABLES)
def test_tables_of_names(tmp_path: Path, name: str, text: str, expected: dict[int, str]) -> None:
    problems = Problems()
    table = read_class_table(write(tmp_path / name, text), problems)
    assert table.by_value == expected
    if "128" in text:
        assert table.by_colour[128 * 0x010101] == "sky"


MALFORMED_TABLES = [
    ("classes.json", "{", "not valid JSON"),
    ("classes.json", "[" * 100_000, "not valid JSON"),
    ("classes.json", "7", "wrong type"),
    ("classes.json", '{"sky": 0}', "wrong type"),
    ("classes.json", '[["sky"]]', "wrong type"),
    ("classes.json", '{"99999999999999999999": "sky"}', "wrong type"),
    ("classes.txt", "x" * 100_000, "unknown class"),
    ("classes.txt", "sky\n" * 300_000, "unreadable file"),  # more than a megabyte
]


@pytest.mark.parametrize(("name", "text", "kind"), MALFORMED_TABLES)
def test_malformed_table(tmp_path: Path, name: str, text: str, kind: str) -> None:
    problems = Problems(strict=False)
    read_class_table(write(tmp_path / name, text), problems)
    assert [(p.severity, p.kind, p.where.file.name) for p in problems.kept] == [("error", kind, name)]


# --- arrangements -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "label", "split"),
    [
        ("images/a.jpg", "masks/a.png", ""),
        ("images/train/a.jpg", "labels/train/a.png", "train"),
        ("training/img/a.jpg", "training/annotations/a.png", "train"),
        ("valid/a.jpg", "validannot/a.png", "val"),
        ("test/a.png", "test_labels/a_L.png", "test"),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png", ""),
        ("Images/a.tif", "Masks/a.tif", ""),
    ],
)
def test_arrangement(tmp_path: Path, image: str, label: str, split: str) -> None:
    picture(tmp_path / image)
    mask(tmp_path / label, [[1, 2]])
    assert mask_folder.detect(tmp_path)
    (record,), problems = read(tmp_path)
    assert (record.image, record.where.file, record.split) == (tmp_path / image, tmp_path / label, split)
    assert not problems.counts


def test_a_name_that_ends_like_a_masks_is_still_the_pictures(tmp_path: Path) -> None:
    for side in "LR":
        picture(tmp_path / f"images/0_{side}.jpg")
        mask(tmp_path / f"masks/0_{side}.png", [[1]])
    records, problems = read(tmp_path)
    assert [(r.image.stem, r.where.file.stem) for r in records] == [("0_L", "0_L"), ("0_R", "0_R")]
    assert not problems.counts


def test_pictures_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "photos/a.jpg")
    mask(tmp_path / "masks/a.png", [[1, 2]])
    for path in (tmp_path, tmp_path / "masks"):
        (record,), _ = read(path, Options(images=tmp_path / "photos"))
        assert len(record.annotations) == 2


def test_pictures_and_masks_without_each_other(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
    for name in "bc":
        mask(tmp_path / f"masks/{name}.png", [[1]])
    mask(tmp_path / "masks/val/d.png", [[1]])
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["images/b"]
    found = {(p.severity, p.kind, p.where.file.name) for p in problems.kept}
    missing = {("warning", "missing image", "c.png"), ("warning", "missing image", "val")}
    assert found == {("warning", "missing label", "a.jpg"), *missing}


def test_nothing_to_read(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .1 .1")
    assert not mask_folder.detect(tmp_path)
    assert not mask_folder.detect(tmp_path / "images/a.jpg")
    records, problems = read(tmp_path)
    assert not records
    assert dict(problems.counts) == {("error", "nothing to read"): 1}


def broken_masks() -> dict[str, bytes]:
    """Files that are called a.png and are no picture of labels."""
    grey = np.zeros((6, 8), np.uint8)
    files = {"empty": b"", "text": b"this is no picture", "header": b"\x89PNG\r\n\x1a\n"}
    for name, image, suffix in [
        ("cut", Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)), "PNG"),
        ("jpeg", Image.fromarray(grey), "JPEG"),
    ]:
        file = io.BytesIO()
        image.save(file, suffix)
        files[name] = file.getvalue()
    files["cut"] = files["cut"][:400]
    return files


@pytest.mark.parametrize("defect", broken_masks())
def test_broken_mask(tmp_path: Path, defect: str) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
    mask(tmp_path / "masks/b.png", [[1]])
    (tmp_path / "masks/a.png").write_bytes(broken_masks()[defect])
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["images/b"]
    assert [(p.severity, p.kind, p.where.file.name) for p in problems.kept] == [("error", "unreadable file", "a.png")]


def test_photograph_for_a_mask(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, shape in {"masks": (64, 64, 3), "instances": (300, 300, 3)}.items():
        picture(tmp_path / name / "images/a.jpg")
        mask(tmp_path / name / name / "a.png", random.integers(0, 255, shape))
        write(tmp_path / name / "label_colors.txt", "0 0 0 void\n")
        (record,), problems = read(tmp_path / name)
        assert not record.annotations
        assert dict(problems.counts) == {("error", "unknown class"): 1}
