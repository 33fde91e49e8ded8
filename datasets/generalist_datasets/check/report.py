"""What a check found, as data. ``asdict`` of a report is its JSON, so a field's name is a promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from generalist_datasets.records import Problems, Severity

NO_SPLIT = "(none)"
"""What stands for a split where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One place where something is wrong."""

    file: str
    entry: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A kind of defect: how often it occurs, and some of the places."""

    severity: Severity
    kind: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A number and its parts; what has no split counts under ``NO_SPLIT``."""

    total: int
    by_split: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationCounts:
    """``by_class``: class -> split -> annotations; the others count the annotations that have such a thing."""

    total: int
    by_split: Mapping[str, int]
    by_class: Mapping[str, Mapping[str, int]]
    boxes: int
    masks: int
    keypoints: int
    phrases: int
    crowds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """``declared``: classes that the data set lists, 0 where the format has no list. ``similar`` are pairs of names."""

    declared: int
    used: int
    unused: tuple[str, ...]
    similar: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCount:
    """A size in pixels and how many pictures have it."""

    width: int
    height: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """Distinct picture files that could be read, how many of them were decoded whole, and their sizes.

    ``smallest``, ``median`` and ``largest`` = (W, H), by pixels, None when there is no picture.
    """

    readable: int
    decoded: int
    smallest: tuple[int, int] | None
    median: tuple[int, int] | None
    largest: tuple[int, int] | None
    common: tuple[SizeCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """How many values lie in [low, high)."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSizes:
    """Sizes of boxes, crowds left out.

    ``small``, ``medium``, ``large`` are COCO's, by the box's area in pixels: below 32 x 32, below 96 x 96, the rest.
    ``relative``: the square root of the box's share of the picture.
    """

    small: int
    medium: int
    large: int
    relative: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthFacts:
    """Depth maps, and what those that were read hold, in metres; ``unknown`` is the share of pixels without depth."""

    maps: int
    read: int
    nearest: float | None
    median: float | None
    farthest: float | None
    unknown: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a data set of images. ``empty``: images of which nothing is said."""

    path: str
    format: str
    summary: str
    images: Counts
    empty: int
    annotations: AnnotationCounts
    labels: Labels
    captions: int
    turns: int
    depth: DepthFacts
    pictures: PictureFacts
    object_sizes: ObjectSizes
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether something is there and nothing is in error."""
        return self.images.total > 0 and not _errors(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return _to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusReport:
    """What was found in a corpus of text. ``characters``: of the shortest, the median and the longest document."""

    path: str
    format: str
    summary: str
    documents: int
    queries: int
    answers: int
    judgements: Counts
    characters: tuple[int, int, int] | None
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether something is there and nothing is in error."""
        return self.documents > 0 and not _errors(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return _to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenesReport:
    """What was found in a folder of composed scenes.

    ``split``, ``seed``, ``count`` and ``digest`` as its manifest says them; ``scenes`` and ``questions`` (by task)
    as they were read.
    """

    path: str
    format: str
    summary: str
    split: str
    seed: int | None
    count: int | None
    digest: str
    shards: int
    scenes: int
    questions: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether something is there and nothing is in error."""
        return self.scenes > 0 and not _errors(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return _to_dict(self)


def findings(problems: Problems) -> tuple[Finding, ...]:
    """The problems by kind: errors first, then by their number."""
    order = sorted(problems.counts.items(), key=lambda item: (item[0][0] != "error", -item[1], item[0][1]))
    return tuple(
        Finding(
            severity=severity,
            kind=kind,
            count=count,
            examples=tuple(
                Example(file=str(p.where.file), entry=p.where.entry, detail=p.detail)
                for p in problems.kept
                if (p.severity, p.kind) == (severity, kind)
            ),
        )
        for (severity, kind), count in order
    )


def _errors(found: tuple[Finding, ...]) -> int:
    return sum(finding.count for finding in found if finding.severity == "error")


def _to_dict(report: Report | CorpusReport | ScenesReport) -> dict[str, Any]:
    errors = _errors(report.findings)
    warnings = sum(finding.count for finding in report.findings) - errors
    return {**asdict(report), "errors": errors, "warnings": warnings, "usable": report.usable}
