"""YOLO label files against supervision, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.readers import yolo
from generalist_datasets.readers.base import Options
from generalist_datasets.readers.yolo_yaml import read_data_yaml
from generalist_datasets.records import Annotation, Problems, Record

W, H = 80, 40


def picture(path: Path, size: tuple[int, int] = (W, H), orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (90, 120, 30)).save(path, exif=exif)
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(yolo.read(path, problems, options or Options())), problems


def kinds(problems: Problems) -> dict[tuple[str, str], int]:
    return dict(problems.counts)


def one(tmp_path: Path, labels: str | bytes, names: str = "person\ncar\n") -> tuple[tuple[Annotation, ...], Problems]:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", labels)
    write(tmp_path / "classes.txt", names)
    records, problems = read(tmp_path)
    assert len(records) == 1
    return records[0].annotations, problems


# --- against supervision ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("labels", "yaml"), [("yolo-boxes", "boxes.yaml"), ("yolo-polygons", "polygons.yaml")])
def test_real_data_is_what_supervision_reads(
    shared_data: Callable[[str], Path], tmp_path: Path, labels: str, yaml: str
) -> None:
    import supervision as sv

    root = shared_data("coco128-train")
    # supervision numbers names by their order, and those of polygons.yaml have gaps
    numbers = write(tmp_path / "numbers.yaml", f"names: {[str(i) for i in range(91)]}")
    theirs = sv.DetectionDataset.from_yolo(str(root / "images"), str(root / labels), str(numbers))
    names = read_data_yaml(root / yaml, Problems())
    assert names is not None
    ours = {str(r.image): r for r in read(root / yaml)[0]}
    expected = {
        image: a for image, a in theirs.annotations.items() if (root / labels / f"{Path(image).stem}.txt").exists()
    }
    assert {image for image, r in ours.items() if r.where.file.suffix == ".txt"} == set(expected)
    boxes = 0
    for image, detections in expected.items():
        annotations = ours[image].annotations
        assert len(annotations) == len(detections)
        boxes += len(detections)
        if len(detections):
            assert np.abs(np.array([a.xyxy for a in annotations]) - detections.xyxy).max() < 0.5
            assert [a.label for a in annotations] == [names.names[int(c)] for c in detections.class_id]
    assert boxes == sum(len(r.annotations) for r in ours.values()) > 700


def test_real_polygons_keep_their_points(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("coco128-train")
    records, problems = read(root / "yolo-polygons")
    assert len(records) == 100
    assert not problems.counts
    for record in records:
        width, height = Image.open(record.image).size
        lines = [line.split() for line in record.where.file.read_text().splitlines()]
        assert len(lines) == len(record.annotations)
        for values, annotation in zip(lines, record.annotations, strict=True):
            assert isinstance(annotation.segment, tuple)
            expected = np.array(values[1:], float).reshape(-1, 2) * (width, height)
            np.testing.assert_allclose(np.reshape(annotation.segment[0], (-1, 2)), expected, atol=1e-6)
    giraffe = next(r for r in records if r.id == "000000000025").annotations[0]
    assert giraffe.label == "giraffe"  # 25 in this yaml, whose numbers have gaps


def test_real_folder_reports_labels_without_pictures(shared_data: Callable[[str], Path]) -> None:
    records, problems = read(shared_data("coco128-train") / "boxes.yaml")
    assert len(records) == 128
    orphans = sorted(p.where.file.name for p in problems.kept if p.kind == "missing image")
    assert orphans == ["000000000656.txt", "000000000659.txt"]
    assert problems.errors == 0


def test_a_folder_of_labels_without_its_pictures_is_reported(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.jpg")
    for name in ("train/a", "val/b", "val/c"):
        write(tmp_path / f"labels/{name}.txt", "0 .5 .5 .2 .2\n")
    records, problems = read(tmp_path)
    assert [record.split for record in records] == ["train"]
    assert [(p.kind, p.where.file) for p in problems.kept] == [("missing image", tmp_path / "labels/val")]


def test_generated_data_is_what_supervision_reads(tmp_path: Path) -> None:
    import supervision as sv

    random = np.random.default_rng(0)
    for i in range(4):
        picture(tmp_path / f"images/{i}.png", (50 + i, 70))
        boxes = "".join(
            "{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(i % 2, *random.uniform(0.2, 0.4, 4)) for _ in range(i)
        )
        write(tmp_path / f"labels/{i}.txt", boxes)
    yaml = write(tmp_path / "data.yaml", "train: images\nnames: [cat, dog]\n")
    theirs = sv.DetectionDataset.from_yolo(str(tmp_path / "images"), str(tmp_path / "labels"), str(yaml))
    records, problems = read(yaml)
    assert not problems.counts
    assert len(records) == 4
    for record in records:
        expected = theirs.annotations[str(record.image)]
        assert [a.label for a in record.annotations] == [theirs.classes[c] for c in expected.class_id]
        np.testing.assert_allclose([a.xyxy for a in record.annotations] or np.zeros((0, 4)), expected.xyxy, atol=1e-4)


# --- arrangements -------------------------------------------------------------------------------------------


def test_roboflow_export_with_paths_that_begin_one_folder_too_high(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / split / "images/a.jpg")
        write(tmp_path / split / "labels/a.txt", "0 .5 .5 .2 .2\n")
    write(
        tmp_path / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['x']\n",
    )
    records, problems = read(tmp_path)
    assert [(r.split, r.id, len(r.annotations)) for r in records] == [
        ("train", "train/images/a", 1),
        ("val", "valid/images/a", 1),
    ]
    assert kinds(problems) == {("warning", "missing folder"): 1}


def test_mirrored_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train2017", "val"):
        picture(tmp_path / "images" / split / "a.jpg")
        write(tmp_path / "labels" / split / "a.txt", "1 .5 .5 .2 .2\n")
    yaml = write(
        tmp_path / "coco.yaml",
        "path: /nowhere/at/all\ntrain: [images/train2017]\nval: images/val\nnames: {0: a, 1: b}\n",
    )
    records, problems = read(yaml)
    assert [(r.split, r.annotations[0].label) for r in records] == [("train", "b"), ("val", "b")]
    assert not problems.counts


def test_text_files_of_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2\n")
    write(tmp_path / "train.txt", "./images/a.jpg\r\n\r\n./images/gone.jpg\r\n")
    write(tmp_path / "data.yaml", "train: train.txt\nnames: [a]\n")
    records, problems = read(tmp_path)
    assert [len(r.annotations) for r in records] == [1]
    assert [(p.kind, p.where.entry) for p in problems.kept] == [("missing image", "line 3")]


def test_labels_beside_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "train/a.jpg")
    write(tmp_path / "train/a.txt", "1 .5 .5 .2 .2\n")
    write(tmp_path / "obj.names", "x\ny\n")
    assert yolo.detect(tmp_path)
    (record,), problems = read(tmp_path)
    assert (record.split, record.annotations[0].label) == ("train", "y")
    assert not problems.counts


def test_several_sets_of_labels_of_the_same_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    for name, count in (("boxes", 1), ("polygons", 2)):
        write(tmp_path / f"yolo-{name}/a.txt", "0 .5 .5 .2 .2\n" * count)
        write(tmp_path / f"{name}.yaml", f"train: images/train2017\nnames: [{name}]\n")
    for name, count in (("boxes", 1), ("polygons", 2)):
        for path in (tmp_path / f"{name}.yaml", tmp_path / f"yolo-{name}"):
            (record,), _ = read(path)
            assert [a.label for a in record.annotations] == [name] * count


def test_pictures_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "photos/a.jpg")
    write(tmp_path / "set/labels/a.txt", "0 .5 .5 .2 .2\n")
    (record,), _ = read(tmp_path / "set", Options(images=tmp_path / "photos"))
    assert record.annotations[0].xyxy == pytest.approx((32, 16, 48, 24))


def test_picture_without_a_label_file_shows_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "images/b.jpg")
    picture(tmp_path / "images/c.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2")
    write(tmp_path / "labels/c.txt", "")
    yaml = "train: images\nnames: [x]\n"
    write(tmp_path / "data.yaml", yaml)
    records, problems = read(tmp_path)
    assert [(r.id, len(r.annotations)) for r in records] == [("images/a", 1), ("images/b", 0), ("images/c", 0)]
    assert not problems.counts
    write(tmp_path / "data.yaml", yaml + "skip_if_label_file_missing: true\n")
    assert [r.id for r in read(tmp_path)[0]] == ["images/a", "images/c"]


def test_no_labels_at_all(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    assert not yolo.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not records
    assert kinds(problems) == {("error", "nothing to read"): 1}


def test_link_to_itself_ends(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2")
    (tmp_path / "images/again").symlink_to(tmp_path / "images", target_is_directory=True)
    (tmp_path / "images/self.jpg").symlink_to(tmp_path / "images/self.jpg")
    assert [r.id for r in read(tmp_path)[0]] == ["images/a"]


def test_yaml_that_means_the_whole_disk(tmp_path: Path) -> None:
    yaml = write(tmp_path / "data.yaml", "path: /\ntrain: .\nval: ../../../../../../../../../..\nnames: [a]\n")
    records, problems = read(yaml)
    assert not records
    assert kinds(problems) == {("warning", "missing folder"): 1, ("error", "nothing to read"): 1}


# --- lines ------------------------------------------------------------------------------------------------


def test_boxes_polygons_and_confidences_in_one_file(tmp_path: Path) -> None:
    labels = "\ufeff0 0.5 0.5 0.5 0.5\r\n\r\n1.0 0 0 1 0 1 1\n1\t.25 .25 .5 .5 0.93\n0 0 0 .5 0 .5 .5 0 .5\n"
    annotations, problems = one(tmp_path, labels)
    assert not problems.counts
    assert [a.label for a in annotations] == ["person", "car", "car", "person"]
    assert annotations[0].xyxy == (20, 10, 60, 30)
    assert annotations[0].segment is None
    assert annotations[1].segment == ((0, 0, W, 0, W, H),)
    assert annotations[1].xyxy == (0, 0, W, H)
    assert annotations[2].xyxy == (0, 0, 40, 20)
    assert annotations[3].segment == ((0, 0, 40, 0, 40, 20, 0, 20),)
    assert [a.where.entry for a in annotations] == ["line 1", "line 3", "line 4", "line 5"]


@pytest.mark.parametrize("width", [2, 3])
def test_keypoints(tmp_path: Path, width: int) -> None:
    picture(tmp_path / "images/a.jpg")
    seen = ["", "", ""] if width == 2 else [" 2", " 1", " 0"]
    points = "".join(f" {x} {y}{v}" for (x, y), v in zip([(0.5, 0.25), (1, 1), (0, 0)], seen, strict=True))
    write(tmp_path / "labels/a.txt", f"0 .5 .5 .2 .2{points}\n0 .5 .5 .2 .2\n")
    write(tmp_path / "data.yaml", f"train: images\nnames: [x]\nkpt_shape: [3, {width}]\n")
    (record,), problems = read(tmp_path)
    assert not problems.counts
    posed, plain = record.annotations
    assert posed.xyxy == plain.xyxy == pytest.approx((32, 16, 48, 24))
    assert plain.keypoints == ()
    expected = [("keypoint 1", (40, 10), True), ("keypoint 2", (80, 40), width == 2)]
    assert [(k.name, k.xy, k.visible) for k in posed.keypoints] == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shares_are_of_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    picture(tmp_path / "images/a.jpg", (W, H), orientation)
    write(tmp_path / "labels/a.txt", "0 .1 .25 .2 .5\n")  # the upper half of the left fifth, as it is looked at
    (record,), _ = read(tmp_path)
    (annotation,) = record.annotations
    assert annotation.xyxy is not None
    if orientation >= 5:  # the claimed size tells that coordinates are upright
        assert record.size == (H, W)
        assert annotation.xyxy == pytest.approx((0, 0, 0.2 * H, 0.5 * W))
    else:  # in the stored picture, which is turned by 180 degrees or mirrored
        left, top = orientation in (2, 3), orientation in (3, 4)
        x, y = 0.8 * W * left, 0.5 * H * top
        assert record.size == (W, H)
        assert annotation.xyxy == pytest.approx((x, y, x + 0.2 * W, y + 0.5 * H))


MALFORMED_LINES = [
    ("0 .5 .5 .2", "line with the wrong number of values"),  # no height
    ("0", "line with the wrong number of values"),
    ("0 .1 .1 .2 .2 .3 .3 .4", "line with the wrong number of values"),  # an x without its y
    ("0 .5 .5 nan .2", "not a number"),
    ("0 .5 1e400 .2 .2", "not a number"),
    ("0 .5 .5 .2 zwei", "not a number"),
    ("0 0,5 .5 .2 .2", "not a number"),  # a decimal comma
    ("person .5 .5 .2 .2", "not a number"),  # a name for a number
    ("0 .5 .5 1_0 .2", "not a number"),  # Python would read 10
    ("7 .5 .5 .2 .2", "unknown class"),
    ("-1 .5 .5 .2 .2", "unknown class"),
    ("0.5 .5 .5 .2 .2", "unknown class"),
    ("1e30 .5 .5 .2 .2", "unknown class"),
    (f"{'9' * 400} .5 .5 .2 .2", "not a number"),
    ("0 320 240 100 50", "box outside the image"),  # pixels for shares
    ("0 .5 .5 -.2 .2", "empty box"),
    ("0 10 10 20 10 20 20", "point outside the image"),
    ("\x00 .5 .5 .2 .2", "not a number"),
]


@pytest.mark.parametrize(("line", "kind"), MALFORMED_LINES)
def test_malformed_line(tmp_path: Path, line: str, kind: str) -> None:
    annotations, problems = one(tmp_path, f"0 .5 .5 .2 .2\n{line}\n1 .5 .5 .2 .2\n")
    assert [a.label for a in annotations] == ["person", "car"]
    (problem,) = problems.kept
    assert (problem.severity, problem.kind, problem.where.entry) == ("error", kind, "line 2")
    assert problem.where.file == tmp_path / "labels/a.txt"
    assert "\n" not in str(problem)


def test_first_malformed_line_ends_strict_reading(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2\n0 1 2\n")
    with pytest.raises(GeneralistError, match=r"labels/a\.txt: line 2: line with the wrong number of values"):
        list(yolo.read(tmp_path, Problems(), Options()))


def test_classes_without_names(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "3 .5 .5 .2 .2\n123456 .5 .5 .2 .2\n")
    (record,), problems = read(tmp_path)
    assert [a.label for a in record.annotations] == ["class 3"]
    assert kinds(problems) == {("error", "unknown class"): 1}


@pytest.mark.parametrize("label", [b"\xff\xfe0\x00", b"\x89PNG\r\n\x1a\n\x00\xff"])
def test_label_file_that_is_no_text(tmp_path: Path, label: bytes) -> None:
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "images/b.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2\n")
    write(tmp_path / "labels/b.txt", label)
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["images/a"]
    assert kinds(problems) == {("error", "unreadable file"): 1}


def test_picture_that_is_no_picture(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg", b"not a picture")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2\n")
    records, problems = read(tmp_path)
    assert not records
    assert [(p.kind, p.where.file.name) for p in problems.kept] == [("unreadable file", "a.jpg")]


# --- data.yaml ----------------------------------------------------------------------------------------------


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n2 .5 .5 .2 .2\n")
    write(tmp_path / "data.yaml", "train: images\nnames: [no, 1e3, 2001-99-99]\nnc: 4\n")
    (record,), problems = read(tmp_path)
    assert [a.label for a in record.annotations] == ["no", "1e3", "2001-99-99"]
    assert kinds(problems) == {("warning", "wrong number of classes"): 1}
    assert list(problems.declared) == ["no", "1e3", "2001-99-99"]


MALFORMED_YAML: list[tuple[bytes, str]] = [
    (b"train: images\nnames: &a [x, y]\nval: *a\n", "not valid YAML"),
    (b"names: &a [x,x,x,x,x,x]\ntrain: &b [*a,*a,*a,*a]\nval: [*b,*b,*b,*b]\n", "not valid YAML"),  # multiplies
    (b"train: images\nnames: " + b"[" * 50_000, "not valid YAML"),  # deeper than the stack
    (b"train: images\nnames: [a\n", "not valid YAML"),
    (b"train: images\nnames: a\n", "wrong type"),
    (b"train: images\nnames: {cat: 0}\n", "wrong type"),  # the wrong way round
    (b"train: images\nnames: [[a], b]\n", "wrong type"),
    (b"train: images\nnames: [a]\nkpt_shape: [99999999999999999999, 3]\n", "wrong type"),
    (b"train: images\nnames: [a]\nkpt_shape: seventeen\n", "wrong type"),
    (b"train: {a: images}\nnames: [a]\n", "wrong type"),
    (b"- train: images\n- names: [a]\n", "wrong type"),
    (b"train: images\nnames: [\xff]\n", "unreadable file"),
    (b"train: images\nnames: [a]\n#" + b"x" * (1 << 20), "unreadable file"),  # too large
]


@pytest.mark.parametrize(("text", "kind"), MALFORMED_YAML)
def test_malformed_yaml(tmp_path: Path, text: bytes, kind: str) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 .5 .5 .2 .2\n")
    yaml = write(tmp_path / "data.yaml", text)
    _, problems = read(yaml)
    assert ("error", kind) in problems.counts
    assert any(p.kind == kind and p.where.file == yaml and "\n" not in str(p) for p in problems.kept)


@pytest.mark.parametrize("name", ["\\0", "../" * 3000, "x" * 5000, "https://example.org/images", "images\\train"])
def test_yaml_with_hostile_folders(tmp_path: Path, name: str) -> None:
    yaml = write(tmp_path / "data.yaml", f'train: "{name}"\npath: "{name}"\nnames: [a]\n'.replace("\\t", "/t"))
    records, problems = read(yaml)
    assert not records
    assert kinds(problems) == {("warning", "missing folder"): 1, ("error", "nothing to read"): 1}
