"""``generalist serve``: from what was asked for to a server that runs until it is told to stop.

Whatever can be wrong is looked at before the model is loaded, which takes seconds.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from generalist.hub_line import hub_dialect
from generalist.pipeline import Generalist, Line, resolve_model
from generalist.types import GeneralistError
from generalist_serving.adapter_root import find_adapters
from generalist_serving.addresses import bind, in_url, is_local
from generalist_serving.api.app import create_app
from generalist_serving.api.drain import Drain
from generalist_serving.api.settings import Settings
from generalist_serving.engines import EngineName, choose_engine
from generalist_serving.index_root import find_indexes
from generalist_serving.indexes import Indexes
from generalist_serving.running import run_app
from generalist_serving.service import Service

_MAX_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a server is asked to be.

    ``adapters``: the folder whose adapters are loaded, and from which requests may load others. ``indexes``: the
    folder whose indexes are searched. ``max_batch``: None for what suits the engine. ``dialect``, ``masks`` and
    ``depth`` as for :meth:`~generalist.pipeline.Generalist.from_pretrained`. ``engine_options`` are handed to an engine
    that has options of its own.
    """

    model: str = "nano"
    engine: str = "auto"
    device: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    api_key_file: Path | None = None
    no_auth: bool = False
    allow_remote_images: bool = False
    max_queue: int = 64
    max_batch: int | None = None
    requests_per_minute: int | None = None
    adapters: Path | None = None
    indexes: Path | None = None
    dialect: str | None = None
    masks: str | None = None
    depth: str | None = None
    engine_options: tuple[str, ...] = ()

    @property
    def served_name(self) -> str:
        """What requests call the base model."""
        return Path(self.model).resolve().name


