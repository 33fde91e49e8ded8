"""Codec files: a safetensors file in half precision, checked in full when read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from generalist.types import GeneralistError


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write ``tensors`` as float16; an interruption leaves the former file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Not save_file, whose files only their owner may read.
        beside.write_bytes(save({name: t.detach().half().cpu().contiguous() for name, t in tensors.items()}))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Tensor]:
    """The file's tensors as float32; raises :class:`GeneralistError` when it is missing or damaged."""
    if not path.is_file():
        raise GeneralistError(f"{path}: no such file; use a complete checkpoint or fit the codec")
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors has an error type of its own, beside OSError and ValueError
        raise GeneralistError(f"{path}: not a readable safetensors file ({error}); restore it") from error
    return {name: t.float() for name, t in tensors.items()}


def check(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises :class:`GeneralistError` that lists every missing, extra, misshapen or non-finite tensor."""
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} does not belong" for name in tensors if name not in expected]
    for name, shape in expected.items():
        found = tensors.get(name)
        if found is None:
            continue
        if tuple(found.shape) != shape:
            faults.append(f"{name} is {list(found.shape)}, not {list(shape)}")
        elif not torch.isfinite(found).all():
            faults.append(f"{name} holds values that are not finite")
    if faults:
        raise GeneralistError(f"{path}: {'; '.join(faults)}; use the codec that the checkpoint was made with")
