"""How far the scores of a trained model can be believed: a last step of training, behind :mod:`.mask_trust`.

    python -m generalist.training.score_calibration runs/nano/checkpoint

The model is asked about new training scenes what an evaluation asks about held-out ones: single things, things that
are not there, marked things, everything at once. Of each drawing one keeps what speaks for it and whether it is
right; a logistic model a kind, fitted on that, goes into the checkpoint as ``scores.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from generalist.engine import Engine
from generalist.evaluation.cases import Case, Outcome
from generalist.evaluation.measures import MEASURES
from generalist.evaluation.measures.calibration import expected_calibration_error
from generalist.evaluation.measures.geometry import bitmap, drawn, mask_overlap, picture_shape, right, score
from generalist.evaluation.run import request_of
from generalist.evaluation.suites.world import world_suite
from generalist.pipeline import Generalist, resolve_model
from generalist.scores import FEATURES, FILE, FREE, SCORED, Evidence, Logistic, Scores, evidence
from generalist.training.script import run
from generalist.types import Box, Generation, Grounded, Kind, Mask, Point, Prompt, Sampling
from generalist_datasets.world.splits import get_split

GROUPS = frozenset({"box", "mask", "point", "absent", "region_mask", "detect", "semantic"})
"""The groups of questions whose answers are drawings that are right or wrong."""
FEWEST = 50
"""Drawings of a kind, below which its scores stay as they are."""

_SEED = 777
"""Of scenes that nothing is trained on."""
_BATCH = 16
_HELD_BACK = 3
"""Every third scene is held back to measure with."""
_RIDGE = 1.0
_SWEEPS = 2000
_STILL = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A drawing whose truth is known. ``score``: what it had so far; ``scene``: the number of its scene."""

    kind: Kind
    evidence: Evidence
    score: float
    right: bool
    scene: int


# --- asking -----------------------------------------------------------------------------------------------


def questions(scenes: int) -> Iterator[Case]:
    """What an evaluation would ask about ``scenes`` training scenes, as far as drawings answer it."""
    split = replace(get_split("train"), seed=_SEED, size=scenes)  # with a size it is asked as evaluation sets are
    return (case for case in world_suite(split).cases(None) if case.group in GROUPS)


def ask(model: Generalist, cases: Iterable[Case]) -> Iterator[list[Drawn]]:
    """Everything that ``model`` draws for ``cases`` of ``GROUPS``, batch by batch."""
    engine, witness = model.engine, _Witness(model.engine)
    waiting: dict[tuple[str, str], list[Case]] = {}
    try:
        model.engine = witness
        for case in cases:
            batch = waiting.setdefault((case.sample.task, case.group), [])
            batch.append(case)
            if len(batch) == _BATCH:
                yield _ask(model, witness, batch)
                batch.clear()
        yield from (_ask(model, witness, batch) for batch in waiting.values() if batch)
    finally:
        model.engine = engine


