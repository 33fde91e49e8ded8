"""Pictures that lie beside those of a data set and that no annotation speaks of."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from generalist.images import IMAGE_SUFFIXES
from generalist_datasets.check.digests import path_digest
from generalist_datasets.records import PixelValues, Problems, Record, Where


class Unreferred:
    """Notes what records refer to, and then looks for the rest."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._suffixes: defaultdict[str, set[str]] = defaultdict(set)  # folder -> suffixes of its pictures

    def note(self, record: Record) -> None:
        """All files of a record."""
        for image in record.images:
            folder, name = os.path.split(os.path.abspath(image))
            self._known.add(path_digest(image))
            self._suffixes[folder].add(os.path.splitext(name)[1].lower())
        others = {a.segment.file for a in record.annotations if isinstance(a.segment, PixelValues)}
        if record.depth is not None:
            others.add(record.depth.file)
        self._known |= {path_digest(file) for file in others}

    def finish(self, problems: Problems) -> None:
        """Warn of every picture in the same folders, of the same types, that was not noted.

        Of the same types: masks often lie beside photographs, as .png beside .jpg.
        """
        for folder, suffixes in self._suffixes.items():
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                continue
            for name in names:
                path = os.path.join(folder, name)
                if (
                    os.path.splitext(name)[1].lower() in suffixes & IMAGE_SUFFIXES
                    and not name.startswith(".")
                    and path_digest(path) not in self._known
                    and os.path.isfile(path)
                ):
                    problems.warn("picture never referred to", Where(file=Path(path)))
