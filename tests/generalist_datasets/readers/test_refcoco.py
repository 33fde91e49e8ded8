"""Referring expressions: the original layout, whose pickles must not run, and rows of JSON."""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generalist.types import GeneralistError
from generalist_datasets.readers import refcoco
from generalist_datasets.readers.base import Options
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.refer_pickle import read_plain_pickle
from generalist_datasets.records import Problems, Record

Json = dict[str, Any]


def read(path: Path, images: Path | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False, keep=1000)
    return list(refcoco.read(path, problems, Options(images=images))), problems


def complaints(problems: Problems) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.kind, problem.where.entry) for problem in problems.kept]


# --- the original layout ---------------------------------------------------------------------------------


def ref(number: int, image: int, ann: int, split: str, *texts: str) -> Json:
    sentences = [
        {"sent": text, "raw": text.title(), "tokens": text.split(), "sent_id": i} for i, text in enumerate(texts)
    ]
    return {
        "ref_id": number,
        "ann_id": ann,
        "image_id": image,
        "category_id": 1,
        "split": split,
        "sentences": sentences,
    }


REFS = [
    ref(0, 10, 100, "train", "left cat", "the cat"),
    ref(1, 11, 102, "testA", "dog"),
    ref(2, 10, 101, "train", "right cat"),
    ref(3, 10, 100, "train", "the cat", "grey one"),  # the same thing again
    ref(4, 11, 102, "val", "a brown dog"),  # RefCOCOg: one image in two splits
]


@pytest.fixture
def refer(tmp_path: Path) -> Path:
    """The folder refcoco/ with instances.json, and COCO's pictures in a folder beside it."""
    folder = tmp_path / "refcoco"
    folder.mkdir()
    images = [{"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": 64, "height": 48} for i in (10, 11)]
    annotations = [{"id": 100 + i, "image_id": image, "category_id": 1, "bbox": [i, 2, 10, 20]} for i, image in
                   enumerate([10, 10, 11, 11])]  # fmt: skip
    value = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "animal"}]}
    (folder / "instances.json").write_text(json.dumps(value))
    (tmp_path / "images/train2014").mkdir(parents=True)
    for image in images:
        (tmp_path / "images/train2014" / image["file_name"]).touch()
    return folder


@pytest.mark.parametrize("form", [0, 1, 2, 3, 4, 5, "json"])
def test_the_original_layout(refer: Path, form: int | str) -> None:
    if form == "json":
        (refer / "refs(unc).json").write_text(json.dumps(REFS))
    else:
        (refer / "refs(unc).p").write_bytes(pickle.dumps(REFS, protocol=form))
    assert refcoco.detect(refer)
    records, problems = read(refer)
    assert not problems.kept
    assert [record.id for record in records] == ["train/10", "testA/11", "val/11"]
    train, test, val = records
    assert train.image.name == "COCO_train2014_000000000010.jpg" and train.size == (64, 48)
    assert [a.phrases for a in train.annotations] == [("left cat", "the cat", "grey one"), ("right cat",)]
    assert [a.phrases for a in test.annotations] == [("dog",), ()]  # a thing that nobody refers to stays
    assert [a.phrases for a in val.annotations] == [("a brown dog",), ()]
    assert train.annotations[1].xyxy == (1, 2, 11, 22) and train.annotations[1].label == "animal"


def test_as_python_2_wrote_it(refer: Path) -> None:
    text = b"(lp0\n(dp1\nS'image_id'\np2\nI10\nsS'ann_id'\np3\nL100L\nsS'split'\np4\nS'val'\np5\nsS'sentences'\np6\n"
    text += b"(lp7\n(dp8\nS'sent'\np9\nS'caf\\xc3\\xa9 cat'\np10\nsasa."
    assert pickle.loads(text, encoding="utf-8")[0]["split"] == "val"
    (refer / "refs(google).p").write_bytes(text)
    [record], problems = read(refer)
    assert not problems.kept and record.split == "val"
    assert record.annotations[0].phrases == ("café cat",)


