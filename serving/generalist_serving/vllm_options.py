"""vLLM's options for a server: ours as its own, those behind ``--``, and what it would do unsafely by default."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any, NoReturn

from generalist.pipeline import resolve_model
from generalist.types import GeneralistError
from generalist_serving.api.settings import Settings
from generalist_serving.engines import vllm_device
from generalist_serving.vllm_engine import start
from generalist_serving.vllm_engine.reading import Reader

if TYPE_CHECKING:
    from generalist_serving.serve import ServeOptions

OURS = {
    "model": "--model",
    "model_tag": "--model",
    "served_model_name": "--model",
    "host": "--host",
    "port": "--port",
    "api_key": "--api-key-file",
    "max_num_seqs": "--max-batch",
    "max_num_queued_reqs": "--max-queue",
    "lora_modules": "--adapters",
}
"""Options of vLLM's that have another name here."""

CLOSED = (
    # our app answers in place of vLLM's process, and has one
    *("uds", "grpc", "grpc_port", "headless", "api_server_count", "tokens_only", "root_path"),
    *("data_parallel_multi_port_external_lb", "enable_request_id_headers", "shutdown_timeout"),
    *("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "enable_ssl_refresh", "ssl_cert_reqs", "ssl_ciphers"),
    *("h11_max_incomplete_event_size", "h11_max_header_count", "uvicorn_log_level", "disable_uvicorn_access_log"),
    "disable_access_log_for_endpoints",
    # they would hold for some routes only
    *("middleware", "allowed_origins", "allow_credentials", "allowed_methods", "allowed_headers"),
    "enable_offline_docs",
    # what requests may make the server read and run
    *("trust_remote_code", "trust_request_chat_template", "trust_request_mm_kwargs", "allowed_local_media_path"),
    *("allowed_media_domains", "enable_mm_embeds", "enable_prompt_embeds", "tool_server", "worker_extension_cls"),
    # what a reply, its scores and its grammar need
    *("logprobs_mode", "generation_config", "tokenizer", "skip_tokenizer_init", "runner", "convert"),
)
"""Options of vLLM's that this server sets, or leaves alone."""

MIXED_ADAPTERS = 8
MAX_LORA_RANK = 64
"""How many adapters a batch may mix, and how large they may be, unless vLLM's options say so."""

_UNSET: list[object] = []
"""A list, because vLLM appends to the defaults of some options."""

_SAFE = {
    "VLLM_SERVER_DEV_MODE": "0",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "0",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "0",
}
"""Switches of vLLM's that would open what is closed here."""


def read_arguments(options: ServeOptions, settings: Settings) -> Namespace:
    """The arguments of vLLM's server; imports vLLM. :class:`GeneralistError` for options that it does not take."""
    if os.environ.get("VLLM_API_KEY"):
        raise GeneralistError("VLLM_API_KEY is set; unset it, and give the key with --api-key-file")
    device = vllm_device() if options.device == "auto" else options.device
    with start.standard_output_to_error():
        start.prepare(device)
    defaults = _defaults(options, settings, device)
    parser = _parser()
    parser.set_defaults(**defaults)
    before = {name: parser.get_default(name) for name in (*OURS, *CLOSED)}
    parser.set_defaults(**dict.fromkeys(before, _UNSET))
    arguments: Namespace = parser.parse_args(list(options.engine_options))
    for name, value in before.items():
        if getattr(arguments, name) is not _UNSET:
            _refuse(name)
        setattr(arguments, name, value)
    _check_grammars(arguments.structured_outputs_config)
    return arguments


def make_safe(settings: Settings) -> None:
    """Close, in this process, what vLLM's server leaves open to its clients."""
    from generalist_serving.vllm_plugin import identifiers, media

    os.environ.update(_SAFE, VLLM_MAX_N_SEQUENCES=str(settings.max_n))
    media.install(settings)
    identifiers.restrict()


def _parser() -> Any:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):
        def error(self, message: str) -> NoReturn:
            said = " ".join(message.split())[:300]
            raise GeneralistError(
                f"vLLM does not take what stands behind -- ({said}); see 'generalist serve --engine vllm -- --help=all'"
            )

    return make_arg_parser(Parser(prog="generalist serve --engine vllm --"))


def _defaults(options: ServeOptions, settings: Settings, device: str) -> dict[str, Any]:
    """What vLLM's options are before those behind ``--`` are read."""
    from vllm.config import StructuredOutputsConfig

    folder = resolve_model(options.model)
    reader = Reader(folder)
    engine = start.Settings(
        folder=folder,
        device=device,
        dtype="float32" if device == "cpu" else "bfloat16",
        max_context=reader.longest,
        max_images=max(1, min(settings.max_images, reader.longest // reader.image_tokens)),
        max_batch=options.max_batch or 0,
        max_adapters=MIXED_ADAPTERS if settings.adapters_root else 0,
        max_lora_rank=MAX_LORA_RANK,
    )
    arguments = start.engine_arguments(engine)
    if options.max_batch is None:
        del arguments["max_num_seqs"]  # vLLM goes by the memory
    return arguments | {
        "served_model_name": [options.served_name],
        "structured_outputs_config": StructuredOutputsConfig(**arguments["structured_outputs_config"]),
        "disable_log_stats": False,  # they are its metrics
        "shutdown_timeout": int(settings.drain_s),  # of a Ctrl-C, which reaches every process
    }


def _refuse(name: str) -> NoReturn:
    option = f"--{name.replace('_', '-')}"
    if name in OURS:
        raise GeneralistError(f"{option} stands behind --; use {OURS[name]} in front of it")
    raise GeneralistError(f"{option} stands behind --, but is this server's own business; leave it out")


def _check_grammars(config: Any) -> None:
    if config.backend == "auto":
        config.backend = "xgrammar"
    if config.backend != "xgrammar":
        raise GeneralistError(f"--structured-outputs-config.backend is {config.backend!r}; only 'xgrammar' can be used")
