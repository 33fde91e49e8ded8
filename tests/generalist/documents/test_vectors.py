"""Vectors of documents: what is found, what is kept when documents come and go, and files that are not right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generalist.documents import vectors as module
from generalist.documents.vectors import Floats, Vectors
from generalist.types import GeneralistError


def some(documents: int, dimensions: int = 70, seed: int = 0) -> list[Floats]:
    """Each document with one to three rows of unit length."""
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=(1 + k % 3, dimensions)).astype(np.float32) for k in range(documents)]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in rows]


def test_the_nearest_comes_first_by_its_best_row() -> None:
    rows = some(50)
    found = Vectors.of(rows).search(np.stack([rows[5][2], rows[31][0]]), 4)
    for query, ranking in zip((rows[5][2], rows[31][0]), found, strict=True):
        expected = [float((one @ query).max()) for one in rows]
        assert [document for document, _ in ranking] == np.argsort(expected)[::-1][:4].tolist()
        assert [score for _, score in ranking] == pytest.approx(sorted(expected)[::-1][:4], abs=2e-3)
    assert [ranking[0][0] for ranking in found] == [5, 31]


def test_bits_choose_whom_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANDIDATES", 40)
    monkeypatch.setattr(module, "_AT_ONCE", 64)
    rows = some(400)
    stored = Vectors.of(rows)
    assert stored.codes.shape == (len(stored.vectors), 2)
    found = stored.search(np.stack([rows[k][0] for k in range(0, 400, 9)]), 3)
    assert [ranking[0][0] for ranking in found] == list(range(0, 400, 9))
    assert all(len(ranking) == 3 for ranking in found)


def test_they_are_on_disk_as_they_were(tmp_path: Path) -> None:
    stored = Vectors.of(some(7))
    stored.save(tmp_path)
    opened = Vectors.open(tmp_path)
    assert isinstance(opened.vectors, np.memmap)
    assert opened.documents == 7 and opened.dimensions == 70
    query = some(7)[4][:1]
    assert opened.search(query, 7) == stored.search(query, 7)


def test_documents_come_and_go() -> None:
    rows, new = some(6), some(2, seed=1)
    changed = Vectors.of(rows).changed([5, 0, 2], new)
    assert changed.documents == 5
    for number, one in enumerate([rows[5], rows[0], rows[2], *new]):
        assert changed.rows_of(number) == pytest.approx(one, abs=1e-3)
        assert changed.search(one[:1], 1)[0][0][0] == number
    assert Vectors.of(rows).changed([], new).documents == 2


DAMAGES = {
    "cut": lambda folder: (folder / "vectors.npy").write_bytes(b"\x93NUMPY"),
    "missing": lambda folder: (folder / "codes.npy").unlink(),
    "another type": lambda folder: np.save(folder / "vectors.npy", np.zeros((9, 70))),
    "other rows": lambda folder: np.save(folder / "begins.npy", np.array([0, 1, 2])),
    "a document without rows": lambda folder: np.save(folder / "begins.npy", np.array([0, 0, 6])),
    "other codes": lambda folder: np.save(folder / "codes.npy", np.zeros((6, 1), np.uint64)),
    "objects": lambda folder: np.save(folder / "centre.npy", np.array([{}], object), allow_pickle=True),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_said_in_one_line(what: str, tmp_path: Path) -> None:
    Vectors.of(some(3)).save(tmp_path)
    DAMAGES[what](tmp_path)
    with pytest.raises(GeneralistError, match="cannot read the vectors"):
        Vectors.open(tmp_path)
