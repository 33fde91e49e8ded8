"""From a scene to what training knows of its image, whatever is asked about it: see :class:`~.examples.Example`."""

from __future__ import annotations

import math
from collections.abc import Set

import cv2
import numpy as np

from generalist.decoders import depth_codec
from generalist.decoders.crops import SIDE as CROP_SIDE
from generalist.decoders.crops import mask_to_payload
from generalist.decoders.depth import range_value
from generalist.training.examples import NOTHING, ImageArrays
from generalist_datasets.world.ask_lexicon import ATTRIBUTES
from generalist_datasets.world.scene import MAX_THINGS, SURFACES, Scene

REGIONS = MAX_THINGS + len(SURFACES)
ATTRIBUTE_SIZES = tuple(len(values) for values in ATTRIBUTES.values())
"""How many sizes, colours, textures and materials there are."""
SHAPE_SIDE = 8
"""Points each way at which a patch is told whether it shows its thing."""
_PATCH_SHARE = 0.35
_SAMPLED_PATCHES = 8


def image_arrays(scene: Scene, grid: int, surfaces: Set[str] = frozenset()) -> ImageArrays:
    """The arrays of a square scene of ``grid`` x ``grid`` image tokens; ``surfaces`` are those that an answer draws."""
    concepts = np.full(REGIONS, NOTHING, np.int64)
    boxes = np.zeros((REGIONS, 4), np.float32)
    crops = np.zeros((REGIONS, CROP_SIDE, CROP_SIDE), bool)
    cropped = np.zeros(REGIONS, bool)
    attributes = np.full((REGIONS, len(ATTRIBUTES)), NOTHING, np.int64)
    for k, thing in enumerate(scene.things):
        concepts[k], boxes[k] = thing.concept, thing.xyxy
        crops[k], cropped[k] = mask_to_payload(scene.mask(k))[1], True
        attributes[k] = [
            values.index(value) if (value := getattr(thing, name)) else NOTHING for name, values in ATTRIBUTES.items()
        ]
    for k, name in enumerate(SURFACES, start=MAX_THINGS):
        if name in surfaces:
            boxes[k], crops[k] = mask_to_payload(scene.surface_mask(name))
            cropped[k] = True
    depth = np.full((depth_codec.SIDE, depth_codec.SIDE), np.nan, np.float32)
    ends = np.full(2, np.nan, np.float32)
    if scene.depth is not None:
        depth, ends = normalised_depth(scene.depth), np.array(depth_range(scene.depth), np.float32)
    patches = patch_things(scene, grid)
    return {
        "image": scene.image,
        "patches": patches,
        "shapes": patch_shapes(scene, patches),
        "sampled": _some_of(patches != NOTHING),
        "concepts": concepts,
        "boxes": boxes,
        "crops": crops,
        "cropped": cropped,
        "attributes": attributes,
        "depth": depth,
        "range": ends,
    }


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """The nearest and the farthest of metres [H, W], in 0-1 as location tokens say it."""
    return range_value(float(depth.min())), range_value(float(depth.max()))


def patch_things(scene: Scene, grid: int) -> np.ndarray:
    """The thing that covers most of each patch, if it covers enough of it: int64 [grid * grid], -1 for none."""
    height, width = scene.instances.shape
    cells = scene.instances.reshape(grid, height // grid, grid, width // grid).transpose(0, 2, 1, 3)
    flat = cells.reshape(grid * grid, -1)
    cover = np.stack([(flat == k + 1).mean(1) for k in range(MAX_THINGS)], axis=1)
    return np.where(cover.max(1) >= _PATCH_SHARE, cover.argmax(1), NOTHING)


def patch_shapes(scene: Scene, patches: np.ndarray) -> np.ndarray:
    """Where each patch shows its thing: bool [n, SHAPE_SIDE ** 2], at points spread evenly over the patch, by row.

    ``patches``: of :func:`patch_things`; nothing is set where there is none.
    """
    grid = math.isqrt(len(patches))
    height, width = scene.instances.shape
    steps = (np.arange(grid * SHAPE_SIDE) + 0.5) / (grid * SHAPE_SIDE)
    rows, columns = (steps * height).astype(int), (steps * width).astype(int)
    points = scene.instances[np.ix_(rows, columns)].reshape(grid, SHAPE_SIDE, grid, SHAPE_SIDE).swapaxes(1, 2)
    whose = np.where(patches == NOTHING, NOTHING, patches + 1)
    same: np.ndarray = points.reshape(grid * grid, -1) == whose[:, None]
    return same


def _some_of(shown: np.ndarray) -> np.ndarray:
    """Which patches are asked for mask codes: a few of those that show a thing, spread over the image.

    What a loss asks does not depend on the other images of a batch, so that batches can be cut in any way.
    """
    among = np.flatnonzero(shown)
    chosen = np.zeros_like(shown)
    chosen[among[np.linspace(0, len(among) - 1, min(len(among), _SAMPLED_PATCHES)).astype(int)]] = True
    return chosen


def normalised_depth(depth: np.ndarray) -> np.ndarray:
    """Log depth between the nearest (0) and the farthest (1) pixel, float32 [96, 96]."""
    logs = np.log(depth)
    logs = (logs - logs.min()) / max(float(logs.max() - logs.min()), 1e-6)
    resized: np.ndarray = cv2.resize(logs, (depth_codec.SIDE, depth_codec.SIDE), interpolation=cv2.INTER_AREA)
    return resized.astype(np.float32)
