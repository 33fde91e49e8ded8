"""Makes a stock vLLM serve this project's checkpoints.

vLLM finds :func:`register` through the entry point group ``vllm.general_plugins`` and calls it in each of its
processes, before it reads a model's configuration.
"""

from __future__ import annotations

ARCHITECTURE = "GeneralistForConditionalGeneration"


def register() -> None:
    """Tell transformers and vLLM about the model; may be called any number of times."""
    from vllm import ModelRegistry

    import generalist.model
    from generalist_serving.vllm_plugin import cpu_lora, grammars

    generalist.model.register()
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        # By name, so that a process that only reads configurations does not import the model.
        ModelRegistry.register_model(ARCHITECTURE, f"{__name__}.model:{ARCHITECTURE}")
    cpu_lora.repair_if_broken()
    grammars.repair_if_broken()
