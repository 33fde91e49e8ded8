"""A whole run: choose, measure, train, measure again, and leave everything in one folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generalist.evaluation.report import write_whole
from generalist.model import Checkpoint
from generalist.pipeline import Line
from generalist.training.run import Interrupted, interruptions
from generalist_adapters.attached import SpecFields
from generalist_adapters.finetune import baseline, measure
from generalist_adapters.finetune.options import RECIPE, FinetuneOptions, check, claim, is_done, recipe_of
from generalist_adapters.finetune.plan import seconds_a_step
from generalist_adapters.finetune.report import Finished, write_report
from generalist_adapters.finetune.setting import Chosen, attach, choose, load_base
from generalist_adapters.finetune.standing import Standing, fit

METRICS = "metrics.json"
LOG = "log.jsonl"
_STATE = "state.pt"
_TIMED = "timed.json"

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run has left in ``folder``: the adapters by folder, and the content of ``metrics.json``."""

    folder: Path
    adapters: tuple[Path, ...]
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told how a run goes: lines of text, every step with its loss, and questions answered of a stage."""

    tell: Tell = lambda line: None
    step: Callable[[Standing, float], object] = lambda trainer, loss: None
    asking: Callable[[str], measure.Progress] = lambda stage: lambda done, total: None


def finetune(options: FinetuneOptions, watcher: Watcher | None = None) -> Outcome:
    """Train an adapter, or go on. Called again when it is done, it gives what is there.

    Raises :class:`GeneralistError` for a mistake of the user's, and
    :class:`~generalist.training.run.Interrupted`, with the state saved, when SIGINT or SIGTERM comes.
    """
    watcher = watcher or Watcher()
    check(options)
    if is_done(options):
        watcher.tell(f"{options.out} holds the result of these options already")
        metrics = json.loads((options.out / METRICS).read_text(encoding="utf-8"))
        return Outcome(folder=options.out, adapters=tuple(_adapters(options.out)), metrics=metrics)
    checkpoint, line = load_base(options.model)
    chosen = choose(options, checkpoint)
    work = claim(options)
    with interruptions() as interrupted:
        return _Run(options, checkpoint, line, chosen, work, watcher, interrupted).go()


class _Run:
    """The stages of one run; each leaves in ``work`` what it need not do again."""

    def __init__(
        self,
        options: FinetuneOptions,
        checkpoint: Checkpoint,
        line: Line,
        chosen: Chosen,
        work: Path,
        watcher: Watcher,
        interrupted: Callable[[], bool],
    ) -> None:
        self.options, self.checkpoint, self.line, self.chosen = options, checkpoint, line, chosen
        self.work, self.watcher, self.interrupted = work, watcher, interrupted
        self.seconds: dict[str, float] = {}

    def go(self) -> Outcome:
        tell, chosen = self.watcher.tell, self.chosen
        for note in chosen.notes:
            tell(f"note: {note}")
        tell(f"{len(chosen.pictures)} pictures to learn from, {len(chosen.watch.records)} to stop by, "
             f"{len(chosen.exam.records)} to measure with; tasks {', '.join(chosen.division.tasks)}")  # fmt: skip
        states: dict[str, measure.Results] = {}
        with self._timed("before"):
            states["before"] = self._take("before", None)
        trainer, repeated = attach(self._planned(), self.checkpoint, chosen)
        tell(f"{sum(p.numel() for p in trainer.parameters):,} parameters are trained for {trainer.schedule.steps} "
             f"steps; repeated: {repeated}")  # fmt: skip
        with self._timed("training"):
            watch = (lambda: self._look(trainer)) if chosen.watch.tasks else None
            fit(trainer, self.work / _STATE, watch, interrupted=self.interrupted, notice=self.watcher.step)
        tell(f"the state after step {trainer.best['step']} of {trainer.step} is kept")
        with self._timed("after"):
            states["after"] = self._take("after", trainer)
        with self._timed("from_scratch"):
            scratch = self._baseline(states)
        return self._write(trainer, states, scratch, repeated)

    # --- stages ---

    def _planned(self) -> FinetuneOptions:
        """The options with the number of steps that ``--minutes`` stands for; measured once a run."""
        options = self.options
        if options.minutes is None:
            return options
        path = self.work / _TIMED
        if not path.exists():
            trainer, _ = attach(options, self.checkpoint, self.chosen)
            steps = max(1, round(60 * options.minutes / seconds_a_step(trainer)))
            trainer.attached.detach()
            write_whole(path, json.dumps({"steps": steps}))
        return dataclasses.replace(options, steps=int(json.loads(path.read_text(encoding="utf-8"))["steps"]))

    def _take(self, stage: str, trainer: Standing | None) -> measure.Results:
        return measure.take(
            self.chosen.exam,
            self.checkpoint,
            self.line,
            None if trainer is None else trainer.attached,
            progress=self._progress(stage),
            # Answers of the base are kept: they are the same when an interrupted run goes on.
            cache=self.work / "before.jsonl" if trainer is None else None,
        )

    def _progress(self, stage: str) -> measure.Progress:
        """Tells of answers, and ends the run between two of them when it is interrupted."""
        told = self.watcher.asking(stage)

        def progress(done: int, total: int | None) -> None:
            told(done, total)
            self._check_interrupted(stage)

        return progress

    def _check_interrupted(self, stage: str) -> None:
        if self.interrupted():
            raise Interrupted(f"interrupted in the stage {stage!r}; what is done is saved")

    def _look(self, trainer: Standing) -> float:
        return measure.quality(self.chosen.watch, self.checkpoint, self.line, trainer.attached)

    def _baseline(self, states: dict[str, measure.Results]) -> baseline.Baseline | None:
        """Train the small network and measure it on what it can answer; it learns from all shots but the watched."""
        if not self.options.baseline or not self.chosen.exam.tasks:
            return None
        side = max(self.checkpoint.model.config.image_hw)
        network = baseline.train(
            self.chosen.pictures, side, steps=self.options.steps, augmentation=self.chosen.augmentation,
            seed=self.options.seed, notice=lambda: self._check_interrupted("from scratch"),
        )  # fmt: skip
        if network is None:
            return None
        found = measure.take_baseline(self.chosen.exam, network, progress=self._progress("from scratch"))
        if found:
            states["from_scratch"] = found
        return network

    # --- the result ---

    def _write(
        self, trainer: Standing, states: dict[str, measure.Results], scratch: baseline.Baseline | None, repeated: str
    ) -> Outcome:
        """Everything into a folder beside, then into its place."""
        result = self.work / "result"
        shutil.rmtree(result, ignore_errors=True)
        fields = SpecFields(
            name=self.options.adapter_name, base=self.options.model, vocab_hash=self.checkpoint.vocabulary.hash
        )
        adapters = trainer.attached.save(result, fields)
        metrics = {
            **measure.to_json(states),
            "test": {"split": self.chosen.division.official or "made here", "pictures": len(self.chosen.exam.records)},
            "trained_parameters": sum(p.numel() for p in trainer.parameters),
            "steps": trainer.step,
            "kept_step": trainer.best["step"],
            "seconds": {stage: round(seconds, 1) for stage, seconds in self.seconds.items()},
        }
        write_whole(result / METRICS, json.dumps(metrics, indent=2) + "\n")
        write_whole(result / LOG, "".join(json.dumps(entry) + "\n" for entry in trainer.history))
        write_whole(result / RECIPE, json.dumps(recipe_of(self.options), indent=2) + "\n")
        write_report(
            Finished(
                folder=result, adapters=adapters, options=self.options, chosen=self.chosen, trainer=trainer,
                states=states, scratch=scratch, repeated=repeated,
            )
        )  # fmt: skip
        if self.options.out.exists():
            self.options.out.rmdir()  # empty, as was seen before anything began
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        result.rename(self.options.out)
        shutil.rmtree(self.work, ignore_errors=True)
        return Outcome(folder=self.options.out, adapters=tuple(_adapters(self.options.out)), metrics=metrics)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - began


def _adapters(folder: Path) -> Iterator[Path]:
    """The folders with an ``adapter.json``: the result itself, or one a task."""
    return (path.parent for path in sorted([*folder.glob("adapter.json"), *folder.glob("*/adapter.json")]))
