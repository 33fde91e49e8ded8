"""Depth codec: a 96x96 map as a raster of codes, by a small convolutional autoencoder.

It works on u = (ln z - ln near) / (ln far - ln near) in 0-1, so that one codebook serves a table top and
a street; the range travels beside the codes.

N maps, G = grid (cells a side), K entries, D dimensions of an entry.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generalist.decoders import codec_file
from generalist.decoders.clusters import distances, nearest
from generalist.tokens import VocabularySizes
from generalist.types import GeneralistError

SIDE = 96
DIMS = 16
_FINE, _COARSE = 64, 128
_CHUNK = 256


class DepthCodec(nn.Module):
    """96x96 values to ``grid`` x ``grid`` codes and back; ``codebook`` [K, D] is a buffer.

    Fitted in :mod:`generalist.training.codecs`.
    """

    codebook: Tensor

    def __init__(self, grid: int = 8, entries: int = 256) -> None:
        super().__init__()
        if SIDE % (2 * grid):
            raise GeneralistError(f"depth grid is {grid}; use a divisor of {SIDE // 2}")
        self.grid, self.fold = grid, SIDE // (2 * grid)
        pixels = self.fold**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(self.fold),  # [N, 1, 96, 96] -> [N, fold^2, 2G, 2G]
            nn.Conv2d(pixels, _FINE, 3, padding=1),
            _Residual(_FINE),
            nn.Conv2d(_FINE, _COARSE, 4, stride=2, padding=1),  # -> [N, 128, G, G]
            _Residual(_COARSE),
            nn.Conv2d(_COARSE, DIMS, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(DIMS, _COARSE, 3, padding=1),
            _Residual(_COARSE),
            _Residual(_COARSE),
            nn.ConvTranspose2d(_COARSE, _FINE, 4, stride=2, padding=1),  # -> [N, 64, 2G, 2G]
            _Residual(_FINE),
            nn.Conv2d(_FINE, pixels, 3, padding=1),
            nn.PixelShuffle(self.fold),
        )
        self.register_buffer("codebook", torch.randn(entries, DIMS, generator=torch.Generator().manual_seed(0)))

    def encode(self, u: Tensor) -> Tensor:
        """Codes int64[N, G*G], row by row, of values float[N, 96, 96] in 0-1."""
        if not len(u):
            return torch.zeros(0, self.grid**2, dtype=torch.long, device=u.device)
        pieces = [nearest(self.cells(piece), self.codebook) for piece in u.split(_CHUNK)]
        return torch.cat(pieces).view(len(u), -1)

    def decode(self, codes: Tensor) -> Tensor:
        """Values float[N, 96, 96] in 0-1 of codes int64[N, G*G]."""
        return self.render(self.codebook[codes].flatten(0, 1)).clamp(0, 1)

    def cells(self, u: Tensor) -> Tensor:
        """What gets quantised: float[N*G*G, D] of values float[N, 96, 96]."""
        return self.encoder(u.float()[:, None] - 0.5).permute(0, 2, 3, 1).reshape(-1, DIMS)

    def render(self, cells: Tensor) -> Tensor:
        """Values float[N, 96, 96], not yet clamped, of cells float[N*G*G, D]."""
        raster = cells.view(-1, self.grid, self.grid, DIMS).permute(0, 3, 1, 2)
        return self.decoder(raster)[:, 0] + 0.5

    def entry_distances(self) -> Tensor:
        """How unlike what two codes say is, float[K, K]: squared distance of their entries over the mean of all."""
        between = distances(self.codebook, self.codebook)
        return between / between.mean().clamp(min=1e-12)

    def save(self, path: Path) -> None:
        """Write a safetensors file (about 1.8 MB)."""
        codec_file.write(path, self.state_dict())

    @classmethod
    def load(cls, path: Path, sizes: VocabularySizes) -> DepthCodec:
        """Read what :meth:`save` wrote; :class:`GeneralistError` when it does not fit ``sizes``."""
        codec = cls(sizes.depth_grid, sizes.depth_codes)
        tensors = codec_file.read(path)
        codec_file.check(path, tensors, {name: tuple(t.shape) for name, t in codec.state_dict().items()})
        codec.load_state_dict(tensors)
        return codec.eval()


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.wide = nn.Conv2d(channels, channels, 3, padding=1)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.gelu(self.wide(self.norm(x))))
