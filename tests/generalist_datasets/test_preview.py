"""Contact sheets: what is on them depends on the samples, and odd samples do not stop them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Output, Point, Sample, VisualPrompt
from generalist_datasets.preview import read_groups, sheet
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.dataset import World
from generalist_datasets.world.masks import to_mask
from generalist_datasets.world.shards import write_shards
from generalist_datasets.world.splits import Split

GREY = Image.new("RGB", (120, 80), (128, 128, 128))
SQUARE = np.zeros((80, 120), bool)
SQUARE[20:60, 30:70] = True
BOX = Box(xyxy=(0.25, 0.25, 0.75, 0.75))


def sample(*outputs: Output, image: Image.Image = GREY, text: str = "dog", **more: object) -> Sample:
    targets = tuple(
        Grounded(label="dog", span=(0, 3), image=0, ref=ref, output=output) for ref, output in enumerate(outputs)
    )
    return Sample(id="x", image=image, task="chat", prompt="Where?", text=text, targets=targets, **more)  # type: ignore[arg-type]


def one(*samples: Sample) -> np.ndarray:
    """The sheet of one picture."""
    return np.asarray(sheet([(GREY, samples)]))


def panels(paper: np.ndarray) -> int:
    """How many pictures there are: across the middle of the first row, stretches that are not white paper."""
    row = (paper[80] != 255).any(1)
    row[:14], row[-14:] = False, False  # the rim
    return int((np.diff(row.astype(int)) == 1).sum())


@pytest.mark.parametrize("outputs, count", [
    ((), 1),
    ((BOX,), 2),
    ((BOX, Point(xy=(0.1, 0.1))), 2),
    ((BOX, to_mask(SQUARE)), 3),
    ((BOX, to_mask(SQUARE), DepthMap(values=np.linspace(1, 9, 9600, dtype=np.float32).reshape(80, 120))), 4),
    ((DocHit(doc_id="dog"),), 1),
])  # fmt: skip
def test_each_kind_of_target_has_a_picture_of_its_own(outputs: tuple[Output, ...], count: int) -> None:
    assert panels(one(sample(*outputs))) == count


def test_targets_are_drawn_where_they_are() -> None:
    x, y = 20 + 2 * 220, 20  # of the third panel, 210 x 140 pixels
    paper = one(sample(BOX, to_mask(SQUARE)))
    third = paper[y : y + 140, x : x + 210]
    coloured = np.ptp(third.astype(int), axis=2) > 20
    rows, columns = np.flatnonzero(coloured.mean(1) > 0.2), np.flatnonzero(coloured.mean(0) > 0.3)
    assert abs(rows[0] - 35) <= 2 and abs(rows[-1] - 105) <= 2
    assert abs(columns[0] - 52.5) <= 2 and abs(columns[-1] - 122.5) <= 2


def test_what_the_user_drew_and_earlier_pictures_are_shown() -> None:
    scribble = VisualPrompt(kind="scribble", bitmap=SQUARE)
    assert panels(one(sample(visual_prompts=(scribble,)))) == 2
    assert panels(one(sample(visual_prompts=(VisualPrompt(kind="point", xy=(0.5, 0.5)),)))) == 2
    assert panels(one(sample(earlier_images=(GREY,)))) == 2


def test_words_are_below_and_wrapped() -> None:
    short, long = one(sample()), one(sample(text="A dog beside a very long description. " * 8))
    assert long.shape[0] > short.shape[0] and long.shape[1] == short.shape[1]
    broken = one(sample(text="x" * 300))  # one word: it must not leave the paper
    assert broken.shape[0] > short.shape[0]
    assert (broken[12:-12, -14:-10] == 255).all()


def test_very_many_questions_do_not_make_an_endless_sheet() -> None:
    assert one(*[sample()] * 500).shape[0] == one(*[sample()] * 100).shape[0] < 1500


def test_pictures_of_any_shape_fit() -> None:
    odd = [Image.new("RGB", size, (9, 99, 9)) for size in ((1, 1), (3000, 7), (5, 900))]
    paper = sheet([(image, [sample(BOX, image=image)]) for image in odd], columns=3)
    assert paper.width == 3 * (2 * 220 + 10 + 10) + 10


def test_hostile_targets_are_shown_or_left_out() -> None:
    wrong_size = Mask(size=(10, 10), counts=to_mask(np.ones((10, 10), bool)).counts, xyxy=(0.0, 0.0, 1.0, 1.0))
    unknown = DepthMap(values=np.full((80, 120), np.nan, np.float32))
    outside = Box(xyxy=(-1.0, 0.5, 2.0, 3.0))
    assert panels(one(sample(wrong_size, unknown, outside, text=""))) == 4


def test_a_tiny_mask_of_a_large_picture_still_shows() -> None:
    image = Image.new("RGB", (4000, 3000))
    bitmap = np.zeros((3000, 4000), bool)
    bitmap[1501, 2001] = True
    paper = np.asarray(sheet([(image, [sample(to_mask(bitmap), image=image)])]))
    assert panels(paper) == 2


def test_nothing_to_show_is_one_line() -> None:
    with pytest.raises(GeneralistError, match="no picture"):
        sheet([])


def test_pictures_of_shards(toy_assets: Assets, tmp_path: Path) -> None:
    split = Split(name="toy", summary="", styles=("fluent",))
    write_shards(World(split, size=(96, 96), count=5, assets=toy_assets), tmp_path / "scenes")
    groups = list(read_groups(tmp_path / "scenes", 3))
    assert len(groups) == 3
    assert [{s.meta["index"] for s in samples} for _, samples in groups] == [{0}, {1}, {2}]
    assert len(list(read_groups(tmp_path / "scenes", 100))) == 5
    assert sheet(groups).width > 400
