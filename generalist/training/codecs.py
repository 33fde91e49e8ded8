"""Fit the mask codec and the depth codec.

    python -m generalist.training.codecs mask TRAIN.npz MORE.npz --out FOLDER --test UNSEEN.npz
    python -m generalist.training.codecs depth TRAIN.npz --out FOLDER --test HELD_OUT.npz

The files hold ``crops`` bool or uint8 [N, 64, 64], or packed bits uint8 [N, 512]; ``depths`` float [N, 96, 96]
(log depth between the nearest and the farthest pixel, 0-1) and, for the test, ``ranges`` float [N, 2] in metres.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich import print as show
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from generalist.decoders import DepthCodec, MaskCodec, depth, depth_codec, mask, mask_codec
from generalist.decoders.clusters import kmeans, nearest
from generalist.training.script import run
from generalist.types import GeneralistError

_CONTINUOUS = 0.15  # part of the steps before quantising begins
_DECAY = 0.98  # of the codebook's moving averages
_DEAD = 0.03  # an entry used less than this part of the average is replaced
_COMMITMENT = 0.25
_KMEANS_MAPS, _KMEANS_ROUNDS = 1500, 12
_CHUNK = 256

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Fit the mask codec and the depth codec.")


class MovingCodebook:
    """A codebook that follows the cells assigned to it by moving averages; changes ``entries`` [K, D] in place."""

    def __init__(self, entries: Tensor, cells: Tensor, generator: torch.Generator) -> None:
        self.entries, self.generator = entries, generator
        entries.copy_(kmeans(cells, len(entries), rounds=_KMEANS_ROUNDS, generator=generator))
        self.counts = torch.ones(len(entries), 1)
        self.sums = entries.clone()

    @torch.no_grad()
    def update(self, cells: Tensor, index: Tensor) -> None:
        """Move towards ``cells`` float[N, D], assigned to entries ``index`` int64[N]; revive dead entries."""
        used = torch.bincount(index, minlength=len(self.entries))[:, None] / len(index) * len(self.entries)
        sums = torch.zeros_like(self.sums).index_add_(0, index, cells) / len(index) * len(self.entries)
        self.counts.lerp_(used, 1 - _DECAY)
        self.sums.lerp_(sums, 1 - _DECAY)
        dead = self.counts[:, 0] < _DEAD
        if dead.any():
            chosen = torch.randint(len(cells), (int(dead.sum()),), generator=self.generator)
            self.sums[dead], self.counts[dead] = cells[chosen], 1.0
        self.entries.copy_(self.sums / self.counts)


def fit_depth(
    maps: Tensor, *, grid: int = 8, entries: int = 256, steps: int = 3300, batch: int = 48, seed: int = 0
) -> DepthCodec:
    """A codec for maps float[N, 96, 96] in 0-1, of any float type; shows progress.

    The first steps train a plain autoencoder; then k-means places the codebook and the rest is quantised,
    with gradients passed straight through. The same maps, steps and seed give the same codec on a machine.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = DepthCodec(grid, entries)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    codebook: MovingCodebook | None = None
    for step in track(range(steps), description="depth codec"):
        if step == int(steps * _CONTINUOUS):
            some = torch.randperm(len(maps), generator=generator)[:_KMEANS_MAPS]
            with torch.no_grad():
                cells = torch.cat([codec.cells(piece) for piece in maps[some].split(_CHUNK)])
            codebook = MovingCodebook(codec.codebook, cells, generator)
        u = maps[torch.randint(len(maps), (batch,), generator=generator)].float()
        if step % 2:
            u = u.flip(2)
        loss = _loss(codec, u, codebook)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    # Half precision already here, so that a codec and its file agree to the bit.
    return codec.half().float().eval().requires_grad_(False)


def mask_iou(codec: MaskCodec, crops: Tensor, sweeps: int = 0) -> float:
    """Mean intersection over union of crops bool[N, 64, 64] and what the codec makes of them."""
    ious = []
    for piece in crops.split(_CHUNK):
        made = codec.decode(codec.encode(piece, sweeps)) > 0.5
        ious.append((made & piece).sum((1, 2)) / (made | piece).sum((1, 2)).clamp(min=1))
    return float(torch.cat(ious).mean())


@torch.no_grad()
def depth_d1(codec: DepthCodec, maps: Tensor, ranges: Tensor) -> float:
    """Part of the pixels within a factor 1.25: maps float[N, 96, 96] in 0-1, ranges float[N, 2] in metres."""
    pieces = [codec.decode(codec.encode(piece)) for piece in maps.split(_CHUNK)]
    error = (torch.cat(pieces) - maps.float()).abs() * (ranges[:, 1] / ranges[:, 0]).log()[:, None, None]
    return float((error < math.log(1.25)).float().mean())


