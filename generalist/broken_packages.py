"""Packages that are installed but cannot be imported, hidden from libraries that would trip over them.

vLLM's build for CPUs brings torchvision, torchaudio and torchcodec whose builds for GPUs cannot be loaded beside
torch for CPUs. transformers and vLLM look whether they are installed and then import them; without them, both do
all that is needed here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

STARTUP = Path(__file__).parent / "startup"
VARIABLE = "GENERALIST_HIDDEN_PACKAGES"

_hidden: dict[str, str] = {}


def hide_broken(names: Iterable[str] = ("torchvision", "torchaudio", "torchcodec")) -> dict[str, str]:
    """Make those of ``names`` that are broken look as if they were not installed; all hidden so far, with the reason.

    In this process, and in those of the same Python environment that it starts: vLLM starts several.
    """
    for name in names:
        reason = _why_broken(name)
        if reason is not None:
            _hide(name)
            _hidden[name] = reason
    if _hidden:
        _tell_processes()
    return dict(_hidden)


def _why_broken(name: str) -> str | None:
    if find_spec(name) is None:
        return None
    try:
        import_module(name)
    except Exception as error:  # whatever its C++ libraries raise
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


def _hide(name: str) -> None:
    for loaded in [module for module in sys.modules if module.startswith(f"{name}.")]:
        del sys.modules[loaded]
    sys.modules[name] = None  # type: ignore[assignment]  # find_spec then finds nothing
    # transformers remembers what it found.
    seen: Any = sys.modules.get("transformers.utils.import_utils")
    for question in (f"is_{name}_available", f"is_{name}_v2_available"):
        forget = getattr(getattr(seen, question, None), "cache_clear", None)
        if forget is not None:
            forget()


def _tell_processes() -> None:
    """Python imports ``sitecustomize`` before anything else: here the one in ``startup``, which reads a variable."""
    os.environ[VARIABLE] = os.pathsep.join([sys.prefix, *_hidden])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(STARTUP) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(STARTUP), *filter(None, paths)])
