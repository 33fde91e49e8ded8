"""``generalist compose``: a new base from a vision model and a language model."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from pathlib import Path
from typing import Annotated

import typer


def compose(
    vision: Annotated[
        str,
        typer.Option("--vision", metavar="MODEL", help="nano, or the folder or fetched hub id of a vision model."),
    ],
    llm: Annotated[
        str, typer.Option("--llm", metavar="MODEL", help="The folder or fetched hub id of a causal language model.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the composed base.")],
    locs: Annotated[int, typer.Option("--locs", help="Bins of a coordinate.")] = 1024,
    merge: Annotated[int, typer.Option("--merge", help="So many by so many image tokens become one.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the new weights.")] = 0,
) -> None:
    """Put the command together; see :func:`generalist.composing.compose`."""
    from generalist.cli.run import quiet
    from generalist.composing import ComposeOptions
    from generalist.composing import compose as run

    quiet()
    run(ComposeOptions(vision=vision, llm=llm, out=out, locs=locs, merge=merge, seed=seed))
    print(f"base in {out}; it answers text as {llm} does, and has yet to learn about images")
