"""What a run leaves for people: a model card, curves, and pictures with the truth and the answers on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

from generalist.draw import draw_overlay, save_image
from generalist.evaluation.cases import Case, Figure
from generalist.evaluation.report import interval, number, write_whole
from generalist.types import Box, Grounded, Mask
from generalist_adapters import attached_head
from generalist_adapters.finetune.baseline import Baseline
from generalist_adapters.finetune.measure import Results, differences, figures
from generalist_adapters.finetune.options import FinetuneOptions
from generalist_adapters.finetune.setting import Chosen
from generalist_adapters.finetune.standing import Standing
from generalist_datasets.thumbnails import fitted, resized

CARD, CURVES, PREDICTIONS = "README.md", "curves.png", "predictions.png"
_SIDE = 320
_MOST_PICTURES = 4
_FEW = 30
"""Held-out pictures that the card warns of."""
_TITLE = 22
"""Pixels above the pictures."""
_LIMIT = "The scores of its drawings are calibrated for the base model, not for this adapter."
_LIMITS = {
    attached_head.NAME: "It answers plain questions for its classes by name, such as 'Detect all objects.'; all else "
    "the base answers, as it always did. vLLM cannot serve it."
}
_TITLES = {"before": "before", "after": "after", "from_scratch": "from scratch"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """A run that is done but for its report.

    ``folder``: where the ``adapters`` are and the report goes; ``states``: results by state ("before", "after",
    "from_scratch"); ``repeated``: what was repeated of the base's training.
    """

    folder: Path
    adapters: Sequence[Path]
    options: FinetuneOptions
    chosen: Chosen
    trainer: Standing
    states: Mapping[str, Results]
    scratch: Baseline | None
    repeated: str


def write_report(run: Finished) -> None:
    """Write the card and the pictures."""
    draw_curves(run.trainer.history, run.folder / CURVES)
    sheet = predictions(run.chosen, run.states)
    if sheet is not None:
        save_image(sheet, run.folder / PREDICTIONS)
    write_whole(run.folder / CARD, "\n".join(_card(run, has_sheet=sheet is not None)) + "\n")


# --- the card ---------------------------------------------------------------------------------------------


def _card(run: Finished, *, has_sheet: bool) -> Iterator[str]:
    options = run.options
    yield f"# {options.adapter_name}\n"
    tasks = ", ".join(run.chosen.division.tasks)
    yield f"An adapter for `{options.model}`, trained with `{run.chosen.method}` for: {tasks}.\n"
    for adapter in run.adapters:
        place = options.out.name if adapter == run.folder else f"{options.out.name}/{adapter.name}"
        yield f"    generalist ask photo.jpg QUESTION --model {options.model} --adapter {place}"
    yield ""
    yield from _data(run)
    yield from _recipe(run)
    yield from _figures(run.states, run.scratch)
    yield "## Limits\n"
    learnt, measured = len(run.chosen.division.train), len(run.chosen.division.test)
    yield f"- It was taught by {learnt} pictures: expect it to know pictures like these and little else."
    yield f"- {_LIMITS.get(run.chosen.method, _LIMIT)}"
    if measured < _FEW:
        yield f"- {measured} held-out pictures are few: mind the intervals."
    if has_sheet:
        yield f"\n![Truth, before and after]({PREDICTIONS})"
    yield f"\n![Loss and score by step]({CURVES})"


def _data(run: Finished) -> Iterator[str]:
    division = run.chosen.division
    yield "## Data\n"
    held_out = f"from the split {division.official!r}" if division.official else "held out by the seed"
    name = run.chosen.exam.name
    yield f"- From `{name}` (format {division.format}), of {division.found} pictures that could be chosen."
    yield (
        f"- {len(division.train)} pictures were learnt from, {len(division.watch)} more decided which state was kept, "
        f"{len(division.test)}, {held_out}, give the figures below."
    )
    if division.classes:
        yield f"- Classes: {', '.join(division.classes)}."
    licence = run.options.licence or "unknown; ask whoever owns it before you pass this adapter on"
    yield f"- Licence of the data: {licence}.\n"


def _recipe(run: Finished) -> Iterator[str]:
    trainer, schedule, variations = run.trainer, run.trainer.schedule, run.chosen.augmentation
    trained = sum(p.numel() for p in trainer.parameters)
    yield "## Recipe\n"
    yield f"- {trained:,} trained parameters; {trainer.step} steps of {schedule.batch_size} images, AdamW."
    yield f"- The state after step {trainer.best['step']} is kept."
    yield f"- Highest rate {schedule.learning_rate:g}; seed {schedule.seed}."
    cuts = "cuts of at least 0.7 a side" if variations.cuts else "no cuts"
    yield f"- Variations: flips {variations.flips}, {cuts}, light."
    yield f"- Repeated from the base's training, {schedule.replay:.0%} of the images: {run.repeated}."
    yield "- `recipe.json` holds every option; `log.jsonl` the losses and scores of the watched pictures.\n"


def _figures(states: Mapping[str, Results], scratch: Baseline | None) -> Iterator[str]:
    yield "## Figures\n"
    named = {state: figures(results) for state, results in states.items()}
    if not named.get("after"):
        yield "No picture was held out, so nothing is known of how good it is.\n"
        return
    yield "On held-out pictures, each with its 95 % bootstrap interval over questions; `metrics.json` holds all.\n"
    yield f"| figure | n | {' | '.join(_TITLES[state] for state in named)} | after against before | floor |"
    yield f"|{'---|' * (len(named) + 4)}"
    changes = differences(states["before"], states["after"])
    for name, figure in named["after"].items():
        cells = [_cell(found.get(name)) for found in named.values()]
        row = changes.get(name)
        change = row.difference if row else None
        told = "–" if change is None or row is None else f"{change.value:+.3f} {row.verdict}".strip()
        floor = "–" if figure.floor is None else f"{number(figure.floor)} ({figure.floor_name})"
        lower = "" if figure.higher_is_better else " (lower is better)"
        yield f"| {name}{lower} | {figure.count} | {' | '.join(cells)} | {told} | {floor} |"
    yield ""
    if scratch is not None:
        yield (
            f"From scratch: a convolutional network of {scratch.parameters:,} random weights that learnt from the same "
            "pictures for as many steps, and answers only questions for boxes, counts and masks.\n"
        )


def _cell(figure: Figure | None) -> str:
    return "–" if figure is None else f"{number(figure.value)} ({interval(figure.low, figure.high)})"


# --- curves -----------------------------------------------------------------------------------------------


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss and score of the watched pictures by step, as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(6, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(plot)
    left = plot.subplots()
    left.set_xlabel("step")
    left.set_ylabel("loss of what is learnt from")
    steps = [(one["step"], one["loss"]) for one in history if "loss" in one]
    left.plot(*zip(*steps, strict=True) if steps else ([], []), marker="o", markersize=3, color="#4363d8", label="loss")
    scores = [(one["step"], one["score"]) for one in history if "score" in one]
    if scores:
        right = left.twinx()
        right.set_ylabel("score of the watched pictures")
        right.set_ylim(0, 1)
        right.plot(*zip(*scores, strict=True), marker="s", markersize=3, color="#e6194b", label="score")
    plot.savefig(path)


# --- predictions ------------------------------------------------------------------------------------------


def predictions(chosen: Chosen, states: Mapping[str, Results]) -> Image.Image | None:
    """A row a held-out picture: the truth beside what each state drew; None where nothing is drawn."""
    rows = []
    for case in _drawn_cases(chosen):
        cells = [("truth", case.sample.targets)]
        for state, results in states.items():
            outcome = next((r.outcomes[case.id] for r in results.values() if case.id in r.outcomes), None)
            if outcome is not None:
                cells.append((_TITLES[state], outcome.outputs))
        rows.append([_titled(case, title, outputs) for title, outputs in cells])
    if not rows:
        return None
    width, height = max(len(row) for row in rows) * (_SIDE + 4), sum(row[0].height + 4 for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * (_SIDE + 4), top))
        top += row[0].height + 4
    return sheet


def _drawn_cases(chosen: Chosen) -> Iterator[Case]:
    """The first question with drawings about each of a few pictures."""
    seen: set[object] = set()
    for case in chosen.exam.cases(limit=3 * _MOST_PICTURES):
        record = case.sample.meta.get("record")
        if case.sample.targets and record not in seen:
            seen.add(record)
            yield case
        if len(seen) == _MOST_PICTURES:
            return


def _titled(case: Case, title: str, outputs: Sequence[Grounded]) -> Image.Image:
    picture = fitted(case.sample.image, _SIDE)
    shown = draw_overlay(picture, [_bare(g, picture.size) for g in outputs])
    cell = Image.new("RGB", (picture.width, picture.height + _TITLE), "white")
    ImageDraw.Draw(cell).text((4, 5), f"{title}: {case.sample.prompt}"[:60], fill="black")
    cell.paste(shown, (0, _TITLE))
    return cell


def _bare(item: Grounded, size: tuple[int, int]) -> Grounded:
    """A drawing for a small picture, without its score, which would hide it."""
    output = resized(item.output, size)
    return replace(item, output=replace(output, score=None) if isinstance(output, Box | Mask) else output)
