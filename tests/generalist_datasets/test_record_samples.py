"""Records become samples: the right pixels, whatever way the picture is stored, and the right words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from generalist.types import Box, DepthMap, GeneralistError, Mask, Point, Sample
from generalist.visual import mask_bitmap
from generalist_datasets import record_geometry
from generalist_datasets.record_samples import to_samples
from generalist_datasets.records import (
    Annotation,
    DepthFile,
    Keypoint,
    PixelValues,
    Record,
    Rle,
    TurnText,
    Where,
)

WHERE = Where(file=Path("labels.json"), entry="annotations[0]")
WIDTH, HEIGHT = 40, 24
THING = (4.0, 2.0, 16.0, 12.0)
"""Where the red rectangle is in the stored picture."""


def thing(**fields: object) -> Annotation:
    return Annotation(**{"label": "dog", "where": WHERE, **fields})


def red_pixels() -> np.ndarray:
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    x1, y1, x2, y2 = map(int, THING)
    bitmap[y1:y2, x1:x2] = True
    return bitmap


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photo.png")


def write_photo(path: Path, orientation: int = 1) -> Path:
    pixels = np.where(red_pixels()[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def record(photo: Path, *annotations: Annotation, **fields: object) -> Record:
    return Record(**{"id": "7", "images": (photo,), "where": WHERE, "annotations": annotations, **fields})


def samples(of: Record, task: str) -> list[Sample]:
    return list(to_samples(of, [task]))


def outputs(sample: Sample) -> list[object]:
    return [target.output for target in sample.targets]


# --- words ----------------------------------------------------------------------------------------------------


def test_boxes_are_asked_for_all_at_once_and_class_by_class(photo: Path) -> None:
    made = samples(
        record(photo, thing(xyxy=THING), thing(xyxy=(0, 0, 8, 6), label="cat"), thing(xyxy=(20, 12, 40, 24))), "detect"
    )
    assert [(s.prompt, s.text) for s in made] == [
        ("Detect all objects.", "dog, cat"),
        ("Detect dog.", "dog"),
        ("Detect cat.", "cat"),
    ]
    everything = made[0].targets
    assert [(t.label, t.span, t.ref) for t in everything] == [
        ("dog", (0, 3), 0),
        ("dog", (0, 3), 1),
        ("cat", (5, 8), 0),
    ]
    assert all(made[0].text[slice(*t.span)] == t.label for t in everything)
    assert everything[1].output == Box(xyxy=(0.5, 0.5, 1, 1))


def test_what_lies_outside_is_clipped_or_dropped_and_crowds_are_left_out(photo: Path) -> None:
    made = samples(
        record(
            photo,
            thing(xyxy=(-10, -10, 20, 12)),
            thing(xyxy=(50, 0, 60, 10)),
            thing(xyxy=(3, 3, 3, 9)),
            thing(xyxy=THING, crowd=True),
        ),
        "detect",
    )
    assert outputs(made[0]) == [Box(xyxy=(0, 0, 0.5, 0.5))]


def test_counts_are_given_unless_a_crowd_hides_the_number(photo: Path) -> None:
    counted = record(photo, thing(xyxy=THING), thing(xyxy=THING), thing(xyxy=THING, label="cat"))
    assert [(s.prompt, s.text) for s in samples(counted, "count")] == [
        ("How many dogs are there?", "2"),
        ("How many cats are there?", "1"),
    ]
    crowded = replace(counted, annotations=(*counted.annotations, thing(xyxy=THING, crowd=True)))
    assert [s.prompt for s in samples(crowded, "count")] == ["How many cats are there?"]


@pytest.mark.parametrize("label, named", [
    ("Platelets", "Platelets"), ("skis", "skis"), ("bus", "buses"), ("wine glass", "wine glasses"),
    ("scissors", "pairs of scissors"), ("person", "people"),
])  # fmt: skip
def test_a_class_may_be_named_in_the_plural(photo: Path, label: str, named: str) -> None:
    (sample,) = samples(record(photo, thing(xyxy=THING, label=label)), "count")
    assert sample.prompt == f"How many {named} are there?"


def test_expressions_are_asked_as_they_are_written(photo: Path) -> None:
    ring = (4.0, 2.0, 16.0, 2.0, 16.0, 12.0, 4.0, 12.0)
    made = record(photo, thing(xyxy=THING, segment=(ring,), phrases=("the left one", "red thing")))
    assert [s.prompt for s in samples(made, "box")] == ["Where is the left one?", "Where is red thing?"]
    (expression,) = [s for s in samples(made, "segment") if s.prompt == "Segment red thing."]
    assert expression.text == "red thing" and isinstance(expression.targets[0].output, Mask)


def test_visible_keypoints_become_points(photo: Path) -> None:
    keypoints = (
        Keypoint(name="left_eye", xy=(10.0, 6.0)),
        Keypoint(name="nose", xy=(1.0, 1.0), visible=False),
        Keypoint(name="tail", xy=(90.0, 1.0)),
    )
    (sample,) = samples(record(photo, thing(keypoints=keypoints), thing(keypoints=keypoints)), "point")
    assert sample.prompt == "Point to left eye of dog."
    assert outputs(sample) == [Point(xy=(0.25, 0.25))] * 2


def test_captions_and_conversations(photo: Path) -> None:
    second = write_photo(photo.parent / "second.png")
    turns = (
        TurnText(role="system", text="Be short."),
        TurnText(role="user", text="What is it?"),
        TurnText(role="assistant", text="A dog."),
        TurnText(role="user", text="And"),
        TurnText(role="user", text="here?"),
        TurnText(role="assistant", text="A cat."),
    )
    made = record(photo, captions=("A dog.", "One dog."), turns=turns, images=(photo, second), split="train")
    assert [(s.prompt, s.text) for s in samples(made, "caption")] == [
        ("Describe the image.", "A dog."),
        ("Describe the image.", "One dog."),
    ]
    first, last = samples(made, "chat")
    assert (first.prompt, first.text, [m.text for m in first.history]) == ("What is it?", "A dog.", ["Be short."])
    assert (last.prompt, last.text) == ("And\nhere?", "A cat.")
    assert [m.role for m in last.history] == ["system", "user", "assistant"]
    assert len(last.earlier_images) == 1 and last.image is not last.earlier_images[0]
    assert last.meta["split"] == "train"


def test_a_class_of_the_whole_picture_is_asked_for(photo: Path) -> None:
    (sample,) = to_samples(record(photo, thing()))
    assert (sample.task, sample.prompt, sample.text) == ("chat", "What is in the image?", "dog")


def test_stuff_is_segmented_and_never_boxed(photo: Path) -> None:
    ring = (0.0, 0.0, 40.0, 0.0, 40.0, 24.0, 0.0, 24.0)
    made = record(photo, thing(segment=(ring,), stuff=True, label="grass"), thing(segment=(ring,)))
    assert [(s.prompt, s.text) for s in samples(made, "segment")] == [
        ("Segment all objects.", "dog"),
        ("Segment everything.", "grass, dog"),
        ("Segment grass.", "grass"),
        ("Segment dog.", "dog"),
    ]
    assert [s.text for s in samples(made, "detect")] == ["dog", "dog"]


def test_ids_do_not_depend_on_the_tasks_chosen(photo: Path) -> None:
    made = record(photo, thing(xyxy=THING), captions=("A dog.",))
    every = [s.id for s in to_samples(made)]
    assert len(set(every)) == len(every) > 3
    assert [s.id for s in to_samples(made, ["caption", "count"])] == [i for i in every if "/c" in i]


def test_an_unknown_task_is_named(photo: Path) -> None:
    with pytest.raises(GeneralistError, match="no task 'paint'"):
        list(to_samples(record(photo), ["paint"]))


# --- pictures -------------------------------------------------------------------------------------------------


def test_nothing_is_decoded_for_tasks_that_have_no_labels(tmp_path: Path) -> None:
    missing = record(tmp_path / "gone.png", captions=("A dog.",))
    assert samples(missing, "detect") == samples(missing, "depth") == []
    with pytest.raises(GeneralistError, match="no such file"):
        samples(missing, "caption")


def test_the_samples_of_a_record_share_one_picture(photo: Path) -> None:
    made = list(to_samples(record(photo, thing(xyxy=THING), captions=("A dog.",))))
    assert len({id(s.image) for s in made}) == 1


def test_polygons_are_what_pycocotools_makes_of_them(photo: Path) -> None:
    rings = ((3.2, 1.7, 20.4, 2.9, 11.1, 20.3), (25.0, 5.5, 38.9, 4.4, 30.1, 22.0))
    sample = samples(record(photo, thing(segment=rings)), "segment")[0]
    expected = coco.decode(coco.merge(coco.frPyObjects([list(ring) for ring in rings], HEIGHT, WIDTH)))
    mask = sample.targets[0].output
    assert isinstance(mask, Mask) and mask.size == (HEIGHT, WIDTH)
    assert np.array_equal(mask_bitmap(mask), expected) and expected.sum() > 200
    rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
    bounds = (columns[0] / WIDTH, rows[0] / HEIGHT, (columns[-1] + 1) / WIDTH, (rows[-1] + 1) / HEIGHT)
    assert mask.xyxy == pytest.approx(bounds)


def test_a_polygon_far_outside_costs_nothing(photo: Path) -> None:
    ring = (4.0, 2.0, 1e7, 2.0, 1e7, 1e7, -1e7, 1e7)
    mask = samples(record(photo, thing(segment=(ring,))), "segment")[0].targets[0].output
    assert isinstance(mask, Mask) and mask_bitmap(mask)[HEIGHT - 1].all()
    assert not samples(record(photo, thing(segment=((1e6, 1e6, 2e6, 1e6, 2e6, 2e6),))), "segment")


def test_a_label_picture_is_opened_once_a_record(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = photo.parent / "labels.png"
    Image.fromarray(red_pixels().astype(np.uint8) + 1).save(labels)
    opened: list[Path] = []
    load = record_geometry.load_label_picture
    monkeypatch.setattr(record_geometry, "load_label_picture", lambda file: opened.append(file) or load(file))
    made = record(photo, *(thing(segment=PixelValues(file=labels, value=v), label=f"value {v}") for v in (1, 2, 9)))
    dog = [s for s in to_samples(made) if s.prompt == "Segment value 2."]
    assert np.array_equal(mask_bitmap(dog[0].targets[0].output), red_pixels())
    assert opened == [labels]
    assert samples(made, "segment")[0].text == "value 1, value 2", "a value that is not in the picture draws nothing"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_turn_with_a_picture_that_is_stored_turned(tmp_path: Path, orientation: int) -> None:
    photo = write_photo(tmp_path / "photo.png", orientation)
    labels, depth = tmp_path / "labels.png", tmp_path / "depth.png"
    Image.fromarray(red_pixels().astype(np.uint8)).save(labels)
    Image.fromarray(np.where(red_pixels(), 2000, 1000).astype(np.uint16)).save(depth)
    encoded = coco.encode(np.asfortranarray(red_pixels(), np.uint8))
    x1, y1, x2, y2 = THING
    segments = (
        ((x1, y1, x2, y1, x2, y2, x1, y2),),
        Rle(size=(HEIGHT, WIDTH), counts=encoded["counts"].decode()),
        PixelValues(file=labels, value=1),
    )
    centre = Keypoint(name="centre", xy=((x1 + x2) / 2, (y1 + y2) / 2))
    made = record(
        photo,
        *(thing(xyxy=THING, segment=segment, keypoints=(centre,)) for segment in segments),
        depth=DepthFile(file=depth),
        size=(WIDTH, HEIGHT),
    )
    image = next(to_samples(made)).image
    red = np.asarray(image)[..., 0] > 128  # where the rectangle really is
    for sample in (s for s in to_samples(made) if s.task != "count"):
        for output in outputs(sample):
            if isinstance(output, Mask):
                assert np.array_equal(mask_bitmap(output), red)
            elif isinstance(output, Box):
                rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
                pixels = np.array(output.xyxy) * (*image.size, *image.size)
                assert pixels == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            elif isinstance(output, Point):
                assert red[int(output.xy[1] * image.height), int(output.xy[0] * image.width)]
            else:
                assert isinstance(output, DepthMap) and np.array_equal(output.values, np.where(red, 2, 1))


def test_labels_made_on_the_upright_picture_stay_as_they_are(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.png", orientation=6)
    made = record(photo, thing(xyxy=(0, 0, HEIGHT / 2, WIDTH / 4)), size=(HEIGHT, WIDTH))
    assert outputs(samples(made, "detect")[0]) == [Box(xyxy=(0, 0, 0.5, 0.25))]


def test_labels_of_a_scaled_picture_are_scaled_and_of_another_refused(photo: Path) -> None:
    ring = (8.0, 4.0, 32.0, 4.0, 32.0, 24.0, 8.0, 24.0)
    double = record(photo, thing(xyxy=(8, 4, 32, 24), segment=(ring,)), size=(2 * WIDTH, 2 * HEIGHT))
    assert outputs(samples(double, "detect")[0]) == [Box(xyxy=(0.1, 4 / 48, 0.4, 0.5))]
    assert np.array_equal(mask_bitmap(outputs(samples(double, "segment")[0])[0]), red_pixels())
    with pytest.raises(GeneralistError, match="annotations are for 30x30 pixels"):
        samples(record(photo, thing(xyxy=THING), size=(30, 30)), "detect")


def test_depth_is_in_metres_with_unknown_pixels_as_nan(photo: Path) -> None:
    stored = np.full((HEIGHT, WIDTH), 2560, np.uint16)
    stored[0, 0], stored[0, 1] = 0, 65535
    Image.fromarray(stored).save(photo.parent / "depth.png")
    depth = DepthFile(file=photo.parent / "depth.png", scale=256, invalid=(65535,))
    (sample,) = samples(record(photo, depth=depth), "depth")
    values = sample.targets[0].output.values
    assert values.dtype == np.float32 and values[1, 1] == 10 and np.isnan(values[0, :2]).all()
    assert (sample.prompt, sample.text) == ("Estimate the depth.", "scene")
