"""The options that the commands share, each defined once."""

# No "from __future__ import annotations": typer reads the annotations as objects.

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_DRAW, _RUN = "What is meant in the image (pixels, x right, y down)", "How to run"

Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object an image, one a line for several images.")]
Save = Annotated[
    Path | None,
    typer.Option(
        "--save",
        metavar="FILE",
        help="Write the image with the answer drawn on it; a folder for several images. "
        "Depth is also written as FILE's name + _depth16.png.",
    ),
]
Boxes = Annotated[
    list[str] | None, typer.Option("--box", metavar="X1,Y1,X2,Y2", help="A box; repeatable.", rich_help_panel=_DRAW)
]
Points = Annotated[
    list[str] | None, typer.Option("--point", metavar="X,Y", help="A point; repeatable.", rich_help_panel=_DRAW)
]
Excluded = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="X,Y", help="A point on what is not meant; repeatable.", rich_help_panel=_DRAW),
]
Masks = Annotated[
    list[Path] | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="A picture of the image's size, white or opaque where it is meant; repeatable.",
        rich_help_panel=_DRAW,
    ),
]
Scribbles = Annotated[
    list[Path] | None,
    typer.Option("--scribble", metavar="FILE", help="The same with rough strokes.", rich_help_panel=_DRAW),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", help="A model that ships (nano) or a checkpoint folder, also one from the hub.", rich_help_panel=_RUN
    ),
]
Adapter = Annotated[
    Path | None,
    typer.Option(
        "--adapter", metavar="DIR", help="An adapter's folder: it answers instead of the base.", rich_help_panel=_RUN
    ),
]
Dialect = Annotated[
    str | None,
    typer.Option(
        "--dialect",
        metavar="NAME",
        help="How a model from the hub is asked and read; by default its model_type says so.",
        rich_help_panel=_RUN,
    ),
]
MaskModel = Annotated[
    str | None,
    typer.Option(
        "--masks",
        metavar="ID",
        help="Draw masks with this model: the folder or hub id of a SAM, SAM 2 or SAM 3.",
        rich_help_panel=_RUN,
    ),
]
DepthModel = Annotated[
    str | None,
    typer.Option(
        "--depth",
        metavar="ID",
        help="Draw depth with this model: the folder or hub id of a Depth Anything, DPT or ZoeDepth.",
        rich_help_panel=_RUN,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_RUN)]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="auto, transformers or vllm; auto is vllm where it is installed for a GPU.",
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Makes a temperature above 0 repeatable.", rich_help_panel=_RUN)
]
Temperature = Annotated[
    float, typer.Option("--temperature", help="0 takes the likeliest word every time.", rich_help_panel=_RUN)
]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", help="Cut the reply here; by default the task's own limit.",
                             rich_help_panel=_RUN)
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the options of one call say."""

    as_json: bool = False
    save: Path | None = None
    boxes: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    masks: tuple[Path, ...] = ()
    scribbles: tuple[Path, ...] = ()
    index: Path | None = None
    model: str = "nano"
    adapter: Path | None = None
    dialect: str | None = None
    mask_model: str | None = None
    depth_model: str | None = None
    device: str = "auto"
    engine: str = "auto"
    seed: int | None = None
    temperature: float = 0.0
    max_new_tokens: int | None = None
