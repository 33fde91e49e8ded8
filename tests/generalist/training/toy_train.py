"""``generalist train`` in the toy world, as a program of its own, for tests that start processes.

Arguments: a pickled (assets, menu), then those of ``generalist train``.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from generalist import cli
from generalist.training import train

if __name__ == "__main__":
    assets, menu = pickle.loads(Path(sys.argv[1]).read_bytes())
    toys: dict[str, Any] = {
        "Assets": SimpleNamespace(load=lambda styles, photos: assets),
        "get_split": lambda name: SimpleNamespace(styles=(), photos="train", menu=lambda assets: menu),
        "finish": lambda checkpoint: None,
    }
    vars(train).update(toys)
    cli.main(["train", *sys.argv[2:]])
