"""The depth maps of a data set: is each there, and are their numbers metres?"""

from __future__ import annotations

import os
import random

import numpy as np

from generalist.types import GeneralistError
from generalist_datasets.check.report import DepthFacts
from generalist_datasets.depth import load_depth
from generalist_datasets.records import DepthFile, Problems, Record, Where

READ = 200
"""Maps of the random sample that is read."""

_VALUES = 1000
"""Values of a map that the median is taken of."""


class DepthMaps:
    """Looks at the depth maps of records, one after another."""

    def __init__(self, problems: Problems, *, seed: int = 0) -> None:
        self.problems = problems
        self.maps = 0
        self._random = random.Random(seed)
        self._sample: list[DepthFile] = []

    def look(self, record: Record) -> None:
        """Look at a record's depth map, if it has one."""
        if record.depth is None:
            return
        self.maps += 1
        if not os.path.isfile(record.depth.file):
            self.problems.error("missing depth map", record.where, str(record.depth.file))
        elif len(self._sample) < READ:
            self._sample.append(record.depth)
        elif (at := self._random.randrange(self.maps)) < READ:
            self._sample[at] = record.depth

    def finish(self) -> DepthFacts:
        """Read the sample."""
        some = np.random.default_rng(0)
        ends: list[tuple[float, float]] = []
        drawn: list[np.ndarray] = []
        unknown: list[float] = []
        for depth in self._sample:
            try:
                metres = load_depth(depth)
            except GeneralistError as error:
                self.problems.unreadable(depth.file, error)
                continue
            known = metres[np.isfinite(metres)]
            unknown.append(1 - known.size / metres.size)
            if not known.size:
                self.problems.warn("depth map without a known value", Where(file=depth.file))
                continue
            ends.append((float(known.min()), float(known.max())))
            drawn.append(some.choice(known, _VALUES))
        return DepthFacts(
            maps=self.maps,
            read=len(unknown),
            nearest=min((near for near, _ in ends), default=None),
            median=float(np.median(np.concatenate(drawn))) if drawn else None,
            farthest=max((far for _, far in ends), default=None),
            unknown=sum(unknown) / len(unknown) if unknown else None,
        )
