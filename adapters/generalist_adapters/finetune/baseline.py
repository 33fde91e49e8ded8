"""What the same pictures teach a small network from scratch: the least that an adapter has to beat.

Eight convolutions from random weights, at the resolution that the model itself sees: a map of classes at an eighth of
it with the size and place of the box around each centre (after Zhou et al. 2019, "Objects as Points"), and a map of
classes for every pixel at a quarter. It learns from the same pictures with the same variations, and understands just
the questions that an evaluation asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from generalist.answer import Answer
from generalist.evaluation.cases import Case
from generalist.pipeline import EVERYTHING
from generalist.tasks import question
from generalist.types import Box, ChatRequest, Grounded, Reply
from generalist_adapters.finetune.augment import Augmentation, vary
from generalist_adapters.finetune.pictures import Picture, Region
from generalist_datasets.record_samples import counted
from generalist_datasets.world.masks import to_mask

_WIDTHS = (24, 48, 96)
_RATE = 2e-3
_BATCH = 8
_MOST = 100
"""Boxes on a picture, as COCO counts them."""
_SURE = 0.3
"""Score from which a box is counted."""
_FAINT = 0.05
_RARE = -3.0
"""Log-odds that a centre is somewhere, before anything is learnt."""


class Network(nn.Module):
    """float [B, 3, S, S] -> ``heat`` [B, C, S/8, S/8] and ``place`` [B, 4, S/8, S/8] (offset of the centre in cells,
    logarithm of the box's sides), ``pixels`` [B, 1 + M, S/4, S/4]."""

    def __init__(self, boxes: int, masks: int) -> None:
        super().__init__()
        one, two, three = _WIDTHS
        self.quarter = nn.Sequential(_block(3, one, 2), _block(one, one, 1), _block(one, two, 2), _block(two, two, 1))
        self.eighth = nn.Sequential(_block(two, three, 2), _block(three, three, 1), _block(three, three, 1))
        self.heat = nn.Conv2d(three, max(boxes, 1), 1, bias=False)
        self.place = nn.Conv2d(three, 4, 1)
        self.join = _block(two + three, two, 1)
        self.pixels = nn.Conv2d(two, 1 + masks, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = self.quarter(images)
        coarse = self.eighth(fine)
        wide = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        pixels = self.pixels(self.join(torch.cat([fine, wide], dim=1)))
        return {"heat": self.heat(coarse) + _RARE, "place": self.place(coarse), "pixels": pixels}


def _block(channels: int, wider: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, wider), nn.SiLU())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """A trained network that answers like a model; ``boxes`` and ``masks`` name its classes, ``side`` in pixels."""

    network: Network
    boxes: tuple[str, ...]
    masks: tuple[str, ...]
    side: int

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def can_answer(self, case: Case) -> bool:
        return self._wish(case.sample.prompt) is not None

    def answer(self, requests: Sequence[ChatRequest]) -> list[Answer]:
        """Answers to questions that it :meth:`can_answer`, about one picture each."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: ChatRequest) -> Answer:
        message = request.messages[-1]
        (image,) = message.images
        wish = self._wish(message.text)
        assert wish is not None, message.text
        kind, name = wish
        with torch.inference_mode():
            said = self.network(_tensor([image], self.side))
        if kind == "segment":
            return Answer(reply=Reply(), outputs=tuple(self._regions(said, image, name)), images=(image,))
        boxes = [one for one in self._centres(said) if name in ("", one.label)]
        if kind == "count":
            text = str(sum((one.output.score or 0) >= _SURE for one in boxes if isinstance(one.output, Box)))
            return Answer(reply=Reply(text=text), images=(image,))
        return Answer(reply=Reply(), outputs=tuple(boxes if name == "" else boxes[:1]), images=(image,))

    def _wish(self, text: str) -> tuple[str, str] | None:
        """(kind, class or "" for all) of a question."""
        wishes: dict[str, tuple[str, str]] = {}
        if self.boxes:
            wishes[question("detect", EVERYTHING)] = ("detect", "")
            wishes |= {question("detect", name): ("detect", name) for name in self.boxes}
            wishes |= {question("count", counted(name)): ("count", name) for name in self.boxes}
        if self.masks:
            wishes |= {question("segment", words): ("segment", "") for words in (EVERYTHING, "everything")}
            wishes |= {question("segment", name): ("segment", name) for name in self.masks}
        return wishes.get(text)

    def _centres(self, said: dict[str, torch.Tensor]) -> list[Grounded]:
        """Boxes at the peaks of the heat, the surest first."""
        heat = said["heat"][0].sigmoid()
        peaks = heat * (functional.max_pool2d(heat[None], 3, 1, 1)[0] == heat)
        scores, where = peaks.flatten().topk(min(_MOST, peaks.numel()))
        rows, columns = peaks.shape[1:]
        found = []
        for score, at in zip(scores.tolist(), where.tolist(), strict=True):
            name, row, column = at // (rows * columns), at // columns % rows, at % columns
            if score < _FAINT or name >= len(self.boxes):
                continue
            dx, dy, wide, high = said["place"][0, :, row, column].tolist()
            x, y = (column + 0.5 + dx) / columns, (row + 0.5 + dy) / rows
            wide, high = (min(float(np.exp(min(v, 0.0))), 1.0) / 2 for v in (wide, high))
            xyxy = tuple(float(np.clip(v, 0, 1)) for v in (x - wide, y - high, x + wide, y + high))
            box = Box(xyxy=(xyxy[0], xyxy[1], xyxy[2], xyxy[3]), score=score)
            found.append(Grounded(label=self.boxes[name], span=(0, 0), image=0, ref=0, output=box))
        return found

    def _regions(self, said: dict[str, torch.Tensor], image: Image.Image, name: str) -> list[Grounded]:
        size = (image.height, image.width)
        logits = functional.interpolate(said["pixels"], size=size, mode="bilinear", align_corners=False)[0]
        best = logits.argmax(0).numpy()
        found = []
        for number, label in enumerate(self.masks, start=1):
            bitmap = best == number
            if name in ("", label) and bitmap.any():
                found.append(Grounded(label=label, span=(0, 0), image=0, ref=0, output=to_mask(bitmap)))
        return found


# --- training ---------------------------------------------------------------------------------------------


def train(
    pictures: Sequence[Picture],
    side: int,
    *,
    steps: int,
    augmentation: Augmentation,
    seed: int,
    notice: Callable[[], object] = lambda: None,
) -> Baseline | None:
    """A network for the boxes and masks of ``pictures``; None where they have neither. The seed decides it.

    ``notice`` is called before every step.
    """
    boxes = tuple(sorted({region.label for picture in pictures for region in picture.boxes}))
    masks = tuple(sorted({region.label for picture in pictures for region in picture.masks}))
    if not boxes and not masks:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(len(boxes), len(masks))
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=max(steps, 2), pct_start=0.1)
    for step in range(steps):
        notice()
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(pictures), size=_BATCH)
        varied = [vary(rng, pictures[int(k)], augmentation) for k in chosen]
        loss = _loss(network(_tensor([picture.image for picture in varied], side)), varied, boxes, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return Baseline(network=network.eval(), boxes=boxes, masks=masks, side=side)


def _tensor(images: Sequence[Image.Image], side: int) -> torch.Tensor:
    """float [B, 3, side, side], about -1 to 1."""
    resized = [np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)) for image in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _loss(
    said: dict[str, torch.Tensor], pictures: Sequence[Picture], boxes: Sequence[str], masks: Sequence[str]
) -> torch.Tensor:
    loss = torch.zeros(())
    if boxes:
        targets = [_centre_targets(picture.boxes, boxes, _plane(said["heat"])) for picture in pictures]
        heat, place, there = (torch.from_numpy(np.stack(parts)) for parts in zip(*targets, strict=True))
        error = (functional.smooth_l1_loss(said["place"], place, reduction="none", beta=0.1) * there[:, None]).sum()
        loss = loss + _focal(said["heat"], heat) + error / there.sum().clamp_min(1)
    if masks:
        labels = [_pixel_targets(picture.masks, masks, _plane(said["pixels"])) for picture in pictures]
        classes = torch.from_numpy(np.stack(labels))
        loss = loss + functional.cross_entropy(said["pixels"], classes)
    return loss


def _plane(values: torch.Tensor) -> tuple[int, int]:
    """Rows and columns."""
    return values.shape[-2], values.shape[-1]


def _focal(logits: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced focal loss of Law and Deng 2018 (CornerNet), mean over the centres."""
    sure = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    centre = heat == 1
    loss = torch.where(centre, (1 - sure) ** 2 * sure.log(), (1 - heat) ** 4 * sure**2 * (1 - sure).log())
    return -loss.sum() / centre.sum().clamp_min(1)


def _centre_targets(
    regions: Sequence[Region], classes: Sequence[str], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heat [C, h, w] with a bump of each box's size at its centre, place [4, h, w], where that is known bool [h, w]."""
    rows, columns = shape
    heat = np.zeros((len(classes), rows, columns), np.float32)
    place, there = np.zeros((4, rows, columns), np.float32), np.zeros((rows, columns), bool)
    y, x = np.mgrid[:rows, :columns]
    for region in regions:
        x1, y1, x2, y2 = region.xyxy
        u, v = (x1 + x2) / 2 * columns, (y1 + y2) / 2 * rows
        column, row = min(int(u), columns - 1), min(int(v), rows - 1)
        wide, high = max(x2 - x1, 1e-3), max(y2 - y1, 1e-3)
        spread = max(0.6, 0.12 * min(wide * columns, high * rows))
        bump = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * spread**2))
        layer = classes.index(region.label)
        heat[layer] = np.maximum(heat[layer], bump)
        heat[layer, row, column] = 1
        place[:, row, column] = u - column - 0.5, v - row - 0.5, np.log(wide), np.log(high)
        there[row, column] = True
    return heat, place, there


def _pixel_targets(regions: Sequence[Region], classes: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
    """int64 [h, w]: 0 where nothing is labelled, else 1 + the class; smaller regions lie over larger ones."""
    labels = np.zeros(shape, np.int64)
    size = (shape[1], shape[0])
    for region in sorted(regions, key=lambda r: -np.asarray(r.mask).sum()):
        mask = Image.fromarray(np.asarray(region.mask, np.bool_)).resize(size, Image.Resampling.NEAREST)
        labels[np.asarray(mask, np.bool_)] = 1 + classes.index(region.label)
    return labels
