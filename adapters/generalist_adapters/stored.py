"""Adapters on disk: finding them, writing one into a model's weights, taking out what one task needs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from generalist.adapter_folder import CONFIG, WEIGHTS, read_config, read_weights
from generalist.adapter_spec import SPEC, AdapterSpec, check_vocabulary, read_spec
from generalist.model import Checkpoint, load_checkpoint, save_checkpoint
from generalist.pipeline import resolve_model
from generalist.types import GeneralistError
from generalist_adapters import full
from generalist_adapters.own_file import read_own

_METRICS = "metrics.json"
_READER = "merging"
_CARD = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An adapter of a folder; ``spec`` None for plain PEFT. ``metrics``: what its training has measured, if known."""

    folder: Path
    spec: AdapterSpec | None
    metrics: dict[str, Any]


def find(folder: Path) -> list[Stored]:
    """The adapters in a folder: itself, those directly in it, and the tasks of each. Raises for a broken one."""
    if not folder.is_dir():
        raise GeneralistError(f"{folder}: no such folder; name one with adapters")
    places = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith("."))]
    places += [path for place in places[1:] for path in sorted(place.iterdir()) if path.is_dir()]
    return [
        Stored(folder=place, spec=read_spec(place), metrics=_metrics(place))
        for place in places
        if (place / SPEC).is_file() or (place / CONFIG).is_file()
    ]


def find_one(folder: Path, task: str | None = None) -> Stored:
    """The adapter of a folder; of several, as MTLoRA leaves them, that of ``task``."""
    found = find(folder)
    if not found:
        raise GeneralistError(f"{folder} holds no adapter; name a folder with {CONFIG} or {SPEC}")
    fitting = [one for one in found if task is None or one.spec is None or not one.spec.tasks or task in one.spec.tasks]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(str(one.folder) for one in found)
    wish = "" if task is None else f" for the task {task!r}"
    raise GeneralistError(f"{folder} holds {len(fitting)} adapters{wish}; name a task, or one of {known}")


def export(folder: Path, task: str | None, out: Path) -> Path:
    """Copy what peft and vLLM read of one adapter, and its ``adapter.json``, into a new folder."""
    stored = find_one(folder, task)
    _check_new(out)
    if not (stored.folder / CONFIG).is_file():
        method = stored.spec.method if stored.spec else "?"
        raise GeneralistError(f"{stored.folder}: the method {method!r} gives no LoRA; export LoRA or MTLoRA")
    read_config(stored.folder, "export")
    beside = _beside(out)
    for name in (CONFIG, WEIGHTS, SPEC):
        if (stored.folder / name).is_file():
            shutil.copy2(stored.folder / name, beside / name)
    beside.rename(out)
    return out


def merge(folder: Path, task: str | None, out: Path, model: str | None = None) -> Path:
    """Write a checkpoint with an adapter in its weights, in float32 as small updates are lost in less.

    ``model``: the base, by default the one that the adapter names.
    """
    stored = find_one(folder, task)
    _check_new(out)
    base = model or (stored.spec.base if stored.spec else "")
    if not base:
        raise GeneralistError(f"{stored.folder} does not say which model it is for; name it with --model")
    checkpoint = load_checkpoint(resolve_model(base), dtype=torch.float32)
    check_vocabulary(stored.folder, checkpoint.vocabulary.hash)
    if (stored.folder / CONFIG).is_file():
        _add_lora(stored.folder, checkpoint, base)
    elif stored.spec is not None and stored.spec.method == full.Full.name:
        _replace(stored.folder / full.FILE, checkpoint)
    else:
        method = stored.spec.method if stored.spec else "?"
        raise GeneralistError(f"{stored.folder}: an adapter of the method {method!r} cannot be merged into weights")
    beside = _beside(out)
    for path in checkpoint.folder.iterdir():  # codecs, scores, names: what a checkpoint has besides the model
        if path.is_file() and path.name != _CARD:
            shutil.copy2(path, beside / path.name)
    save_checkpoint(beside, checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    name = stored.spec.name if stored.spec else stored.folder.name
    (beside / _CARD).write_text(f"# {name}\n\n`{base}` with the adapter `{name}` in its weights.\n", encoding="utf-8")
    beside.rename(out)
    return out


@torch.no_grad()
def _add_lora(folder: Path, checkpoint: Checkpoint, base: str) -> None:
    linears = {name: one for name, one in checkpoint.model.named_modules() if isinstance(one, nn.Linear)}
    shapes = {name: tuple(linear.weight.shape) for name, linear in linears.items()}
    for layer, found in read_weights(folder, read_config(folder, _READER), shapes, base, _READER).items():
        linears[layer].weight += found.scale * found.b.float() @ found.a.float()


@torch.no_grad()
def _replace(path: Path, checkpoint: Checkpoint) -> None:
    tensors, _ = read_own(path)
    parameters = dict(checkpoint.model.named_parameters())
    for name, tensor in tensors.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise GeneralistError(f"{path}: {name!r:.200} does not fit the model; use the one that it was trained on")
        parameters[name].copy_(tensor)


def _metrics(folder: Path) -> dict[str, Any]:
    """What is beside an adapter, or above that of a task; {} for nothing that can be read."""
    for place in (folder, folder.parent):
        try:
            content = json.loads((place / _METRICS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return content if isinstance(content, dict) else {}
    return {}


def _check_new(out: Path) -> None:
    if out.exists():
        raise GeneralistError(f"--out {out} is there already; name a new folder")


def _beside(out: Path) -> Path:
    """A new folder to write into and to rename to ``out``."""
    beside = out.parent / f".{out.name}.part"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise GeneralistError(f"--out {out}: cannot write there ({error.strerror}); name another folder") from error
    return beside
