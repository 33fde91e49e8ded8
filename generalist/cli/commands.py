"""The commands: a table of how each is asked, and one function that makes them all."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from generalist.cli import options as o
from generalist.cli.data import data
from generalist.cli.serve import serve
from generalist.cli.train import train

app = typer.Typer(
    name="generalist",
    help="Ask about images; get text with boxes, points, masks and depth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``last`` names the last argument: needed, perhaps there, or never there (then all are images)."""

    task: str
    help: str
    last: str = ""
    needs_last: Literal["always", "perhaps", "never"] = "never"
    example: str

    @property
    def metavar(self) -> str:
        return {"always": f"IMAGE... {self.last}", "perhaps": f"IMAGE... [{self.last}]", "never": "IMAGE..."}[
            self.needs_last
        ]

    @property
    def argument_help(self) -> str:
        images = "Image files or folders of them"
        if self.needs_last == "always":
            return f"{images}; the last argument is the {self.last.lower()}."
        if self.needs_last == "perhaps":
            return (
                f"{images}; then {self.last}, by default everything. The last of several arguments is {self.last} "
                "unless it ends like an image file (.png, .jpg, ...) or is a path with a slash that exists."
            )
        return f"{images}."


COMMANDS: dict[str, Command] = {
    "ask": Command(
        task="chat",
        help="Ask anything.",
        last="PROMPT",
        needs_last="always",
        example='generalist ask photo.jpg "Segment the red mug." --save out.png',
    ),
    "detect": Command(
        task="detect",
        help="Box every WHAT, or everything.",
        last="WHAT",
        needs_last="perhaps",
        example="generalist detect photo.jpg mugs --json",
    ),
    "point": Command(
        task="point",
        help="Point to WHAT.",
        last="WHAT",
        needs_last="always",
        example='generalist point photo.jpg "the red mug" --save out.png',
    ),
    "segment": Command(
        task="segment",
        help="Mask WHAT, or everything.",
        last="WHAT",
        needs_last="perhaps",
        example='generalist segment photo.jpg "the red mug" --save out.png',
    ),
    "depth": Command(
        task="depth",
        help="Estimate how far every pixel is.",
        example="generalist depth photo.jpg --save out.png",
    ),
    "caption": Command(task="caption", help="Describe the image.", example="generalist caption photos/ --json"),
    "count": Command(
        task="count",
        help="Count WHAT.",
        last="WHAT",
        needs_last="always",
        example="generalist count photo.jpg mugs",
    ),
}


def _make(spec: Command) -> Callable[..., None]:
    def command(
        arguments: list[str] = typer.Argument(..., metavar=spec.metavar, help=spec.argument_help, show_default=False),  # noqa: B008
        as_json: o.Json = False,
        save: o.Save = None,
        boxes: o.Boxes = None,
        points: o.Points = None,
        masks: o.Masks = None,
        scribbles: o.Scribbles = None,
        model: o.Model = "nano",
        device: o.Device = "auto",
        engine: o.Engine = "auto",
        seed: o.Seed = None,
        temperature: o.Temperature = 0.0,
        max_new_tokens: o.MaxNewTokens = None,
    ) -> None:
        from generalist.cli.run import run_command

        run_command(
            spec,
            arguments,
            o.Options(
                as_json=as_json,
                save=save,
                boxes=tuple(boxes or ()),
                points=tuple(points or ()),
                masks=tuple(masks or ()),
                scribbles=tuple(scribbles or ()),
                model=model,
                device=device,
                engine=engine,
                seed=seed,
                temperature=temperature,
                max_new_tokens=max_new_tokens,
            ),
        )

    return command


for _name, _spec in COMMANDS.items():
    app.command(_name, help=_spec.help, epilog=f"Example: {_spec.example}")(_make(_spec))
app.add_typer(data, name="data")
app.command(
    "serve",
    help="Serve over HTTP as OpenAI's API does, with the drawings as data.",
    epilog="Example: generalist serve --port 8000",
)(serve)


app.command(
    "train",
    help="Train a model like nano on composed scenes. Called again, it goes on where it stopped.",
    epilog="Example: generalist train --out runs/mine --start nano --images 20000 --evaluate. On several GPUs: "
    "accelerate launch --num_processes 4 -m generalist.cli train --out runs/mine --start nano",
)(train)


@app.command("info", help="Show versions, the device, the checkpoint and its vocabulary.")
def _info(as_json: o.Json = False, model: o.Model = "nano", device: o.Device = "auto") -> None:
    from generalist.cli.info import show_info

    show_info(model, device, as_json=as_json)


@app.command(
    "eval",
    help="Measure how good a model is on labelled questions, or compare two. Interrupted, it goes on where it stopped.",
    epilog="Example: generalist eval world/compositions --limit 100 --out reports",
)
def _eval(
    suites: Annotated[
        list[str],
        typer.Argument(metavar="SUITE...", help="Names such as world/compositions, or folders of labelled images."),
    ],
    models: Annotated[
        list[str] | None, typer.Option("--model", help="By default nano; given twice, both are compared.")
    ] = None,
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
) -> None:
    from generalist.cli.evaluate import EvalOptions, run_eval

    run_eval(
        suites,
        EvalOptions(
            models=tuple(models or ("nano",)),
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
