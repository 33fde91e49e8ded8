"""Files of what is no LoRA: tensors in one safetensors file, read strictly, beside an ``adapter.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from generalist.adapter_spec import AdapterSpec, one_line, write_spec
from generalist.types import GeneralistError
from generalist_adapters.attached import SpecFields


def write_own(
    folder: Path, file: str, tensors: Mapping[str, torch.Tensor], method: str, fields: SpecFields, tasks: Sequence[str]
) -> Path:
    """Write ``file`` and ``adapter.json`` for a method that is no LoRA; the folder."""
    spec = AdapterSpec(**fields, method=method, rank=0, alpha=0.0, targets=(), tasks=tuple(tasks))
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / file, tensors)
    write_spec(folder, spec)
    return folder


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(copies, part, metadata={"format": "pt", **(metadata or {})})
    part.replace(path)


def read_own(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file, all finite, and its metadata. Raises :class:`GeneralistError` for anything else."""
    if not path.is_file():
        raise GeneralistError(f"{path}: no such file; name an adapter's folder (only safetensors is read)")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise GeneralistError(
            f"{path}: not readable as safetensors ({one_line(error)}); fetch the file again"
        ) from error
    if wrong := [name for name, t in tensors.items() if not t.is_floating_point() or not bool(t.isfinite().all())]:
        raise GeneralistError(f"{path}: {wrong[0]!r:.200} holds no finite numbers; train the adapter anew")
    return tensors, metadata
