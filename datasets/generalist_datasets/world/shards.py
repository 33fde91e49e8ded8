"""A split of the world in a folder: Parquet shards, which ``datasets.load_dataset`` reads as well.

Stages: ``WorldItem`` -> row (in worker processes) -> shard of 256 rows, written beside its name and renamed ->
``manifest.json``. A shard that is there is whole, so writing goes on where it stopped.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from generalist.types import GeneralistError, Sample
from generalist_datasets.assets import PACKAGES
from generalist_datasets.world.rows import SAMPLE_COLUMNS, PictureFormat, features, samples_of_row

if TYPE_CHECKING:  # it composes, which reading does not need
    from generalist_datasets.world.dataset import World

SHARD_ROWS = 256
MANIFEST = "manifest.json"
CARDS = "cards.jsonl"

_Made = TypeVar("_Made")

_FORMAT = "generalist world, version 2"
_README = """---
configs:
- config_name: default
  data_files:
  - split: {split}
    path: "{split}-*.parquet"
---

Scenes of split `{split}` ({summary}) of the composed world of `generalist`, seed {seed}, {width}x{height} pixels.

- `image`: the scene. `instances`: value k is `things[k - 1]`, 0 the background. `surfaces`: what is behind the
  things (0 a photograph, 1 floor, 2 wall, 3 sky, 4 ceiling; 255 on what is too hidden to be a
  thing). `depth`: 16 bits, 1/1600 m; none where it is not known.
- `questions`: `targets` are in the order of the phrases of `text`, `start` to `stop` in its characters; boxes and
  points in 0-1 of the picture; `counts` are COCO run lengths of the picture's size.
- `{cards}`: a document for every concept, in BEIR's form. `manifest.json`: what was written, and its digests.

Composed from packages that are to be named where this folder is published: {packages}.
"""


# --- writing ------------------------------------------------------------------------------------------


def write_shards(
    world: World,
    folder: Path,
    *,
    workers: int = 1,
    form: PictureFormat = "png",
    advance: Callable[[int], object] = lambda scenes: None,
) -> dict[str, Any]:
    """Write every scene of ``world`` into ``folder`` and return its manifest.

    The files are the same whatever the number of workers. Whole shards that are there already are kept: an
    interrupted call goes on where it stopped, and a larger world of the same kind adds to a smaller one.

    Args:
        world: with an end.
        folder: new, empty, or begun by this function for the same split, seed, size and format.
        workers: processes; scripts that use several need the usual ``if __name__ == "__main__":``.
        form: how pictures are stored: "png" exactly, "jpg" in less than half of the space.
        advance: called with the number of scenes that have come in, again and again.

    Raises:
        GeneralistError: the folder holds something else, or cannot be written.
    """
    from generalist_datasets.world.workers import make_rows

    manifest = _begin(world, folder, form)
    shards = _shards(world)
    kept = {name: found for name in shards if (found := _digests(folder / name, len(shards[name]))) is not None}
    advance(sum(len(digests) for digests in kept.values()))
    missing = {name: indices for name, indices in shards.items() if name not in kept}
    with closing(make_rows(world, form, [k for indices in missing.values() for k in indices], workers)) as rows:
        for name, indices in missing.items():
            shard = list(_counted(islice(rows, len(indices)), advance))
            _write(folder / name, partial(_write_parquet, shard))
            kept[name] = [row["digest"] for row in shard]
    listed = [{"file": name, "rows": len(kept[name]), "digest": joined(kept[name])} for name in shards]
    digest = joined([d for name in shards for d in kept[name]])
    manifest |= {"shards": listed, "digest": digest, "complete": True}
    _write_json(folder / MANIFEST, manifest)
    return manifest


def prepare(folder: Path) -> dict[str, Any] | None:
    """Make ``folder`` if need be; the manifest of what was begun in it, None for a new one.

    Raises:
        GeneralistError: it holds something else, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = any(folder.iterdir())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"{folder}: cannot write in this folder ({reason}); name another one") from error
    begun = read_manifest(folder)
    if begun is None and holds:
        raise GeneralistError(f"{folder}: the folder is not empty and holds no scenes; name a new one")
    return begun


