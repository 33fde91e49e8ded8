"""Cases from labelled pictures in any format that the readers know, streamed picture by picture.

What is asked is what a model is taught from such a folder (``record_samples``), in the same words; a class that it
has never been taught is asked for all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from generalist.evaluation.cases import Case, Suite
from generalist.pipeline import EVERYTHING
from generalist.tasks import question
from generalist.types import GeneralistError, Mask, Sample
from generalist_datasets.readers import Options, get_reader
from generalist_datasets.record_samples import to_samples
from generalist_datasets.records import Problems, Record

_MOST_WORDS = 3
"""Of an answer that can be right or wrong as a whole."""

_DETECT_ALL = question("detect", EVERYTHING)
_SEGMENT_THINGS = question("segment", EVERYTHING)
_SEGMENT_WHOLE = question("segment", "everything")


def folder_suite(
    path: Path, format: str | None = None, options: Options | None = None, *, split: str | None = None
) -> Suite:
    """The suite of the labelled pictures at ``path``.

    Args:
        path: a folder or an annotation file.
        format: a name of ``readers.READERS``; found from the contents when None.
        options: what the folder does not say of itself.
        split: only its pictures of this split.

    Raises:
        GeneralistError: the format is unknown; from ``cases``, at the first entry that cannot be used.
    """
    _refuse_scenes(path)
    reader = get_reader(path, format)

    def cases(limit: int | None) -> Iterator[Case]:
        records = reader.read(path, Problems(), options or Options())
        pictured = (r for r in records if r.images and split in (None, r.split))
        return cases_of(islice(pictured, limit))

    name = path.resolve().name or str(path)
    return Suite(name=f"{name}/{split}" if split else name, summary=reader.summary, cases=cases)


def _refuse_scenes(path: Path) -> None:
    from generalist_datasets.world.shards import read_manifest

    manifest = read_manifest(path)
    if manifest is not None:
        raise GeneralistError(
            f"{path}: these are composed scenes (split {manifest.get('split')!r}), which are made anew for "
            "evaluation; use the suite world/compositions, or that of another split"
        )


def cases_of(records: Iterable[Record]) -> Iterator[Case]:
    """What is asked about labelled pictures, in their order; every case has an id of its own."""
    seen: Counter[str] = Counter()
    for record in records:
        seen[record.id] += 1
        # A data set may use an id twice; an outcome is found by its case's.
        again = f" (no. {seen[record.id]})" if seen[record.id] > 1 else ""
        for group, sample in _grouped(record):
            id = sample.id + again
            yield Case(id=id, group=group, sample=replace(sample, id=id))


def _grouped(record: Record) -> Iterator[tuple[str, Sample]]:
    captions: list[Sample] = []
    for sample in to_samples(record):
        if sample.task == "caption":
            captions.append(sample)
            continue
        group = _GROUPS[sample.task](sample, record)
        if group:
            yield group, _with(sample, **_meaning(group, sample, record))
    if captions:
        # One case a picture: a reply is as good as the reference that it is most like.
        yield "caption", _with(captions[0], ability="caption", references=tuple(sample.text for sample in captions))


def _with(sample: Sample, **facts: object) -> Sample:
    return replace(sample, meta={**sample.meta, **facts})


def _meaning(group: str, sample: Sample, record: Record) -> dict[str, object]:
    """What a case's words and targets leave open.

    ``ability``: how a thing is referred to, "class" or "expression"; else the group. ``stuff``: the names that
    have no instances, where the whole picture is to be segmented.
    """
    if group in ("semantic", "panoptic"):
        names = {target.label for target in sample.targets}
        stuff = {label for a in record.annotations if a.stuff and (label := " ".join(a.label.split())) in names}
        return {"ability": group, "stuff": tuple(sorted(stuff))}
    if group in ("box", "mask"):
        return {"ability": "expression" if _has_phrases(record) else "class"}
    return {"ability": group}


# --- the group of a sample, "" for one that is not asked ----------------------------------------------------


def _detect(sample: Sample, record: Record) -> str:
    """Everything at once; a class by its name refers, like an expression, where there is one of it."""
    if sample.prompt == _DETECT_ALL:
        return "detect"
    return "box" if len(sample.targets) == 1 and not _has_phrases(record) else ""


def _segment(sample: Sample, record: Record) -> str:
    """The whole picture where it has stuff; every class, or every expression where there are any."""
    if sample.prompt == _SEGMENT_WHOLE:
        things = any(isinstance(t.output, Mask) and t.label not in _stuff(record) for t in sample.targets)
        return "panoptic" if things else "semantic"
    if sample.prompt == _SEGMENT_THINGS:
        return ""
    refers = sample.targets[0].label in _phrases(record)
    return "mask" if refers or not _has_phrases(record) else ""


def _chat(sample: Sample, record: Record) -> str:
    """Answers of a word or a few, such as yes and no; nobody can say of longer ones that they are exactly right."""
    if len(sample.text.split()) > _MOST_WORDS:
        return ""
    return "dialogue" if any(message.role == "assistant" for message in sample.history) else "choice"


def _has_phrases(record: Record) -> bool:
    return any(annotation.phrases for annotation in record.annotations)


def _phrases(record: Record) -> frozenset[str]:
    return frozenset(phrase.strip() for annotation in record.annotations for phrase in annotation.phrases)


def _stuff(record: Record) -> frozenset[str]:
    return frozenset(" ".join(annotation.label.split()) for annotation in record.annotations if annotation.stuff)


_GROUPS: dict[str, Callable[[Sample, Record], str]] = {
    "detect": _detect,
    "box": lambda sample, record: "box",
    "segment": _segment,
    "point": lambda sample, record: "point",
    "count": lambda sample, record: "count",
    "depth": lambda sample, record: "depth",
    "chat": _chat,
}
