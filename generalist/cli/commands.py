"""The commands: a table of how each is asked, and one function that makes them all."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from generalist.cli import options as o
from generalist.cli.adapters import adapters
from generalist.cli.compose import compose
from generalist.cli.data import data
from generalist.cli.demo import demo
from generalist.cli.evaluating import evaluate
from generalist.cli.finetune import finetune
from generalist.cli.index import index
from generalist.cli.search import search
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
    """``last`` names the last argument: needed, perhaps there, or never there (then all are images).

    ``names_documents``: the answer may name documents of an index.
    """

    task: str
    help: str
    last: str = ""
    needs_last: Literal["always", "perhaps", "never"] = "never"
    example: str
    names_documents: bool = False

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
        names_documents=True,
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
        excluded: o.Excluded = None,
        masks: o.Masks = None,
        scribbles: o.Scribbles = None,
        index: Path | None = typer.Option(  # noqa: B008
            None,
            "--index",
            metavar="DIR",
            help="An index whose documents the answer may name, as in “Which card describes this?”",
            hidden=not spec.names_documents,
        ),
        model: o.Model = "nano",
        adapter: o.Adapter = None,
        dialect: o.Dialect = None,
        mask_model: o.MaskModel = None,
        depth_model: o.DepthModel = None,
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
                excluded=tuple(excluded or ()),
                masks=tuple(masks or ()),
                scribbles=tuple(scribbles or ()),
                index=index,
                model=model,
                adapter=adapter,
                dialect=dialect,
                mask_model=mask_model,
                depth_model=depth_model,
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
app.add_typer(index, name="index")
app.command(
    "search",
    help="Find documents of an index: by words, or by identifiers that the model writes and that all exist.",
    epilog='Example: generalist search notes.index "How is the pump primed?" --mode lexical',
)(search)
app.command(
    "serve",
    help="Serve over HTTP as OpenAI's API does, with the drawings as data.",
    epilog="Example: generalist serve --port 8000",
)(serve)
app.command(
    "demo",
    help="Open a page to ask about pictures and to draw on them, with a server of its own or before another.",
    epilog="Example: generalist demo",
)(demo)
app.command(
    "train",
    help="Train a model like nano on composed scenes. Called again, it goes on where it stopped.",
    epilog="Example: generalist train --out runs/mine --start nano --images 20000 --evaluate. On several GPUs: "
    "accelerate launch --num_processes 4 -m generalist.cli train --out runs/mine --start nano",
)(train)
app.command(
    "compose",
    help="Join a vision model and a language model into a new base with our vocabulary, yet to be trained.",
    epilog="Example: generalist compose --vision nano --llm HuggingFaceTB/SmolLM2-135M-Instruct --out my-base",
)(compose)
app.command(
    "finetune",
    help="Teach a model something new from a few labelled images. Called again, it goes on where it stopped.",
    epilog="Example: generalist finetune my-photos --out adapters/cells --dry-run",
)(finetune)
app.command(
    "eval",
    help="Measure how good a model is on labelled questions, or compare two. Interrupted, it goes on where it stopped.",
    epilog="Example: generalist eval world/compositions --limit 100 --out reports",
)(evaluate)
app.add_typer(adapters, name="adapters")


@app.command("info", help="Show versions, the device, the checkpoint and its vocabulary.")
def _info(
    as_json: o.Json = False,
    model: o.Model = "nano",
    mask_model: o.MaskModel = None,
    depth_model: o.DepthModel = None,
    device: o.Device = "auto",
) -> None:
    from generalist.cli.info import show_info

    show_info(model, device, mask_model, depth_model, as_json=as_json)
