"""ADE20K-like folders against PIL and numpy, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.readers import ade20k
from generalist_datasets.readers.base import Options
from generalist_datasets.records import PixelValues, Problems, Record

ROWS = ("Idx Ratio Train Val Stuff Name", "1 0.15 11 1 1 wall", "2 0.1 6 6 1 building,_edifice", "3 0.08 8 8 1 sky")
INFO = "".join(row.replace(" ", "\t").replace("_", " ") + "\n" for row in ROWS)


def make(root: Path, count: int = 3) -> dict[str, np.ndarray]:
    """Pictures and masks of both splits; the masks by stem."""
    random = np.random.default_rng(0)
    masks = {}
    for split, prefix in (("training", "ADE_train_"), ("validation", "ADE_val_")):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            stem = f"{prefix}{i:08d}"
            masks[stem] = random.integers(0, 4, (5, 2 + i)).astype(np.uint8)
            Image.fromarray(masks[stem]).save(root / "annotations" / split / f"{stem}.png")
            Image.new("RGB", masks[stem].shape[::-1]).save(root / "images" / split / f"{stem}.jpg")
    return masks


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(ade20k.read(path, problems, options or Options())), problems


def test_every_class_but_unlabelled_is_one_annotation(tmp_path: Path) -> None:
    masks = make(tmp_path)
    assert ade20k.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not problems.counts
    assert [r.split for r in records] == ["train"] * 3 + ["val"] * 3
    for record in records:
        mask = masks[record.image.stem]
        assert record.size == mask.shape[::-1]
        values = [a.segment.value for a in record.annotations if isinstance(a.segment, PixelValues)]
        assert values == [v for v in np.unique(mask).tolist() if v != 0]
        assert [a.label for a in record.annotations] == [f"class {v}" for v in values]
        assert all(a.stuff for a in record.annotations)


@pytest.mark.parametrize("name", ["objectInfo150.txt", "objectInfo150.csv"])
def test_names_and_scenes(tmp_path: Path, name: str) -> None:
    masks = make(tmp_path)
    text = INFO if name.endswith("txt") else INFO.replace(", ", ";").replace("\t", ",")
    (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode())
    (tmp_path / "sceneCategories.txt").write_text("ADE_train_00000001 living_room\nADE_val_00000000\n")
    records, problems = read(tmp_path)
    assert not problems.counts
    assert list(problems.declared) == ["wall", "building", "sky"]
    names = [None, "wall", "building", "sky"]
    for record in records:
        expected = [names[v] for v in np.unique(masks[record.image.stem]) if v]
        assert [a.label for a in record.annotations] == expected
        scene = {"scene": "living room"} if record.image.stem == "ADE_train_00000001" else {}
        assert record.facts == scene


def test_masks_without_the_splits_are_another_format(tmp_path: Path) -> None:
    make(tmp_path / "x")
    (tmp_path / "x/annotations").rename(tmp_path / "x/masks")
    assert not ade20k.detect(tmp_path / "x")
    records, problems = read(tmp_path / "x")
    assert not records
    assert dict(problems.counts) == {("error", "nothing to read"): 1}


def test_broken_entries(tmp_path: Path) -> None:
    make(tmp_path, 2)
    training = tmp_path / "annotations/training"
    (training / "ADE_train_00000000.png").write_bytes(b"no picture")
    (tmp_path / "annotations/validation/ADE_val_00000001.png").unlink()
    Image.fromarray(np.full((5, 3), 200, np.uint8)).save(training / "ADE_train_00000001.png")
    (tmp_path / "objectInfo150.txt").write_text(INFO)
    records, problems = read(tmp_path)
    assert [r.image.stem for r in records] == ["ADE_train_00000001", "ADE_val_00000000"]
    assert [(p.severity, p.kind, p.where.file.name, p.where.entry) for p in problems.kept] == [
        ("error", "unreadable file", "ADE_train_00000000.png", ""),
        ("error", "unknown class", "ADE_train_00000001.png", "value 200"),
        ("warning", "missing label", "ADE_val_00000001.jpg", ""),
    ]
    with pytest.raises(GeneralistError, match=r"00000000\.png: unreadable file"):
        list(ade20k.read(tmp_path, Problems(), Options()))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", "missing field"),
        (b"\xff\xfe", "unreadable file"),
        (b"a,b\n" * 9, "missing field"),
        (b'1\t"' + b"x" * 200_000, "unreadable file"),
    ],
)
def test_broken_table_of_names(tmp_path: Path, text: bytes, kind: str) -> None:
    make(tmp_path, 1)
    (tmp_path / "objectInfo150.txt").write_bytes(text)
    records, problems = read(tmp_path)
    assert len(records) == 2
    assert ("error", kind) in problems.counts
    assert all(a.label.startswith("class ") for r in records for a in r.annotations)
