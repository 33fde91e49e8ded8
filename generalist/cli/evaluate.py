"""``generalist eval``: run suites, print and write reports, compare two models."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from generalist.adapter_folder import check_servable
from generalist.adapter_spec import adapter_name
from generalist.cli.output import printable
from generalist.cli.run import check_drawing, check_model, load_model
from generalist.pipeline import Generalist, resolve_model
from generalist.types import GeneralistError
from generalist_serving.engines import close_engine

if TYPE_CHECKING:
    from generalist.evaluation.cases import Result, Suite

MOST_MODELS = 2
_FILE_WIDTH = 120
"""Letters a line of a table that goes into a file or a pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What the options of one call say; ``format``, ``images`` and ``depth_scale`` are those of labelled folders."""

    models: tuple[str, ...] = ("nano",)
    adapter: Path | None = None
    dialect: str | None = None
    mask_model: str | None = None
    depth_model: str | None = None
    device: str = "auto"
    engine: str = "auto"
    limit: int | None = None
    batch_size: int = 16
    as_json: bool = False
    out: Path | None = None
    format: str | None = None
    images: Path | None = None
    depth_scale: float | None = None
    cache: bool = True


def run_eval(names: Sequence[str], options: EvalOptions) -> None:
    """Measure every model on every suite. Raises :class:`GeneralistError`."""
    # Whatever can be wrong is looked at before a model is loaded and hours are spent.
    _check(names, options)
    engines = {model: _engine(model, options) for model in options.models}
    suites = [_find_suite(name, options) for name in names]
    places = _places(options, names)
    caches = _caches(options, names)
    results: list[list[Result]] = []
    for model in options.models:
        loaded = load_model(
            model,
            options.device,
            options.engine,
            options.adapter,
            options.dialect,
            masks=options.mask_model,
            depth=options.depth_model,
        )
        results.append([])
        for name, suite in zip(names, suites, strict=True):
            result = _measure(loaded, model, engines[model], suite, caches.get((model, name)), options)
            command = _command(name, model, options)
            saved = _write(result, suite, places[model, name], command, options) if places else []
            _show_result(result, command, options)
            _say_saved(saved, options)
            results[-1].append(result)
        close_engine(loaded.engine)
    if len(results) == MOST_MODELS:
        for a, b, name in zip(*results, names, strict=True):
            _show_comparison(a, b, places.get(("", name)), options)
    for file in caches.values():
        # All is measured and written. The next run asks anew: what makes answers may have changed beside the model.
        file.unlink(missing_ok=True)


def _check(names: Sequence[str], options: EvalOptions) -> None:
    for option, number in (("--limit", options.limit), ("--batch-size", options.batch_size)):
        if number is not None and number < 1:
            raise GeneralistError(f"{option} is {number}; use 1 or more")
    if options.images is not None and not os.path.isdir(options.images):
        raise GeneralistError(f"--images is {options.images}, which is no folder; name the folder of the pictures")
    if options.depth_scale is not None and not 0 < options.depth_scale < math.inf:
        raise GeneralistError(
            f"--depth-scale is {options.depth_scale}; use a number above 0, such as 1000 for millimetres"
        )
    check_drawing(options.mask_model, options.depth_model)
    if options.adapter is not None:
        adapter_name(options.adapter)
        check_servable(options.adapter, "transformers")  # the engine that serves the most
        if len(options.models) > 1:
            raise GeneralistError(f"--adapter {options.adapter} belongs to one model; give --model once")
    if len(options.models) > MOST_MODELS:
        raise GeneralistError(f"--model is given {len(options.models)} times; at most two models can be compared")
    for what, given in (("--model", options.models), ("suite", names)):
        again = next((one for one in given if list(given).count(one) > 1), None)
        if again is not None:
            raise GeneralistError(f"{what} {again[:200]!r} is given twice; give it once")


def _find_suite(name: str, options: EvalOptions) -> Suite:
    from generalist.evaluation.suites import get_suite
    from generalist_datasets.readers import Options

    folder_options = Options(images=options.images, depth_scale=options.depth_scale)
    return get_suite(name, format=options.format, options=folder_options)


def _engine(model: str, options: EvalOptions) -> str:
    return check_model(model, options.engine, options.device, options.adapter, options.dialect)


def _measure(
    loaded: Generalist, model: str, engine: str, suite: Suite, cache: Path | None, options: EvalOptions
) -> Result:
    from generalist.evaluation.run import run_suite

    try:
        with _progress(f"{suite.name}, {model}", suite, options.limit) as progress:
            return run_suite(
                loaded,
                suite,
                name=model if options.adapter is None else f"{model} + {adapter_name(options.adapter)}",
                engine=engine,
                folder=resolve_model(model),
                limit=options.limit,
                batch_size=options.batch_size,
                cache=cache,
                progress=progress,
            )
    except KeyboardInterrupt:
        if cache is not None:
            print("interrupted; the same command goes on from the answers that are kept", file=sys.stderr)
        raise


def _command(name: str, model: str, options: EvalOptions) -> str:
    """What reproduces the figures of one model on one suite."""
    words = ["generalist", "eval", name, "--model", model]
    given = {
        "--adapter": options.adapter,
        "--dialect": options.dialect,
        "--masks": options.mask_model,
        "--depth": options.depth_model,
        "--device": None if options.device == "auto" else options.device,
        "--engine": None if options.engine == "auto" else options.engine,
        "--limit": options.limit,
        "--batch-size": None if options.batch_size == EvalOptions().batch_size else options.batch_size,
        "--format": options.format,
        "--images": options.images,
        "--depth-scale": options.depth_scale,
    }
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)


# --- the screen ---------------------------------------------------------------------------------------


def _show_result(result: Result, command: str, options: EvalOptions) -> None:
    from generalist.evaluation.report import table, to_json

    _print(to_json(result, command=command) if options.as_json else table(result))


def _show_comparison(a: Result, b: Result, place: Path | None, options: EvalOptions) -> None:
    from generalist.evaluation.compare import compare, table, to_json
    from generalist.evaluation.report import write_whole

    comparison = compare(a, b)
    if place is not None:
        write_whole(place, json.dumps(to_json(comparison), indent=2) + "\n")
    _print(to_json(comparison) if options.as_json else table(comparison))
    _say_saved([] if place is None else [place], options)


def _print(content: RenderableType | dict[str, Any]) -> None:
    """JSON on one line of ASCII; anything else as rich draws it, with an empty line behind it."""
    if isinstance(content, dict):
        print(json.dumps(content))
    else:
        width = None if sys.stdout.isatty() else _FILE_WIDTH
        Console(highlight=False, markup=False, emoji=False, width=width).print(content, "")
    sys.stdout.flush()  # the next result may take an hour


def _say_saved(paths: Sequence[Path], options: EvalOptions) -> None:
    for path in paths:
        print(printable(f"saved {path}"), file=sys.stderr if options.as_json else sys.stdout, flush=True)


@contextmanager
def _progress(what: str, suite: Suite, limit: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr where that is a terminal; takes how many questions are done, and their number once known."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(printable(f"{what}: counting"), total=None)
        if console.is_terminal:  # going through the suite takes a small part of what answering does
            bar.reset(task, total=sum(1 for _ in suite.cases(limit)), description=printable(what))
        yield lambda done, total: bar.update(task, completed=done, total=total)


# --- files --------------------------------------------------------------------------------------------


def _places(options: EvalOptions, names: Sequence[str]) -> dict[tuple[str, str], Path]:
    """(model, suite) -> the report's file without its suffix; ("", suite) -> the comparison's. Makes the folders.

    One model's reports lie in the folder itself, those of two in a folder each.
    """
    if options.out is None:
        return {}
    files = _file_names(names)
    several = len(options.models) > 1
    folders = _file_names([*options.models])
    places: dict[tuple[str, str], Path] = {}
    for model in options.models:
        folder = options.out / folders[model] if several else options.out
        _make_folder(folder)
        places |= {(model, name): folder / file for name, file in files.items()}
    return places | {("", name): options.out / f"{file}-comparison.json" for name, file in files.items()}


def _caches(options: EvalOptions, names: Sequence[str]) -> dict[tuple[str, str], Path]:
    """(model, suite) -> the file of the answers so far; each command has its own."""
    if not options.cache:
        return {}
    from generalist.evaluation.outcome_file import fingerprint
    from generalist_datasets.assets import cache_folder

    folder, here = cache_folder() / "answers", os.getcwd()
    beside = check_drawing(options.mask_model, options.depth_model)
    beside += [] if options.adapter is None else [options.adapter]
    for part in beside:  # the file tells one base from another, and an adapter may be trained on
        here += f"\n{fingerprint(part)}"
    keys = {(model, name): f"{here}\n{_command(name, model, options)}" for model in options.models for name in names}
    return {
        pair: folder / f"{sha256(key.encode(errors='replace')).hexdigest()[:16]}.jsonl" for pair, key in keys.items()
    }


def _file_names(names: Sequence[str]) -> dict[str, str]:
    """Name or path -> a name for files: "world/style" -> "world-style"; no two alike."""
    found: dict[str, str] = {}
    for name in names:
        path = os.path.abspath(name) if os.path.exists(name) else None
        short = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(path) if path else name).strip("-.")[:100] or "report"
        taken = {other.lower() for other in found.values()}
        choices = (short if number == 1 else f"{short}-{number}" for number in range(1, len(names) + 1))
        found[name] = next(choice for choice in choices if choice.lower() not in taken)
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"--out {folder}: cannot make this folder ({reason}); choose another place") from error


def _write(result: Result, suite: Suite, place: Path, command: str, options: EvalOptions) -> list[Path]:
    from generalist.evaluation.html import write_html
    from generalist.evaluation.pictures import pick_cases
    from generalist.evaluation.report import write_json

    paths = [place.with_name(f"{place.name}{suffix}") for suffix in (".json", ".html")]
    write_json(result, paths[0], command=command)
    write_html(result, paths[1], partial(pick_cases, suite, options.limit), command=command)
    return paths
