"""Ask a model the questions of a suite, and measure its answers.

Stages: cases -> batches of one task and one group -> answers -> outcomes -> what a measure keeps of each. Pictures
are held only while a case waits for its batch: memory grows with the number of cases, not with their pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from generalist.answer import Answer
from generalist.evaluation.cases import Case, Figure, Measure, Outcome, Result, Suite
from generalist.evaluation.intervals import bootstrap
from generalist.evaluation.outcome_file import OutcomeFile, fingerprint
from generalist.pipeline import Generalist
from generalist.tasks import get_task
from generalist.types import ChatRequest, DepthMap, GeneralistError, Grounded, Message, Sample, Sampling

Progress: TypeAlias = Callable[[int, int | None], object]

LATENCY = "latency"
"""The group of figures that has no measure: median seconds of a question, by group."""

_WAITING_PIXELS = 100_000_000
"""Of the pictures of all cases that wait; with more, smaller batches are asked."""
_DEPTH_SIDE = 96
"""Pixels of the longer side of the depth maps that are kept."""


def run_suite(
    model: Generalist,
    suite: Suite,
    *,
    name: str = "model",
    engine: str = "",
    folder: Path | None = None,
    limit: int | None = None,
    batch_size: int = 16,
    cache: Path | None = None,
    progress: Progress = lambda done, total: None,
    measures: Mapping[str, Measure] | None = None,
) -> Result:
    """Ask, greedily, and measure. The same model and suite give the same figures, but for the seconds.

    What is kept of an answer for reports is all of it, but depth maps in a coarser grid (``_DEPTH_SIDE``).

    Args:
        model: whom to ask.
        suite: what.
        name, engine: what the result calls the model and what runs it; by default the engine's class.
        folder: the checkpoint that the model was loaded from; needed with ``cache``.
        limit: scenes or pictures at most.
        batch_size: questions at most that are asked at once.
        cache: a file of answers (see :mod:`~generalist.evaluation.outcome_file`): what it knows of this model and
            these questions is not asked again, and what is asked is added, so that a run can be interrupted.
        progress: called with how many cases are done, and of how many: None until the suite has been gone through.
        measures: by group; all there are by default.

    Raises:
        GeneralistError: an argument is out of its range, the suite has no cases or cannot be read. A question
            that cannot be asked is no error: its outcome says so, and counts as a miss.
    """
    for what, number in (("limit", limit), ("batch size", batch_size)):
        if number is not None and number < 1:
            raise GeneralistError(f"the {what} is {number}; use 1 or more")
    engine = engine or type(model.engine).__name__
    known = None if cache is None else _open(cache, folder, engine, suite)
    run = _Run(model, _all_measures() if measures is None else measures, known, batch_size, progress)
    for case in suite.cases(limit):
        run.take(case)
    run.finish()
    if not run.cases:
        raise GeneralistError(f"{suite.name}: there is nothing to ask about; use labelled pictures")
    return run.result(suite.name, name, engine)


def _open(cache: Path, folder: Path | None, engine: str, suite: Suite) -> OutcomeFile:
    if folder is None:
        raise GeneralistError(f"{cache}: answers are kept by the model's files; say in which folder these are")
    return OutcomeFile(cache, (fingerprint(folder), engine, suite.name))


def _all_measures() -> Mapping[str, Measure]:
    from generalist.evaluation.measures import MEASURES

    return MEASURES


class _Run:
    """A run under way. ``cases`` are without their pictures, in the order of the suite."""

    def __init__(
        self,
        model: Generalist,
        measures: Mapping[str, Measure],
        known: OutcomeFile | None,
        batch_size: int,
        progress: Progress,
    ) -> None:
        self.model, self.measures, self.known = model, measures, known
        self.batch_size, self.progress = batch_size, progress
        self.cases: dict[str, Case] = {}
        self.kept: dict[str, object] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._waiting: dict[tuple[str, str], list[Case]] = {}
        self._total: int | None = None

    # --- asking ---

    def take(self, case: Case) -> None:
        """Look a case up, or let it wait until its batch is full."""
        if case.group not in self.measures:
            raise GeneralistError(f"{case.id}: nothing measures group {case.group!r}; use {', '.join(self.measures)}")
        if case.id in self.cases:
            raise GeneralistError(f"two cases are called {case.id!r}; give every case an id of its own")
        self.cases[case.id] = without_pictures(case)
        outcome = None if self.known is None else self.known.find(case)
        if outcome is not None:
            self._judge(case, outcome)
            return
        # One group a batch, too: its seconds are shared out, and a long list must not make a short answer slow.
        batch = self._waiting.setdefault((case.sample.task, case.group), [])
        batch.append(case)
        if len(batch) == self.batch_size:
            self._ask(batch)
            batch.clear()
        elif self._waiting_pixels() > _WAITING_PIXELS:
            self._ask_waiting()

    def finish(self) -> None:
        """All cases have been taken."""
        self._total = len(self.cases)
        self._ask_waiting()
        self.progress(self._total, self._total)

    def _ask_waiting(self) -> None:
        """Ask whatever waits."""
        for batch in self._waiting.values():
            if batch:
                self._ask(batch)
        self._waiting.clear()

    def _waiting_pixels(self) -> int:
        """Cases about one picture share it."""
        samples = [case.sample for batch in self._waiting.values() for case in batch]
        pictures = {id(image): image for sample in samples for image in (*sample.earlier_images, sample.image)}
        return sum(image.width * image.height for image in pictures.values())

    def _ask(self, batch: Sequence[Case]) -> None:
        answered = list(zip(batch, ask_cases(self.model, batch), strict=True))
        if self.known is not None:
            self.known.add(answered)
        for case, outcome in answered:
            self._judge(case, outcome)

    def _judge(self, case: Case, outcome: Outcome) -> None:
        self.kept[case.id] = self.measures[case.group].judge(case, outcome)
        self.outcomes[case.id] = replace(outcome, outputs=tuple(map(_coarse, outcome.outputs)))
        self.progress(len(self.kept), self._total)

    # --- figures ---

    def result(self, suite: str, model: str, engine: str) -> Result:
        groups = {id: case.group for id, case in self.cases.items()}
        by_group: dict[str, list[str]] = {}
        for id, group in groups.items():
            by_group.setdefault(group, []).append(id)
        in_order = [group for group in self.measures if group in by_group]
        figures = {group: tuple(self._figures(group, by_group[group])) for group in in_order}
        figures[LATENCY] = tuple(self._latency(by_group))
        return Result(
            suite=suite,
            model=model,
            engine=engine,
            figures=figures,
            groups=groups,
            kept={id: self.kept[id] for id in groups},
            outcomes={id: self.outcomes[id] for id in groups},
            seconds=sum(outcome.seconds for outcome in self.outcomes.values()),
        )

    def _figures(self, group: str, ids: Sequence[str]) -> Iterator[Figure]:
        measure, kept = self.measures[group], [self.kept[id] for id in ids]
        bounds = bootstrap(kept, measure.combine)
        counts = measure.counts(kept)
        floors = {**measure.floors([self.cases[id] for id in ids]), **measure.own_floors(kept)}
        for name, value in measure.combine(kept).items():
            low, high = bounds.get(name, (None, None))
            floor_name, floor = floors.get(name, ("", None))
            yield Figure(
                name=name,
                value=value,
                count=counts.get(name, len(kept)),
                higher_is_better=name not in measure.lower_is_better,
                low=low,
                high=high,
                floor=floor,
                floor_name=floor_name,
            )

    def _latency(self, by_group: Mapping[str, Sequence[str]]) -> Iterator[Figure]:
        for group in self.measures:
            ids = by_group.get(group, ())
            seconds = [o.seconds for id in ids if not (o := self.outcomes[id]).error]
            if seconds:
                name = f"{group}, seconds"
                bounds = bootstrap(seconds, lambda chosen, name=name: {name: float(np.median(chosen))})  # type: ignore[misc]
                low, high = bounds.get(name, (None, None))
                yield Figure(name=name, value=float(np.median(seconds)), count=len(seconds), higher_is_better=False,
                             low=low, high=high)  # fmt: skip


# --- one batch ----------------------------------------------------------------------------------------


def ask_cases(model: Generalist, cases: Sequence[Case]) -> list[Outcome]:
    """Outcomes of cases that are asked at once; one by one where one of them cannot be asked.

    The seconds of a batch are shared out evenly.
    """
    began = time.perf_counter()
    try:
        answers = model.answer([request_of(case.sample) for case in cases])
    except GeneralistError as error:
        seconds = time.perf_counter() - began
        if len(cases) > 1:
            return [outcome for case in cases for outcome in ask_cases(model, [case])]
        return [Outcome(case=case.id, text="", error=" ".join(str(error).split()), seconds=seconds) for case in cases]
    seconds = (time.perf_counter() - began) / len(cases)
    return [_outcome(case, answer, seconds) for case, answer in zip(cases, answers, strict=True)]


def request_of(sample: Sample) -> ChatRequest:
    """The question of a sample, as a user would ask it; its pictures stand in the first turn of the user's."""
    question = Message(role="user", text=sample.prompt, visual_prompts=sample.visual_prompts)
    messages = [*sample.history, question]
    first = next(k for k, message in enumerate(messages) if message.role == "user")
    messages[first] = replace(messages[first], images=(*sample.earlier_images, sample.image))
    sampling = Sampling(max_new_tokens=get_task(sample.task).max_new_tokens)
    return ChatRequest(messages=tuple(messages), task=sample.task, sampling=sampling)


