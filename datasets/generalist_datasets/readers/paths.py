"""Finding the picture that an annotation names. A name is data from outside: it may be anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

LONGEST_NAME = 4096
"""Characters; what Linux takes as a path."""


def resolve_image(name: str, folders: Sequence[Path]) -> Path | None:
    r"""The existing file that ``name`` means, or None. Never raises, opens nothing.

    Tries ``name`` as given relative to each of ``folders`` in their order (an absolute name stands for itself),
    then its base name in each of them. ``\`` counts as ``/`` where the name as given finds nothing. Refused: an
    empty name, NUL, more than ``LONGEST_NAME`` characters, and URLs. A folder, a socket or a pipe is not a picture.

        resolve_image("train2017/000000000009.jpg", [root, root / "images"])  # root/images/000000000009.jpg, say
    """
    if not name or "\0" in name or "://" in name or len(name) > LONGEST_NAME:
        return None
    slashed = name.replace("\\", "/")
    for candidate in dict.fromkeys((name, slashed, slashed.rpartition("/")[2])):  # each once, in this order
        if not candidate:
            continue
        for folder in folders:
            path = os.path.join(folder, candidate)
            if os.path.isfile(path):  # False, not an error, for over-long and undecodable names
                return Path(path)
    return None
