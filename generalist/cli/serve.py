"""``generalist serve``: its options."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from pathlib import Path
from typing import Annotated

import typer

from generalist.cli import options as o

_WHO, _HOW_MUCH = "Who may ask", "How much at once"


def serve(
    engine_options: Annotated[
        list[str] | None,
        typer.Argument(hidden=True),  # what stands behind --, for an engine with options of its own
    ] = None,
    model: o.Model = "nano",
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="auto, transformers or vllm; what stands behind -- are options of vLLM's. See 'info'."
        ),
    ] = "auto",
    device: o.Device = "auto",
    dialect: o.Dialect = None,
    masks: o.MaskModel = None,
    depth: o.DepthModel = None,
    adapters: Annotated[
        Path | None,
        typer.Option(
            "--adapters",
            metavar="DIR",
            help="Load every adapter in this folder; requests may load and unload others that come into it.",
        ),
    ] = None,
    indexes: Annotated[
        Path | None,
        typer.Option(
            "--indexes", metavar="DIR", help="Search every index in this folder; see 'generalist index build'."
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to answer; 0.0.0.0 is every address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file", metavar="FILE", help="Ask for one of the keys in this file.", rich_help_panel=_WHO
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let everybody in, also from other machines.", rich_help_panel=_WHO)
    ] = False,
    allow_remote_images: Annotated[
        bool,
        typer.Option(
            "--allow-remote-images",
            help="Fetch images that requests name by http(s), from public addresses only.",
            rich_help_panel=_WHO,
        ),
    ] = False,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            "--requests-per-minute", help="Of one key, or of one address without keys.", rich_help_panel=_HOW_MUCH
        ),
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option("--max-batch", help="Replies written side by side.", rich_help_panel=_HOW_MUCH)
    ] = None,
    max_queue: Annotated[
        int,
        typer.Option("--max-queue", help="Requests that may wait; more get 503.", rich_help_panel=_HOW_MUCH),
    ] = 64,
) -> None:
    """Serve over HTTP; see ``generalist_serving.serve``."""
    from generalist.cli.run import quiet
    from generalist_serving.serve import ServeOptions
    from generalist_serving.serve import serve as run_server

    run_server(
        ServeOptions(
            model=model,
            engine=engine,
            device=device,
            host=host,
            port=port,
            api_key_file=api_key_file,
            no_auth=no_auth,
            allow_remote_images=allow_remote_images,
            max_queue=max_queue,
            max_batch=max_batch,
            requests_per_minute=requests_per_minute,
            adapters=adapters,
            indexes=indexes,
            dialect=dialect,
            masks=masks,
            depth=depth,
            engine_options=tuple(engine_options or ()),
        ),
        prepare=quiet,
    )
