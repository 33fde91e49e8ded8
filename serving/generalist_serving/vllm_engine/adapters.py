"""Adapters by name: which are loaded, and which folders vLLM could not serve.

vLLM keeps what it computed with an adapter under the adapter's name, so a name that is loaded again stands for
another adapter: each loading gets a number, and names inside vLLM carry it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from generalist.adapter_folder import read_config, read_weights
from generalist.adapter_spec import check_vocabulary, one_line
from generalist.engine import not_loaded
from generalist.model.checkpoint import WEIGHTS as BASE_WEIGHTS
from generalist.types import GeneralistError

_ADVICE = "export the adapter as plain LoRA of linear layers"


class Adapters:
    """The adapters of one engine over the checkpoint in ``base``. Safe to share between threads."""

    def __init__(self, base: Path, max_rank: int, vocab_hash: str | None = None) -> None:
        self._base = base
        self._vocab_hash = vocab_hash
        self._max_rank = max_rank
        self._loaded: dict[str, Any] = {}
        self._count = 0
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    @property
    def folders(self) -> dict[str, str]:
        """Name -> folder."""
        return {name: one.lora_path for name, one in self._loaded.items()}

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

        check_adapter(folder, self._base, self._max_rank, self._vocab_hash)
        with self._lock:
            self._count += 1
            number = self._count
        request = LoRARequest(lora_name=f"{name}@{number}", lora_int_id=number, lora_path=str(Path(folder).resolve()))
        try:
            add(request)
        except GeneralistError as error:
            raise GeneralistError(f"{folder}: {error}") from error
        except (ValueError, KeyError, AssertionError, IndexError, RuntimeError) as error:
            raise GeneralistError(f"{folder}: vLLM cannot load this adapter ({one_line(error)}); {_ADVICE}") from error
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


def check_adapter(folder: str | Path, base: Path, max_rank: int, vocab_hash: str | None = None) -> None:
    """Raises :class:`GeneralistError` when vLLM cannot serve the adapter of ``folder`` with the checkpoint ``base``.

    ``vocab_hash``: of the checkpoint's vocabulary; None does not look.
    """
    config = read_config(folder, "vLLM")
    if not max_rank:
        raise GeneralistError(f"{folder}: this engine takes no adapters; start it with max_adapters=1 or more")
    if config.max_rank > max_rank:
        raise GeneralistError(
            f"{config.path}: the rank is {config.max_rank}, the engine was started for at most {max_rank}; start it "
            f"with max_lora_rank={config.max_rank} or more"
        )
    if vocab_hash is not None:
        check_vocabulary(folder, vocab_hash)
    weights = read_weights(folder, config, _layers(base / BASE_WEIGHTS), "the model", "vLLM")
    plain = replace(config, rank_pattern={}, alpha_pattern={}).scale_of("")
    for layer, update in weights.items():
        if not math.isclose(update.scale, plain):
            raise GeneralistError(
                f"{config.path}: the scale of {layer!r} is {update.scale:g} and that of others {plain:g}, which vLLM "
                "cannot serve; export the adapter with one rank and one lora_alpha"
            )


def _layers(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a checkpoint's weights by the names of their layers."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.endswith(".weight")]  # noqa: SIM118 - no mapping
            return {name.removesuffix(".weight"): tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise GeneralistError(
            f"{path}: not readable as safetensors ({one_line(error)}); fetch the file again"
        ) from error
