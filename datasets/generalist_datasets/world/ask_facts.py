"""What is clearly true of a scene's layout: True, False, or None where people might disagree.

Left, above and so on are meant in the picture; nearer and behind by depth, so only where depth is known.
"""

from __future__ import annotations

import numpy as np

from generalist_datasets.world.scene import SURFACES, Scene

CENTRE_MARGIN = 0.08
"""How far apart, in picture sides, the centres of boxes are before one is said to be left of the other."""
DEPTH_RATIO = 1.15
AREA_RATIO = 1.3
MIN_SURFACE = 0.01
"""The least part of the picture that a surface is spoken of for."""

_BETWEEN_SPAN = 0.25

RELATIONS: tuple[str, ...] = ("left", "right", "above", "below", "front", "behind")
OPPOSITE = {
    "left": "right", "right": "left", "above": "below", "below": "above", "front": "behind", "behind": "front",
}  # fmt: skip
IN_DEPTH = frozenset({"front", "behind"})


def centre(scene: Scene, thing: int) -> tuple[float, float]:
    """Middle of a thing's box, in 0-1."""
    x1, y1, x2, y2 = scene.things[thing].xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def areas(scene: Scene) -> np.ndarray:
    """Visible pixels of every thing, int [K]."""
    return np.bincount(scene.instances.ravel(), minlength=len(scene.things) + 1)[1:]


def holds(scene: Scene, relation: str, subject: int, other: int) -> bool | None:
    """Whether ``subject`` is in a relation of ``RELATIONS`` to ``other``."""
    if relation in ("right", "below", "behind"):
        return holds(scene, OPPOSITE[relation], other, subject)
    if relation == "front":
        return None if scene.depth is None else _nearer(scene, subject, other)
    if relation == "left":
        return _beyond(centre(scene, other)[0] - centre(scene, subject)[0])
    return _above(scene, subject, other)


def _beyond(difference: float) -> bool | None:
    return difference > 0 if abs(difference) > CENTRE_MARGIN else None


def _nearer(scene: Scene, subject: int, other: int) -> bool | None:
    here, there = scene.things[subject].distance, scene.things[other].distance
    return here < there if max(here, there) > DEPTH_RATIO * min(here, there) else None


def _above(scene: Scene, subject: int, other: int) -> bool | None:
    """In perspective what stands farther away is a little higher: so the middles must clear the other's box, too."""
    difference = centre(scene, other)[1] - centre(scene, subject)[1]
    higher, lower = (subject, other) if difference > 0 else (other, subject)
    clear = (
        centre(scene, higher)[1] < scene.things[lower].xyxy[1]
        and centre(scene, lower)[1] > scene.things[higher].xyxy[3]
    )
    return _beyond(difference) if clear else None


def larger(scene: Scene, subject: int, other: int) -> bool | None:
    """Whether ``subject`` is the larger one, in the picture: by pixels, by box, and as far as known in metres."""
    pixels = areas(scene)
    bigger, smaller = (subject, other) if pixels[subject] > pixels[other] else (other, subject)
    clear = pixels[bigger] > AREA_RATIO * pixels[smaller] and _box(scene, bigger) > AREA_RATIO * _box(scene, smaller)
    contradicted = (scene.things[bigger].size, scene.things[smaller].size) == ("small", "large")
    return bigger == subject if clear and not contradicted else None


def _box(scene: Scene, thing: int) -> float:
    x1, y1, x2, y2 = scene.things[thing].xyxy
    return (x2 - x1) * (y2 - y1)


def extreme(scene: Scene, kind: str, things: tuple[int, ...]) -> int | None:
    """The one of two or more ``things`` that is clearly the largest ... rightmost, if there is one."""
    for thing in things if len(things) > 1 else ():
        others = [t for t in things if t != thing]
        if all(_surpasses(scene, kind, thing, other) for other in others):
            return thing
    return None


def _surpasses(scene: Scene, kind: str, thing: int, other: int) -> bool | None:
    first, second = (other, thing) if kind in ("smallest", "farthest", "rightmost") else (thing, other)
    if kind in ("largest", "smallest"):
        return larger(scene, first, second)
    return holds(scene, "front" if kind in ("nearest", "farthest") else "left", first, second)


def position(scene: Scene, things: tuple[int, ...], place: int) -> int | None:
    """The thing at ``place`` (0 is leftmost) of ``things``, if it stands clear of its neighbours."""
    row = sorted(things, key=lambda t: centre(scene, t)[0])
    sides = [row[p] for p in (place - 1, place + 1) if 0 <= p < len(row)]
    clear = all(holds(scene, "left", row[place], side) is not None for side in sides)
    return row[place] if clear else None


def between(scene: Scene, thing: int, first: int, second: int) -> bool | None:
    """Whether the middle of ``thing`` is between the middles of two others, that are apart, in the picture."""
    a, b, c = (np.array(centre(scene, t)) for t in (first, second, thing))
    span = b - a
    length = float(np.hypot(*span))
    if length < _BETWEEN_SPAN:
        return None
    along = float((c - a) @ span) / length**2
    aside = abs(float(span[0] * (c - a)[1] - span[1] * (c - a)[0])) / length**2
    if 0.2 < along < 0.8 and aside < 0.25:
        return True
    return False if not -0.1 < along < 1.1 or aside > 0.5 else None


def complete(scene: Scene) -> bool:
    """Whether nothing shows that is too hidden to be one of the things: else one could count it, too."""
    return not scene.hidden


def visible_surfaces(scene: Scene) -> tuple[str, ...] | None:
    """The surfaces that show; None where a photograph, which may show any, or a mere sliver of one does."""
    if scene.pictured:
        return None
    counts = np.bincount(scene.surfaces[scene.instances == 0], minlength=len(SURFACES))[: len(SURFACES)]
    if np.any((counts > 0) & (counts < MIN_SURFACE * scene.surfaces.size)):
        return None
    return tuple(name for name, count in zip(SURFACES, counts, strict=True) if count)
