"""The one folder that a server opens indexes from: each lies directly in it, and nothing outside of it is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from generalist.index import MANIFEST
from generalist.types import GeneralistError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def find_indexes(root: Path | None) -> dict[str, Path]:
    """The folders of all indexes directly in ``root``, by their names; none without a root.

    A folder with an index's manifest is one; what else lies there is left alone. Raises :class:`GeneralistError` for a
    root that is no folder, and for an index whose name cannot stand in a URL or whose files lie elsewhere, links
    followed.
    """
    if root is None:
        return {}
    try:
        real_root = Path(os.path.realpath(root))
        entries = sorted(entry for entry in real_root.iterdir() if os.path.lexists(entry / MANIFEST))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"--indexes {root}: cannot read this folder ({reason}); name one of indexes") from error
    for entry in entries:
        if not _NAME.fullmatch(entry.name):
            raise GeneralistError(
                f"{entry}: the name {entry.name[:80]!r} does not fit into a URL; use up to 64 letters, digits, "
                "'.', '_', '-'"
            )
        _check_inside(entry)
    return {entry.name: entry for entry in entries}


def _check_inside(folder: Path) -> None:
    """Raises :class:`GeneralistError` when any part of an index is a link to somewhere else."""
    if Path(os.path.realpath(folder)) != folder:
        raise GeneralistError(f"{folder}: this index is a link to another place; copy it there")
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if not Path(os.path.realpath(Path(place, name))).is_relative_to(folder):
                raise GeneralistError(f"{Path(place, name)}: this link leads out of its index; copy the file there")
