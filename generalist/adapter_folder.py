"""A folder with a LoRA adapter in PEFT's format, read strictly: what it is, and whether it fits a model.

``adapter_config.json`` and ``adapter_model.safetensors`` are PEFT's; ``adapter.json`` (:mod:`generalist.adapter_spec`)
may lie beside them. Only plain LoRA of linear layers is taken, which every engine can add to its base row by row. All
that is wrong is a :class:`~generalist.types.GeneralistError` of one line that names the file.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generalist.adapter_spec import MAX_RANK, is_number, is_whole, one_line, read_object
from generalist.types import GeneralistError

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HEAD = "head.safetensors"
"""A visual head (:mod:`generalist.heads`), which stands alone: no LoRA lies beside it."""

_PREFIX = "base_model.model."
_HALVES = ("A.weight", "B.weight")  # [rank, in] and [out, rank]
_FLOATS = ("F16", "BF16", "F32", "F64")
_PATTERN = re.compile(r"[\w.^\\-]{1,300}")  # names of layers: nothing that takes long to match

_PLAIN_BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
_ADVICE = "export the adapter as plain LoRA of linear layers"
_REFUSED: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("peft_type", lambda value: value != "LORA"),
    ("modules_to_save", bool),
    ("use_dora", bool),
    ("lora_bias", bool),
    ("bias", lambda value: value not in (None, "none")),
    ("init_lora_weights", lambda value: isinstance(value, str) and value.lower() not in _PLAIN_BEGINNINGS),
    ("fan_in_fan_out", bool),
    ("target_parameters", bool),
    ("alora_invocation_tokens", bool),
    ("layer_replication", bool),
    ("use_bdlora", bool),
    ("use_qalora", bool),
    ("arrow_config", bool),
    ("kasa_config", bool),
)
"""Fields of PEFT's configuration, and when their value is not plain LoRA."""


def has_head(folder: str | Path) -> bool:
    """Whether the adapter of a folder is a visual head."""
    return os.path.isfile(os.path.join(folder, HEAD))  # unlike Path.is_file, False for a name that no file can have


def check_servable(folder: str | Path, engine: str) -> None:
    """Raises :class:`GeneralistError` for a folder without an adapter that an engine of this name can serve."""
    if not has_head(folder):
        read_config(folder, "this program")
    elif engine != "transformers":
        raise _head_refused(folder, f"the engine {engine}")


def _head_refused(folder: str | Path, reader: str) -> GeneralistError:
    return GeneralistError(f"{folder} holds a visual head, which {reader} cannot serve; use the engine transformers")


# --- PEFT's configuration ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """What PEFT's configuration says of ranks and scales, for all layers and for those of a pattern."""

    path: Path
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    use_rslora: bool = False

    @property
    def max_rank(self) -> int:
        return max(self.rank, *self.rank_pattern.values()) if self.rank_pattern else self.rank

    def rank_of(self, layer: str) -> int:
        return _of_pattern(self.rank_pattern, layer, self.rank)

    def scale_of(self, layer: str) -> float:
        """What the update of a layer is multiplied by: alpha / rank, or alpha / sqrt(rank) (rank-stabilised LoRA)."""
        rank = self.rank_of(layer)
        return _of_pattern(self.alpha_pattern, layer, self.alpha) / (math.sqrt(rank) if self.use_rslora else rank)


