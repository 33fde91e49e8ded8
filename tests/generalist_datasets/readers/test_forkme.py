"""The worked example of a reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from generalist_datasets.readers import READERS, forkme, read_records
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Problems, Record

HEADER = "image,label,x1,y1,x2,y2\n"


def make(folder: Path, rows: str, header: str = HEADER) -> Path:
    (folder / "images").mkdir()
    for path in (folder / "a.png", folder / "images" / "b.png"):
        Image.new("RGB", (8, 6)).save(path)
    file = folder / "boxes.csv"
    file.write_text(header + rows)
    return file


def read(path: Path) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(forkme.READER.read(path, problems, Options())), problems


def test_it_is_detected_and_read_like_any_other_format(tmp_path: Path) -> None:
    file = make(tmp_path, "a.png,dog,1,2,3,4\na.png,cat,0,0,5.5,6\nb.png,dog,0,0,1,1\n")
    assert READERS["csv"].detect(tmp_path)
    for path in (tmp_path, file):
        records = list(read_records(path))
        assert [(record.id, record.image.name) for record in records] == [("a.png", "a.png"), ("b.png", "b.png")]
        assert [(a.label, a.xyxy) for a in records[0].annotations] == [("dog", (1, 2, 3, 4)), ("cat", (0, 0, 5.5, 6))]
        assert records[0].annotations[1].where.entry == "line 3"


BROKEN = {
    "a.png,dog,1,2,3": "line with the wrong number of values",  # a number is missing
    "a.png,dog,1,2,3,x": "not a number",  # text
    "a.png,dog,1,2,3,nan": "not a number",  # NaN
    "a.png,dog,1,2,3,1e999": "not a number",  # infinite
    "c.png,dog,1,2,3,4": "missing image",  # not there
    ",dog,1,2,3,4": "missing image",  # no name
}


@pytest.mark.parametrize("row", BROKEN)
def test_a_broken_row_costs_only_itself(tmp_path: Path, row: str) -> None:
    records, problems = read(make(tmp_path, f"{row}\nb.png,dog,0,0,1,1\n"))
    assert [(problem.kind, problem.where.entry) for problem in problems.kept] == [(BROKEN[row], "line 2")]
    assert [len(record.annotations) for record in records if record.id == "b.png"] == [1]


def test_another_table_is_not_taken_for_it(tmp_path: Path) -> None:
    assert not forkme.READER.detect(make(tmp_path, "", header="image,label\n"))
    assert not forkme.READER.detect(tmp_path / "missing")


def test_a_missing_column_is_reported(tmp_path: Path) -> None:
    _, problems = read(make(tmp_path, "a.png,dog,1,2,3\n", header="image,label,x1,y1,x2\n"))
    assert [problem.kind for problem in problems.kept] == ["not a number"]