def serve(options: ServeOptions, prepare: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; raises :class:`GeneralistError` for what cannot be served.

    ``prepare`` is called before a model is loaded into this process.
    """
    run, settings = checked(options)
    with bind(options.host, options.port) as listener:
        run(options, settings, listener, prepare)


def serve_transformers(
    options: ServeOptions,
    settings: Settings,
    listener: socket.socket,
    prepare: Callable[[], None],
    loaded: Callable[[Generalist], None] = lambda model: None,
) -> None:
    """Serve with the engine of this process. ``loaded`` is given the model before it is served."""
    _check_no_options(options)
    indexes = open_indexes(settings, options.device)
    prepare()
    # Here, so that mistakes are told before torch is imported.
    from generalist.engine.transformers_engine import TransformersEngine
    from generalist_serving.batching import TransformersBackend

    model = Generalist.from_pretrained(options.model, device=options.device, masks=options.masks, depth=options.depth)
    assert isinstance(model.engine, TransformersEngine) and isinstance(model.line, Line)
    backend = TransformersBackend(
        model.engine, model.vocabulary, max_batch=options.max_batch or _MAX_BATCH, max_queue=settings.max_queue
    )
    service = Service(model.line, backend, model=options.served_name, indexes=indexes, drawing=model.drawing)
    adapters = find_adapters(settings.adapters_root, service.model)
    for name, folder in adapters.items():
        model.engine.load_adapter(name, folder)
    loaded(model)
    drain = Drain()
    what = f"{', '.join((service.model, *adapters))} with the transformers engine{and_indexes(service)}"
    run_app(create_app(service, settings, drain=drain), listener, drain, settings, what)


def serve_hub(options: ServeOptions, settings: Settings, listener: socket.socket, prepare: Callable[[], None]) -> None:
    """Serve a model from the hub, unchanged, with the engine of this process."""
    indexes = open_indexes(settings, options.device)
    prepare()
    from generalist.engine.hub_engine import HubEngine
    from generalist_serving.hub_backend import HubBackend

    model = Generalist.from_pretrained(
        options.model, device=options.device, dialect=options.dialect, masks=options.masks, depth=options.depth
    )
    assert isinstance(model.engine, HubEngine)
    backend = HubBackend(model.engine, max_queue=settings.max_queue)
    service = Service(model.line, backend, model=options.served_name, indexes=indexes, drawing=model.drawing)
    drain = Drain()
    what = f"{service.model} of the hub with the transformers engine{and_indexes(service)}"
    run_app(create_app(service, settings, drain=drain), listener, drain, settings, what)


def _check_no_options(options: ServeOptions) -> None:
    if options.engine_options:
        raise GeneralistError(
            f"the transformers engine has no options of its own (got {options.engine_options[0]!r}); "
            "leave out what stands behind --"
        )


def open_indexes(settings: Settings, device: str) -> Indexes:
    """The indexes of the settings' folder; raises :class:`GeneralistError` for the first that is none."""
    return Indexes(
        find_indexes(settings.indexes_root),
        device=device,
        at_once=settings.max_searches,
        waiting=settings.max_search_queue,
    )


def and_indexes(service: Service) -> str:
    """What the line that says what is served says of its indexes."""
    names = ", ".join(index.name for index in service.indexes.all)
    return f" and the indexes {names}" if names else ""


def serve_vllm(options: ServeOptions, settings: Settings, listener: socket.socket, prepare: Callable[[], None]) -> None:
    """Serve with vLLM, which need not be installed."""
    from generalist_serving import vllm_serve

    vllm_serve.serve(options, settings, listener, prepare)


Run: TypeAlias = Callable[[ServeOptions, Settings, socket.socket, Callable[[], None]], None]
"""Serves until it is told to stop, with the engine of its own."""

ENGINES: dict[EngineName, Run] = {"transformers": serve_transformers, "vllm": serve_vllm}
"""How each engine is served."""


def checked(options: ServeOptions) -> tuple[Run, Settings]:
    """How to serve, and within which limits; raises :class:`GeneralistError` for what cannot be served."""
    if options.max_batch is not None and options.max_batch < 1:
        raise GeneralistError(f"--max-batch is {options.max_batch}; use 1 or more")
    run = _run_of(options)
    settings = make_settings(options)
    find_adapters(options.adapters, options.served_name)
    find_indexes(options.indexes)
    return run, settings


def _run_of(options: ServeOptions) -> Run:
    """How to serve; :class:`GeneralistError` for options that do not go together."""
    folder, draws = resolve_model(options.model), options.masks or options.depth
    run: Run = serve_hub
    if hub_dialect(folder, options.dialect) is not None:
        _check_hub(options, folder)
    else:
        run = ENGINES[choose_engine(options.engine, options.device)]
        if draws and run is serve_vllm:
            raise GeneralistError(
                f"--masks and --depth (got {draws!r}) need --engine transformers; name it, or leave them out"
            )
    if draws:
        from generalist import hub_drawing  # here, so that a server without them checks its options without torch

        hub_drawing.check_drawing(options.masks, options.depth)
    return run


def _check_hub(options: ServeOptions, folder: Path) -> None:
    """Refuse what a model from the hub cannot be served with."""
    if options.engine not in ("auto", "transformers"):
        raise GeneralistError(
            f"engine {options.engine!r} runs models of ours; leave it out for {folder}, a model from the hub"
        )
    if options.adapters is not None:
        raise GeneralistError(
            f"--adapters {options.adapters} belong to a model of ours; leave it out for {folder}, a model from the hub"
        )
    if options.max_batch not in (None, 1):
        raise GeneralistError(
            f"--max-batch is {options.max_batch}; {folder}, a model from the hub, takes one at a time"
        )
    _check_no_options(options)


def make_settings(options: ServeOptions) -> Settings:
    """The server's limits; raises :class:`GeneralistError` for a server that anybody could use by mistake."""
    keys = read_keys(options.api_key_file) if options.api_key_file else ()
    local = is_local(options.host)
    if options.no_auth and keys:
        raise GeneralistError("--no-auth and --api-key-file contradict each other; leave one of them out")
    if not (local or keys or options.no_auth):
        raise GeneralistError(
            f"--host {options.host} can be reached by others and there is no key; give --api-key-file, or --no-auth "
            "if everybody may use this server"
        )
    settings = Settings(
        api_keys=keys,
        allow_remote_images=options.allow_remote_images,
        max_queue=options.max_queue,
        requests_per_minute=options.requests_per_minute,
        adapters_root=options.adapters,
        indexes_root=options.indexes,
    )
    if local and not keys:
        # A page of another site must not reach a server without a key by giving its own name this address.
        settings = replace(settings, allowed_hosts=("localhost", "127.0.0.1", "[::1]", in_url(options.host)))
    return settings


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys of a file, one a line; warns when others on this machine can read it."""
    try:
        keys = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        readable = path.stat().st_mode & 0o004
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise GeneralistError(f"{path}: cannot read the API key ({reason}); give a file with one key a line") from error
    if not keys:
        raise GeneralistError(f"{path}: the file holds no API key; write one into it, such as a long random word")
    if readable:
        print(f"warning: {path}: everybody on this machine can read the API key; chmod 600 it", file=sys.stderr)
    return keys