class _Witness:
    """An engine that remembers the ``last`` it generated: an answer no longer knows its log-probabilities."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.last: list[Generation] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        self.last = self._engine.generate(prompts, sampling)
        return self.last

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        return self._engine.stream(prompt, sampling)


def _ask(model: Generalist, witness: _Witness, batch: Sequence[Case]) -> list[Drawn]:
    """Of one task, so of one sampling: then the engine gets all at once, in order."""
    found: list[Drawn] = []
    answers = model.answer([request_of(case.sample) for case in batch])
    for case, answer, generation in zip(batch, answers, witness.last, strict=True):
        phrases = zip(answer.reply.phrases, evidence(answer.reply, generation.logprobs), strict=True)
        told = [(p.unit.kind, one) for p, of_phrase in phrases if p.unit for one in of_phrase]
        told = [(kind, one) for kind, one in told if kind in model.decoders]
        outcome = Outcome(case=case.id, text=answer.text, outputs=answer.outputs)
        judged = zip(told, answer.outputs, are_right(case, outcome), strict=True)
        found += [
            Drawn(kind=kind, evidence=one, score=score(item.output), right=good, scene=_scene(case))
            for (kind, one), item, good in judged
            if kind in SCORED
        ]
    return found


def _scene(case: Case) -> int:
    index = case.sample.meta["index"]
    assert isinstance(index, int)
    return index


# --- judging ----------------------------------------------------------------------------------------------


def are_right(case: Case, outcome: Outcome) -> list[bool]:
    """Whether each drawing is right, as the measures of evaluation have it; where nothing was to be drawn, none is."""
    outputs = outcome.outputs
    if case.group == "point":
        hit = MEASURES["point"].judge
        return [isinstance(o.output, Point) and hit(case, replace(outcome, outputs=(o,)))["hit"] >= 1 for o in outputs]
    masks = bool(drawn(case.sample.targets, Mask))
    if case.group == "semantic":
        judged = _named_masks(case, outputs)
    elif case.group == "detect":
        judged = MEASURES["detect"].judge(case, outcome)["right"]
    else:
        judged = MEASURES["mask" if masks else "box"].judge(case, outcome)["right"]
    left = iter(judged)
    kind = Mask if masks else Box
    return [isinstance(item.output, kind) and next(left) for item in outputs]


def _named_masks(case: Case, outputs: Sequence[Grounded]) -> list[bool]:
    """For each mask, whether it overlaps one of its name by half."""
    shape = picture_shape(case)
    said, true = drawn(outputs, Mask), drawn(case.sample.targets, Mask)
    overlap = mask_overlap([bitmap(mask, shape) for _, mask in said], [bitmap(mask, shape) for _, mask in true])
    same = np.array([[label == other for other, _ in true] for label, _ in said], np.float64)
    return right(overlap * same.reshape(overlap.shape))


# --- fitting ----------------------------------------------------------------------------------------------


def fit(features: np.ndarray, correct: np.ndarray) -> Logistic:
    """Regularised logistic regression of ``correct`` bool[N] on ``features`` float[N, F], in the order of ``FEATURES``.

    The weights of all but ``FREE`` stay at 0 or above. Targets are a little off 0 and 1 (Platt 1999), so that a bias
    exists where all are right. Coordinate descent on a quadratic upper bound (Böhning and Lindsay 1988, "Monotonicity
    of quadratic-approximation algorithms"): convex with bounds a coordinate, so it ends at the one best answer.
    """
    middle, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 1e-3, spread, 1.0)
    columns = np.column_stack([np.ones(len(features)), (features - middle) / spread])
    hits = int(correct.sum())
    target = np.where(correct, (hits + 1) / (hits + 2), 1 / (len(correct) - hits + 2))
    ridge = np.array([0.0, *[_RIDGE] * len(FEATURES)])
    least = np.array([-np.inf, *[-np.inf if name in FREE else 0.0 for name in FEATURES]])
    curvature = 0.25 * np.square(columns).sum(0) + ridge
    weights, total = np.zeros(columns.shape[1]), np.zeros(len(columns))
    for _ in range(_SWEEPS):
        before = weights.copy()
        for k, column in enumerate(columns.T):
            slope = column @ (1 / (1 + np.exp(-total)) - target) + ridge[k] * weights[k]
            new = max(weights[k] - slope / curvature[k], least[k])
            total += (new - weights[k]) * column
            weights[k] = new
        if np.abs(weights - before).max() < _STILL:
            break
    scaled = weights[1:] / spread
    return Logistic(bias=float(weights[0] - scaled @ middle), weights=dict(zip(FEATURES, scaled.tolist(), strict=True)))


def fit_scores(known: Sequence[Drawn]) -> Scores:
    """A model of every kind that there are at least ``FEWEST`` drawings of."""
    kinds: dict[Kind, Logistic] = {}
    for kind in SCORED:
        some = [one for one in known if one.kind == kind]
        if len(some) >= FEWEST:
            features = np.array([[getattr(one.evidence, name) for name in FEATURES] for one in some])
            kinds[kind] = fit(features, np.array([one.right for one in some]))
    return Scores(kinds=kinds)


def report(known: Sequence[Drawn]) -> Iterator[str]:
    """A line a kind: the calibration error of the held-back scenes, so far and with a fit on the other scenes."""
    fitted = fit_scores([one for one in known if one.scene % _HELD_BACK])
    for kind in SCORED:
        held = [one for one in known if one.kind == kind and not one.scene % _HELD_BACK]
        model = fitted.kinds.get(kind)
        if model is None or not held:
            yield f"{kind}: too few drawings to measure"
            continue
        correct = [one.right for one in held]
        was = expected_calibration_error([one.score for one in held], correct)
        now = expected_calibration_error([model.probability(one.evidence) for one in held], correct)
        yield f"{kind}: ECE {was:.3f} -> {now:.3f} on {len(held)} held-back drawings, {np.mean(correct):.0%} right"


def calibrate(checkpoint: Path, scenes: int = 600) -> None:
    """Ask the model of ``checkpoint`` about ``scenes`` scenes, fit its scores, store them beside its weights.

    What is printed is measured on a third of the scenes that the fit has not seen; what is stored is fitted on all.
    A model that draws too little is left as it is. Raises :class:`GeneralistError` where the checkpoint cannot be read
    or written.
    """
    folder = resolve_model(checkpoint)
    model = Generalist.from_pretrained(folder)
    known: list[Drawn] = []
    with Progress(console=Console(stderr=True)) as progress:
        asking = progress.add_task("asking about scenes", total=scenes)

        def counted() -> Iterator[Case]:
            for case in questions(scenes):
                progress.update(asking, completed=_scene(case))
                yield case

        for batch in ask(model, counted()):
            known += batch
        progress.update(asking, completed=scenes)
    scores = fit_scores(known)
    if not scores.kinds:
        # No error: the model of a short trial run is to be kept all the same.
        print(f"{folder}: {len(known)} drawings in {scenes} scenes are too few; its scores stay as they are")
        return
    for line in report(known):
        print(line)
    scores.save(folder)
    print(f"{folder / FILE}: scores of {', '.join(scores.kinds)}, from {len(known)} drawings")


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder; its scores.json is written.")],
    scenes: Annotated[int, typer.Option(min=30)] = 600,
) -> None:
    """Fit and store how the model's drawings are scored (some minutes)."""
    calibrate(checkpoint, scenes)


if __name__ == "__main__":
    run(lambda: typer.run(main))
