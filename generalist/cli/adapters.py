"""``generalist adapters``: what adapters there are, and other forms of them."""

# No "from __future__ import annotations": typer reads the annotations as objects.

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from generalist_adapters.stored import Stored

adapters = typer.Typer(help="Look at adapters, merge or export them.", no_args_is_help=True, rich_markup_mode="rich")

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An adapter, or a folder of adapters.")]
_Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")]
_Task = Annotated[str | None, typer.Option("--task", help="Which, where every task has an adapter of its own.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@adapters.command(
    "list",
    help="List the adapters in a folder: name, base, method, rank, tasks.",
    epilog="Example: generalist adapters list adapters",
)
def _list(folder: _Folder, as_json: _Json = False) -> None:
    from generalist_adapters.stored import find

    found = find(folder)
    if as_json:
        print(json.dumps([_content(one) for one in found]))
        return
    for one in found:
        spec = one.spec
        what = (
            "plain PEFT" if spec is None else f"{spec.method}, base {spec.base}, tasks {', '.join(spec.tasks) or 'any'}"
        )
        print(f"{one.folder}: {spec.name if spec else one.folder.name} ({what})")
    if not found:
        print(f"no adapters in {folder}")


@adapters.command(
    "show",
    help="Show what an adapter is, and its figures before and after.",
    epilog="Example: generalist adapters show adapters/cells",
)
def _show(folder: _Folder, task: _Task = None, as_json: _Json = False) -> None:
    from generalist_adapters.stored import find_one

    one = find_one(folder, task)
    if as_json:
        print(json.dumps({**_content(one), "metrics": one.metrics}))
        return
    for name, value in _content(one).items():
        if name != "targets":
            print(f"{name:<12} {', '.join(value) if isinstance(value, list | tuple) else value}")
    before, after = (one.metrics.get(state) or {} for state in ("before", "after"))
    for name in after:
        print(f"{name:<40} {_number(before.get(name))} -> {_number(after[name])}")


@adapters.command(
    "merge",
    help="Write a checkpoint with an adapter in its weights: a model that needs no --adapter.",
    epilog="Example: generalist adapters merge adapters/cells --out cells-model",
)
def _merge(
    folder: _Folder,
    out: _Out,
    task: _Task = None,
    model: Annotated[str | None, typer.Option("--model", help="The base; by default the one that it names.")] = None,
) -> None:
    from generalist.cli.run import quiet
    from generalist_adapters.stored import merge

    quiet()
    print(f"checkpoint in {merge(folder, task, out, model)}")


@adapters.command(
    "export",
    help="Copy what peft and vLLM read of one adapter into a new folder.",
    epilog="Example: generalist adapters export adapters/street --task segment --out street-segment",
)
def _export(folder: _Folder, out: _Out, task: _Task = None) -> None:
    from generalist_adapters.stored import export

    print(f"adapter in {export(folder, task, out)}")


def _content(one: "Stored") -> dict[str, Any]:
    """What is known of an adapter, fit for JSON."""
    return {"folder": str(one.folder), **(asdict(one.spec) if one.spec else {"name": one.folder.name})}


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"
