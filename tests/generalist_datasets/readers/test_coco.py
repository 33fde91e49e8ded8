"""COCO json against pycocotools and supervision, in the layouts that people have it in, and broken in every way."""

import json
import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from generalist.types import GeneralistError
from generalist_datasets.readers import coco, coco_panoptic, json_stream, lvis
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Annotation, Keypoint, PixelValues, Problems, Record, Rle

W, H = 64, 48
Json = dict[str, Any]


def read(path: Path, images: Path | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False, keep=1000)
    return list(coco.read(path, problems, Options(images=images))), problems


def complaints(problems: Problems) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.kind, problem.where.entry) for problem in problems.kept]


def place(folder: Path, name: str, value: object, pictures: tuple[str, ...] = ()) -> Path:
    """Writes a json file and empty pictures."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    for picture in pictures:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        (folder / picture).touch()
    return file


def small(annotations: list[Any] | None = None, **lists: Any) -> Json:
    """One image, two classes; ``lists`` replace those of the file."""
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": W, "height": H}],
        "annotations": annotations or [],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    } | lists


def thing(**fields: Any) -> Json:
    """A sound annotation; ``fields`` replace its own."""
    return {"id": 42, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20]} | fields


def decode(annotation: Annotation, width: int, height: int) -> np.ndarray:
    segment = annotation.segment
    assert segment is not None and not isinstance(segment, PixelValues)
    if isinstance(segment, Rle):
        return coco_mask.decode({"size": list(segment.size), "counts": segment.counts.encode()})
    rings = [list(ring) for ring in segment]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, height, width)))


def random_mask(rng: random.Random) -> np.ndarray:
    mask = np.zeros((H, W), np.uint8, order="F")
    for _ in range(rng.randint(1, 4)):
        x, y = rng.randrange(W), rng.randrange(H)
        mask[y : y + rng.randint(1, 20), x : x + rng.randint(1, 20)] = 1
    return mask


def random_segmentation(rng: random.Random) -> object:
    kind = rng.choice(["polygons", "runs", "compressed"])
    if kind == "polygons":
        return [[round(rng.uniform(0, 45), 2) for _ in range(2 * rng.randint(3, 9))] for _ in range(rng.randint(1, 3))]
    mask = random_mask(rng)
    if kind == "compressed":
        return {"size": [H, W], "counts": coco_mask.encode(mask)["counts"].decode()}
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"size": [H, W], "counts": [0, *runs] if flat[0] else runs}


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """30 images, 200 annotations of all kinds in random order; the categories come last."""
    rng = random.Random(5)
    images = [{"id": 7 * i, "file_name": f"{i:06d}.png", "width": W, "height": H} for i in range(30)]
    annotations = []
    for i in range(200):
        entry = {"id": 1000 + i, "image_id": 7 * rng.randrange(30), "category_id": rng.choice([1, 3])}
        entry["iscrowd"] = int(rng.random() < 0.1)
        if rng.random() < 0.8:
            entry["segmentation"] = random_segmentation(rng)
        if "segmentation" not in entry or rng.random() < 0.5:
            entry["bbox"] = [round(rng.uniform(0, 30), 2) for _ in range(4)]
        annotations.append(entry)
    value = {"images": images, "annotations": annotations, "categories": small()["categories"]}
    place(tmp_path, "annotations/instances_val2017.json", value, tuple(f"val2017/{i:06d}.png" for i in range(30)))
    return tmp_path


def test_everything_as_pycocotools_has_it(generated: Path) -> None:
    reference = COCO(str(generated / "annotations/instances_val2017.json"))
    records, problems = read(generated)
    assert not problems.kept
    assert [record.id for record in records] == [f"val2017/{i}" for i in reference.getImgIds()]
    seen = 0
    for record in records:
        image_id = int(record.id.removeprefix("val2017/"))
        assert record.split == "val2017" and record.size == (W, H)
        assert record.image == generated / "val2017" / reference.loadImgs(image_id)[0]["file_name"]
        theirs = reference.imgToAnns[image_id]
        assert len(record.annotations) == len(theirs)
        for ours, other in zip(record.annotations, theirs, strict=True):
            seen += 1
            assert ours.label == reference.loadCats(other["category_id"])[0]["name"]
            assert ours.crowd == bool(other["iscrowd"])
            assert ours.where.entry.endswith(f"(id {other['id']})")
            if "segmentation" in other:
                assert np.array_equal(decode(ours, W, H), reference.annToMask(other))
            if "bbox" in other:
                x, y, width, height = other["bbox"]
                assert ours.xyxy == pytest.approx((x, y, x + width, y + height))
            elif isinstance(ours.segment, Rle):
                x, y, width, height = coco_mask.toBbox(reference.annToRLE(other))
                assert ours.xyxy == pytest.approx((x, y, x + width, y + height))
    assert seen == 200


def test_real_photographs_as_supervision_has_them(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("coco128-train")
    images, annotations = [], []
    for number, labels in enumerate(sorted((source / "yolo-polygons").glob("*.txt"))[:24]):
        picture = source / "images" / f"{labels.stem}.jpg"
        width, height = Image.open(picture).size
        images.append({"id": number, "file_name": picture.name, "width": width, "height": height})
        for line in labels.read_text().splitlines():
            name, *numbers = line.split()
            polygon = [float(v) * (height if i % 2 else width) for i, v in enumerate(numbers)]
            xs, ys = polygon[::2], polygon[1::2]
            entry = {"id": len(annotations), "image_id": number, "category_id": int(name), "segmentation": [polygon]}
            entry |= {"bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)], "iscrowd": 0, "area": 1}
            annotations.append(entry)
    categories = [{"id": i, "name": f"class {i}", "supercategory": "none"} for i in range(91)]
    value = {"images": images, "annotations": annotations, "categories": categories}
    file = place(tmp_path, "instances.json", value)

    theirs = supervision.DetectionDataset.from_coco(str(source / "images"), str(file))
    records, problems = read(file, images=source / "images")
    assert len(records) == len(theirs) == 24 and not problems.errors
    for record, (path, _, detections) in zip(records, theirs, strict=True):
        assert record.image == Path(path)
        assert [a.label for a in record.annotations] == [theirs.classes[i] for i in detections.class_id]
        boxes = np.array([a.xyxy for a in record.annotations]).reshape(-1, 4)
        assert np.abs(boxes - detections.xyxy).max(initial=0) <= 0.5
    assert sum(len(record.annotations) for record in records) == len(annotations) > 100


# --- layouts ---------------------------------------------------------------------------------------------


def test_a_file_by_itself_with_pictures_beside_it_or_where_the_user_says(tmp_path: Path) -> None:
    file = place(tmp_path, "set/labels.json", small([thing()]), ("set/a.jpg",))
    assert coco.detect(file) and coco.detect(file.parent)
    [record] = read(file)[0]
    assert (record.image, record.split, record.id) == (tmp_path / "set/a.jpg", "", "1")
    (tmp_path / "pictures").mkdir()
    shutil.move(tmp_path / "set/a.jpg", tmp_path / "pictures/a.jpg")
    assert read(file)[1].counts == {("error", "missing image"): 1}
    assert read(file, tmp_path / "pictures")[0][0].image == tmp_path / "pictures/a.jpg"


@pytest.mark.parametrize(
    ("file", "picture", "split"),
    [
        ("annotations/instances_train2017.json", "train2017/a.jpg", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017/a.jpg", "train2017"),
        ("annotations/instances_train2017.json", "train/a.jpg", "train2017"),
        ("annotations/image_info_test-dev2017.json", "test-dev2017/a.jpg", "test-dev2017"),
        ("annotations/val.json", "images/val/a.jpg", "val"),
        ("annotations/instances_default.json", "images/a.jpg", ""),
        ("train/_annotations.coco.json", "train/a.jpg", "train"),
        ("valid/_annotations.coco.json", "valid/a.jpg", "valid"),
        ("test/labels.json", "test/data/a.jpg", "test"),
        ("my_values.json", "a.jpg", ""),  # not "val"
    ],
)
def test_where_pictures_are_and_what_the_split_is_called(tmp_path: Path, file: str, picture: str, split: str) -> None:
    place(tmp_path, file, small([thing()]), (picture,))
    for start in (tmp_path, tmp_path / file):
        assert coco.detect(start)
        [record] = read(start)[0]
        assert (record.image, record.split) == (tmp_path / picture, split)


def test_a_folder_with_several_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        place(tmp_path, f"{split}/_annotations.coco.json", small([thing()]), (f"{split}/a.jpg",))
    records, _ = read(tmp_path)
    assert [(record.id, record.image.parent.name) for record in records] == [
        ("test/1", "test"),
        ("train/1", "train"),
        ("valid/1", "valid"),
    ]


def test_files_about_the_same_pictures_make_one_record(tmp_path: Path) -> None:
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left eye", "tail"]}
    polygon = [[1, 1, 9, 1, 9, 9]]
    instances = small([thing(segmentation=polygon), thing(id=43, category_id=3)])
    instances["categories"][0]["name"] = "person"
    keypoints = small([thing(keypoints=[5, 6, 2, 0, 0, 0, 7, 8, 1])], categories=[person])
    captions = small([{"id": 42, "image_id": 1, "caption": "Two  pets\n"}], categories=[])
    two = [*captions["images"], {"id": 2, "file_name": "b.jpg"}]
    captions |= {"images": two}
    for name, value in {"instances": instances, "person_keypoints": keypoints, "captions": captions}.items():
        place(tmp_path, f"annotations/{name}_train2017.json", value)
    place(tmp_path, "annotations/other.json", small(), ("train2017/a.jpg", "train2017/b.jpg", "a.jpg"))
    records, problems = read(tmp_path)
    assert not problems.kept
    other, both, captioned = sorted(records, key=lambda record: record.id)
    assert other.split == "" and captioned.image.name == "b.jpg"
    assert both.captions == ("Two pets",)
    assert [annotation.label for annotation in both.annotations] == ["person", "dog"]
    first = both.annotations[0]
    assert first.segment == ((1.0, 1.0, 9.0, 1.0, 9.0, 9.0),)
    assert first.keypoints == (Keypoint(name="nose", xy=(5, 6)), Keypoint(name="tail", xy=(7, 8), visible=False))


def test_the_same_id_for_other_pictures_is_not_merged(tmp_path: Path) -> None:
    place(tmp_path, "instances_x.json", small([thing()]), ("a.jpg", "b.jpg"))
    place(tmp_path, "captions_x.json", small([], images=[{"id": 1, "file_name": "b.jpg"}]))
    records, problems = read(tmp_path)
    assert len(records) == 1
    assert complaints(problems) == [("error", "duplicate id", "images[0] (id 1)")]


def test_which_files_are_coco(tmp_path: Path) -> None:
    assert coco.detect(place(tmp_path, "x.json", '\ufeff\n{"categories": [], "images": []}'))
    assert coco.detect(place(tmp_path, "captions.json", '{"images": [], "annotations": [{"image_id": 1}]}'))
    big = small([thing(id=i) for i in range(5000)])
    assert coco.detect(place(tmp_path, "big.json", big))
    for name, text in {
        "labelme.json": '{"version": "5", "shapes": [], "imagePath": "a.jpg", "imageData": null}',
        "list.json": '[{"images": [], "annotations": []}]',
        "messages.json": '{"messages": [], "images": ["a.jpg"]}',
        "half.json": '{"im',
        "empty.json": "",
    }.items():
        assert not coco.detect(place(tmp_path, name, text)), name
    assert not coco.detect(tmp_path / "nothing") and not coco.detect(Path("a\0b")) and not coco.detect(Path("x" * 5000))


def test_each_reader_of_the_family_knows_its_own(tmp_path: Path) -> None:
    place(tmp_path, "a/x.json", small([thing()]))
    place(tmp_path, "b/x.json", small([{"image_id": 1, "file_name": "a.png", "segments_info": []}]))
    place(tmp_path, "c/x.json", small([thing()], images=[{"id": 1, "neg_category_ids": [1]}]))
    detects = (coco.detect, coco_panoptic.detect, lvis.detect)
    found = [[detect(tmp_path / name) for detect in detects] for name in "abc"]
    assert found == [[True, False, False], [False, True, False], [False, False, True]]
    shutil.copy(tmp_path / "b/x.json", tmp_path / "a/panoptic.json")
    assert coco.detect(tmp_path / "a") and not coco_panoptic.detect(tmp_path / "a")  # plain COCO comes first


def test_nothing_to_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match=r"no coco annotations there; name the \.json file"):
        read(tmp_path)


# --- sound, if unusual -----------------------------------------------------------------------------------


def test_odd_values_that_are_sound(tmp_path: Path) -> None:
    entries = [
        thing(segmentation=[]),  # a detection set
        thing(id=43, segmentation=None, iscrowd=True),
        thing(id=44, bbox=None, segmentation=[1, 1, 9, 1, 9, 9]),  # without the outer list
        thing(id=45.0, image_id=1.0, category_id=3.0),  # written by pandas
        thing(id=46, bbox=[-5, 0, 500, 3.5], area=float("nan"), attributes={"x": [[]]}),
        thing(id=47, bbox=[3, 4, 0, 7]),  # COCO itself has such boxes
    ]
    file = place(tmp_path, "x.json", small(entries), ("a.jpg",))
    [record], problems = read(file)
    assert not problems.kept
    assert [a.xyxy for a in record.annotations[2:]] == [(1, 1, 9, 9), (1, 2, 11, 22), (-5, 0, 495, 3.5), (3, 4, 3, 11)]
    assert [a.crowd for a in record.annotations[:2]] == [False, True]


def test_ids_may_be_texts_and_sizes_may_be_missing(tmp_path: Path) -> None:
    images = [{"id": "å", "file_name": "a.jpg"}]
    file = place(tmp_path, "x.json", small([thing(image_id="å")], images=images), ("a.jpg",))
    [record], problems = read(file)
    assert (record.id, record.size, len(record.annotations), problems.kept) == ("å", None, 1, [])


# --- broken ----------------------------------------------------------------------------------------------

RUNS = {"size": [H, W], "counts": [H * W]}

BROKEN_THINGS = {
    "not an object": ([1, 2], "wrong type"),
    "null": (None, "wrong type"),
    "no image": (thing(image_id=None), "missing field"),
    "image is a list": (thing(image_id=[1]), "wrong type"),
    "image is true": (thing(image_id=True), "wrong type"),
    "image of another type": (thing(image_id="1"), "unknown image id"),
    "image that is not there": (thing(image_id=2), "unknown image id"),
    "image of a huge integer": (thing(image_id=10**400), "wrong type"),
    "image of a text without end": (thing(image_id="x" * 10_000), "wrong type"),
    "image of half a surrogate pair": (thing(image_id="\ud800"), "wrong type"),
    "no class": (thing(category_id=None), "missing field"),
    "class that is not there": (thing(category_id=2), "unknown class"),
    "class is an object": (thing(category_id={}), "wrong type"),
    "class is NaN": (thing(category_id=float("nan")), "wrong type"),
    "nothing drawn": (thing(bbox=None), "missing field"),
    "box of three": (thing(bbox=[1, 2, 3]), "wrong type"),
    "box is a text": (thing(bbox="1 2 3 4"), "wrong type"),
    "box is an object": (thing(bbox={"x": 1}), "wrong type"),
    "box of texts": (thing(bbox=["1", "2", "3", "4"]), "not a number"),
    "box of true": (thing(bbox=[True, 1, 2, 3]), "not a number"),
    "box with NaN": (thing(bbox=[1, 2, float("nan"), 4]), "not a number"),
    "box with infinity": (thing(bbox=[1, 2, float("inf"), 4]), "not a number"),
    "box with 1e300": (thing(bbox=[1, 2, 1e300, 4]), "not a number"),
    "box with a huge integer": (thing(bbox=[1, 2, 10**400, 4]), "not a number"),
    "box turned inside out": (thing(bbox=[10, 10, -5, 4]), "empty box"),
    "two points": (thing(bbox=None, segmentation=[[1, 2, 3, 4]]), "polygon with fewer than 3 points"),
    "no points": (thing(segmentation=[[]]), "polygon with fewer than 3 points"),
    "an x without its y": (thing(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "wrong type"),
    "polygon of texts": (thing(segmentation=[["1", 2, 3, 4, 5, 6]]), "not a number"),
    "polygon with NaN": (thing(segmentation=[[1, 2, float("nan"), 4, 5, 6]]), "not a number"),
    "polygon with 1e400": (thing(segmentation=[[1, 2, float("inf"), 4, 5, 6]]), "not a number"),
    "polygon of points": (thing(segmentation=[[[1, 2], [3, 4], [5, 6], [7, 8]]]), "not a number"),
    "polygons and something else": (thing(segmentation=[[1, 2, 3, 4, 5, 6], 7]), "wrong type"),
    "segmentation is a text": (thing(segmentation="1 2 3"), "wrong type"),
    "runs without counts": (thing(segmentation={"size": [H, W]}), "wrong type"),
    "runs without size": (thing(segmentation={"counts": [1]}), "wrong type"),
    "runs of no size": (thing(segmentation=RUNS | {"size": [0, 0]}), "wrong type"),
    "runs of another size": (thing(segmentation=RUNS | {"size": [W, H]}), "size differs from the file"),
    "runs that are too long": (thing(segmentation=RUNS | {"counts": [H * W, 1]}), "wrong type"),
    "runs that are too short": (thing(segmentation=RUNS | {"counts": [5, 6]}), "wrong type"),
    "no runs": (thing(segmentation=RUNS | {"counts": []}), "wrong type"),
    "runs below zero": (thing(segmentation=RUNS | {"counts": [-1, H * W + 1]}), "wrong type"),
    "runs of fractions": (thing(segmentation=RUNS | {"counts": [H * W + 0.0]}), "wrong type"),
    "compressed runs of nothing": (thing(segmentation=RUNS | {"counts": ""}), "wrong type"),
    "compressed runs cut short": (thing(segmentation=RUNS | {"counts": "PPP"}), "wrong type"),
    "compressed runs too large": (thing(segmentation=RUNS | {"counts": "oooooooooooo0"}), "wrong type"),
    "compressed runs of other letters": (thing(segmentation=RUNS | {"counts": "å \ud800"}), "wrong type"),
    "compressed runs that do not add up": (thing(segmentation=RUNS | {"counts": "0123"}), "wrong type"),
    "keypoints of two values": (thing(keypoints=[1, 2]), "wrong type"),
    "keypoints is a number": (thing(keypoints=7), "wrong type"),
    "keypoints with NaN": (thing(keypoints=[float("nan"), 2, 1]), "not a number"),
    "keypoints of another visibility": (thing(keypoints=[1, 2, 9]), "wrong type"),
    "iscrowd is a text": (thing(iscrowd="yes"), "wrong type"),
    "caption is a number": ({"image_id": 1, "id": 42, "caption": 5}, "wrong type"),
    "caption is blank": ({"image_id": 1, "id": 42, "caption": " \n"}, "missing field"),
}


@pytest.mark.parametrize("defect", BROKEN_THINGS)
def test_a_broken_annotation_is_told_and_the_others_are_read(tmp_path: Path, defect: str) -> None:
    entry, kind = BROKEN_THINGS[defect]
    file = place(tmp_path, "x.json", small([thing(id=7), entry, thing(id=8)]), ("a.jpg",))
    [record], problems = read(file)
    named = " (id 42)" if isinstance(entry, dict) else ""
    assert complaints(problems) == [("error", kind, f"annotations[1]{named}")]
    assert [a.where.entry for a in record.annotations] == ["annotations[0] (id 7)", "annotations[2] (id 8)"]
    assert "\n" not in str(problems.kept[0]) and len(str(problems.kept[0])) < 400
    with pytest.raises(GeneralistError, match=kind):
        list(coco.read(file, Problems(), Options()))


def image(**fields: Any) -> Json:
    return {"id": 5, "file_name": "b.jpg"} | fields


BROKEN_IMAGES = {
    "not an object": (7, "wrong type"),
    "no id": (image(id=None), "missing field"),
    "id is a list": (image(id=[]), "wrong type"),
    "id of another image": (image(id=1), "duplicate id"),
    "no name": (image(file_name=None), "missing field"),
    "name is a number": (image(file_name=5), "wrong type"),
    "name of nothing": (image(file_name="c.jpg"), "missing image"),
    "name with NUL": (image(file_name="a.jpg\0"), "missing image"),
    "name that is too long": (image(file_name="x" * 10_000), "missing image"),
    "name with half a surrogate pair": (image(file_name="\ud800"), "missing image"),
    "name is a folder": (image(file_name="."), "missing image"),
    "name is an address": (image(file_name="https://host/b.jpg"), "missing image"),
}


@pytest.mark.parametrize("defect", BROKEN_IMAGES)
def test_a_broken_image_is_told_and_the_others_are_read(tmp_path: Path, defect: str) -> None:
    entry, kind = BROKEN_IMAGES[defect]
    value = small([thing()])
    file = place(tmp_path, "x.json", value | {"images": [*value["images"], entry]}, ("a.jpg", "b.jpg"))
    [record], problems = read(file)
    assert record.image.name == "a.jpg" and len(record.annotations) == 1
    [(severity, found, entry_place)] = complaints(problems)
    assert (severity, found) == ("error", kind) and entry_place.startswith("images[1]")


@pytest.mark.parametrize("size", [(0, 5), (-3, 5), ("64", "48"), (6.5, 5), (float("nan"), 5), (None, 5), ([], {})])
def test_a_size_that_is_none_is_a_warning(tmp_path: Path, size: tuple[object, object]) -> None:
    entry = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
    [record], problems = read(place(tmp_path, "x.json", small([thing()], images=[entry]), ("a.jpg",)))
    assert record.size is None and len(record.annotations) == 1
    assert [problem.severity for problem in problems.kept] == ["warning"]


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("cat", "wrong type"),
        ({"id": 9}, "missing field"),  # no name
        ({"name": "horse"}, "missing field"),  # no id
        ({"id": 9, "name": 5}, "wrong type"),
        ({"id": 9, "name": " "}, "missing field"),
        ({"id": 1, "name": "horse"}, "duplicate id"),
        ({"id": 9, "name": "horse", "keypoints": "nose"}, "wrong type"),
        ({"id": 9, "name": "horse", "keypoints": [None]}, "missing field"),
    ],
)
def test_a_broken_category_is_told(tmp_path: Path, category: object, kind: str) -> None:
    value = small([thing()])
    file = place(tmp_path, "x.json", value | {"categories": [*value["categories"], category]}, ("a.jpg",))
    [record], problems = read(file)
    assert [a.label for a in record.annotations] == ["cat"]
    [(severity, found, entry_place)] = complaints(problems)
    assert (severity, found) == ("error", kind) and entry_place.startswith("categories[2]")


@pytest.mark.parametrize("at", ["start", "middle", "end"])
def test_nothing_is_used_of_a_file_that_is_cut(tmp_path: Path, at: str) -> None:
    text = json.dumps(small([thing(id=i) for i in range(100)]))
    length = {"start": 20, "middle": len(text) // 2, "end": len(text) - 1}[at]
    records, problems = read(place(tmp_path, "instances_x.json", text[:length], ("a.jpg",)))
    assert not records
    assert [problem.kind for problem in problems.kept] == ["not valid JSON"]
    assert f"byte {length}" in str(problems.kept[0])


def test_a_broken_file_leaves_the_others_of_its_group(tmp_path: Path) -> None:
    place(tmp_path, "instances_x.json", small([thing()]), ("a.jpg",))
    place(tmp_path, "captions_x.json", json.dumps(small([]))[:-1])
    records, problems = read(tmp_path)
    assert len(records) == 1 and [problem.kind for problem in problems.kept] == ["not valid JSON"]


def test_only_broken_images(tmp_path: Path) -> None:
    records, problems = read(place(tmp_path, "x.json", small([thing()], images=[5])))
    assert not records and [problem.kind for problem in problems.kept] == ["wrong type", "unknown image id"]


@pytest.mark.parametrize("lists", [{"images": {}}, {"annotations": 5}, {"categories": None}])
def test_lists_that_are_none(tmp_path: Path, lists: Json) -> None:
    records, problems = read(place(tmp_path, "x.json", small(**lists), ("a.jpg",)))
    assert not records and [problem.kind for problem in problems.kept] == ["wrong type"]


@pytest.mark.parametrize("value", [{"annotations": [], "categories": []}, small([thing()], images=[]), {}])
def test_a_file_without_images(tmp_path: Path, value: Json) -> None:
    _, problems = read(place(tmp_path, "x.json", value))
    assert [problem.kind for problem in problems.kept] == ["missing field"]


def test_ids_that_occur_twice_are_a_warning(tmp_path: Path) -> None:
    file = place(tmp_path, "x.json", small([thing(), thing(id=43), thing()]), ("a.jpg",))
    [record], problems = read(file)
    assert len(record.annotations) == 3
    assert complaints(problems) == [("warning", "duplicate id", "annotations[2] (id 42)")]


def test_a_ring_that_is_no_area_beside_one_that_is(tmp_path: Path) -> None:
    file = place(tmp_path, "x.json", small([thing(segmentation=[[1, 2, 3, 4], [1, 1, 9, 1, 9, 9]])]), ("a.jpg",))
    [record], problems = read(file)
    assert record.annotations[0].segment == ((1, 1, 9, 1, 9, 9),)
    assert complaints(problems) == [("warning", "polygon with fewer than 3 points", "annotations[0] (id 42)")]


SOUND = json.dumps(small([thing(segmentation=[[1, 1, 9, 1, 9, 9]]), thing(id=43, segmentation=RUNS)])).encode()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_give_records_or_problems(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(SOUND)))
    stop = data.draw(st.integers(start, min(len(SOUND), start + 30)))
    junk = st.sampled_from([b"", b"null", b"{}", b"[", b"-1", b"1e999", b'"', b"\xff", b"NaN", b"[[]]", b"9" * 400])
    folder = tmp_path_factory.mktemp("mutated")
    (folder / "a.jpg").touch()
    (folder / "x.json").write_bytes(SOUND[:start] + data.draw(junk | st.binary(max_size=4)) + SOUND[stop:])
    coco.detect(folder)
    for record in read(folder / "x.json")[0]:
        for annotation in record.annotations:
            if annotation.segment is not None:
                decode(annotation, W, H)


def test_memory_does_not_grow_with_what_entries_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 1 << 14)
    polygon = [[round(i * 1.37 % 50, 2) for i in range(1000)]]
    images = [{"id": i, "file_name": "a.jpg", "width": W, "height": H} for i in range(10)]
    annotations = [thing(id=i, image_id=i % 10, segmentation=polygon) for i in range(200)]
    file = place(tmp_path, "x.json", small(annotations, images=images), ("a.jpg",))
    tracemalloc.start()
    count = sum(len(record.annotations) for record in coco.read(file, Problems(), Options()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200
    assert peak < 3 << 20  # the file has 1.2 MiB, and its polygons as Python values 6
