"""``generalist eval``: its arguments, and which of the two evaluations they are for."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from pathlib import Path
from typing import Annotated

import typer

from generalist.cli import options as o


def evaluate(
    suites: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE...",
            help="Names such as world/compositions, folders of labelled images, or with --index corpora of text.",
        ),
    ],
    models: Annotated[
        list[str] | None, typer.Option("--model", help="By default nano; given twice, both are compared.")
    ] = None,
    adapter: o.Adapter = None,
    dialect: o.Dialect = None,
    mask_model: o.MaskModel = None,
    depth_model: o.DepthModel = None,
    device: o.Device = "auto",
    engine: o.Engine = "auto",
    limit: Annotated[int | None, typer.Option("--limit", help="Only so many scenes or pictures of a suite.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Questions answered at once.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one line a result or comparison.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write a JSON and an HTML report of each suite here.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="Of a folder; by default found from the contents.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where a folder's pictures are, if elsewhere.")
    ] = None,
    depth_scale: Annotated[
        float | None, typer.Option("--depth-scale", help="Levels a metre of a folder's depth maps.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep answers until all are there, to go on from.")
    ] = True,
    index: Annotated[
        Path | None, typer.Option("--index", metavar="INDEX", help="Search this index for what each question is about.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="How to search: generative, lexical or hybrid.", show_default="hybrid")
    ] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="As for search.")] = False,
) -> None:
    """Put the command together; see :mod:`generalist.cli.evaluate`."""
    from generalist.cli.evaluate import EvalOptions, run_eval

    if index is not None:
        from generalist.cli.search import RetrievalOptions, run_retrieval

        run_retrieval(
            suites,
            RetrievalOptions(
                index=index,
                mode=mode or "hybrid",
                feedback=feedback,
                models=tuple(models or ()),
                device=device,
                limit=limit,
                batch_size=batch_size,
                as_json=as_json,
                out=out,
                format=format,
            ),
        )
        return
    if mode is not None or feedback:
        from generalist.types import GeneralistError

        raise GeneralistError("--mode and --feedback say how an index is searched; name one with --index")
    run_eval(
        suites,
        EvalOptions(
            models=tuple(models or ("nano",)),
            adapter=adapter,
            dialect=dialect,
            mask_model=mask_model,
            depth_model=depth_model,
            device=device,
            engine=engine,
            limit=limit,
            batch_size=batch_size,
            as_json=as_json,
            out=out,
            format=format,
            images=images,
            depth_scale=depth_scale,
            cache=cache,
        ),
    )
