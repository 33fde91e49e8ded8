"""Questions about pictures -> batches: several questions share the positions of one image, as in base training.

The layout of a sequence and the meaning of its columns are those of :mod:`generalist.training.examples`. A *region* is
one mask of the picture, numbered as the questions draw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from generalist.decoders import depth_codec
from generalist.decoders.crops import SIDE as CROP_SIDE
from generalist.decoders.crops import mask_to_payload
from generalist.decoders.depth import range_value
from generalist.model import GeneralistProcessor
from generalist.prompt import question_ids
from generalist.reply import encode
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.training.examples import NOTHING, Batch, Example
from generalist.training.image_arrays import normalised_depth
from generalist.training.packing import TASK_NUMBERS, Weights, columns, mark_drawings
from generalist.types import Message, Phrase, Ref, Reply, Unit
from generalist_adapters.finetune.looking import Regions
from generalist_adapters.finetune.pictures import Picture
from generalist_adapters.finetune.questions import Asked, Drawing

LONGEST = 640
"""Positions behind the image; what does not fit is asked in another step. A question alone may be longer."""

_FILLS = {
    "ids": 0, "segments": -1, "positions": 0, "tasks": NOTHING, "weights": 0.0, "locs": np.nan, "things": NOTHING,
    "mask_code": NOTHING, "depth_code": NOTHING, "about": 0,
}  # fmt: skip
"""The columns of a row, and what stands behind a row that is shorter than its batch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """An image with its questions: ``columns`` by name, ``crops`` bool [R, 64, 64] of its R masks, ``depth``
    normalised [96, 96] (NaN where it is not asked for). Of its n tokens: ``patches`` [n] the thing that each shows, by
    the bits of ``about``, and ``classes`` [n] the number of that thing's class; -1 for none; ``boxes`` float32 [n, 4]
    its box, NaN for none."""

    image: Image.Image
    columns: dict[str, np.ndarray]
    crops: np.ndarray
    depth: np.ndarray
    patches: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.columns["ids"])


class PicturePacker:
    """Packs pictures and questions for a vocabulary; ``grid``: rows and columns of the tokens of an image;
    ``classes``: those that have a number."""

    def __init__(
        self, vocab: Vocabulary, grid: tuple[int, int], classes: Sequence[str] = (), weights: Weights | None = None
    ) -> None:
        self.vocab, self.grid = vocab, grid
        self.weights = weights or Weights()
        self.numbers = {name: number for number, name in enumerate(classes)}
        self.prefix = [vocab.structure[BOS], vocab.structure[USER], *[vocab.image] * (grid[0] * grid[1])]

    def pack(self, picture: Picture, questions: Sequence[Asked], longest: int = LONGEST) -> Row:
        """One row; the first question always comes in, another one where it does not exceed ``longest`` positions."""
        rows = [columns(self.prefix, segment=0, first=0)]
        crops: list[np.ndarray] = []
        things = Regions()
        for region in (*picture.boxes, *picture.masks):
            things.number(region)
        depth = np.full((depth_codec.SIDE, depth_codec.SIDE), np.nan, np.float32)
        length = 0
        for asked in questions:
            found: list[np.ndarray] = []
            row = self._segment(asked, len(rows), len(crops), found, things)
            if length and length + len(row["ids"]) > longest:
                continue
            rows.append(row)
            length += len(row["ids"])
            crops += found
            for drawing in asked.answer:
                if isinstance(drawing, Drawing) and drawing.depth is not None:
                    depth = normalised_depth(filled(drawing.depth))
        joined = {name: np.concatenate([row[name] for row in rows]) for name in _FILLS}
        stacked = np.stack(crops) if crops else np.zeros((0, CROP_SIDE, CROP_SIDE), bool)
        patches = things.patches(self.grid)
        known = [self.numbers.get(region.label, NOTHING) for region in things.known]
        classes = np.array([*known, NOTHING], np.int64)[patches]  # -1 is the last
        return Row(
            image=picture.image,
            columns=joined,
            crops=stacked,
            depth=depth,
            patches=patches,
            classes=classes,
            boxes=things.boxes(patches),
        )

    def _segment(
        self, asked: Asked, number: int, region: int, crops: list[np.ndarray], things: Regions
    ) -> dict[str, np.ndarray]:
        """The turns of one question; only its answer is learnt. Crops of its masks are added to ``crops``."""
        question = [*self._earlier(asked.history), *question_ids(asked.text, (), self.vocab)]
        question.append(self.vocab.structure[ASSISTANT])
        places: list[tuple[tuple[float, ...], int]] = []
        reply = self._reply(asked, region, crops, places)
        answer = [*encode(reply, self.vocab), self.vocab.eos]
        row = columns([*question, *answer], segment=number, first=len(self.prefix))
        row["weights"][len(question) :] = self.weights.text
        row["tasks"][len(question) :] = TASK_NUMBERS[asked.task]
        drawn = [one for piece in asked.answer if isinstance(piece, Drawing) for one in piece.regions or (None,)]
        if not drawn:
            row["about"][len(question) :] = sum({1 << k for one in asked.about if (k := things.number(one)) != NOTHING})
        spoken = len(question)
        for place, end in enumerate(mark_drawings(row, self.vocab, self.weights, len(question), places)):
            one = drawn[place] if place < len(drawn) else None
            number = NOTHING if one is None else things.number(one)
            row["about"][spoken:end] = 0 if number == NOTHING else 1 << number
            spoken = end
        return row

    def _earlier(self, history: Sequence[Message]) -> list[int]:
        """The turns before the question, as they are at inference; the first user's opens with the image."""
        structure = self.vocab.structure
        ids: list[int] = []
        for message in history:
            text = self.vocab.encode_text(message.text)
            said = message.role == "assistant"
            ids += [structure[ASSISTANT], *text, self.vocab.eos, structure[USER]] if said else text
        return ids

    def _reply(
        self, asked: Asked, region: int, crops: list[np.ndarray], places: list[tuple[tuple[float, ...], int]]
    ) -> Reply:
        """The reply with 0 for every code; ``places`` gets the coordinates and the region of each drawing."""
        text, phrases = "", []
        for piece in asked.answer:
            if isinstance(piece, str):
                text += piece
                continue
            drawn = self._drawn(piece, region, crops)
            places += drawn
            refs = tuple(Ref(index=k, codes=self._codes(piece, values)) for k, (values, _) in enumerate(drawn))
            span = (len(text), len(text) + len(piece.label))
            phrases.append(Phrase(text=piece.label, span=span, unit=Unit(kind=piece.kind, refs=refs)))
            text += piece.label
        return Reply(text=text, phrases=tuple(phrases))

    def _drawn(self, piece: Drawing, region: int, crops: list[np.ndarray]) -> list[tuple[tuple[float, ...], int]]:
        """Coordinates and region of everything that a phrase draws."""
        if piece.depth is not None:
            known = piece.depth[np.isfinite(piece.depth)]
            return [((range_value(float(known.min())), range_value(float(known.max()))), NOTHING)]
        if piece.kind == "point":
            return [(xy, NOTHING) for xy in piece.points]
        if piece.kind == "box":
            return [(one.xyxy, NOTHING) for one in piece.regions]
        found: list[tuple[tuple[float, ...], int]] = []
        for one in piece.regions:
            assert one.mask is not None  # only regions with masks are asked for as masks
            xyxy, crop = mask_to_payload(one.mask)
            found.append((xyxy, region + len(crops)))
            crops.append(crop)
        return found

    def _codes(self, piece: Drawing, values: Sequence[float]) -> tuple[int, ...]:
        sizes = self.vocab.sizes
        behind = {"mask": sizes.mask_length, "depth": sizes.depth_grid**2}.get(piece.kind, 0)
        return (*(self.vocab.loc_bin(v) for v in values), *(0,) * behind)


