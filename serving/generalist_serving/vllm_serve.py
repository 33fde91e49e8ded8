"""``generalist serve --engine vllm``: vLLM's own server, with ours in front of it.

Our app answers its routes and hands every other path to the app that vLLM builds, so that nothing of vLLM's server is
lost; under :data:`STOCK` all of it can be reached, also where we have a route of the same name. Keys, limits, the log
and the draining of our app stand before both, which vLLM's hook for plugins would not let them: what a plugin adds
lies behind vLLM's own middleware and beside its routes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generalist.adapter_spec import one_line
from generalist.pipeline import Line, resolve_model
from generalist.types import GeneralistError
from generalist_serving.adapter_root import find_adapters
from generalist_serving.api.app import create_app
from generalist_serving.api.drain import Drain
from generalist_serving.api.errors import error_response
from generalist_serving.api.settings import Settings
from generalist_serving.running import serve_app
from generalist_serving.service import Service
from generalist_serving.vllm_backend import VllmBackend
from generalist_serving.vllm_engine.adapters import Adapters
from generalist_serving.vllm_engine.reading import Reader
from generalist_serving.vllm_engine.start import add_identifiers, standard_output_to_error
from generalist_serving.vllm_options import make_safe, read_arguments

if TYPE_CHECKING:
    from generalist_serving.serve import ServeOptions

STOCK = "/vllm"
"""Where all routes of vLLM's server are."""

_CLOSED = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/scale_elastic_ep", "/is_scaling_elastic_ep"})
"""Pages with scripts from elsewhere, and what only whoever runs the server may do."""

_WATCH_S = 5.0


def serve(options: ServeOptions, settings: Settings, listener: socket.socket, prepare: Callable[[], None]) -> None:
    """Serve with vLLM, whose engine runs in processes of its own."""
    prepare()
    arguments = read_arguments(options, settings)
    make_safe(settings)
    # A kill while the model loads must end vLLM's processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    import uvloop  # vLLM's own

    uvloop.run(_serve(options, settings, listener, arguments))


async def _serve(options: ServeOptions, settings: Settings, listener: socket.socket, arguments: Namespace) -> None:
    from generalist_serving.serve import and_indexes, open_indexes

    folder, drain = resolve_model(options.model), Drain()
    # Their models are small and run on the CPU: vLLM has the memory of the GPU.
    indexes = open_indexes(settings, "cpu")
    with standard_output_to_error():
        engine = start_engine(arguments, settings)
        try:
            stock = await stock_app(engine, arguments)
            reader = Reader(folder, engine.model_config.max_model_len)
            backend = make_backend(engine, stock, reader, folder, settings)
            line = Line.from_folder(folder, reader.vocabulary)
            service = Service(line, backend, model=options.served_name, indexes=indexes)
            for name, place in find_adapters(settings.adapters_root, service.model).items():
                await backend.load_adapter(name, str(place))
            app = with_stock(service, settings, drain, stock)
        except BaseException:
            engine.shutdown(0)
            raise
    async with stock.router.lifespan_context(stock), _watched(engine, drain):
        what = f"{', '.join((service.model, *backend.adapters))} with the vllm engine{and_indexes(service)}"
        await serve_app(app, listener, drain, settings, what)


def start_engine(arguments: Namespace, settings: Settings) -> Any:
    """An ``AsyncLLM``; called in the event loop that will use it. :class:`GeneralistError` when it cannot be."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    try:
        config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config(UsageContext.OPENAI_API_SERVER)
    except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
        raise GeneralistError(f"vLLM refuses its options ({one_line(error)}); change what stands behind --") from error
    add_identifiers(config)
    # Of all routes together; ours have their own count, which refuses earlier.
    config.scheduler_config.max_num_queued_reqs = max_running(config) + settings.max_queue
    try:
        return AsyncLLM.from_vllm_config(config, disable_log_stats=arguments.disable_log_stats)
    except RuntimeError as error:
        raise GeneralistError(f"vLLM did not start ({one_line(error)}); its own words on why stand above") from error


def max_running(config: Any) -> int:
    """How many replies are written side by side, over all copies of the model."""
    return int(config.scheduler_config.max_num_seqs * config.parallel_config.data_parallel_size)


async def stock_app(engine: Any, arguments: Namespace) -> FastAPI:
    """The app of vLLM's own server, without what is unsafe in it."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app

    tasks = await engine.get_supported_tasks()
    app: FastAPI = build_app(arguments, tasks, engine.model_config)
    await init_app_state(engine, app.state, arguments, tasks)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) not in _CLOSED]
    # A redirect would name whatever host the client made up.
    app.router.redirect_slashes = False

    async def answer(_: Request, error: Exception) -> Response:
        return error_response(error)

    app.add_exception_handler(HTTPException, answer)  # no such route: vLLM knows FastAPI's kind of it alone
    app.middleware_stack = app.build_middleware_stack()  # anew: vLLM has built one already
    return app


def make_backend(engine: Any, stock: FastAPI, reader: Reader, folder: Path, settings: Settings) -> VllmBackend:
    """The backend around the engine of a stock app, whose routes get to know its adapters."""
    config = engine.vllm_config
    lora = config.lora_config
    models = stock.state.openai_serving_models

    def tell(adapters: Any) -> None:
        models.lora_requests.clear()
        models.lora_requests.update(adapters)

    return VllmBackend(
        engine,
        reader,
        Adapters(folder, lora.max_lora_rank if lora else 0, reader.vocabulary.hash),
        max_batch=max_running(config),
        max_queue=settings.max_queue,
        on_adapters=tell,
    )


def with_stock(service: Service, settings: Settings, drain: Drain, stock: FastAPI) -> FastAPI:
    """Our app, with a stock one behind it. Its lifespan is the caller's business."""
    from vllm.v1.metrics.prometheus import get_prometheus_registry

    app = create_app(service, settings, drain=drain, registries=[get_prometheus_registry()])
    behind = WithoutInternals(stock)
    app.mount(STOCK, behind)
    app.mount("/", behind)
    return app


class WithoutInternals:
    """Middleware: of an error of the server's, clients get our words instead of an exception's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: list[Message] = []

        async def checked(message: Message) -> None:
            if failed or (message["type"] == "http.response.start" and message["status"] == 500):
                failed.append(message)
            else:
                await send(message)

        await self.app(scope, receive, checked)
        if failed:
            said = b"".join(message.get("body", b"") for message in failed)
            await error_response(RuntimeError(f"vLLM: {said[:1000].decode(errors='replace')}"))(scope, receive, send)


@asynccontextmanager
async def _watched(engine: Any, drain: Drain) -> AsyncIterator[None]:
    """End the server when the engine has, with an error: so whoever runs it starts it again."""

    async def watch() -> None:
        while not engine.errored:
            await asyncio.sleep(_WATCH_S)
        if drain.stopping:  # a Ctrl-C reaches the engine too, which ends when it has nothing to do
            await asyncio.Future()
        os.kill(os.getpid(), signal.SIGTERM)

    watching = asyncio.create_task(watch())
    try:
        yield
        if watching.done():
            raise RuntimeError("internal error: vLLM's engine ended; what it said stands above")
    finally:
        watching.cancel()
