"""vLLM behind the project's engine protocol.

``engine`` is what callers use; ``loop`` the thread that owns vLLM; ``start`` how vLLM is started; ``reading`` what
a checkpoint says about prompts; ``requests`` what goes in and comes out; ``adapters`` which adapters there are. None
imports vLLM before an engine is made. ``generalist_serving.vllm_backend`` puts the same parts around vLLM's own server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generalist_serving.vllm_engine.engine import VllmEngine

__all__ = ["VllmEngine"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use: it imports torch
        from generalist_serving.vllm_engine.engine import VllmEngine

        return VllmEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
