"""vLLM's LoRA on a CPU, repaired where it mixes up requests.

In vLLM 0.32 a request without an adapter has slot -1, which the CPU operations take as an index: the request gets
the adapter of the last slot as soon as any other request of its batch has one (vLLM's pull requests 48421, 49656).
The operations here leave such rows alone. They also multiply once an adapter, where vLLM gathers a copy of the
adapter's weights for every position of the batch.

Shapes: T positions, S slots, r rank, D width of a layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


def repair_if_broken() -> bool:
    """Replace vLLM's operations if this process computes on a CPU and they are wrong; whether it did."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return False
    from vllm.lora.ops import torch_ops
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    if not is_broken(lora_ops):
        return False
    repaired = {"bgmv_shrink": shrink, "bgmv_expand": expand, "bgmv_expand_slice": expand_slice}
    for module in (lora_ops, torch_ops, punica_cpu):  # each has names of its own for them
        for name, operation in repaired.items():
            setattr(module, name, operation)
    _log.info("repaired vLLM's LoRA for CPUs, which gave requests without an adapter that of another request")
    return True


def is_broken(lora_ops: ModuleType) -> bool:
    """Whether a row of slot -1 is changed by the adapter of another slot."""
    row = torch.zeros(1, 1)
    lora_ops.bgmv_shrink(torch.ones(1, 1), torch.ones(2, 1, 1, 1), row, torch.tensor([-1]))
    return bool(row.any())


def shrink(
    inputs: Tensor, lora_b_weights: Tensor, output_tensor: Tensor, lora_indices_tensor: Tensor, scaling: float = 1.0
) -> None:
    """``output_tensor`` [T, r or more] = scaled ``inputs`` [T, D] times A of each row's slot; 0 without one.

    ``lora_b_weights`` [S, 1, r, D] hold A (the name is vLLM's); ``lora_indices_tensor`` int64[T], -1 is no slot.
    """
    rank = lora_b_weights.shape[-2]
    output_tensor[: len(lora_indices_tensor), :rank] = 0
    for slot, rows in _slots(lora_indices_tensor):
        a = lora_b_weights[slot].view(rank, -1).to(output_tensor.dtype)
        output_tensor[rows, :rank] = scaling * (inputs[rows].to(output_tensor.dtype) @ a.T)


def expand(
    inputs: Tensor,
    lora_b_weights: Tensor,
    output_tensor: Tensor,
    lora_indices_tensor: Tensor,
    add_inputs: bool = True,
) -> None:
    """Add to (or write to) ``output_tensor`` [T, D] ``inputs`` [T, r] times B [S, 1, D, r] of each row's slot."""
    # The layer and the adapter may be padded differently.
    width = min(lora_b_weights.shape[-2], output_tensor.shape[1])
    expand_slice(inputs, lora_b_weights, output_tensor, lora_indices_tensor, 0, width, add_inputs)


def expand_slice(
    inputs: Tensor,
    lora_b_weights: Tensor,
    output_tensor: Tensor,
    lora_indices_tensor: Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """:func:`expand` for the columns of ``output_tensor`` from ``slice_offset`` on."""
    target = output_tensor[:, slice_offset : slice_offset + slice_size]
    if not add_inputs:
        target[: len(lora_indices_tensor)] = 0
    rank = lora_b_weights.shape[-1]
    for slot, rows in _slots(lora_indices_tensor):
        b = lora_b_weights[slot].view(-1, rank)[:slice_size].to(target.dtype)
        target[rows] += inputs[rows].to(target.dtype) @ b.T


def _slots(indices: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Every slot in use, and the rows that use it."""
    for slot in indices.unique().tolist():
        if slot >= 0:
            yield slot, (indices == slot).nonzero().flatten()
