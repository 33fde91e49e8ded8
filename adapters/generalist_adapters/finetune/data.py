"""Which labelled pictures are learnt from, which stop the training early, and which measure it.

Official splits count where a data set has them: training pictures come from "train" (or from what has no split), and
figures from "test", or "val" where there is no test split. Otherwise the pictures are split here, by the seed. Nothing
of what measures is ever learnt from or chosen by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generalist.tasks import TASKS, get_task
from generalist.types import GeneralistError
from generalist_datasets.readers import Options, get_reader
from generalist_datasets.record_samples import NAMELESS
from generalist_datasets.records import Problems, Record

_TRAIN = ("train", "training", "trainval")
_TEST = ("test", "testing", "val", "valid", "validation", "dev")
"""Names of splits that figures come from; the first that a data set has."""
_HELD_OUT = 0.25
"""The share of the pictures that measures, where a data set has no splits and few pictures."""
_WATCHED = 0.2
"""The share of the shots that decides when to stop, of five shots or more."""
_FEWEST_TO_WATCH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """What a fine-tuning run learns from (``train``), stops early by (``watch``) and is measured with (``test``).

    ``found``: of how many pictures ``train`` and ``watch`` were chosen. ``official``: the split that ``test`` is, ""
    for one made here. ``classes``: of the pictures that are learnt from, with the number of pictures that show each.
    """

    train: tuple[Record, ...]
    watch: tuple[Record, ...]
    test: tuple[Record, ...]
    format: str
    found: int
    official: str
    tasks: tuple[str, ...]
    classes: dict[str, int]


def divide(
    path: Path,
    *,
    shots: int,
    seed: int,
    tasks: Collection[str] = (),
    learnable_tasks: Collection[str] = tuple(TASKS),
    format: str | None = None,
    options: Options | None = None,
    test_limit: int | None = None,
) -> Division:
    """Read the labels at ``path`` and choose pictures; the same arguments choose the same.

    Args:
        path: a folder or an annotation file in a format that the readers know.
        shots: how many pictures are learnt from, those that stop the training early included.
        seed: of every choice.
        tasks: what is learnt; by default all that the labels of the chosen pictures can teach,
        learnable_tasks: and that can be learnt at all.
        format, options: as ``readers.read_records`` takes them.
        test_limit: at most so many pictures measure, chosen by chance.

    Raises:
        GeneralistError: labels that cannot be read, nothing to learn from, a task that the labels cannot teach.
    """
    asked = tuple(dict.fromkeys(get_task(task).name for task in tasks))
    reader = get_reader(path, format)
    records = [record for record in reader.read(path, Problems(), options or Options()) if _teaches(record)]
    if not records:
        raise GeneralistError(f"{path}: no picture has a label; `generalist data check` says what is there")
    learnable, measuring, official = _splits(path, records)
    rng = np.random.default_rng([seed, len(records)])
    held_out = 0 if official or len(learnable) == 1 else max(1, round(_HELD_OUT * len(learnable)))
    chosen = choose(learnable, min(shots, len(learnable) - held_out), rng)
    if not official:
        picked = {id(record) for record in chosen}
        measuring = [record for record in learnable if id(record) not in picked]
    watched = round(_WATCHED * len(chosen)) if len(chosen) >= _FEWEST_TO_WATCH else 0
    train, watch = _watched(chosen, watched)
    taught = teachable(chosen)
    offered = tuple(task for task in taught if task in learnable_tasks)
    if not offered:
        raise GeneralistError(
            f"{path}: the labels teach {', '.join(taught)}, of which --method head can learn nothing; use --method lora"
        )
    for task in asked:
        if task not in offered:
            raise GeneralistError(
                f"--tasks {task}: the labels of {path} cannot teach it; they hold {', '.join(offered) or 'nothing'}"
            )
    places = sorted(rng.permutation(len(measuring))[:test_limit].tolist())
    return Division(
        train=tuple(train),
        watch=tuple(watch),
        test=tuple(measuring[place] for place in places),
        format=reader.name,
        found=len(learnable),
        official=official,
        tasks=asked or offered,
        classes=dict(Counter(name for record in chosen for name in classes_of(record))),
    )


def classes_of(record: Record) -> tuple[str, ...]:
    """The classes of a record's things and stuff, crowds left out, each once."""
    there = (a for a in record.annotations if (a.xyxy or a.segment) and not a.crowd)
    return tuple(dict.fromkeys(" ".join(a.label.split()) or NAMELESS for a in there))


# --- tasks ------------------------------------------------------------------------------------------------


def teachable(records: Iterable[Record]) -> tuple[str, ...]:
    """The tasks that the labels of some record can teach, in the order of ``TASKS``."""
    found = {task for record in records for task in _tasks_of(record)}
    return tuple(task for task in TASKS if task in found)


def _tasks_of(record: Record) -> set[str]:
    found: set[str] = set()
    for annotation in record.annotations:
        if annotation.crowd:
            continue
        if (annotation.xyxy or annotation.segment) and not annotation.stuff:
            found |= {"detect", "count"} | ({"box"} if annotation.phrases else set())
        if annotation.segment:
            found.add("segment")
        if annotation.keypoints:
            found.add("point")
        if not (annotation.xyxy or annotation.segment or annotation.keypoints):
            found.add("chat")
    if record.depth is not None:
        found.add("depth")
    if record.captions:
        found.add("caption")
    if len(record.images) == 1 and any(turn.role == "assistant" for turn in record.turns):
        found.add("chat")
    return found


def _teaches(record: Record) -> bool:
    return bool(record.images) and bool(_tasks_of(record))


# --- splits -----------------------------------------------------------------------------------------------


def _splits(path: Path, records: Sequence[Record]) -> tuple[list[Record], list[Record], str]:
    """(to learn from, to measure with, name of the official split that measures or "")."""
    by_split: dict[str, list[Record]] = {}
    for record in records:
        by_split.setdefault(record.split, []).append(record)
    test = next((name for name in _TEST if name in by_split), "")
    learn = next((name for name in _TRAIN if name in by_split), "")
    if not learn and "" not in by_split:  # "train2017", or one split of a name of its own
        others = [name for name in by_split if name != test]
        if not others:
            raise GeneralistError(
                f"{path}: all labelled pictures are in the split {test!r}, which only measures; "
                "add training pictures, or name the folder with the pictures alone"
            )
        learn = max(others, key=lambda name: len(by_split[name]))
    return by_split[learn], by_split[test] if test else [], test


def choose(records: Sequence[Record], count: int, rng: np.random.Generator) -> list[Record]:
    """``count`` records by chance, but with every class in one of them where that is possible, the rarest first."""
    order = [records[int(k)] for k in rng.permutation(len(records))]
    shown = Counter(name for record in order for name in classes_of(record))
    chosen: list[Record] = []
    for name in sorted(shown, key=lambda name: (shown[name], name)):
        if len(chosen) < count and not any(name in classes_of(record) for record in chosen):
            chosen.append(next(record for record in order if name in classes_of(record)))
    picked = {id(record) for record in chosen}
    rest = [record for record in order if id(record) not in picked]
    return chosen + rest[: count - len(chosen)]


def _watched(chosen: Sequence[Record], count: int) -> tuple[list[Record], list[Record]]:
    """Split off ``count`` of the last chosen, which are there by chance and not for a rare class."""
    if not count:
        return list(chosen), []
    return list(chosen[:-count]), list(chosen[-count:])
