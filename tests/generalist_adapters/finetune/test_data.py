"""Which pictures are learnt from, and that none of them measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_adapters.finetune.data import Division, classes_of, divide

RED, BLUE = ("red cell", (4, 4, 20, 18)), ("blue cell", (26, 24, 40, 40))


def ids(division: Division) -> tuple[list[str], list[str], list[str]]:
    return tuple([record.id for record in part] for part in (division.train, division.watch, division.test))  # type: ignore[return-value]


def test_the_seed_decides_and_nothing_is_in_two_parts(boxes_folder: Callable[..., Path]) -> None:
    folder = boxes_folder()
    first = divide(folder, shots=6, seed=1)
    assert ids(first) == ids(divide(folder, shots=6, seed=1)) != ids(divide(folder, shots=6, seed=2))
    train, watch, test = ids(first)
    assert (len(train), len(watch), len(test)) == (5, 1, 6)
    assert len({*train, *watch, *test}) == 12 and first.official == "" and first.found == 12
    assert first.tasks == ("detect", "count") and set(first.classes) == {"red cell", "blue cell"}


def test_every_class_is_shown_however_rare(boxes_folder: Callable[..., Path]) -> None:
    pictures = {f"{k:02d}.png": [RED] for k in range(30)} | {"30.png": [RED, BLUE]}
    folder = boxes_folder(pictures)
    for seed in range(5):
        division = divide(folder, shots=6, seed=seed)
        assert any("blue cell" in classes_of(record) for record in division.train)  # not only watched


def test_official_splits_count(masks_folder: Path) -> None:
    division = divide(masks_folder, shots=5, seed=0, test_limit=2)
    assert division.official == "test" and {record.split for record in division.test} == {"test"}
    assert {record.split for record in (*division.train, *division.watch)} == {"train"}
    assert len(division.test) == 2 and division.tasks == ("segment",)


@pytest.mark.parametrize("count, parts", [(1, (1, 0, 0)), (2, (1, 0, 1)), (4, (3, 0, 1)), (8, (5, 1, 2))])
def test_few_pictures(boxes_folder: Callable[..., Path], count: int, parts: tuple[int, int, int]) -> None:
    division = divide(boxes_folder({f"{k}.png": [RED] for k in range(count)}), shots=16, seed=0)
    assert tuple(map(len, ids(division))) == parts


def test_tasks_that_are_asked_for(boxes_folder: Callable[..., Path]) -> None:
    folder = boxes_folder()
    assert divide(folder, shots=4, seed=0, tasks=["count"]).tasks == ("count",)
    with pytest.raises(GeneralistError, match=r"--tasks depth: the labels of .* cannot teach it; they hold detect"):
        divide(folder, shots=4, seed=0, tasks=["depth"])
    with pytest.raises(GeneralistError, match="there is no task 'juggle'"):
        divide(folder, shots=4, seed=0, tasks=["juggle"])


def test_bad_data(tmp_path: Path, masks_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GeneralistError, match="the folder is empty"):
        divide(tmp_path / "empty", shots=4, seed=0)
    for file in (masks_folder / "train").rglob("*.png"):
        file.unlink()
    with pytest.raises(GeneralistError, match="all labelled pictures are in the split 'test', which only measures"):
        divide(masks_folder, shots=4, seed=0)


def test_labels_out_of_range(boxes_folder: Callable[..., Path]) -> None:
    folder = boxes_folder()
    with (folder / "boxes.csv").open("a", encoding="utf-8") as file:
        file.write("p00.png,red cell,1,2,nan,9\n")
    with pytest.raises(GeneralistError, match=r"boxes\.csv: line \d+") as error:
        divide(folder, shots=4, seed=0)
    assert "data check" in str(error.value) and "\n" not in str(error.value)
