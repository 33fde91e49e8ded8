"""What the components of the tab show, as JSON values."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from generalist.types import Grounded
from generalist.visual import to_visual
from generalist_serving.demo import order
from generalist_serving.demo.conversations import Picture, plain_name
from generalist_serving.demo.inspect.judging import RIGHT, Statistics, Thing, statistics
from generalist_serving.demo.inspect.looking import Looked
from generalist_serving.demo.inspect.running import Inspected, Run
from generalist_serving.demo.stage import StageImage, StageValue, stage_value

MOST_CLASSES = 12
"""In the confusion matrix; the rest are one class together."""
_MOST_LETTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The thing that is looked at: number ``thing`` of picture number ``picture`` of a run."""

    picture: int
    thing: int


def plots(run: Run | None, picked: Picked | None = None) -> dict[str, Any]:
    """The value of :func:`~generalist_serving.demo.inspect.parts.Plots`."""
    if run is None:
        nothing: dict[str, Any] = {"state": "empty", "status": "", "about": "", "confusion": None}
        return {**nothing, "classes": [], "things": [], "at": order.number()}
    seen = statistics([one.judged for one in run.inspected])
    numbers = {one.name: number for number, one in enumerate(seen.classes)}
    return {
        "state": run.state,
        "status": status(run, seen),
        "done": len(run.inspected) + run.unread,
        "limit": run.asked.limit,
        "about": "" if picked is None else about(run.inspected[picked.picture], picked.thing),
        "classes": [
            {"name": _short(one.name), "true": one.true, "found": one.found, "overlap": _rounded(one.overlap)}
            for one in seen.classes
        ],
        "things": [
            {
                "picture": at,
                "thing": number,
                "class": numbers[thing.label],
                "share": _rounded(thing.share, 6),
                "overlap": _rounded(thing.overlap),
                "as": _found_as(one, thing),
                "where": plain_name(one.picture.path.name),
            }
            for at, one in enumerate(run.inspected)
            for number, thing in enumerate(one.judged.things)
        ],
        "confusion": confusion(seen) if run.inspected else None,
        "picked": None if picked is None else {"picture": picked.picture, "thing": picked.thing},
        "at": order.number(),
    }


def status(run: Run, seen: Statistics) -> str:
    """How far it is and what has come of it, in a sentence or two."""
    done = len(run.inspected) + run.unread
    words = {
        "running": f"{done} of up to {run.asked.limit} pictures.",
        "done": f"Done: {_counted(done, 'picture')}.",
        "stopped": f"Stopped after {_counted(done, 'picture')}.",
        "failed": f"Ended after {_counted(done, 'picture')}. {run.error}",
    }[run.state]
    if run.unread:
        words += f" {run.unread} could not be read or asked about."
    if run.state == "done" and not run.inspected:
        words += " None of them has a label to compare with."
    if seen.things or seen.drawn:
        words += (
            f" {seen.right} of {_counted(seen.things, 'thing')} found under the right name ({seen.recall:.0%}), "
            f"{_counted(seen.drawn, 'drawing')}, {seen.precision:.0%} of them right."
        )
    return words


def confusion(seen: Statistics) -> dict[str, Any]:
    """A table: rows are true classes and last what was made up, columns what they were found as and last what was
    missed."""
    kept = [one.name for one in seen.classes[:MOST_CLASSES]]
    others = [one.name for one in seen.classes[MOST_CLASSES:]]
    place: dict[str | None, int] = {name: number for number, name in enumerate(kept)}
    place |= dict.fromkeys(others, len(kept))
    names = [_short(name) for name in kept] + ([f"{len(others)} others"] if others else [])
    place[None] = len(names)
    counts = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    for (true, said), count in seen.confusion.items():
        counts[place[true], place[said]] += count
    return {"rows": [*names, "Made up"], "columns": [*names, "Missed"], "counts": counts.tolist()}


# --- one picture -------------------------------------------------------------------------------------------


def stages(one: Inspected | None, picture: Picture | None) -> tuple[StageValue, StageValue]:
    """(truth, found); a thing and its drawing have the same number and colour. Empty for None."""
    if one is None or picture is None:
        return _stage(None, []), _stage(None, [])
    image = StageImage(url=picture.url, width=picture.size[0], height=picture.size[1], name=picture.name)
    partner = {thing.found: at for at, thing in enumerate(one.judged.things) if thing.found is not None}
    free = len(one.judged.things)
    numbers = []
    for at in range(len(one.found)):
        numbers.append(partner.get(at, free))
        free += at not in partner
    truth = _visual(one.picture.truth, picture, range(len(one.picture.truth)))
    found = _visual(one.found, picture, numbers)
    found.sort(key=lambda entry: int(entry["index"]))
    return _stage(image, truth), _stage(image, found)


def _stage(image: StageImage | None, visual: Sequence[dict[str, Any]]) -> StageValue:
    value = stage_value(image, visual, prompts=[])
    value["at"] = order.number()
    return value


def _visual(items: Sequence[Grounded], picture: Picture, numbers: Sequence[int]) -> list[dict[str, Any]]:
    entries = to_visual(items, [picture.size])
    return [{**entry, "index": number} for entry, number in zip(entries, numbers, strict=True)]


def about(one: Inspected, number: int) -> str:
    """The picked thing in a sentence."""
    thing = one.judged.things[number]
    size = f"Thing {number + 1}, {_short(thing.label)}, is {thing.share:.2%} of {plain_name(one.picture.path.name)}."
    if thing.found is None:
        return f"{size} Nothing that was found touches it."
    drawn = f"the drawing with the same number, {_short(one.judged.labels[thing.found])}"
    met = "" if thing.overlap >= RIGHT else f", which is below {RIGHT:g} and counts as missed"
    return f"{size} It overlaps {drawn}, by {thing.overlap:.2f}{met}."


def heat(looked: Looked | None, picture: Picture | None, note: str = "") -> dict[str, Any]:
    """The value of :func:`~generalist_serving.demo.inspect.parts.Heat`: maps as bytes, 255 where a token's is highest.

    ``note`` says why there is none.
    """
    if looked is None or picture is None:
        nothing = {"note": note, "tokens": [], "image": None, "grid": [0, 0], "maps": "", "share": []}
        return {**nothing, "at": order.number()}
    highest = looked.maps.max(axis=(1, 2), keepdims=True)
    levels = np.rint(255 * looked.maps / np.where(highest > 0, highest, 1)).astype(np.uint8)
    return {
        "note": note,
        "tokens": list(looked.tokens),
        "image": {"url": picture.url, "width": picture.size[0], "height": picture.size[1], "name": picture.name},
        "grid": list(levels.shape[1:]),
        "maps": base64.b64encode(levels.tobytes()).decode("ascii"),
        "share": [round(float(share), 3) for share in looked.share],
        "at": order.number(),
    }


def _found_as(one: Inspected, thing: Thing) -> str:
    return "" if thing.found is None else _short(one.judged.labels[thing.found])


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MOST_LETTERS else words[: _MOST_LETTERS - 1] + "…"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
