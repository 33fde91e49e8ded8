"""``generalist serve``: from what was asked for to a server that runs until it is told to stop.

Whatever can be wrong is looked at before the model is loaded, which takes seconds.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import uvicorn
from fastapi import FastAPI

from generalist.pipeline import Generalist, resolve_model
from generalist.types import GeneralistError
from generalist_serving.api.app import create_app
from generalist_serving.api.connections import TimelyProtocol
from generalist_serving.api.drain import Drain
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

_CUT_OFF_S = 5
"""How long clients may take to read the rest of what was sent to them, when the server ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a server is asked to be. ``engine_options`` are handed to an engine that has options of its own."""

    model: str = "nano"
    engine: str = "auto"
    device: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    api_key_file: Path | None = None
    no_auth: bool = False
    allow_remote_images: bool = False
    max_queue: int = 64
    max_batch: int = 16
    requests_per_minute: int | None = None
    engine_options: tuple[str, ...] = ()


def serve(options: ServeOptions, prepare: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; raises :class:`GeneralistError` for what cannot be served.

    ``prepare`` is called before a model is loaded into this process.
    """
    run = _engine(options.engine)
    resolve_model(options.model)
    settings = make_settings(options)
    listener = bind(options.host, options.port)
    with listener:
        run(options, settings, listener, prepare)


def serve_transformers(
    options: ServeOptions, settings: Settings, listener: socket.socket, prepare: Callable[[], None]
) -> None:
    """Serve with the engine of this process."""
    if options.engine_options:
        raise GeneralistError(
            f"the transformers engine has no options of its own (got {options.engine_options[0]!r}); "
            "leave out what stands behind --"
        )
    if options.max_batch < 1:
        raise GeneralistError(f"--max-batch is {options.max_batch}; use 1 or more")
    prepare()
    # Here, so that mistakes are told before torch is imported.
    from generalist.engine.transformers_engine import TransformersEngine
    from generalist_serving.batching import TransformersBackend

    model = Generalist.from_pretrained(options.model, device=options.device)
    assert isinstance(model.engine, TransformersEngine)
    backend = TransformersBackend(
        model.engine, model.vocabulary, max_batch=options.max_batch, max_queue=settings.max_queue
    )
    service = Service(model.line, backend, model=Path(options.model).resolve().name)
    drain = Drain()
    what = f"{service.model} with the transformers engine"
    run_app(create_app(service, settings, drain=drain), listener, drain, settings, what)


_Run: TypeAlias = Callable[[ServeOptions, Settings, socket.socket, Callable[[], None]], None]

ENGINES: dict[str, _Run] = {"transformers": serve_transformers}
"""How each engine is served, the best one first."""


def _engine(name: str) -> _Run:
    if name == "auto":
        return next(iter(ENGINES.values()))
    if name not in ENGINES:
        raise GeneralistError(f"there is no engine {name!r}; use auto or {' or '.join(ENGINES)}")
    return ENGINES[name]


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
    )
    if local and not keys:
        # A page of another site must not reach a server without a key by giving its own name this address.
        settings = replace(settings, allowed_hosts=("localhost", "127.0.0.1", "[::1]", _in_url(options.host)))
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


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket on which nothing is answered yet, so that a taken port is known before the model is loaded."""
    if not 0 <= port <= 65535:
        raise GeneralistError(f"--port is {port}; use a number from 0 (any free one) to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise GeneralistError(f"--host {host!r} is no address of this machine; use 127.0.0.1 or 0.0.0.0") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise GeneralistError(f"port {port} of {host} is in use; choose another one with --port") from error
        if number == errno.EACCES:
            raise GeneralistError(f"port {port} is not for ordinary users; choose one from 1024 with --port") from error
        raise GeneralistError(f"--host {host!r} is no address of this machine; use 127.0.0.1 or 0.0.0.0") from error
    return listener


def run_app(app: FastAPI, listener: socket.socket, drain: Drain, settings: Settings, what: str) -> None:
    """Answer on ``listener`` until told to stop; says on stdout ``what`` is served, and where."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("generalist_serving").setLevel(logging.INFO)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=TimelyProtocol,
        ws="none",
        log_config=None,
        access_log=False,  # we write our own
        server_header=False,
        timeout_graceful_shutdown=_CUT_OFF_S,
    )
    ready = f"serving {what} on http://{_in_url(host)}:{port}"
    server = _Server(config, drain, settings.drain_s, ready)
    asyncio.run(server.serve([listener]))


class _Server(uvicorn.Server):
    """Says when it is ready; told to stop, finishes what it has accepted and ends with status 0."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float, ready: str) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._ready = ready
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(one, lambda *_: loop.call_soon_threadsafe(self.stop)) for one in signals]
        try:
            yield
        finally:
            for one, handler in zip(signals, before, strict=True):
                signal.signal(one, handler)

    def stop(self) -> None:
        """Begin to end; called again, end at once."""
        if self._draining is not None:
            self.should_exit = self.force_exit = True
            return
        self._drain.begin()
        self._draining = asyncio.create_task(self._finish())
        under_way = f"; {self._drain.active} requests are under way" if self._drain.active else ""
        print(f"stopping{under_way}", file=sys.stderr, flush=True)

    async def _finish(self) -> None:
        if not await self._drain.idle(self._drain_s):
            print(f"cutting off {self._drain.active} requests after {self._drain_s:g} s", file=sys.stderr, flush=True)
            self.config.timeout_graceful_shutdown = 0
        self.should_exit = True


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
