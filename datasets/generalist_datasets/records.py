"""What people's data sets hold, in one form: a labelled image, whatever file its labels came from.

A reader yields :class:`Record` values, one an image, in bounded memory. Pictures stay on disk until they are
asked for. What is wrong with an entry goes to a :class:`Problems`: reading for training stops at the first
error with one line; checking collects them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from generalist.types import GeneralistError

Polygons: TypeAlias = tuple[tuple[float, ...], ...]
"""Rings of absolute pixels, each x1 y1 x2 y2 ..., united."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The place of an entry: ``file`` and, within it, ``entry`` ("line 12", "annotations[7]", "object 2", or "")."""

    file: Path
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.entry}" if self.entry else str(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rle:
    """COCO run-length encoding of a mask: ``size`` = (H, W); ``counts`` compressed, as text."""

    size: tuple[int, int]
    counts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelValues:
    """A mask that is the pixels of a label picture with this ``value`` (an RGB picture's is R + 256 G + 65536 B)."""

    file: Path
    value: int


Segment: TypeAlias = Polygons | Rle | PixelValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypoint:
    """``xy`` in pixels; ``visible`` False when it is labelled but hidden."""

    name: str
    xy: tuple[float, float]
    visible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One labelled thing, in absolute pixels of the image file as it is stored (x right, y down).

    ``xyxy`` as the file says it, even where that is outside the image. ``phrases`` are referring
    expressions. ``crowd``: a region of many things, as in COCO; ``stuff``: a class without instances.
    """

    label: str
    where: Where
    xyxy: tuple[float, float, float, float] | None = None
    segment: Segment | None = None
    keypoints: tuple[Keypoint, ...] = ()
    phrases: tuple[str, ...] = ()
    crowd: bool = False
    stuff: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthFile:
    """A depth map on disk: value / ``scale`` is metres; ``invalid`` values (and 0, negatives, NaN) are unknown."""

    file: Path
    scale: float = 1000.0
    invalid: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnText:
    """One turn of a conversation about the image."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image and what is known of it.

    ``images``: its file, then those of a conversation with several. ``size`` = (W, H) as the annotations
    claim it, None where they claim nothing.
    """

    id: str
    images: tuple[Path, ...]
    where: Where
    split: str = ""
    size: tuple[int, int] | None = None
    annotations: tuple[Annotation, ...] = ()
    captions: tuple[str, ...] = ()
    depth: DepthFile | None = None
    turns: tuple[TurnText, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def image(self) -> Path:
        return self.images[0]


Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a data set: an ``error`` makes an entry unusable, a ``warning`` makes it suspicious.

    ``kind`` is a short name of the defect ("box outside the image"), the same for every place it occurs in.
    """

    severity: Severity
    kind: str
    where: Where
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}" + (f" ({self.detail})" if self.detail else "")


class Problems:
    """Where readers report.

    ``strict``: the first error raises :class:`GeneralistError`. Otherwise all are counted, and up to ``keep``
    of a kind are kept. ``notice`` is called with each. ``declared``: the classes that the data set lists, used or
    not, and where it lists them.
    """

    def __init__(
        self, *, strict: bool = True, keep: int = 20, notice: Callable[[Problem], object] | None = None
    ) -> None:
        self.strict, self.keep, self.notice = strict, keep, notice
        self.counts: dict[tuple[Severity, str], int] = {}
        self.kept: list[Problem] = []
        self.declared: dict[str, Where] = {}

    def declare(self, label: str, where: Where) -> None:
        """A class that the data set lists."""
        self.declared.setdefault(label, where)

    def error(self, kind: str, where: Where, detail: str = "") -> None:
        """An entry that cannot be used; the caller skips it."""
        self._add(Problem(severity="error", kind=kind, where=where, detail=detail))

    def warn(self, kind: str, where: Where, detail: str = "") -> None:
        """An entry that is used but looks wrong."""
        self._add(Problem(severity="warning", kind=kind, where=where, detail=detail))

    def unreadable(self, file: Path, error: Exception) -> None:
        """A file that cannot be used at all; ``error`` says why, with or without the file's name before it."""
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()).removeprefix(f"{file}: ")
        self.error("unreadable file", Where(file=file), reason[:300] or type(error).__name__)

    def _add(self, problem: Problem) -> None:
        if self.strict and problem.severity == "error":
            raise GeneralistError(f"{problem}; `generalist data check` lists everything that is wrong")
        if self.notice is not None:
            self.notice(problem)
        key = (problem.severity, problem.kind)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.counts[key] <= self.keep:
            self.kept.append(problem)

    @property
    def errors(self) -> int:
        return sum(n for (severity, _), n in self.counts.items() if severity == "error")

    @property
    def warnings(self) -> int:
        return sum(n for (severity, _), n in self.counts.items() if severity == "warning")


# --- retrieval corpora: text, no images ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of a corpus."""

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to a corpus. ``answers`` are strings that answer it (SQuAD), when known."""

    id: str
    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How relevant a document is to a query (a line of TREC qrels)."""

    query: str
    document: str
    relevance: int
    split: str = ""