def _begin(world: World, folder: Path, form: PictureFormat) -> dict[str, Any]:
    """The manifest of an unfinished folder, written; whatever makes the folder unfit is found here."""
    import cv2
    import numpy
    import PIL

    import generalist

    kind = {
        "format": _FORMAT, "split": world.split.name, "seed": world.seed, "size": list(world.size), "pictures": form,
        "generalist": generalist.__version__,
    }  # fmt: skip
    begun = prepare(folder)
    if begun is not None:
        _check_same(folder, begun, kind, len(world))
    versions = {"numpy": numpy.__version__, "pillow": PIL.__version__, "opencv": cv2.__version__}
    manifest = {**kind, "count": len(world), "versions": versions, "complete": False}
    _write_json(folder / MANIFEST, manifest)
    packages = [f"{p.name} ({p.licence})" for p in PACKAGES.values() if p.use.startswith(("sprites", "background"))]
    readme = _README.format(
        split=world.split.name, summary=world.split.summary, seed=world.seed,
        width=world.size[0], height=world.size[1], cards=CARDS, packages=", ".join(packages),
    )  # fmt: skip
    _write(folder / "README.md", lambda path: path.write_text(readme, encoding="utf-8"))
    _write(folder / CARDS, lambda path: path.write_text(_cards(world), encoding="utf-8"))
    return manifest


def _check_same(folder: Path, begun: Mapping[str, Any], kind: Mapping[str, Any], count: int) -> None:
    for name, value in kind.items():
        if begun.get(name) != value:
            raise GeneralistError(
                f"{folder}: was begun with {name} {begun.get(name)!r}, and {value!r} is asked for; name another folder"
            )
    if isinstance(begun.get("count"), int) and begun["count"] > count:
        raise GeneralistError(
            f"{folder}: was begun with {begun['count']} scenes, and {count} are asked for; name another folder"
        )


def _shards(world: World) -> dict[str, range]:
    """File name -> numbers of its scenes."""
    starts = range(0, len(world), SHARD_ROWS)
    return {
        f"{world.split.name}-{number:05d}.parquet": range(start, min(start + SHARD_ROWS, len(world)))
        for number, start in enumerate(starts)
    }


def _digests(path: Path, rows: int) -> list[str] | None:
    """Digests of the scenes in a shard; None when it is not there, or not the shard of so many rows."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        digests: list[str] = parquet.read_table(path, columns=["digest"]).column("digest").to_pylist()
    except (OSError, pa.ArrowException):
        return None
    return digests if len(digests) == rows else None


def joined(digests: Iterable[str]) -> str:
    """One digest of many, as :func:`~generalist_datasets.world.dataset.digest` joins them."""
    return sha256(b"".join(bytes.fromhex(d) for d in digests)).hexdigest()


def _counted(rows: Iterable[dict[str, Any]], advance: Callable[[int], object]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        advance(1)


def _cards(world: World) -> str:
    from generalist_datasets.world.ask import concept_card

    cards = [concept_card(concept) for concept in world.assets.concepts]
    return "".join(json.dumps({"_id": c.id, "title": c.title, "text": c.text}) + "\n" for c in cards)


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    # Pictures are compressed already; the rest is small.
    parquet.write_table(pa.Table.from_pylist(rows, schema=features().arrow_schema), path, row_group_size=32)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1) + "\n"
    _write(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside ``path``, then rename, so that what is there is whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise GeneralistError(f"{path}: cannot write this file ({reason}); name another folder") from error
    finally:
        beside.unlink(missing_ok=True)


# --- reading ------------------------------------------------------------------------------------------


def is_shards(path: Path) -> bool:
    """Whether a folder was written by :func:`write_shards`, finished or not."""
    return read_manifest(path) is not None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder of shards; None when it is not one."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("format") == _FORMAT else None


def shard_files(folder: Path) -> list[Path]:
    """The shards in a folder, in order; [] where it holds none."""
    manifest = read_manifest(folder) or {}
    start = f"{manifest.get('split')}-"
    return sorted(path for path in folder.glob("*.parquet") if path.name.startswith(start))


def read_shards(folder: Path) -> Iterator[Sample]:
    """Every sample of a folder of shards, in order; those of a scene share one picture, decoded when it is reached.

    Raises:
        GeneralistError: the folder holds no shards, or a shard is damaged.
    """
    files = shard_files(folder)
    if not files:
        raise GeneralistError(f"{folder}: holds no shards of scenes; write some with `generalist data world`")
    for path in files:
        yield from read_shard(path, SAMPLE_COLUMNS, samples_of_row)


def read_shard(
    path: Path, columns: Sequence[str], make: Callable[[Mapping[str, Any]], Iterable[_Made]]
) -> Iterator[_Made]:
    """What ``make`` makes of every row of a shard, of which ``columns`` are read.

    Raises:
        GeneralistError: the shard is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=16, columns=list(columns)):
                for row in batch.to_pylist():
                    yield from make(row)
    except (OSError, pa.ArrowException, LookupError, TypeError, ValueError, SyntaxError) as error:
        raise GeneralistError(f"{path}: not a whole shard of scenes; delete it and write it again") from error