def read_crops(path: Path) -> Tensor:
    """Crops bool[N, 64, 64] of a file; :class:`GeneralistError` when it holds none."""
    crops = _read(path, "crops")
    side = mask_codec.SIDE
    if crops.ndim == 2 and crops.shape[1] == mask_codec.PIXELS // 8:
        crops = np.unpackbits(crops, axis=1).reshape(-1, side, side)
    if crops.shape[1:] != (side, side):
        raise GeneralistError(f"{path}: crops are {list(crops.shape)}; give [N, {side}, {side}] or packed [N, 512]")
    return torch.from_numpy(crops.astype(bool))


def read_maps(path: Path) -> Tensor:
    """Maps float[N, 96, 96] of a file; :class:`GeneralistError` when it holds none or they leave 0-1."""
    maps = torch.from_numpy(_read(path, "depths"))
    side = depth_codec.SIDE
    if tuple(maps.shape[1:]) != (side, side) or not len(maps) or not maps.is_floating_point():
        raise GeneralistError(f"{path}: depths are {maps.dtype} {list(maps.shape)}; give floats [N, {side}, {side}]")
    low, high = float(maps.min()), float(maps.max())
    if not (low >= 0 and high <= 1):
        raise GeneralistError(f"{path}: depths go from {low} to {high}; normalise each map to 0-1")
    return maps


@app.command("mask")
def mask_command(
    data: Annotated[list[Path], typer.Argument(help="npz files with `crops`")],
    out: Annotated[Path, typer.Option(help="folder for mask_codec.safetensors")],
    test: Annotated[Path | None, typer.Option(help="npz file with `crops` of other shapes, to measure")] = None,
    seed: Annotated[int, typer.Option(help="of k-means")] = 0,
) -> None:
    """Fit the mask codec (half a minute)."""
    crops = torch.cat([read_crops(path) for path in data])
    codec = MaskCodec.fit(torch.cat([crops, crops.flip(2)]), seed=seed)  # a mirrored shape is as good a shape
    codec.save(out / mask.FILE)
    show(f"{out / mask.FILE}: written")
    if test is not None:
        unseen = read_crops(test)
        nearest_iou, refined_iou = (mask_iou(codec, unseen, sweeps) for sweeps in (0, 2))
        show(f"IoU {nearest_iou:.4f} (nearest entries), {refined_iou:.4f} (2 sweeps) on {len(unseen)} crops of {test}")


@app.command("depth")
def depth_command(
    data: Annotated[list[Path], typer.Argument(help="npz files with `depths`")],
    out: Annotated[Path, typer.Option(help="folder for depth_codec.safetensors")],
    test: Annotated[Path | None, typer.Option(help="npz file with `depths` and `ranges`, to measure")] = None,
    steps: Annotated[int, typer.Option(min=20, help="optimiser steps")] = 3300,
    seed: Annotated[int, typer.Option(help="of the start, the batches and k-means")] = 0,
) -> None:
    """Fit the depth codec (a few minutes on two cores)."""
    codec = fit_depth(torch.cat([read_maps(path) for path in data]), steps=steps, seed=seed)
    codec.save(out / depth.FILE)
    show(f"{out / depth.FILE}: written")
    if test is not None:
        maps, ranges = read_maps(test), torch.from_numpy(_read(test, "ranges"))
        show(f"d1 {depth_d1(codec, maps, ranges):.4f} on {len(maps)} maps of {test}")


def _loss(codec: DepthCodec, u: Tensor, codebook: MovingCodebook | None) -> Tensor:
    """Reconstruction, and cells kept near their entries; convolutions in bfloat16, distances in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        cells = codec.cells(u)
    cells = cells.float()
    if codebook is None:
        return 4 * _reconstruction(codec, cells, u)
    index = nearest(cells.detach(), codec.codebook)
    codebook.update(cells.detach(), index)
    quantised = codec.codebook[index]
    straight = cells + (quantised - cells).detach()
    return 4 * _reconstruction(codec, straight, u) + _COMMITMENT * F.mse_loss(cells, quantised)


def _reconstruction(codec: DepthCodec, cells: Tensor, u: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        made = codec.render(cells)
    return F.l1_loss(made.float(), u)


def _rate(step: int, steps: int) -> float:
    """Learning rate, as a part of the highest: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / 60) * max(0.02, (1 + math.cos(math.pi * step / steps)) / 2)


def _read(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path) as content:
            array: np.ndarray = content[name]
    except Exception as error:  # numpy raises OSError, KeyError, ValueError, BadZipFile, EOFError, ...
        raise GeneralistError(f"{path}: cannot read {name!r} ({error}); give an npz file that holds it") from error
    return array


def main() -> None:
    """Run the commands."""
    run(app)


if __name__ == "__main__":
    main()
