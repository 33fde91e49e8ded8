"""Making rows of scenes in several processes."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from generalist.types import GeneralistError
from generalist_datasets.world.dataset import World
from generalist_datasets.world.rows import PictureFormat, to_row
from generalist_datasets.world.samples import samples_of

_CHUNK = 8
"""Scenes that a worker makes at a time."""


def make_rows(
    world: World, form: PictureFormat, indices: list[int], workers: int
) -> Generator[dict[str, Any], None, None]:
    """Rows of the scenes with these numbers, in order; the rows are the same whatever the number of ``workers``.

    Raises:
        GeneralistError: a worker process died.
    """
    if workers == 1 or len(indices) <= _CHUNK:
        yield from (_row(world, form, index) for index in indices)
        return
    with TemporaryDirectory(prefix="generalist-") as scratch:
        # As a file: a process that dies before it has read a large argument would leave this one waiting for ever.
        handed = Path(scratch) / "world"
        handed.write_bytes(pickle.dumps((world, form)))
        # Spawned rather than forked: Arrow and OpenCV have threads, which do not survive a fork.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (handed,))
        try:
            yield from pool.map(_work, indices, chunksize=_CHUNK)
        except BrokenProcessPool as error:
            raise GeneralistError("a worker process died, perhaps for want of memory; use fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _row(world: World, form: PictureFormat, index: int) -> dict[str, Any]:
    item = world[index]
    return to_row(item, samples_of(item), world.assets, form)


_STARTED: list[tuple[World, PictureFormat]] = []
"""What a worker process makes rows of."""


def _start(handed: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears Ctrl-C, and ends the others
    _STARTED.append(pickle.loads(handed.read_bytes()))


def _work(index: int) -> dict[str, Any]:
    return _row(*_STARTED[0], index)
