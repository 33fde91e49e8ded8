"""Checking a data set of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from generalist_datasets.check.depth_maps import DepthMaps
from generalist_datasets.check.digests import digest
from generalist_datasets.check.geometry import check_geometry
from generalist_datasets.check.names import similar_names
from generalist_datasets.check.pictures import Pictures, split_name
from generalist_datasets.check.report import Labels, PictureFacts, Report, SizeCount, findings
from generalist_datasets.check.statistics import Statistics, is_empty
from generalist_datasets.check.unreferred import Unreferred
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.records import Problems, Record, Where

UNBALANCED = 100
"""So many times more annotations of the most frequent class than of the rarest are worth a warning."""

_COMMON_SIZES = 5


def check_images(reader: Reader, path: Path, options: Options, on_record: Callable[[Record], object]) -> Report:
    """Read all records of ``path`` and report; ``on_record`` gets each of them.

    Raises :class:`GeneralistError` for what cannot be read at all.
    """
    inspection = _Inspection()
    for record in reader.read(path, inspection.problems, options):
        on_record(record)
        inspection.add(record)
    return inspection.report(reader, path)


class _Inspection:
    """What is kept while the records go by."""

    def __init__(self) -> None:
        self.unreferred = Unreferred()
        self.problems = Problems(strict=False, notice=lambda problem: self.unreferred.know(problem.where.file))
        self.statistics = Statistics()
        self.pictures = Pictures(self.problems)
        self.depths = DepthMaps(self.problems)
        self.ids: set[bytes] = set()

    def add(self, record: Record) -> None:
        header = self.pictures.look(record)
        self.depths.look(record)
        self.unreferred.note(record)
        size = record.size or (header.size if header else None)
        self.statistics.add(record, size)
        if size is not None:
            for annotation in record.annotations:
                check_geometry(annotation, size, self.problems)
        if is_empty(record):
            elsewhere = [str(image) for image in record.images if image != record.where.file]
            self.problems.warn("image without annotations", record.where, ", ".join(elsewhere))
        key = digest(f"{record.split}\0{record.id}".encode(errors="surrogatepass"))
        if key in self.ids:
            self.problems.warn("duplicate id", record.where, f"{record.id!r} in split {split_name(record.split)}")
        self.ids.add(key)

    def report(self, reader: Reader, path: Path) -> Report:
        images = self.statistics.image_counts()
        if not images.total and not self.problems.errors:
            self.problems.error("nothing to read", Where(file=path), "there is no labelled image")
        self.pictures.finish()
        depth = self.depths.finish()
        if path.is_dir():  # one annotation file need not speak of all pictures
            self.unreferred.finish(self.problems)
        labels = _labels(self.statistics.class_totals(), self.problems, path)
        return Report(
            path=str(path),
            format=reader.name,
            summary=reader.summary,
            images=images,
            empty=self.statistics.empty,
            annotations=self.statistics.annotation_counts(),
            labels=labels,
            captions=self.statistics.captions,
            turns=self.statistics.turns,
            depth=depth,
            pictures=_picture_facts(self.pictures),
            object_sizes=self.statistics.object_sizes(),
            findings=findings(self.problems),
        )


def _labels(used: dict[str, int], problems: Problems, path: Path) -> Labels:
    """Class names; what is suspicious about them goes to ``problems``. ``used``: the most frequent first."""
    unused = tuple(label for label in problems.declared if label not in used)
    for label in unused:
        problems.warn("label never used", problems.declared[label], label)
    similar = tuple(similar_names([*problems.declared, *used]))
    for a, b in similar:
        where = problems.declared.get(b) or problems.declared.get(a) or Where(file=path)
        problems.warn("similar class names", where, f"{a!r} ({used.get(a, 0):,}) and {b!r} ({used.get(b, 0):,})")
    if used:
        most, *_, least = [*used, *used]  # also where there is one class
        if used[most] >= UNBALANCED * used[least]:
            detail = f"{most!r} has {used[most]:,}, {least!r} {used[least]:,}"
            problems.warn("unbalanced classes", Where(file=path), detail)
    return Labels(declared=len(problems.declared), used=len(used), unused=unused, similar=similar)


def _picture_facts(pictures: Pictures) -> PictureFacts:
    smallest, median, largest = _spread(pictures.sizes)
    return PictureFacts(
        readable=pictures.readable,
        decoded=pictures.decoded,
        smallest=smallest,
        median=median,
        largest=largest,
        common=tuple(
            SizeCount(width=width, height=height, pictures=count)
            for (width, height), count in pictures.sizes.most_common(_COMMON_SIZES)
        ),
    )


_Size = tuple[int, int]


def _spread(sizes: Counter[_Size]) -> tuple[_Size, _Size, _Size] | tuple[None, None, None]:
    """The smallest, median and largest size by its pixels."""
    if not sizes:
        return None, None, None
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    middle = sizes.total() / 2
    passed = 0
    for size in ordered:
        passed += sizes[size]
        if passed >= middle:
            return ordered[0], size, ordered[-1]
    raise AssertionError("half of the pictures come before the last one")
