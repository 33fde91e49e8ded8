"""Adapters by name: which are loaded, and which folders vLLM could not serve.

vLLM keeps what it computed with an adapter under the adapter's name, so a name that is loaded again stands for
another adapter: each loading gets a number, and names inside vLLM carry it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from generalist.model.checkpoint import WEIGHTS as BASE_WEIGHTS
from generalist.types import GeneralistError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_PREFIX = "base_model.model."
_PARTS = ("A.weight", "B.weight")  # [rank, in] and [out, rank]

_PLAIN_BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
_ADVICE = "export the adapter as plain LoRA of linear layers"
_REFUSED: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("peft_type", lambda value: value != "LORA"),
    ("modules_to_save", bool),
    ("use_dora", bool),
    ("lora_bias", bool),
    ("bias", lambda value: value not in (None, "none")),
    ("init_lora_weights", lambda value: isinstance(value, str) and value.lower() not in _PLAIN_BEGINNINGS),
    ("alora_invocation_tokens", bool),
    ("layer_replication", bool),
    ("use_bdlora", bool),
    ("use_qalora", bool),
)
"""Fields of PEFT's configuration, and when vLLM cannot serve their value."""


class Adapters:
    """The adapters of one engine over the checkpoint in ``base``. Safe to share between threads."""

    def __init__(self, base: Path, max_rank: int) -> None:
        self._base = base
        self._max_rank = max_rank
        self._loaded: dict[str, Any] = {}
        self._count = 0
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def get(self, name: str | None) -> Any:
        """The LoRARequest of ``name``, None for None; raises :class:`GeneralistError` when it is not loaded."""
        if name is None:
            return None
        found = self._loaded.get(name)
        if found is None:
            raise not_loaded(name, self.names)
        return found

    def load(self, name: str, folder: str | Path, add: Callable[[Any], object]) -> Any:
        """Check ``folder``, ``add`` its LoRARequest to vLLM, and keep it; the one that ``name`` stood for before."""
        from vllm.lora.request import LoRARequest

        check_adapter(folder, self._base, self._max_rank)
        with self._lock:
            self._count += 1
            number = self._count
        request = LoRARequest(lora_name=f"{name}@{number}", lora_int_id=number, lora_path=str(Path(folder).resolve()))
        try:
            add(request)
        except GeneralistError as error:
            raise GeneralistError(f"{folder}: {error}") from error
        except (ValueError, KeyError, AssertionError, IndexError, RuntimeError) as error:
            raise GeneralistError(f"{folder}: vLLM cannot load this adapter ({_line(error)}); {_ADVICE}") from error
        with self._lock:
            before = self._loaded.get(name)
            self._loaded[name] = request
        return before

    def unload(self, name: str) -> Any:
        """Forget ``name``; its LoRARequest. Raises :class:`GeneralistError` when it is not loaded."""
        with self._lock:
            if name not in self._loaded:
                raise not_loaded(name, self.names)
            return self._loaded.pop(name)


def not_loaded(name: str, loaded: tuple[str, ...]) -> GeneralistError:
    if not loaded:
        return GeneralistError(f"adapter {name!r} is not loaded; this engine runs the base model alone")
    return GeneralistError(f"adapter {name!r} is not loaded; use one of {', '.join(sorted(loaded))}")


def check_adapter(folder: str | Path, base: Path, max_rank: int) -> None:
    """Raises :class:`GeneralistError` when vLLM cannot serve the adapter of ``folder`` with the checkpoint ``base``."""
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GeneralistError(f"{path}: cannot be read ({error.strerror}); name an adapter's folder") from error
    except ValueError as error:
        raise GeneralistError(f"{path}: not readable as JSON ({_line(error)}); restore the file") from error
    if not isinstance(config, dict):
        raise GeneralistError(f"{path}: holds a JSON {type(config).__name__}, not an object; restore the file")
    for field, is_refused in _REFUSED:
        if is_refused(config.get(field)):
            raise GeneralistError(f"{path}: {field} is {config.get(field)!r}, which vLLM cannot serve; {_ADVICE}")
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if wrong := [rank for rank in ranks if not isinstance(rank, int) or rank < 1]:
        raise GeneralistError(f"{path}: the rank is {wrong[0]!r}; restore the file")
    if not max_rank:
        raise GeneralistError(f"{folder}: this engine takes no adapters; start it with max_adapters=1 or more")
    if max(ranks) > max_rank:
        raise GeneralistError(
            f"{path}: the rank is {max(ranks)}, the engine was started for at most {max_rank}; start it with "
            f"max_lora_rank={max(ranks)} or more"
        )
    _check_shapes(Path(folder) / WEIGHTS, base / BASE_WEIGHTS)


def _check_shapes(path: Path, base: Path) -> None:
    """vLLM would take tensors that are too small for a layer, and change a corner of it."""
    shapes, layers = _shapes(path), _shapes(base)
    if not shapes:
        raise GeneralistError(f"{path}: holds no weights; restore the file")
    for name in shapes:
        layer, found, part = name.removeprefix(_PREFIX).partition(".lora_")
        if not found or part not in _PARTS:
            raise GeneralistError(f"{path}: holds {name!r}, which is no LoRA weight that vLLM can serve; {_ADVICE}")
        outer = layers.get(f"{layer}.weight", ())
        inner = [shapes.get(f"{_PREFIX}{layer}.lora_{half}", ()) for half in _PARTS]
        if len(outer) != 2:
            raise GeneralistError(f"{path}: changes {layer!r}, which is no linear layer of {base}; {_ADVICE}")
        rank = inner[0][0] if inner[0] else 0
        if inner != [(rank, outer[1]), (outer[0], rank)]:
            raise GeneralistError(
                f"{path}: the weights for {layer!r} are {inner[0]} and {inner[1]}, the layer is {outer}; "
                "use an adapter that was made for this model"
            )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise GeneralistError(f"{path}: no such file; name an adapter's folder (only safetensors is read)")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise GeneralistError(f"{path}: not readable as safetensors ({_line(error)}); fetch the file again") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
