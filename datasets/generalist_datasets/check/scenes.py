"""Checking a folder of composed scenes: are its shards there, whole, and those that its manifest lists?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from generalist.images import load_image
from generalist.types import GeneralistError
from generalist_datasets.check.report import ScenesReport, findings
from generalist_datasets.records import Problems, Where
from generalist_datasets.world.rows import SAMPLE_COLUMNS, samples_of_row
from generalist_datasets.world.shards import MANIFEST, joined, read_manifest, read_shard, shard_files

_COLUMNS = (*SAMPLE_COLUMNS, "instances", "surfaces", "digest")


def check_scenes(folder: Path) -> ScenesReport:
    """Decode every scene, and compare the shards with the manifest.

    A scene's digest was noted when it was composed: it tells which scenes these are, not whether a pixel has changed.
    """
    problems = Problems(strict=False)
    manifest = read_manifest(folder) or {}
    where = Where(file=folder / MANIFEST)
    if not manifest.get("complete"):
        problems.error("not finished", where, "call `generalist data world` with the same options to go on")
    listed = {str(shard.get("file")): shard for shard in _objects(manifest.get("shards"))}
    files = {path.name: path for path in shard_files(folder)}
    for name in sorted(listed.keys() - files.keys()):
        problems.error("missing shard", where, f"{name[:100]!r} is not there; `generalist data world` writes it again")
    digests: list[str] = []
    questions: Counter[str] = Counter()
    for name, path in files.items():
        try:
            found = list(read_shard(path, _COLUMNS, partial(_look, questions=questions)))
        except GeneralistError as error:
            problems.unreadable(path, error)
            continue
        digests += found
        if manifest.get("complete"):
            _compare(found, listed.get(name), Where(file=path), problems)
    if manifest.get("complete") and not problems.errors:
        _compare(digests, {"rows": manifest.get("count"), "digest": manifest.get("digest")}, where, problems)
    return ScenesReport(
        path=str(folder),
        format="scenes",
        summary="composed scenes",
        split=str(manifest.get("split", "")),
        seed=_number(manifest.get("seed")),
        count=_number(manifest.get("count")),
        digest=str(manifest.get("digest", "")),
        shards=len(files),
        scenes=len(digests),
        questions=dict(questions.most_common()),
        findings=findings(problems),
    )


def _look(row: Mapping[str, Any], questions: Counter[str]) -> Iterator[str]:
    """The digest of a row whose pictures, masks and depth can all be decoded; counts its questions by task."""
    for column in ("instances", "surfaces"):
        load_image(row[column]["bytes"])
    questions.update([sample.task for sample in samples_of_row(row)])
    bytes.fromhex(row["digest"])
    yield row["digest"]


def _compare(found: list[str], expected: Mapping[str, Any] | None, where: Where, problems: Problems) -> None:
    """Digests of scenes with what the manifest says of them."""
    if expected is None:
        problems.error("unknown shard", where, f"{MANIFEST} does not list it; delete it")
    elif expected.get("rows") != len(found):
        problems.error("wrong number of scenes", where, f"{len(found):,}; {MANIFEST} says {expected.get('rows')}")
    elif expected.get("digest") != joined(found):
        problems.error("wrong digest", where, f"these are not the scenes that {MANIFEST} lists")


def _objects(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _number(value: object) -> int | None:
    return value if type(value) is int else None
