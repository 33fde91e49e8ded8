"""What a run would do, measured on its first steps and written down nowhere: ``--dry-run``."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

from generalist_adapters.finetune import measure
from generalist_adapters.finetune.options import FinetuneOptions, check, is_done
from generalist_adapters.finetune.setting import Chosen, attach, choose, load_base
from generalist_adapters.finetune.standing import Standing

_TIMED_STEPS = 2


def plan(options: FinetuneOptions) -> Iterator[str]:
    """Lines that say what a run with these options would be like. Nothing is written.

    Raises :class:`GeneralistError` for whatever the run itself would refuse.
    """
    check(options)
    is_done(options)
    checkpoint, line = load_base(options.model)
    chosen = choose(options, checkpoint)
    yield from _of_data(options, chosen)
    trainer, repeated = attach(options, checkpoint, chosen)
    yield from trainer.describe()
    for row in trainer.attached.report():
        yield f"trained in {row.part}: {row.trained:,} of {row.total:,} parameters"
    yield f"repeated of the base's world: {repeated}"
    step = seconds_a_step(trainer)
    steps = options.steps if options.minutes is None else max(1, round(60 * options.minutes / step))
    exam = _seconds_of_exam(chosen, lambda one: measure.quality(one, checkpoint, line, trainer.attached))
    looks = steps // trainer.schedule.watch_every * exam * len(chosen.watch.records)
    yield (
        f"time: {steps} steps of {step:.2f} s, {_minutes(steps * step)}; looks at the watched pictures "
        f"{_minutes(looks)}; measuring before and after {_minutes(2 * exam * len(chosen.exam.records))}"
    )
    yield f"memory: {peak_memory() / 2**30:.1f} GiB at most so far"


def _of_data(options: FinetuneOptions, chosen: Chosen) -> Iterator[str]:
    division = chosen.division
    yield f"{options.data}: format {division.format}, {division.found} pictures to choose from"
    yield (
        f"{len(division.train)} to learn from, {len(division.watch)} to stop by, {len(division.test)} to measure with "
        f"({f'split {division.official}' if division.official else 'split here, by the seed'})"
    )
    yield f"tasks: {', '.join(division.tasks)}"
    if division.classes:
        yield "classes (pictures that show each): " + ", ".join(f"{n} ({k})" for n, k in division.classes.items())
    augmentation = chosen.augmentation
    yield f"variations: flips {augmentation.flips}, {'cuts' if augmentation.cuts else 'no cuts'}, light"
    for note in chosen.notes:
        yield f"note: {note}"


def seconds_a_step(trainer: Standing) -> float:
    """How long a step takes, behind a first one that warms up; the steps count."""
    trainer.learn()
    began = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        trainer.learn()
    return (time.perf_counter() - began) / _TIMED_STEPS


def _seconds_of_exam(chosen: Chosen, take: Callable[[measure.Exam], object]) -> float:
    """Seconds a picture, on a few of them."""
    records = list(islice((*chosen.exam.records, *chosen.watch.records), 2))
    if not records:
        return 0.0
    began = time.perf_counter()
    take(measure.Exam.of("a few", records, chosen.division.tasks))
    return (time.perf_counter() - began) / len(records)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def peak_memory() -> int:
    """Bytes that this process has held at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
