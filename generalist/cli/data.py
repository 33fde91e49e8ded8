"""``generalist data``: making data sets and looking at them."""

# No "from __future__ import annotations": typer reads the annotations as objects.

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from generalist_datasets.readers import Options

data = typer.Typer(help="Make labelled scenes; look at data sets.", no_args_is_help=True, rich_markup_mode="rich")


@data.command(
    "world",
    help="Write composed scenes with exact answers as Parquet shards. Called again, it goes on where it stopped.",
    epilog="Example: generalist data world --out scenes --n 1000",
)
def _world(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder, or one to go on with.")],
    n: Annotated[int | None, typer.Option("--n", help="How many scenes; by default all of an evaluation set.")] = None,
    split: Annotated[
        str, typer.Option("--split", help="train, or an evaluation set: compositions, attributes, style, concepts.")
    ] = "train",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed makes other scenes; by default the split's own.")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Pixels; one number for a square.")] = "224",
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes, by default one a core; the files are the same.")
    ] = None,
    pictures: Annotated[
        Literal["png", "jpg"], typer.Option("--format", help="png keeps every pixel, jpg takes less space.")
    ] = "png",
) -> None:
    from generalist.types import GeneralistError

    if workers is not None and workers < 1:
        raise GeneralistError(f"--workers is {workers}; use 1 or more")
    pixels = _size(size)
    try:
        from generalist_datasets.world.dataset import World
        from generalist_datasets.world.shards import prepare, write_shards
        from generalist_datasets.world.splits import get_split
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("generalist"):
            raise
        raise GeneralistError(f"{error.name} is not installed; pip install 'generalist[train]' brings it") from error
    if get_split(split).size is None and n is None:
        raise GeneralistError(f"split {split!r} has no end; say how many scenes with --n")
    prepare(out)  # before the pictures are fetched, which may take minutes
    world = World(split, seed=seed, size=pixels, count=n)
    with _progress("scenes", len(world)) as advance:
        manifest = write_shards(world, out, workers=workers or _processors(), form=pictures, advance=advance)
    print(f"{manifest['count']} scenes of {split} in {out}")
    print(f"digest {manifest['digest']}")


@data.command(
    "preview",
    help="Draw the first pictures of a data set with boxes, masks and depth, the questions and answers below them.",
    epilog="Example: generalist data preview scenes --out sheet.png",
)
def _preview(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Shards of scenes, or a data set in any known format.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The picture to write.")] = Path("preview.png"),
    count: Annotated[int, typer.Option("--count", help="How many pictures.")] = 12,
    format: Annotated[str | None, typer.Option("--format", help="Of PATH; by default found from the contents.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where the pictures are, if they are not beside.")
    ] = None,
) -> None:
    from generalist.cli.data_check import preview_target
    from generalist.draw import save_image
    from generalist.types import GeneralistError
    from generalist_datasets.preview import read_groups, sheet

    if not 1 <= count <= 200:
        raise GeneralistError(f"--count is {count}; use 1 to 200")
    options = _options(images)
    preview_target(path, options, out, "--out")
    save_image(sheet(read_groups(path, count, format, options)), out)
    print(f"saved {out}")


@data.command(
    "check",
    help="Say what a data set holds and what is wrong with it. Changes nothing; exits with 2 when it cannot be used.",
    epilog="Example: generalist data check my-photos --format coco",
)
def _check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, or an annotation file.")],
    format: Annotated[
        str | None, typer.Option("--format", help="By default found from the contents; an error lists the names.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where the pictures are, if they are not beside.")
    ] = None,
    depth_scale: Annotated[
        float | None, typer.Option("--depth-scale", help="Levels a metre of the depth maps.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="FILE", help="The preview sheet; by default PATH's name + -preview.png, here."
        ),
    ] = None,
    no_preview: Annotated[bool, typer.Option("--no-preview", help="Draw no preview.")] = False,
) -> None:
    from generalist.cli.data_check import run_check
    from generalist.types import GeneralistError

    if depth_scale is not None and not 0 < depth_scale < math.inf:
        raise GeneralistError(f"--depth-scale is {depth_scale}; use a number above 0, such as 1000 for millimetres")
    if preview is not None and no_preview:
        raise GeneralistError("--preview and --no-preview exclude each other; use one of them")
    options = _options(images, depth_scale)
    run_check(path, format, options, as_json=as_json, preview=preview, with_preview=not no_preview)


@data.command(
    "convert",
    help="Write a data set, or composed scenes, in a form that other tools read.",
    epilog="Example: generalist data convert my-boxes --to coco --out my-boxes-coco",
)
def _convert(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, or an annotation file.")],
    to: Annotated[
        Literal["coco", "messages"],
        typer.Option("--to", help="coco: COCO json. messages: conversations, one a line, boxes as Qwen writes them."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    format: Annotated[str | None, typer.Option("--format", help="Of PATH; by default found from the contents.")] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Where the pictures are; they are then named relative to it."),
    ] = None,
) -> None:
    from generalist.cli.data_convert import run_convert

    run_convert(path, to, out, format, _options(images))


def _options(images: Path | None, depth_scale: float | None = None) -> "Options":
    from generalist.types import GeneralistError
    from generalist_datasets.readers import Options

    if images is not None and not os.path.isdir(images):
        raise GeneralistError(f"--images is {images}, which is no folder; name the folder of the pictures")
    return Options(images=images, depth_scale=depth_scale)


def _size(text: str) -> tuple[int, int]:
    """ "320x240" or "224" -> (W, H)."""
    from generalist.types import GeneralistError

    found = re.fullmatch(r"(\d{1,5})(?:[xX](\d{1,5}))?", text.strip())
    if found is None:
        raise GeneralistError(f"--size is {text!r}; use WxH in pixels, such as 320x240, or one number for a square")
    return int(found[1]), int(found[2] or found[1])


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal; calling what it yields with a number moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