def read_config(folder: str | Path, reader: str) -> LoraConfig:
    """PEFT's configuration; :class:`GeneralistError` for what is not plain LoRA. ``reader``: who cannot serve that."""
    path = Path(folder) / CONFIG
    if has_head(folder):
        raise _head_refused(folder, reader)
    content = read_object(path)
    for name, is_refused in _REFUSED:
        if is_refused(content.get(name)):
            raise GeneralistError(
                f"{path}: {name} is {content.get(name)!r:.80}, which {reader} cannot serve; {_ADVICE}"
            )
    patterns = {name: content.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
    for name, pattern in patterns.items():
        if not isinstance(pattern, dict) or not all(_is_pattern(one) for one in pattern):
            raise GeneralistError(f"{path}: {name} is {pattern!r:.80}; use names of layers, without wildcards")
    ranks = [content.get("r"), *patterns["rank_pattern"].values()]
    if wrong := [rank for rank in ranks if not is_whole(rank) or not 1 <= rank <= MAX_RANK]:
        raise GeneralistError(f"{path}: the rank is {wrong[0]!r:.80}; use 1 to {MAX_RANK}")
    alphas = [content.get("lora_alpha"), *patterns["alpha_pattern"].values()]
    if wrong := [alpha for alpha in alphas if not is_number(alpha)]:
        raise GeneralistError(f"{path}: lora_alpha is {wrong[0]!r:.80}; use a number")
    rslora = bool(content.get("use_rslora"))
    return LoraConfig(path=path, rank=ranks[0], alpha=alphas[0], use_rslora=rslora, **patterns)


def _of_pattern(pattern: Mapping[str, Any], layer: str, default: Any) -> Any:
    # As PEFT reads them: the first that the name ends with.
    return next((value for one, value in pattern.items() if re.match(rf"(.*\.)?({one})$", layer)), default)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return bool(_PATTERN.fullmatch(text))


# --- the weights ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoraWeights:
    """The update of a linear layer, ``x -> scale * x A^T B^T``: ``a`` [rank, in], ``b`` [out, rank], on the CPU."""

    a: Tensor
    b: Tensor
    scale: float


def read_weights(
    folder: str | Path, config: LoraConfig, layers: Mapping[str, tuple[int, ...]], base: str, reader: str
) -> dict[str, LoraWeights]:
    """The updates by the name of their layer, all finite and as large as their layer.

    ``layers``: the shapes [out, in] of the model's linear layers by name; ``base``: what errors call the model, and
    ``reader`` the engine. Raises :class:`GeneralistError`; weights are read only once their shapes are known to fit.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise GeneralistError(f"{path}: no such file; name an adapter's folder (only safetensors is read)")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            shapes = {name: tuple(one.get_shape()) for name, one in slices.items()}
            changed = _changed_layers(path, shapes, config, layers, base, reader)
            if wrong := [name for name, one in slices.items() if one.get_dtype() not in _FLOATS]:
                raise GeneralistError(f"{path}: {wrong[0]!r:.200} holds no floating point numbers; {_ADVICE}")
            halves = {layer: [file.get_tensor(_half(layer, half)) for half in _HALVES] for layer in changed}
    except GeneralistError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise GeneralistError(
            f"{path}: not readable as safetensors ({one_line(error)}); fetch the file again"
        ) from error
    for layer, tensors in halves.items():
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise GeneralistError(f"{path}: the weights for {layer!r} are not finite; train the adapter anew")
    return {layer: LoraWeights(a=a, b=b, scale=config.scale_of(layer)) for layer, (a, b) in halves.items()}


def _changed_layers(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    config: LoraConfig,
    layers: Mapping[str, tuple[int, ...]],
    base: str,
    reader: str,
) -> list[str]:
    """The layers that tensors of these shapes change; every shape is looked at, as engines may not."""
    if not shapes:
        raise GeneralistError(f"{path}: holds no weights; restore the file")
    changed: dict[str, None] = {}
    for name in shapes:
        layer, found, part = name.removeprefix(_PREFIX).partition(".lora_")
        if not name.startswith(_PREFIX) or not found or part not in _HALVES:
            raise GeneralistError(
                f"{path}: holds {name!r:.200}, which is no LoRA weight that {reader} can serve; {_ADVICE}"
            )
        outer, inner = layers.get(layer, ()), [shapes.get(_half(layer, half), ()) for half in _HALVES]
        if len(outer) != 2:
            raise GeneralistError(f"{path}: changes {layer!r:.200}, which is no linear layer of {base}; {_ADVICE}")
        rank = config.rank_of(layer)
        if inner != [(rank, outer[1]), (outer[0], rank)]:
            raise GeneralistError(
                f"{path}: the weights for {layer!r} (rank {rank}) are {inner[0]} and {inner[1]}, the layer is {outer}; "
                "use an adapter that was made for this model"
            )
        changed[layer] = None
    return list(changed)


def _half(layer: str, half: str) -> str:
    return f"{_PREFIX}{layer}.lora_{half}"