def test_one_of_several_partitions_is_read(refer: Path) -> None:
    (refer / "refs(google).p").write_bytes(pickle.dumps([ref(0, 10, 100, "train", "google's")]))
    (refer / "refs(umd).p").write_bytes(pickle.dumps([ref(0, 10, 100, "train", "umd's")]))
    assert read(refer)[0][0].annotations[0].phrases == ("umd's",)
    named = refer / "refs(google).p"
    assert refcoco.detect(named) and read(named)[0][0].annotations[0].phrases == ("google's",)


class Runs:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this ran",)


HOSTILE = {
    "a call": pickle.dumps([Runs()], protocol=2),
    "a call of protocol 0": pickle.dumps([Runs()], protocol=0),
    "a call by name": b"cos\nsystem\n(S'echo this ran'\ntR.",
    "a class": pickle.dumps([Problems()]),
    "an instance": b"(ios\nsystem\n.",
    "an extension": b"\x82\x01.",
    "persistent": b"Pname\n.",
    "a set": pickle.dumps({1, 2}),
    "bytes": pickle.dumps([b"x"], protocol=4),
    "a bytearray of a tebibyte": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
    "text of a tebibyte": b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b".",
    "a frame of a tebibyte": b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b".",
    "text that is cut": pickle.dumps(["x" * 100])[:50],
    "memory of four billion": b"\x80\x02]r\xff\xff\xff\xffq\x00h\x05.",
    "a protocol of the future": b"\x80\xffN.",
    "nothing": b"",
    "a jpeg": b"\xff\xd8\xff\xe0",
    "an empty stack": b"e.",
    "a key that is a list": b"(]]d.",
    "a huge integer": b"I" + b"9" * 5000 + b"\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_does_not_run(refer: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    (refer / "refs(unc).p").write_bytes(HOSTILE[name])
    records, problems = read(refer)
    assert not records
    assert complaints(problems) == [("error", "unreadable file", "")]
    assert "ran" not in capfd.readouterr().out


def test_what_a_pickle_holds_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.p").write_bytes(HOSTILE["a call"])
    with pytest.raises(Defect, match="a pickle with GLOBAL, which is more than plain data"):
        read_plain_pickle(tmp_path / "x.p")


def test_lists_within_themselves_and_deep_ones(refer: Path) -> None:
    for text in (b"(lp0\ng0\na.", b"]" * 200_000 + b"a" * 199_999 + b"."):
        (refer / "refs(unc).p").write_bytes(text)
        records, problems = read(refer)
        assert not records and complaints(problems) == [("error", "wrong type", "[0]")]


BROKEN_REFS = {
    "not an object": (5, "wrong type"),
    "no image": ({"ann_id": 1}, "missing field"),
    "image that is not there": (REFS[0] | {"image_id": 99}, "unknown image id"),
    "image is a tuple": (REFS[0] | {"image_id": (1,)}, "wrong type"),
    "no annotation": (REFS[0] | {"ann_id": None}, "missing field"),
    "no sentences": (REFS[0] | {"sentences": None}, "missing field"),
    "sentences of nothing": (REFS[0] | {"sentences": []}, "missing field"),
    "sentences of numbers": (REFS[0] | {"sentences": [5]}, "wrong type"),
    "a sentence without words": (REFS[0] | {"sentences": [{"tokens": []}]}, "missing field"),
    "sentences in an object": (REFS[0] | {"sentences": {"sent": "x"}}, "wrong type"),
    "a split of a number": (REFS[0] | {"split": 5}, "wrong type"),
}


@pytest.mark.parametrize("defect", BROKEN_REFS)
def test_a_broken_reference_is_told_and_the_others_are_read(refer: Path, defect: str) -> None:
    broken, kind = BROKEN_REFS[defect]
    (refer / "refs(unc).p").write_bytes(pickle.dumps([REFS[0], broken, REFS[1]]))
    records, problems = read(refer)
    assert [record.id for record in records] == ["train/10", "testA/11"]
    assert complaints(problems) == [("error", kind, "[1]")]


def test_a_reference_to_nothing_in_its_image(refer: Path) -> None:
    (refer / "refs(unc).json").write_text(json.dumps([ref(0, 10, 102, "train", "dog")]))
    [record], problems = read(refer)
    assert complaints(problems) == [("error", "unknown annotation id", "images[0] (id 10)")]
    assert all(not annotation.phrases for annotation in record.annotations)


@pytest.mark.parametrize("text", ["", "{}", "[{]", '{"a": 1}', "[" * 100_000])
def test_references_that_are_no_list(refer: Path, text: str) -> None:
    (refer / "refs(unc).json").write_text(text)
    records, problems = read(refer)
    assert not records and len(problems.kept) == 1


def test_without_instances(refer: Path) -> None:
    (refer / "refs(unc).p").write_bytes(pickle.dumps(REFS))
    (refer / "instances.json").unlink()
    records, problems = read(refer)
    assert not records and complaints(problems) == [("error", "unreadable file", "")]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_of_a_pickle(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text = pickle.dumps(REFS, protocol=data.draw(st.sampled_from([0, 2, 4])))
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 8)))
    file = tmp_path_factory.mktemp("mutated") / "x.p"
    file.write_bytes(text[:start] + data.draw(st.binary(max_size=6)) + text[stop:])
    try:
        read_plain_pickle(file)
    except Defect as defect:
        assert defect.kind == "unreadable file"


