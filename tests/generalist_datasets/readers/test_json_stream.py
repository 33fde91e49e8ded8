"""The stream of entries is what json.loads would give, at any place where a chunk may end."""

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generalist_datasets.readers import json_stream
from generalist_datasets.readers.json_stream import Defect, read_entry, stream_entries

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


def entries(path: Path, keys: tuple[str, ...]) -> list[tuple[str, int, object]]:
    return [(entry.key, entry.index, entry.value) for entry in stream_entries(path, keys)]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["images", "annotations", "info"]), st.lists(VALUES, max_size=4)), st.data())
def test_any_json_in_chunks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, value: dict, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    text = json.dumps(value, ensure_ascii=False, indent=data.draw(st.sampled_from([None, 1])))
    path.write_text(text, encoding="utf-8")
    wanted = [(key, i, item) for key, items in value.items() if key != "info" for i, item in enumerate(items)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", data.draw(st.integers(1, 12)))
        found = list(stream_entries(path, ("images", "annotations")))
    assert repr([(entry.key, entry.index, entry.value) for entry in found]) == repr(wanted)  # NaN is not NaN
    with path.open("rb") as file:
        assert repr([read_entry(file, entry.start, entry.stop) for entry in found]) == repr([w[2] for w in wanted])


@pytest.mark.parametrize("number", ["1.5e-7", "-12.25", "1E400", "NaN", "-Infinity", "0", "true", '"\\ud83d\\ude00"'])
def test_a_value_cut_anywhere_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f'{{"a":[{number}, {number}]}}')
    for chunk in range(1, 16):
        monkeypatch.setattr(json_stream, "_CHUNK", chunk)
        assert repr(entries(path, ("a",))) == repr([("a", i, json.loads(number)) for i in range(2)])


def test_a_file_that_is_one_list(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf\r\n[1, {}]\r\n")
    assert entries(path, ("",)) == [("", 0, 1), ("", 1, {})]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (b"", "not valid JSON", "line 1, byte 0"),
        (b"{", "not valid JSON", "byte 1"),
        (b'{"a": [1, 2', "not valid JSON", "but the file ends"),
        (b'{"a": [1 2]}', "not valid JSON", "byte 9: expected , or ]"),
        (b'{"a":\n[1,\n{"b" 1}]}', "not valid JSON", "line 3, byte 15"),  # no colon
        (b'{"a": [1]} x', "not valid JSON", "more text"),
        (b'{"a": [1],}', "not valid JSON", "byte 10"),  # a comma too many
        (b'{a: [1]}', "not valid JSON", "byte 1"),  # a key without quotes
        (b'{"a": ["\xff"]}', "not valid JSON", "byte 8: text that is not UTF-8"),
        (b'{"a": [' + b"9" * 5000 + b"]}", "not valid JSON", "4300 digits"),
        (b'{"a": [' + b"[" * 100_000, "not valid JSON", "nested too deeply"),
        (b'{"b": ' + b'{"c":' * 100_000, "not valid JSON", "nested too deeply"),
        (b'{"a": {"0": 1}}', "wrong type", '"a" should be a list'),
        (b'{"a": null}', "wrong type", '"a" should be a list'),
        (b"[1]", "wrong type", "the file should be an object"),
        (b'"text"', "wrong type", "the file should be an object"),
        (b"\x89PNG\r\n", "not valid JSON", "the file should be an object"),
    ],
)  # fmt: skip
def test_what_is_not_such_a_file(tmp_path: Path, text: bytes, kind: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(Defect, match=said.replace("]", r"\]")) as caught:
        entries(path, ("a",))
    assert caught.value.kind == kind


def test_an_entry_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 64)
    monkeypatch.setattr(json_stream, "LARGEST_ENTRY", 1 << 10)
    path = tmp_path / "x.json"
    path.write_text('{"a": ["' + "x" * 10_000 + '"]}')
    with pytest.raises(Defect, match="an entry of more than"):
        entries(path, ("a",))


def test_no_waiting_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(OSError, match="not a file"):
        entries(tmp_path / "x.json", ("a",))
    assert json_stream.sniff(tmp_path / "x.json") == ""


def test_entries_that_changed_since_are_told() -> None:
    with pytest.raises(Defect):
        read_entry(io.BytesIO(b"{}  "), 2, 4)