def _outcome(case: Case, answer: Answer, seconds: float) -> Outcome:
    return Outcome(
        case=case.id,
        text=answer.text,
        outputs=answer.outputs,
        issues=answer.issues,
        finished=answer.finish_reason == "stop",
        seconds=seconds,
    )


# --- what is kept -------------------------------------------------------------------------------------


def without_pictures(case: Case) -> Case:
    """A case as floors see it: pictures of one pixel, drawings without bitmaps, targets whole but for coarser depth."""
    sample = case.sample
    light = replace(
        sample,
        image=Image.new("RGB", (1, 1)),
        earlier_images=(),
        history=tuple(_light(turn) for turn in sample.history),
        visual_prompts=_light(Message(role="user", visual_prompts=sample.visual_prompts)).visual_prompts,
        targets=tuple(map(_coarse, sample.targets)),
    )
    return replace(case, sample=light)


def _light(turn: Message) -> Message:
    return replace(turn, images=(), visual_prompts=tuple(replace(p, bitmap=None) for p in turn.visual_prompts))


def _coarse(item: Grounded) -> Grounded:
    """A drawing, with every n-th row and column of a depth map: values are picked, not mixed, so none is made up."""
    if not isinstance(item.output, DepthMap):
        return item
    step = -(-max(item.output.values.shape) // _DEPTH_SIDE)
    # A copy, as a view would keep the whole map.
    return replace(
        item, output=replace(item.output, values=item.output.values[step // 2 :: step, step // 2 :: step].copy())
    )