# --- rows of JSON ----------------------------------------------------------------------------------------


def place_rows(folder: Path, rows: list[Any], name: str = "refcoco_testA.jsonl") -> Path:
    file = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) if name.endswith("l") else json.dumps(rows), encoding="utf-8-sig")
    for picture in ("a.jpg", "b.jpg"):
        (folder / picture).touch()
    return file


def row(**fields: Any) -> Json:
    return {"image": "a.jpg", "expression": "the cat", "bbox": [40, 20, 10, 10]} | fields


def test_rows(tmp_path: Path) -> None:
    rows = [
        row(),
        row(image="x/b.jpg", expression="a dog", category="dog", width=64, height=48),
        row(expression="grey one"),  # the same thing
        row(expression=None, sentences=[{"sent": "left"}, "right"], bbox=None, segmentation=[[1, 1, 9, 1, 9, 9]]),
    ]
    file = place_rows(tmp_path, rows)
    assert refcoco.detect(tmp_path) and refcoco.detect(file)
    for start in (tmp_path, file):
        (a, b), problems = read(start)
        assert not problems.kept
        assert (a.id, a.split, a.image, b.image) == ("testA/a.jpg", "testA", tmp_path / "a.jpg", tmp_path / "b.jpg")
        cat, other = a.annotations
        assert (cat.phrases, cat.xyxy, cat.label) == (("the cat", "grey one"), (40, 20, 50, 30), "object")
        assert cat.where.entry == "line 1"
        assert (other.phrases, other.xyxy) == (("left", "right"), (1, 1, 9, 9))
        assert (b.size, b.annotations[0].label) == ((64, 48), "dog")


def test_rows_as_one_list_with_their_own_splits(tmp_path: Path) -> None:
    rows = [
        {"file_name": "a.jpg", "answer": ["the cat"], "box": [1, 2, 30, 4], "split": split} for split in ("val", "test")
    ]
    place_rows(tmp_path, rows, "rows.json")
    assert refcoco.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not problems.kept
    assert [(r.split, r.annotations[0].xyxy, r.where.entry) for r in records] == [
        ("val", (1, 2, 30, 4), "[0]"),
        ("test", (1, 2, 30, 4), "[1]"),
    ]


def boxes(number: int) -> list[tuple[float, float, float, float]]:
    """Corners within 640 x 480."""
    rng = random.Random(number)
    found = []
    for _ in range(number):
        x, y = rng.uniform(0, 600), rng.uniform(0, 440)
        found.append((x, y, rng.uniform(x + 1, 640), rng.uniform(y + 1, 480)))
    return found


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("corners", [True, False])
def test_whether_bbox_is_corners_is_found_out(tmp_path: Path, corners: bool, sized: bool) -> None:
    size = {"width": 640, "height": 480} if sized else {}
    rows = [
        row(bbox=[x1, y1, x2, y2] if corners else [x1, y1, x2 - x1, y2 - y1], expression=str(i), **size)
        for i, (x1, y1, x2, y2) in enumerate(boxes(30))
    ]
    [record], problems = read(place_rows(tmp_path, rows))
    assert not problems.kept
    for annotation, box in zip(record.annotations, boxes(30), strict=True):
        assert annotation.xyxy == pytest.approx(box)
    assert record.facts == ({"bbox": "x1 y1 x2 y2"} if corners else {})


