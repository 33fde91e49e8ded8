"""``generalist demo``: the page in front of a server of its own, or of one that runs elsewhere.

The server is that of ``generalist serve`` and has the main thread, because engines and signals need it; the page has
a thread beside it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvicorn

from generalist.types import GeneralistError
from generalist_serving.addresses import bind, in_url, is_local
from generalist_serving.api.connections import TimelyProtocol
from generalist_serving.client import AsyncClient, ClientError
from generalist_serving.demo.inspect import Looker, find_folders
from generalist_serving.index_root import find_indexes
from generalist_serving.serve import ServeOptions, checked, read_keys, serve_transformers

_CUT_OFF_S = 1
"""How long open pages may take when the demo ends: they listen for as long as they are open."""
_ASK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What a demo is asked to be. With ``url`` there is only the page, in front of the server there.

    ``indexes``: the folder whose indexes every visitor may search. ``dialect``, ``masks`` and ``depth`` as for the
    server. ``inspect``: labelled folders whose pictures and labels every visitor may look at.
    """

    model: str = "nano"
    engine: str = "auto"
    device: str = "auto"
    adapters: Path | None = None
    indexes: Path | None = None
    dialect: str | None = None
    masks: str | None = None
    depth: str | None = None
    url: str | None = None
    api_key_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    no_auth: bool = False
    inspect: tuple[Path, ...] = ()


def demo(options: DemoOptions, prepare: Callable[[], None] = lambda: None) -> None:
    """Run until SIGTERM or SIGINT; raises :class:`GeneralistError` for what cannot be.

    ``prepare`` is called before a model is loaded into this process.
    """
    if not (is_local(options.host) or options.no_auth):
        raise GeneralistError(
            f"--host {options.host} can be reached by others and there is no login; give --no-auth if everybody may "
            "use this demo"
        )
    if options.url is None:
        _with_server(options, prepare)
    else:
        _without_server(options, options.url)


def _with_server(options: DemoOptions, prepare: Callable[[], None]) -> None:
    if options.api_key_file is not None:
        raise GeneralistError("--api-key-file is for the server of --url; without --url, leave it out")
    asked = ServeOptions(
        model=options.model,
        engine=options.engine,
        device=options.device,
        adapters=options.adapters,
        indexes=options.indexes,
        dialect=options.dialect,
        masks=options.masks,
        depth=options.depth,
        port=0,
    )
    run, settings = checked(asked)
    looker = Looker()
    if run is serve_transformers:
        run = partial(serve_transformers, loaded=looker.use)
    key = secrets.token_urlsafe(32)
    settings = replace(settings, api_keys=(key,))
    with bind(options.host, options.port) as here, bind(asked.host, asked.port) as there:
        server = f"http://{in_url(asked.host)}:{there.getsockname()[1]}"
        documents = bool(find_indexes(options.indexes))
        with _Page(options, here, AsyncClient(server, key, retries=4), looker, documents=documents):
            run(asked, settings, there, prepare)


def _without_server(options: DemoOptions, url: str) -> None:
    own = (options.model, options.engine, options.device, options.adapters, options.indexes)
    more = (options.dialect, options.masks, options.depth)
    if own != ("nano", "auto", "auto", None, None) or more != (None, None, None):
        raise GeneralistError(
            "--url names a server that has its model already; leave out --model, --engine, --device, --dialect, "
            "--masks, --depth, --adapters and --indexes"
        )
    if not url.lower().startswith(("http://", "https://")):
        raise GeneralistError(f"--url is {url[:80]!r}; use the server's address, such as http://127.0.0.1:8000")
    key = read_keys(options.api_key_file)[0] if options.api_key_file else None
    client = AsyncClient(url, key, retries=4)
    ended = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda *_: ended.set()) for one in signals]
    try:
        with bind(options.host, options.port) as here:
            documents = asyncio.run(_has_documents(url, key))
            with _Page(options, here, client, Looker(), documents=documents) as page:
                page.until(ended)
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


async def _has_documents(url: str, key: str | None) -> bool:
    """Whether the server has indexes.

    Raises :class:`GeneralistError` where there is no server of ours: better now than at the first question.
    """
    async with AsyncClient(url, key, timeout=20, retries=0) as client:
        try:
            await client.models()
            return bool(await client.vector_stores())
        except ClientError as error:
            if error.status == 404:  # an older one
                return False
            raise GeneralistError(f"--url {url}: {error.message}") from error


class _Page:
    """The page's own server, in a thread, for as long as the block lasts. Says on stdout when it can be used."""

    def __init__(
        self, options: DemoOptions, listener: socket.socket, client: AsyncClient, looker: Looker, *, documents: bool
    ) -> None:
        folders = find_folders(options.inspect)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported
        # Statistics that nobody looks at would be made anew, with pandas, after each event.
        os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(sys.maxsize)
        from generalist_serving.demo.app import create_demo

        host, port = listener.getsockname()[:2]
        self._address = f"http://{in_url(host)}:{port}"
        self._listener = listener
        self._client = client
        names = ("localhost", "127.0.0.1", "[::1]", in_url(options.host))
        hosts = names if is_local(options.host) else ()
        app = create_demo(client, allowed_hosts=hosts, folders=folders, looker=looker, documents=documents)
        config = uvicorn.Config(
            app,
            http=TimelyProtocol,
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_CUT_OFF_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="demo")

    def __enter__(self) -> _Page:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def until(self, ended: threading.Event) -> None:
        """Wait for ``ended``, or for the page to end by itself."""
        while self._thread.is_alive() and not ended.wait(0.5):
            pass

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        telling = asyncio.create_task(self._tell())
        try:
            await self._server.serve([self._listener])
        finally:
            telling.cancel()

    async def _tell(self) -> None:
        while not (self._server.started and await self._answers()):
            await asyncio.sleep(_ASK_AGAIN_S)
        print(f"the demo is on {self._address}", flush=True)

    async def _answers(self) -> bool:
        try:
            await self._client.models()
        except ClientError:
            return False
        return True
