"""Lines, JSON lines and CSV rows: read whatever is sound, and say where the rest is."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets.readers import lines
from generalist_datasets.readers.lines import csv_rows, json_lines, read_head, text_lines
from generalist_datasets.records import Problems


def write(folder: Path, content: bytes) -> Path:
    file = folder / "table"
    file.write_bytes(content)
    return file


def complaints(problems: Problems) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where.entry) for problem in problems.kept]


def test_lines_are_numbered_and_free_of_their_ends(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeffone\r\ntwo\n\nlast é".encode())
    found = [(where.entry, text) for where, text in text_lines(file, Problems())]
    assert found == [("line 1", "one"), ("line 2", "two"), ("line 3", ""), ("line 4", "last é")]


def test_a_line_that_is_no_text_is_reported_and_the_next_one_read(tmp_path: Path) -> None:
    problems = Problems(strict=False)
    file = write(tmp_path, b"one\ncaf\xe9\nthree\n")
    assert [text for _, text in text_lines(file, problems)] == ["one", "three"]
    assert complaints(problems) == [("not UTF-8 text", "line 2")]


def test_utf_16_is_named(tmp_path: Path) -> None:
    problems = Problems(strict=False)
    assert list(text_lines(write(tmp_path, "one\ntwo\n".encode("utf-16")), problems)) == []
    assert [problem.detail for problem in problems.kept] == ["this is UTF-16; save it as UTF-8"]


def test_an_endless_line_is_passed_over_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1000)
    file = write(tmp_path, b"one\n" + b"x" * 3_000_000 + b"\nthree\n")
    problems = Problems(strict=False)
    tracemalloc.start()
    assert [text for _, text in text_lines(file, problems)] == ["one", "three"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000
    assert complaints(problems) == [("line too long", "line 2")]


def test_what_is_no_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for name in ("missing", "pipe", ".", "n" * 5000, "nul\0"):
        problems = Problems(strict=False)
        assert list(text_lines(tmp_path / name, problems)) == []
        assert [kind for kind, _ in complaints(problems)] == ["unreadable file"]
        assert read_head(tmp_path / name) == ""


BROKEN_JSON = {
    b"{": "not valid JSON",  # cut off
    b'{"a": 1} x': "not valid JSON",  # more behind it
    b"[1, 2]": "wrong type",  # a list
    b"null": "wrong type",  # nothing
    b'{"a": ' + b"[" * 100_000: "not valid JSON",  # nested deeper than any parser goes
    b'{"a": ' + b"9" * 5000 + b"}": "not valid JSON",  # an integer that Python does not convert
    b'{"a": "\\ud83d"}': "not UTF-8 text",  # half an emoji
    b"\x00": "not valid JSON",  # NUL
    b'{"a": "\xff"}': "not UTF-8 text",  # not UTF-8
}


@pytest.mark.parametrize("line", BROKEN_JSON, ids=lambda line: line[:12].decode("latin-1"))
def test_a_broken_json_line_costs_only_itself(tmp_path: Path, line: bytes) -> None:
    problems = Problems(strict=False)
    file = write(tmp_path, b'{"n": 1}\n' + line + b'\n\n{"n": 2}')
    assert [entry for _, entry in json_lines(file, problems)] == [{"n": 1}, {"n": 2}]
    assert complaints(problems) == [(BROKEN_JSON[line], "line 2")]


def test_strict_reading_stops_at_the_first_broken_line_with_its_place(tmp_path: Path) -> None:
    file = write(tmp_path, b"{}\n{\n")
    with pytest.raises(GeneralistError, match=r"table: line 2: not valid JSON"):
        list(json_lines(file, Problems()))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_takes_the_delimiter_of_its_header(tmp_path: Path, delimiter: str) -> None:
    text = '\ufeffname, text\r\na.png, "one, ; | two"\r\n\r\nb.png,"two\r\n\r\nlines"\r\n'
    file = write(
        tmp_path, text.replace(", ", ",").replace(",", delimiter, 2).replace("png,", f"png{delimiter}").encode()
    )
    rows = [(where.entry, row["name"], row["text"]) for where, row in csv_rows(file, Problems())]
    assert [row[:2] for row in rows] == [("line 2", "a.png"), ("line 4", "b.png")]
    assert rows[1][2].split("\n") == ["two", "", "lines"]


BROKEN_CSV = {
    b"a.png": "line with the wrong number of values",  # a value is missing
    b"a.png,b,c": "line with the wrong number of values",  # one too many
    b"a.png,\xff": "not UTF-8 text",  # not UTF-8
    b"a.png," + b"x" * 200_000: "not valid CSV",  # longer than csv takes
}


@pytest.mark.parametrize("row", BROKEN_CSV, ids=lambda row: row[:12].decode("latin-1"))
def test_a_broken_row_costs_only_itself(tmp_path: Path, row: bytes) -> None:
    problems = Problems(strict=False)
    file = write(tmp_path, b"name,text\n1.png,one\n" + row + b"\n2.png,two\n")
    assert [found["name"] for _, found in csv_rows(file, problems)] == ["1.png", "2.png"]
    assert complaints(problems) == [(BROKEN_CSV[row], "line 3")]


def test_a_quote_without_its_end_does_not_take_in_the_whole_file(tmp_path: Path) -> None:
    problems = Problems(strict=False)
    file = write(tmp_path, b'name,text\n1.png,"one\n' + b"2.png,two\n" * 50_000)
    rows = list(csv_rows(file, problems))
    assert problems.counts[("error", "not valid CSV")] >= 1
    assert len(rows) > 30_000


@pytest.mark.parametrize("content", [b"", b"\n\n", b"name,text", b"\xef\xbb\xbf"])
def test_csv_without_rows_is_empty(tmp_path: Path, content: bytes) -> None:
    assert list(csv_rows(write(tmp_path, content), Problems())) == []
