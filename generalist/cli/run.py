"""Runs a command over its images: read, ask, print, save; one wrong image does not stop the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from generalist.answer import Answer
from generalist.cli.commands import Command
from generalist.cli.inputs import find_images, read_prompts, split_arguments
from generalist.cli.options import Options
from generalist.cli.output import Saver, print_answer, print_json, warn_if_cut
from generalist.images import load_image
from generalist.pipeline import EVERYTHING, Generalist, resolve_model
from generalist.tasks import get_task, question
from generalist.types import GeneralistError, Sampling
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
    resolve_model(options.model)
    choose_engine(options.engine, options.device)
    paths = find_images(sources)
    several = len(paths) > 1 or os.path.isdir(sources[0])
    saver = Saver(options.save, paths, is_folder=several)
    model = _Model(options)

    def answer(path: Path) -> Answer:
        image = load_image(path)
        prompts = read_prompts(options, image.size)
        return model.get().ask(image, words, task=spec.task, visual_prompts=prompts, sampling=sampling)

    def handle(path: Path) -> None:
        reply = answer(path)
        saved = saver.save(path, reply)
        if options.as_json:
            print_json(reply, path)
        else:
            print_answer(reply, saved, str(path) if several else None)
        warn_if_cut(reply)

    if not several:
        handle(paths[0])
    elif _each(paths, handle):
        raise typer.Exit(2)


class _Model:
    """The model of one call, loaded when the first image needs it; a model that fails to load ends the call."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._loaded: Generalist | None = None

    def get(self) -> Generalist:
        if self._loaded is None:
            try:
                self._loaded = load_model(self._options.model, self._options.device, self._options.engine)
            except GeneralistError as error:
                raise ModelError(str(error)) from error
        return self._loaded


class ModelError(GeneralistError):
    """The model cannot be loaded: no image will do better than this one."""


def load_model(model: str, device: str, engine: str) -> Generalist:
    """A quiet model with a sensible number of threads."""
    quiet()
    return Generalist.from_pretrained(model, engine=load_engine(engine, resolve_model(model), device=device))


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