BROKEN_ROWS = {
    "not JSON": ('{"image": "a.jpg"', "not valid JSON"),
    "not an object": ([1], "wrong type"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "no picture": (row(image=None), "wrong type"),
    "picture is a number": (row(image=5), "wrong type"),
    "picture is nowhere": (row(image="c.jpg"), "missing image"),
    "picture with NUL": (row(image="a\0.jpg"), "missing image"),
    "picture of bytes": (row(image={"bytes": "x", "path": None}), "wrong type"),
    "split is a list": (row(split=["val"]), "wrong type"),
    "no box": (row(bbox=None), "missing field"),
    "box of five": (row(bbox=[1, 2, 3, 4, 5]), "wrong type"),
    "box with NaN": (row(bbox=[1, 2, 3, float("nan")]), "not a number"),
    "box of texts": (row(bbox=["1", "2", "3", "4"]), "not a number"),
    "box inside out": (row(bbox=[1, 2, -3, 4]), "empty box"),
    "corners inside out": (row(box=[9, 2, 3, 4]), "empty box"),
    "polygon of two points": (row(segmentation=[[1, 2, 3, 4]]), "polygon with fewer than 3 points"),
    "no phrase": (row(expression=None), "missing field"),
    "phrase is a number": (row(expression=7), "wrong type"),
    "phrases of nothing": (row(expression=None, sentences=[]), "missing field"),
    "phrases of blanks": (row(expression=None, sentences=[" "]), "missing field"),
    "width is a text": (row(width="64", height=48), "not a number"),
    "iscrowd is a text": (row(iscrowd="no"), "wrong type"),
}


@pytest.mark.parametrize("defect", BROKEN_ROWS)
def test_a_broken_row_is_told_and_the_others_are_read(tmp_path: Path, defect: str) -> None:
    broken, kind = BROKEN_ROWS[defect]
    file = place_rows(tmp_path, [row(), broken, row(image="b.jpg")])
    records, problems = read(file)
    assert complaints(problems) == [("error", kind, "line 2")]
    assert [len(record.annotations) for record in records] == [1, 1]
    with pytest.raises(GeneralistError, match=kind):
        list(refcoco.read(file, Problems(), Options()))


def test_a_line_that_is_not_text(tmp_path: Path) -> None:
    file = place_rows(tmp_path, [row()])
    file.write_bytes(file.read_bytes() + b"\r\n\xff\xfe\r\n\r\n" + json.dumps(row(image="b.jpg")).encode() + b"\r\n")
    records, problems = read(file)
    assert [record.where.entry for record in records] == ["line 1", "line 4"]
    assert complaints(problems) == [("error", "not valid JSON", "line 2")]


def test_other_files_are_not_referring_expressions(tmp_path: Path) -> None:
    for name, text in {
        "empty.jsonl": "",
        "chat.jsonl": '{"messages": [{"role": "user", "content": "Where is it?"}], "images": ["a.jpg"]}',
        "metadata.jsonl": '{"file_name": "a.jpg", "text": "a cat"}',
        "answer.jsonl": '{"image": "a.jpg", "answer": "yes", "bbox": [1, 2, 3, 4]}',
        "deep.json": "[" * 100_000,
        "coco.json": '{"images": [], "annotations": []}',
    }.items():
        (tmp_path / name).write_text(text)
        assert not refcoco.detect(tmp_path / name), name
    assert not refcoco.detect(tmp_path) and not refcoco.detect(Path("a\0b")) and not refcoco.detect(Path("x" * 5000))
    with pytest.raises(GeneralistError, match="no referring expressions there"):
        read(tmp_path)
