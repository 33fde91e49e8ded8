"""What is written as COCO json is what was read: against pycocotools, and through our own reader."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from generalist_datasets.converters import Written, convert, new_folder, write_coco
from generalist_datasets.readers import read_records
from generalist_datasets.records import (
    Annotation,
    DepthFile,
    Keypoint,
    PixelValues,
    Problems,
    Record,
    Rle,
    TurnText,
    Where,
)

W, H = 32, 24
HERE = Where(file=Path("labels.txt"), entry="line 1")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (W, H)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def annotate(label: str = "dog", **more: object) -> Annotation:
    return Annotation(label=label, where=HERE, **more)  # type: ignore[arg-type]


def record(picture: Path, *annotations: Annotation, **more: object) -> Record:
    values = {"id": "a", "images": (picture,), "where": HERE, "annotations": annotations, **more}
    return Record(**values)  # type: ignore[arg-type]


def write(out: Path, *records: Record, root: Path | None = None) -> tuple[Written, Problems]:
    problems = Problems(strict=False)
    with new_folder(out, root) as folder:
        return write_coco(records, folder, problems), problems


def bitmap(annotation: Annotation) -> np.ndarray:
    """bool [H, W] of a segment."""
    segment = annotation.segment
    if isinstance(segment, PixelValues):
        return np.asarray(Image.open(segment.file)) == segment.value
    if isinstance(segment, Rle):
        rle = {"size": list(segment.size), "counts": segment.counts.encode()}
    else:
        assert segment is not None
        rle = coco_mask.merge(coco_mask.frPyObjects([list(ring) for ring in segment], H, W))
    return np.asarray(coco_mask.decode(rle), bool)


def encode(mask: np.ndarray) -> Rle:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return Rle(size=mask.shape, counts=rle["counts"].decode())


def test_every_kind_of_annotation_comes_back(tmp_path: Path, picture: Path) -> None:
    blob = np.zeros((H, W), np.uint8)
    blob[3:9, 5:20] = 7
    Image.fromarray(blob).save(tmp_path / "labels.png")
    written = [
        annotate("dog", xyxy=(1.5, 2, 10.25, 12)),
        annotate("cat", xyxy=(0, 0, 8, 8), segment=((0.0, 0.0, 8.0, 0.0, 8.0, 8.0), (1.0, 5.0, 3.0, 5.0, 3.0, 7.5))),
        annotate("dog", segment=encode(blob == 7), crowd=True),
        annotate("sky", segment=PixelValues(file=tmp_path / "labels.png", value=7), stuff=True),
        annotate("person", xyxy=(0, 0, 5, 5), keypoints=(Keypoint(name="nose", xy=(1, 2)),)),
        annotate(
            "person", keypoints=(Keypoint(name="knee", xy=(3, 4), visible=False), Keypoint(name="nose", xy=(5, 6)))
        ),
    ]
    result, problems = write(tmp_path / "out", record(picture, *written, captions=("one", "zwei é"), split="val"))
    assert result.counts == {"images": 1, "annotations": 6, "captions": 2, "categories": 4}
    assert result.files == ("instances_val.json", "captions_val.json")
    assert not problems.counts and not result.left_out

    (back,) = read_records(tmp_path / "out", "coco")
    assert (back.split, back.size, back.captions) == ("val", (W, H), ("one", "zwei é"))
    for one, other in zip(written, back.annotations, strict=True):
        assert (one.label, one.crowd, one.stuff) == (other.label, other.crowd, other.stuff)
        assert set(one.keypoints) == set(other.keypoints)
        if one.segment is not None:
            assert (bitmap(one) == bitmap(other)).all()
        if one.xyxy is not None:
            assert other.xyxy == one.xyxy
    assert back.annotations[2].xyxy == back.annotations[3].xyxy == (5, 3, 20, 9)

    truth = COCO(str(tmp_path / "out" / "instances_val.json"))
    assert [category["name"] for category in truth.loadCats(truth.getCatIds())] == ["cat", "dog", "person", "sky"]
    for one, entry in zip(written, truth.loadAnns(truth.getAnnIds()), strict=True):
        if one.segment is not None:
            assert (np.asarray(truth.annToMask(entry), bool) == bitmap(one)).all()
            assert entry["area"] == pytest.approx(bitmap(one).sum(), rel=0.15)
    assert COCO(str(tmp_path / "out" / "captions_val.json")).loadAnns([2])[0]["caption"] == "zwei é"


def test_splits_have_files_of_their_own_and_the_same_categories(tmp_path: Path, picture: Path) -> None:
    records = [
        record(picture, annotate("cow", xyxy=(0, 0, 1, 1)), split="train"),
        record(picture, annotate("ant", xyxy=(0, 0, 1, 1)), split="../test"),
        record(picture, split="train"),
    ]
    result, _ = write(tmp_path / "out", *records)
    assert result.files == ("instances_train.json", "instances____test.json")
    files = [json.loads((tmp_path / "out" / name).read_text()) for name in result.files]
    assert [[c["name"] for c in file["categories"]] for file in files] == [["ant", "cow"]] * 2
    assert [len(file["images"]) for file in files] == [2, 1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(result.files)


def test_what_coco_cannot_hold_is_counted(tmp_path: Path, picture: Path) -> None:
    things = (annotate("class"), annotate("", xyxy=(0, 0, 1, 1), phrases=("left", "big")))
    talk = (TurnText(role="user", text="?"), TurnText(role="assistant", text="!"))
    more = record(picture, *things, turns=talk, depth=DepthFile(file=picture))
    result, problems = write(tmp_path / "out", more)
    assert result.left_out == {
        "classes without a place": 1,
        "referring expressions": 2,
        "turns of conversations": 2,
        "depth maps": 1,
    }
    assert not problems.counts
    (back,) = read_records(tmp_path / "out")
    assert [annotation.label for annotation in back.annotations] == ["object"]


def test_what_is_broken_is_reported_and_left_out(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = tmp_path / "broken.png"
    records = [
        record(broken, annotate(xyxy=(0, 0, 1, 1))),
        record(
            picture,
            annotate(xyxy=(0, 0, float("nan"), 1)),
            annotate(segment=((0.0, 0.0, float("inf"), 0.0, 8.0, 8.0),)),
            annotate(segment=PixelValues(file=broken, value=1)),
            annotate(xyxy=(0, 0, 2, 2)),
        ),
    ]
    result, problems = write(tmp_path / "out", *records)
    assert Counter(p.kind for p in problems.kept) == {"unreadable file": 2, "not a number": 2}
    assert result.counts == {"images": 1, "annotations": 1, "categories": 1}
    assert len(next(read_records(tmp_path / "out")).annotations) == 1


def test_file_names_are_relative_to_the_given_root_and_absolute_elsewhere(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = Path(picture.name)
    for root, name in ((None, str(picture)), (tmp_path, "a.png"), (tmp_path / "elsewhere", str(picture))):
        out = tmp_path / f"out-{root and root.name}"
        write(out, record(relative), root=root)
        assert json.loads((out / "instances_all.json").read_text())["images"][0]["file_name"] == name


def test_memory_does_not_grow_with_the_records(tmp_path: Path, picture: Path) -> None:
    def records(count: int) -> Iterator[Record]:
        for _ in range(count):
            yield record(picture, *(annotate(xyxy=(0, 0, 1, 1)) for _ in range(40)), size=(W, H))

    peaks = []
    for count in (5, 100):
        tracemalloc.start()
        with new_folder(tmp_path / f"out{count}") as folder:
            write_coco(records(count), folder, Problems())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def test_blood_cells_come_back(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    source = shared_data("bccd")
    written = convert(source, "coco", tmp_path / "out")
    assert (written.counts["images"], written.counts["annotations"]) == (364, 4888)
    before = {record.image: record for record in read_records(source)}
    after = {record.image.resolve(): record for record in read_records(tmp_path / "out")}
    assert before.keys() == after.keys()
    for path, record in before.items():
        assert [(a.label, a.xyxy) for a in after[path].annotations] == [(a.label, a.xyxy) for a in record.annotations]
        assert after[path].split == record.split


def test_street_scenes_come_back_to_the_pixel(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    source = shared_data("camvid")
    written = convert(source, "coco", tmp_path / "out")
    truth = COCO(str(tmp_path / "out" / "instances_test.json"))
    records = [record for record in read_records(source) if record.split == "test"]
    assert len(truth.getImgIds()) == len(records) == 60
    assert "instances_train.json" in written.files
    for record, image in zip(records[:10], truth.loadImgs(truth.getImgIds()), strict=False):
        entries = truth.loadAnns(truth.getAnnIds([image["id"]]))
        for annotation, entry in zip(record.annotations, entries, strict=True):
            assert truth.loadCats([entry["category_id"]])[0]["name"] == annotation.label
            assert (np.asarray(truth.annToMask(entry), bool) == bitmap(annotation)).all()
