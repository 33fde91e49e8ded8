"""Suites by name, and those of people's own folders. Nothing is imported that composes or reads before it is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from generalist.evaluation.cases import Case, Suite
from generalist.types import GeneralistError

if TYPE_CHECKING:
    from generalist_datasets.readers import Options

_SUMMARIES = {
    "compositions": "composed scenes: what is trained on, in new scenes before new photographs",
    "attributes": "composed scenes: solids in pairs of colour and shape never trained on",
    "style": "composed scenes: an art style never trained on",
    "concepts": "composed scenes: concepts never trained on",
}
"""Evaluation split of the world -> what it is."""

_ALIASES = {"world": "world/compositions"}


def _world_cases(split: str, size: tuple[int, int] | None, limit: int | None) -> Iterator[Case]:
    try:
        from generalist.evaluation.suites.world import DEFAULT_SIZE, world_suite
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return world_suite(split, size=size or DEFAULT_SIZE).cases(limit)


def _world(split: str, size: tuple[int, int] | None = None) -> Suite:
    name = f"world/{split}" + (f"@{size[0]}x{size[1]}" if size else "")
    return Suite(name=name, summary=_SUMMARIES[split], cases=partial(_world_cases, split, size))


SUITES: dict[str, Suite] = {suite.name: suite for suite in map(_world, _SUMMARIES)}
"""The suites that need no files of one's own, by name."""


def get_suite(
    name: str | Path,
    *,
    format: str | None = None,
    options: Options | None = None,
    split: str | None = None,
    size: tuple[int, int] | None = None,
) -> Suite:
    """The suite called ``name``, or the labelled pictures at the path ``name``.

    Args:
        name: of ``SUITES``, "world" for short, or a path; a folder called like a suite is found as ``./world``.
        format, options, split: of a folder; see :func:`~generalist.evaluation.suites.folder.folder_suite`.
        size: (W, H) of the pictures of composed scenes; 224 x 224 by default.

    Raises:
        GeneralistError: there is neither; the path is in no known format; an argument is for the other kind.
    """
    known = _ALIASES.get(str(name), str(name))
    if known in SUITES:
        if format is not None or split is not None or not _is_default(options):
            raise GeneralistError(
                f"{name}: a format, pictures, a depth scale and a split are of folders; leave them out"
            )
        return SUITES[known] if size is None else _world(known.partition("/")[2], size)
    if not os.path.exists(name):
        raise GeneralistError(
            f"there is no suite {str(name)[:200]!r} and nothing at that path; use {', '.join(SUITES)}, or a folder"
        )
    if size is not None:
        raise GeneralistError(f"{name}: a size is for composed scenes; pictures of a folder have their own")
    try:
        from generalist.evaluation.suites.folder import folder_suite
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return folder_suite(Path(name), format, options, split=split)


def _is_default(options: Options | None) -> bool:
    return options is None or (options.images is None and options.depth_scale is None)


def _not_installed(error: ModuleNotFoundError) -> GeneralistError | ModuleNotFoundError:
    """What to say of a package that is missing; ``error`` itself where it is one of our own modules."""
    if (error.name or "").startswith("generalist"):
        return error
    return GeneralistError(f"{error.name} is not installed; pip install 'generalist[train]' brings it")
