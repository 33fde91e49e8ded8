"""Vectors of documents: one bit a dimension in memory chooses candidates, whole vectors on disk rank them.

After BiDR (Xiao et al. 2022, "Progressively optimized bi-granular document representation") and Binary Paragraph
Vectors (Grzegorczyk and Kurdziel 2017). A long document has several rows, and counts as its best one.
Shapes: D documents, R rows, d dimensions, n queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from generalist.index.segment import Int64s
from generalist.types import GeneralistError

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint64]

CANDIDATES = 1000
"""Rows that are ranked by their whole vectors: at least so many, and several for each hit that is wanted."""
_EACH = 8
_AT_ONCE = 65_536
"""Rows that are compared at a time."""
_FILES = ("vectors", "codes", "centre", "begins")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """``vectors`` float16 [R, d] of unit length, mapped; ``codes`` [R, d / 64 rounded up], a bit for each dimension
    that lies above ``centre`` [d]; the rows of document k are ``begins[k]`` to ``begins[k + 1]``, int64 [D + 1].
    """

    vectors: npt.NDArray[np.float16]
    codes: Codes
    centre: Floats
    begins: Int64s

    @classmethod
    def of(cls, rows: Sequence[Floats]) -> Vectors:
        """Of documents, each with its rows [r, d]; the centre is their mean."""
        every = np.concatenate(rows).astype(np.float16)
        centre = every.mean(0, dtype=np.float32)
        begins = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return cls(vectors=every, codes=_codes(every.astype(np.float32), centre), centre=centre, begins=begins)

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Map what :meth:`save` wrote; :class:`GeneralistError` for anything else."""
        try:
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _FILES}
            arrays = {name: one if name == "vectors" else np.array(one) for name, one in arrays.items()}
            found = cls(**arrays)
            found._check()
            return found
        except (OSError, ValueError, EOFError, TypeError) as error:
            reason = " ".join(str(error).split())[:100]
            raise GeneralistError(f"{folder}: cannot read the vectors ({reason}); build the index anew") from error

    def save(self, folder: Path) -> None:
        """Write the arrays into an empty folder."""
        for name in _FILES:
            np.save(folder / f"{name}.npy", getattr(self, name))

    def _check(self) -> None:
        shapes = self.vectors.ndim == 2 and self.begins.ndim == 1 and self.centre.shape == self.vectors.shape[1:]
        types = (self.vectors.dtype, self.codes.dtype, self.centre.dtype, self.begins.dtype)
        if not shapes or types != (np.float16, np.uint64, np.float32, np.int64):
            raise ValueError("its arrays have other shapes or types")
        if self.codes.shape != (len(self.vectors), -(-self.dimensions // 64)):
            raise ValueError("its codes are not those of its vectors")
        if not len(self.begins) or self.begins[0] != 0 or self.begins[-1] != len(self.vectors):
            raise ValueError("its rows are not those of its documents")
        if (np.diff(self.begins) < 1).any():
            raise ValueError("a document has no row")

    @property
    def documents(self) -> int:
        return len(self.begins) - 1

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

    def rows_of(self, document: int) -> Floats:
        """[r, d]."""
        return np.asarray(self.vectors[self.begins[document] : self.begins[document + 1]], np.float32)

    def changed(self, stay: Sequence[int], new: Sequence[Floats]) -> Vectors:
        """Those of some documents, in this order, and then of ``new`` ones; bits keep their meaning."""
        kept = np.concatenate([np.arange(self.begins[k], self.begins[k + 1]) for k in stay] or [np.empty(0, np.int64)])
        more = np.concatenate(new or [np.empty((0, self.dimensions), np.float32)])
        lengths = [*np.diff(self.begins)[list(stay)].tolist(), *map(len, new)]
        return Vectors(
            vectors=np.concatenate([self.vectors[kept], more.astype(np.float16)]),
            codes=np.concatenate([self.codes[kept], _codes(more, self.centre)]),
            centre=self.centre,
            begins=np.cumsum([0, *lengths], dtype=np.int64),
        )

    def search(self, queries: Floats, most: int) -> list[list[tuple[int, float]]]:
        """For each query [n, d] of unit length up to ``most`` documents, the nearest first, with their cosines."""
        found = []
        for query, code in zip(queries, _codes(queries, self.centre), strict=True):
            rows = np.sort(self._candidates(code, max(CANDIDATES, _EACH * most)))
            cosines = np.asarray(self.vectors[rows], np.float32) @ query
            documents = np.searchsorted(self.begins, rows, "right") - 1
            begins = np.flatnonzero(np.append(True, documents[1:] != documents[:-1]))
            best = np.maximum.reduceat(cosines, begins)
            order = np.argsort(-best, kind="stable")[:most]
            found.append([(int(documents[begins[k]]), float(best[k])) for k in order])
        return found

    def _candidates(self, code: Codes, most: int) -> Int64s:
        """The rows whose codes differ from ``code`` in the fewest bits."""
        if most >= len(self.codes):
            return np.arange(len(self.codes))
        parts = range(0, len(self.codes), _AT_ONCE)
        counts = [np.bitwise_count(self.codes[at : at + _AT_ONCE] ^ code).sum(1, dtype=np.int32) for at in parts]
        return np.argpartition(np.concatenate(counts), most - 1)[:most]


def _codes(vectors: Floats, centre: Floats) -> Codes:
    """[n, d] -> [n, d / 64 rounded up]; bits beyond d are 0."""
    bits = np.packbits(vectors > centre, axis=1)
    width = -(-vectors.shape[1] // 64) * 8
    return np.ascontiguousarray(np.pad(bits, ((0, 0), (0, width - bits.shape[1])))).view(np.uint64)
