"""Starting vLLM: quietly, with the settings that a checkpoint and a machine ask for."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generalist.broken_packages import hide_broken
from generalist.types import GeneralistError
from generalist_serving.engines import usable_engines

PROCESSORS = ("generalist_serving.vllm_plugin.identifiers_v1", "generalist_serving.vllm_plugin.identifiers_v2")
"""Where the logits processor of either model runner is."""

MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an engine is started.

    ``device``: "cpu", "cuda" or "cuda:1". ``dtype``: a name of torch's. ``max_context``: tokens of prompt and reply,
    ``max_images`` of a prompt, ``max_batch`` of requests at once. ``max_adapters``: how many a batch may mix, 0 for
    none at all. ``options`` are further ones of vLLM's ``EngineArgs``, which win.
    """

    folder: Path
    device: str
    dtype: str
    max_context: int
    max_images: int
    max_batch: int
    max_adapters: int
    max_lora_rank: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"


def start(settings: Settings) -> Any:
    """An LLMEngine. Raises :class:`GeneralistError` when vLLM is missing, or was not built for the device."""
    with standard_output_to_error():
        prepare(settings.device)
        return _build(settings)


def stop(engine: Any) -> None:
    """End an LLMEngine, so that another can start in this process."""
    from vllm.distributed import cleanup_dist_env_and_memory

    engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()


def prepare(device: str) -> None:
    """Import vLLM so that it computes on ``device`` and knows our model.

    Raises :class:`GeneralistError` when vLLM is missing, or was not built for the device.
    """
    if reason := usable_engines()["vllm"]:
        raise GeneralistError(reason)
    prepare_environment(device == "cpu")
    hide_broken()
    platform = _platform()
    if platform != device.split(":", maxsplit=1)[0]:
        raise GeneralistError(
            f"device is {device!r}, but the installed vLLM computes on {platform}; use --device {platform}"
        )
    _register()


def prepare_environment(on_cpu: bool) -> None:
    """Variables that vLLM reads; what the user has set stays."""
    wanted = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_LOGGING_STREAM": "ext://sys.stderr", "VLLM_NO_USAGE_STATS": "1"}
    if on_cpu:
        # One process: it starts in half the time, and two cores have nothing to share out.
        wanted |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1"}
    if "VLLM_LOGGING_LEVEL" not in os.environ:  # until vLLM has read it
        logging.getLogger("vllm").addHandler(logging.NullHandler())
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


@contextmanager
def standard_output_to_error() -> Iterator[None]:
    """What libraries print while they start goes to stderr, also what they print from C++."""
    try:
        kept = os.dup(1)
    except OSError:  # closed: then nothing can be printed
        yield
        return
    sys.stdout.flush()
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):  # where Python's own is not that file
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def engine_arguments(settings: Settings) -> dict[str, Any]:
    """The keyword arguments of vLLM's ``EngineArgs``."""
    arguments: dict[str, Any] = {
        "model": str(settings.folder),
        "dtype": settings.dtype,
        "max_model_len": settings.max_context,
        "max_num_seqs": settings.max_batch,
        "limit_mm_per_prompt": {"image": settings.max_images},
        "enable_prefix_caching": True,
        # The grammar's mask comes before these, temperature and top_p behind: what an engine here reports.
        "logprobs_mode": "raw_logprobs",
        # JSON on one line: where spaces are free, a model can go on with them for ever.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "generation_config": "vllm",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    if settings.on_cpu:
        arguments |= {"enforce_eager": True, "block_size": 32}
    elif ":" in settings.device:
        arguments["device_ids"] = [int(settings.device.split(":")[1])]
    if settings.max_adapters:
        arguments |= {
            "enable_lora": True,
            "max_loras": settings.max_adapters,
            "max_lora_rank": settings.max_lora_rank,
            "enable_tower_connector_lora": True,
        }
    return arguments | dict(settings.options)


def _build(settings: Settings) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    config = EngineArgs(**engine_arguments(settings)).create_engine_config()
    add_identifiers(config)
    return LLMEngine.from_vllm_config(config, disable_log_stats=True)


def add_identifiers(config: Any) -> None:
    """Give a VllmConfig the logits processor of identifiers, in the form that its model runner takes."""
    runner = 1 if config.use_v2_model_runner else 0
    config.model_config.logits_processors = [
        *(config.model_config.logits_processors or ()),
        f"{PROCESSORS[runner]}:Identifiers",
    ]


def _platform() -> str:
    """ "cpu", "cuda", ...: what the installed vLLM was built for."""
    from vllm.platforms import current_platform

    return str(current_platform.device_type)


def _register() -> None:
    # vLLM finds the plugin by itself only where the project is installed.
    from generalist_serving.vllm_plugin import register

    register()
