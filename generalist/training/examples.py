"""Training examples as arrays, and batches of them as tensors.

Layout of a packed sequence::

    <bos><user><image>*n | question 1 <assistant> answer 1 <eos> | question 2 <assistant> ... | padding
    segment 0              segment 1                                segment 2 ...

Every segment sees segment 0 and itself, causally, at the positions it would have alone; so packing
changes no prediction and the image is read once.

A *region* is what a mask can be of: thing k of the scene is region k, surface s is region MAX_THINGS + s.

Shapes: B images, L positions, K regions, n image tokens, S = image side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

NOTHING = -1

ImageArrays = dict[str, np.ndarray]
"""The arrays of an :class:`Example` that are one an image, by name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One image and its packed questions; what only a codec knows is filled in by :func:`collate`'s caller.

    Per position: ``ids``, ``segments``, ``positions``; ``tasks`` the number in ``TASKS`` of the task whose answer
    it belongs to (-1 elsewhere); ``weights`` of predicting this token from the one before; ``locs`` the exact
    coordinate of a location token (NaN elsewhere); ``about`` bits of the regions that the token speaks of, and
    ``things`` the one that it draws (-1 elsewhere); ``mask_code`` / ``depth_code`` which code of the mask / depth it
    is (-1 elsewhere). Per image: ``image`` uint8 [S, S, 3],
    ``patches`` the thing of every patch [n], ``shapes`` bool [n, points] where in the patch it is,
    ``sampled`` bool [n] the patches that are asked for mask codes,
    ``concepts`` [K] (-1 for none and for surfaces), ``boxes`` [K, 4], ``crops`` bool [K, 64, 64] of the regions that
    are ``cropped`` bool [K], ``attributes`` [K, 4] numbers of size, colour, texture and material (-1 for none),
    ``depth`` normalised [96, 96] and the ``range`` [2] that it lies in, in 0-1 as location tokens say it; both NaN
    where it is not known.
    """

    ids: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    tasks: np.ndarray
    weights: np.ndarray
    locs: np.ndarray
    about: np.ndarray
    things: np.ndarray
    mask_code: np.ndarray
    depth_code: np.ndarray
    image: np.ndarray
    patches: np.ndarray
    shapes: np.ndarray
    sampled: np.ndarray
    concepts: np.ndarray
    boxes: np.ndarray
    crops: np.ndarray
    cropped: np.ndarray
    attributes: np.ndarray
    depth: np.ndarray
    range: np.ndarray


Batch = dict[str, torch.Tensor]


def collate(examples: Sequence[Example], pad_id: int, looks: Sequence[ImageArrays] = ()) -> Batch:
    """Stack examples; sequences are padded to the longest, in segment -1.

    ``looks``: further images, behind those of the examples; the batch has more images than sequences then.
    """
    length = max(len(e.ids) for e in examples)
    length += -length % 8
    fills = {
        "ids": pad_id, "segments": -1, "positions": 0, "tasks": NOTHING, "weights": 0.0, "locs": np.nan,
        "about": 0, "things": NOTHING, "mask_code": NOTHING, "depth_code": NOTHING,
    }  # fmt: skip
    batch = {
        name: torch.from_numpy(np.stack([_padded(getattr(e, name), length, fill) for e in examples]))
        for name, fill in fills.items()
    }
    of_images = (
        "image", "patches", "shapes", "sampled", "concepts", "boxes", "crops", "cropped", "attributes",
        "depth", "range",
    )  # fmt: skip
    for name in of_images:
        rows = [getattr(e, name) for e in examples] + [look[name] for look in looks]
        batch[name] = torch.from_numpy(np.stack(rows))
    return batch


def _padded(values: np.ndarray, length: int, fill: float) -> np.ndarray:
    return np.pad(values, (0, length - len(values)), constant_values=fill)


def block_causal_mask(segments: torch.Tensor) -> torch.Tensor:
    """[B, L] -> bool [B, 1, L, L], True where a row may look: itself, its segment before it, segment 0."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    same = segments[:, :, None] == segments[:, None, :]
    return ((same | (segments == 0)[:, None, :]) & causal)[:, None]
