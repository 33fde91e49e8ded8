"""Pictures that lie beside those of a data set and that neither an annotation nor a problem speaks of."""

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
        self._suffixes: defaultdict[Path, set[str]] = defaultdict(set)  # folder -> suffixes of its pictures

    def note(self, record: Record) -> None:
        """All files of a record."""
        for image in record.images:
            self.know(image)
            self._suffixes[image.parent].add(image.suffix.lower())
        for file in {a.segment.file for a in record.annotations if isinstance(a.segment, PixelValues)}:
            self.know(file)
        if record.depth is not None:
            self.know(record.depth.file)

    def know(self, file: Path) -> None:
        """Something was said of ``file``."""
        self._known.add(path_digest(file))

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
                path = folder / name
                if (
                    path.suffix.lower() in suffixes & IMAGE_SUFFIXES
                    and not name.startswith(".")
                    and path_digest(path) not in self._known
                    and os.path.isfile(path)
                ):
                    problems.warn("picture never referred to", Where(file=path))
