"""``generalist demo``: its options."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from pathlib import Path
from typing import Annotated

import typer

from generalist.cli import options as o

_ELSEWHERE = "A server that runs already"


def demo(
    model: o.Model = "nano",
    engine: Annotated[str, typer.Option("--engine", help="auto, transformers or vllm. See 'info'.")] = "auto",
    device: o.Device = "auto",
    dialect: o.Dialect = None,
    masks: o.MaskModel = None,
    depth: o.DepthModel = None,
    adapters: Annotated[
        Path | None, typer.Option("--adapters", metavar="DIR", help="Offer the adapters in this folder as well.")
    ] = None,
    indexes: Annotated[
        Path | None,
        typer.Option("--indexes", metavar="DIR", help="Search the indexes in this folder, in a tab of its own."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Ask the server at this address instead of one's own.", rich_help_panel=_ELSEWHERE),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="The key that it asks for: the first line of this file.",
            rich_help_panel=_ELSEWHERE,
        ),
    ] = None,
    inspect: Annotated[
        list[Path] | None,
        typer.Option(
            "--inspect",
            metavar="DIR",
            help="Compare answers with the labels of this folder, in a tab of its own; may be given several times. "
            "Every visitor sees its pictures.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to answer; 0.0.0.0 is every address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 7860,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let everybody in, also from other machines.")] = False,
) -> None:
    """A page to ask and draw on; see ``generalist_serving.demo.launch``."""
    from generalist.cli.run import quiet
    from generalist_serving.demo.launch import DemoOptions
    from generalist_serving.demo.launch import demo as run_demo

    run_demo(
        DemoOptions(
            model=model,
            engine=engine,
            device=device,
            adapters=adapters,
            indexes=indexes,
            dialect=dialect,
            masks=masks,
            depth=depth,
            url=url,
            api_key_file=api_key_file,
            host=host,
            port=port,
            no_auth=no_auth,
            inspect=tuple(inspect or ()),
        ),
        prepare=quiet,
    )
