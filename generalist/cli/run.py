"""Runs a command over its images: read, ask, print, save; one wrong image does not stop the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from generalist.adapter_folder import check_servable
from generalist.adapter_spec import adapter_name
from generalist.answer import Answer
from generalist.cli.commands import Command
from generalist.cli.inputs import find_images, read_prompts, split_arguments
from generalist.cli.options import Options
from generalist.cli.output import Saver, note_drawing, print_answer, print_json, warn_if_cut
from generalist.hub_line import hub_dialect
from generalist.images import load_image
from generalist.pipeline import EVERYTHING, Generalist, resolve_model
from generalist.tasks import get_task, question
from generalist.types import Documents, GeneralistError, Sampling
from generalist_serving.engines import choose_engine, load_engine

MAX_THREADS = 8
"""More threads than this slow a small model down."""


def run_command(spec: Command, arguments: Sequence[str], options: Options) -> None:
    """Answer for every image; raises :class:`GeneralistError`, or exits with 2 when one of several failed."""
    # Whatever can be wrong is looked at before the model is loaded, which takes seconds.
    sources, text = split_arguments(spec, arguments)
    words = question(spec.task, text if text is not None else EVERYTHING if spec.needs_last == "perhaps" else "")
    limit = get_task(spec.task).max_new_tokens if options.max_new_tokens is None else options.max_new_tokens
    sampling = Sampling(temperature=options.temperature, seed=options.seed, max_new_tokens=limit)
    check_model(options.model, options.engine, options.device, options.adapter, options.dialect)
    check_drawing(options.mask_model, options.depth_model)
    index = _open_index(spec, options)
    paths = find_images(sources)
    several = len(paths) > 1 or os.path.isdir(sources[0])
    saver = Saver(options.save, paths, is_folder=several)
    model = _Model(options)

    def answer(path: Path) -> Answer:
        image = load_image(path)
        prompts = read_prompts(options, image.size)
        return model.get().ask(image, words, task=spec.task, visual_prompts=prompts, sampling=sampling, index=index)

    def handle(path: Path) -> None:
        reply = answer(path)
        saved = saver.save(path, reply)
        if options.as_json:
            print_json(reply, path, model.drawing_report())
        else:
            print_answer(reply, saved, str(path) if several else None)
        warn_if_cut(reply)

    failed = 0
    if several:
        failed = _each(paths, handle)
    else:
        handle(paths[0])
    if not options.as_json:
        note_drawing(model.drawing_report())
    if failed:
        raise typer.Exit(2)


def _open_index(spec: Command, options: Options) -> Documents | None:
    """The index whose documents may be named; :class:`GeneralistError` for one that the model cannot name."""
    if options.index is None:
        return None
    if not spec.names_documents:
        raise GeneralistError(f"--index is {options.index}, and this command names no documents; use `generalist ask`")
    folder = resolve_model(options.model)
    if hub_dialect(folder, options.dialect) is not None:
        raise GeneralistError(f"{folder} is a model from the hub, which names no documents; leave --index out")
    from generalist.documents.bases import check_base, load_base
    from generalist.documents.naming import DocumentIndex

    index = DocumentIndex.open(options.index)
    check_base(load_base(options.model), index.base, options.index)
    return index


class _Model:
    """The model of one call, loaded when the first image needs it; a model that fails to load ends the call."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._loaded: Generalist | None = None

    def get(self) -> Generalist:
        if self._loaded is None:
            try:
                options = self._options
                self._loaded = load_model(
                    options.model,
                    options.device,
                    options.engine,
                    options.adapter,
                    options.dialect,
                    masks=options.mask_model,
                    depth=options.depth_model,
                )
            except GeneralistError as error:
                raise ModelError(str(error)) from error
        return self._loaded

    def drawing_report(self) -> dict[str, dict[str, Any]]:
        """What the models that draw in its place have done; empty without any."""
        drawing = None if self._loaded is None else self._loaded.drawing
        return {} if drawing is None else drawing.report()


class ModelError(GeneralistError):
    """The model cannot be loaded: no image will do better than this one."""


def check_model(model: str, engine: str, device: str, adapter: Path | None, dialect: str | None) -> str:
    """The engine that will run a model; :class:`GeneralistError` for options that do not go together."""
    folder = resolve_model(model)
    if hub_dialect(folder, dialect) is None:
        if adapter is not None:
            adapter_name(adapter)
            check_servable(adapter, choose_engine(engine, device))
        return choose_engine(engine, device)
    if engine not in ("auto", "transformers"):
        raise GeneralistError(f"engine {engine!r} runs models of ours; leave it out for {folder}, a model from the hub")
    if adapter is not None:
        raise GeneralistError(f"adapter {adapter} belongs to a model of ours; leave it out for {folder}")
    return "transformers"


def check_drawing(masks: str | None, depth: str | None) -> list[Path]:
    """The folders of models that draw; :class:`GeneralistError` for what is not there, or draws something else."""
    if masks is None and depth is None:
        return []
    from generalist import hub_drawing  # here, so that a call without them imports no torch

    return hub_drawing.check_drawing(masks, depth)


def load_model(
    model: str,
    device: str,
    engine: str,
    adapter: Path | None = None,
    dialect: str | None = None,
    *,
    masks: str | None = None,
    depth: str | None = None,
) -> Generalist:
    """A quiet model with a sensible number of threads, which answers with the adapter of a folder if one is given.

    ``masks`` and ``depth`` as for :meth:`Generalist.from_pretrained`.
    """
    quiet()
    if hub_dialect(resolve_model(model), dialect) is not None:
        return Generalist.from_pretrained(model, device=device, dialect=dialect, masks=masks, depth=depth)
    adapters = {} if adapter is None else {adapter_name(adapter): adapter}
    loaded = load_engine(engine, resolve_model(model), device=device, adapters=adapters)
    return Generalist.from_pretrained(model, device=device, engine=loaded, adapter=adapter, masks=masks, depth=depth)


def quiet() -> None:
    """No chatter of libraries on the screen, and threads for the processors that this process may use."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is loaded
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if "OMP_NUM_THREADS" not in os.environ:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(min(available, MAX_THREADS))


def _each(paths: Sequence[Path], handle: Callable[[Path], None]) -> int:
    """Handle every path under a progress bar; how many failed, each with a line on stderr."""
    failed = 0
    with _progress(len(paths)) as advance:
        for path in paths:
            try:
                handle(path)
            except ModelError:
                raise
            except GeneralistError as error:
                failed += 1
                named = str(error) if str(path) in str(error) else f"{path}: {error}"
                print(f"error: {' '.join(named.split())}", file=sys.stderr)
            advance()
    return failed


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr where that is a terminal; calling what it yields moves it on by one."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        # Printing goes above the bar, but never out of a pipe and into the terminal.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task("images", total=total)
        yield lambda: bar.advance(task)