def from_example(example: Example) -> Row:
    """A row of a packed scene of the composed world."""
    return Row(
        image=Image.fromarray(example.image),
        columns={name: getattr(example, name) for name in _FILLS},
        crops=example.crops,
        depth=example.depth,
        patches=example.patches,
        classes=np.full_like(example.patches, NOTHING),  # the base knows its own names
        boxes=np.where(example.patches[:, None] == NOTHING, np.float32(np.nan), example.boxes[example.patches]),
    )


def collate(rows: Sequence[Row], vocab: Vocabulary, processor: GeneralistProcessor) -> Batch:
    """Rows as a batch: columns [B, L], ``pixel_values`` [B, 3, H, W], ``crops`` [B, R, 64, 64] with ``cropped``
    [B, R], ``depth`` [B, 96, 96],
    ``patches`` and ``classes`` [B, n], ``boxes`` [B, n, 4]. Images are read as they are at inference."""
    length = max(len(row) for row in rows)
    length += -length % 8
    batch = {
        name: torch.from_numpy(np.stack([_padded(row.columns[name], length, vocab.pad if name == "ids" else fill)
                                         for row in rows]))
        for name, fill in _FILLS.items()
    }  # fmt: skip
    regions = max(len(row.crops) for row in rows)
    crops = np.zeros((len(rows), regions, CROP_SIDE, CROP_SIDE), bool)
    for k, row in enumerate(rows):
        crops[k, : len(row.crops)] = row.crops
    batch["crops"], batch["cropped"] = torch.from_numpy(crops), torch.from_numpy(crops.any((2, 3)))
    for name in ("depth", "patches", "classes", "boxes"):
        batch[name] = torch.from_numpy(np.stack([getattr(row, name) for row in rows]))
    batch["pixel_values"] = processor.image_processor([row.image for row in rows])["pixel_values"]
    return batch


def _padded(values: np.ndarray, length: int, fill: float) -> np.ndarray:
    return np.pad(values, (0, length - len(values)), constant_values=fill)


def filled(depth: np.ndarray) -> np.ndarray:
    """A depth map in which every pixel has the depth of the nearest one that is known (and is one with NaN only)."""
    unknown = ~np.isfinite(depth)
    if unknown.all():
        return np.ones_like(depth)
    if not unknown.any():
        return depth
    _, labels = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(int(labels.max()) + 1, depth.dtype)
    nearest[labels[~unknown]] = depth[~unknown]
    return nearest[labels]
