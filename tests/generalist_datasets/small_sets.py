"""A small sound folder of every format that is read: two pictures of 24 x 16 pixels, and what its tools would write."""

from __future__ import annotations

import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 16
RING = [2, 2, 12, 2, 12, 10, 2, 10]
BOX = [2, 2, 10, 8]
NAMES = ("a", "b")


def picture(file: Path) -> Path:
    """Noise, other noise for every name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(file).encode()))
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(file)
    return file


def levels(file: Path, dtype: type = np.uint8, values: tuple[int, int] = (1, 2)) -> None:
    """A picture of two areas."""
    file.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((HEIGHT, WIDTH), values[0], dtype)
    array[4:10, 5:20] = values[1]
    Image.fromarray(array).save(file)


def text(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _images(folder: Path) -> list[dict[str, object]]:
    names = [picture(folder / f"{name}.jpg").name for name in NAMES]
    return [{"id": k, "file_name": name, "width": WIDTH, "height": HEIGHT} for k, name in enumerate(names, 1)]


_CATEGORIES = [{"id": 1, "name": "dog", "keypoints": ["nose"], "skeleton": []}, {"id": 5, "name": "cat"}]


def _thing(id: int, image: int, **fields: object) -> dict[str, object]:
    thing = {"id": id, "image_id": image, "category_id": 1, "bbox": BOX, "segmentation": [RING], "area": 80}
    return {**thing, "iscrowd": 0, **fields}


def coco(folder: Path) -> None:
    runs = {"size": [HEIGHT, WIDTH], "counts": [20, 30, WIDTH * HEIGHT - 50]}
    things = [
        _thing(7, 1, keypoints=[4, 5, 2], num_keypoints=1),
        _thing(8, 2, category_id=5, segmentation=runs, iscrowd=1),
        {"id": 9, "image_id": 2, "caption": "A cat on a mat."},
    ]
    content = {"images": _images(folder / "val2017"), "annotations": things, "categories": _CATEGORIES}
    text(folder / "annotations" / "instances_val2017.json", json.dumps(content, indent=1))


def coco_panoptic(folder: Path) -> None:
    images = _images(folder / "val2017")
    segments = [{"id": 2, "category_id": 1, "bbox": [5, 4, 15, 6], "area": 90, "iscrowd": 0}]
    found = [{"image_id": k, "file_name": f"{n}.png", "segments_info": segments} for k, n in enumerate(NAMES, 1)]
    for name in NAMES:
        map = folder / "annotations" / "panoptic_val2017" / f"{name}.png"
        levels(map)
        Image.open(map).convert("RGB").point([v if v in (1, 2) else 0 for v in range(256)] + [0] * 512).save(map)
    categories = [{"id": 1, "name": "dog", "isthing": 1}, {"id": 5, "name": "sky", "isthing": 0}]
    content = {"images": images, "annotations": found, "categories": categories}
    text(folder / "annotations" / "panoptic_val2017.json", json.dumps(content))


def lvis(folder: Path) -> None:
    facts = {"neg_category_ids": [5], "not_exhaustive_category_ids": []}
    images = _images(folder / "val2017")
    for image in images:
        image |= {**facts, "coco_url": f"http://images.example/val2017/{image.pop('file_name')}"}
    categories = [{"id": 1, "name": "dog", "synonyms": ["dog"]}, {"id": 5, "name": "cat", "synonyms": ["cat"]}]
    content = {"images": images, "annotations": [_thing(7, 1), _thing(8, 2)], "categories": categories}
    text(folder / "lvis_v1_val.json", json.dumps(content))


def refcoco(folder: Path) -> None:
    content = {
        "images": _images(folder / "images"),
        "annotations": [_thing(7, 1), _thing(8, 2)],
        "categories": _CATEGORIES,
    }
    text(folder / "instances.json", json.dumps(content))
    refs = [
        {
            "ref_id": k, "ann_id": 6 + k, "image_id": k, "category_id": 1, "split": "val", "sent_ids": [k],
            "file_name": f"{name}.jpg", "sentences": [{"sent_id": k, "sent": "the left dog", "raw": "The left dog"}],
        }
        for k, name in enumerate(NAMES, 1)
    ]  # fmt: skip
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def referring_rows(folder: Path) -> None:
    rows = [{"image": picture(folder / f"{n}.jpg").name, "box": [2, 2, 12, 10], "sentences": ["a dog"]} for n in NAMES]
    text(folder / "val.jsonl", *map(json.dumps, rows))


def yolo(folder: Path) -> None:
    text(folder / "data.yaml", "path: .", "train: images/train", "val: images/val", "names:", "  0: dog", "  1: cat")
    for name, split, row in (("a", "train", "0 0.5 0.5 0.25 0.5"), ("b", "val", "1 0.1 0.1 0.9 0.1 0.5 0.9")):
        picture(folder / "images" / split / f"{name}.jpg")
        text(folder / "labels" / split / f"{name}.txt", row)


def voc(folder: Path) -> None:
    for name in NAMES:
        picture(folder / "JPEGImages" / f"{name}.jpg")
        bounds = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>12</xmax><ymax>10</ymax></bndbox>"
        text(
            folder / "Annotations" / f"{name}.xml",
            f"<annotation><folder>x</folder><filename>{name}.jpg</filename>",
            f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>",
            f"<object><name>dog</name><difficult>0</difficult>{bounds}</object></annotation>",
        )
    text(folder / "ImageSets" / "Main" / "train.txt", "a")
    text(folder / "ImageSets" / "Main" / "val.txt", "b")


def labelme(folder: Path) -> None:
    points = [[2, 2], [12, 2], [12, 10]]
    shapes = [
        {"label": "dog", "points": points, "group_id": None, "shape_type": "polygon", "flags": {}},
        {"label": "cat", "points": [[1, 1], [9, 9]], "group_id": None, "shape_type": "rectangle", "flags": {}},
    ]
    for name in NAMES:
        content = {
            "version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": picture(folder / f"{name}.jpg").name,
            "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH,
        }  # fmt: skip
        text(folder / f"{name}.json", json.dumps(content))


def mask_folder(folder: Path) -> None:
    text(folder / "classes.txt", "background", "dog", "cat")
    for name in NAMES:
        picture(folder / "images" / f"{name}.jpg")
        levels(folder / "masks" / f"{name}.png")


def ade20k(folder: Path) -> None:
    text(
        folder / "objectInfo150.txt",
        "Idx\tRatio\tTrain\tVal\tStuff\tName",
        "1\t0.1\t9\t9\t1\twall",
        "2\t0\t9\t9\t0\tdog",
    )
    for name, split in (("a", "training"), ("b", "validation")):
        picture(folder / "images" / split / f"{name}.jpg")
        levels(folder / "annotations" / split / f"{name}.png")
    text(folder / "sceneCategories.txt", "a street", "b bathroom")


def depth_folder(folder: Path) -> None:
    for name in NAMES:
        picture(folder / "images" / f"{name}.jpg")
    levels(folder / "depth" / "a.png", np.uint16, (1000, 2000))
    np.save(folder / "depth" / "b.npy", np.full((HEIGHT, WIDTH), 1.5, np.float32))
    text(folder / "depth_scale.txt", "1000")


def rgbd(folder: Path) -> None:
    for k in range(2):
        picture(folder / "seq-01" / f"frame-00000{k}.color.png")
        levels(folder / "seq-01" / f"frame-00000{k}.depth.png", np.uint16, (1000, 65535))
    text(folder / "TrainSplit.txt", "sequence1")


def messages(folder: Path) -> None:
    content = [{"type": "image_url", "image_url": {"url": "a.jpg"}}, {"type": "text", "text": "What is it?"}]
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "A dog."}]
    other = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]
    rows = [{"messages": turns}, {"conversations": other, "image": picture(folder / "b.jpg").name}]
    picture(folder / "a.jpg")
    text(folder / "train.jsonl", *map(json.dumps, rows))


def imagefolder(folder: Path) -> None:
    for name, label in (("a", "dog"), ("b", "cat")):
        picture(folder / "train" / label / f"{name}.jpg")


def metadata(folder: Path) -> None:
    things = {"bbox": [BOX], "categories": ["dog"]}
    rows = [{"file_name": picture(folder / f"{n}.jpg").name, "text": "A dog.", "objects": things} for n in NAMES]
    text(folder / "metadata.jsonl", *map(json.dumps, rows))


def captions(folder: Path) -> None:
    for name in NAMES:
        picture(folder / "images" / f"{name}.jpg")
    text(folder / "captions.csv", "image,caption", 'a.jpg,"A dog, running."', "a.jpg,A dog.", "b.jpg,A cat.")


def csv(folder: Path) -> None:
    rows = [f"{picture(folder / f'{name}.jpg').name},dog,2,2,12,10" for name in NAMES]
    text(folder / "boxes.csv", "image,label,x1,y1,x2,y2", *rows)


def beir(folder: Path) -> None:
    documents = [{"_id": name, "title": name, "text": f"Text of {name}."} for name in NAMES]
    text(folder / "corpus.jsonl", *map(json.dumps, documents))
    text(folder / "queries.jsonl", json.dumps({"_id": "q1", "text": "Which one?"}))
    text(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\ta\t1")


def trec(folder: Path) -> None:
    documents = [f"<DOC>\n<DOCNO>{n}</DOCNO>\n<TITLE>{n}</TITLE>\n<TEXT>Words of {n}.</TEXT>\n</DOC>" for n in NAMES]
    text(folder / "documents.xml", *documents)
    text(folder / "topics.xml", "<top>\n<num>1</num>\n<title>Which one?</title>\n</top>")
    text(folder / "qrels.txt", "1 0 a 1", "1 0 b 0")


def squad(folder: Path) -> None:
    answers = [{"text": "dog", "answer_start": 2}]
    asked = [{"id": "q1", "question": "Who runs?", "answers": answers, "is_impossible": False}]
    paragraphs = [{"context": "A dog runs.", "qas": asked}, {"context": "A cat sleeps.", "qas": []}]
    text(
        folder / "dev-v2.0.json", json.dumps({"version": "v2.0", "data": [{"title": "Pets", "paragraphs": paragraphs}]})
    )


IMAGE_SETS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "coco": ("coco", coco),
    "coco_panoptic": ("coco_panoptic", coco_panoptic),
    "lvis": ("lvis", lvis),
    "refcoco": ("refcoco", refcoco),
    "referring_rows": ("refcoco", referring_rows),
    "yolo": ("yolo", yolo),
    "voc": ("voc", voc),
    "labelme": ("labelme", labelme),
    "mask_folder": ("mask_folder", mask_folder),
    "ade20k": ("ade20k", ade20k),
    "depth_folder": ("depth_folder", depth_folder),
    "rgbd": ("rgbd", rgbd),
    "messages": ("messages", messages),
    "imagefolder": ("imagefolder", imagefolder),
    "metadata": ("imagefolder", metadata),
    "captions": ("imagefolder", captions),
    "csv": ("csv", csv),
}
"""What a folder is called here -> the format that it is in, and what writes it."""

CORPORA: dict[str, Callable[[Path], None]] = {"beir": beir, "trec": trec, "squad": squad}


def write_set(name: str, folder: Path) -> Path:
    """A sound folder, of images or of text."""
    folder.mkdir(parents=True)
    (IMAGE_SETS[name][1] if name in IMAGE_SETS else CORPORA[name])(folder)
    return folder
