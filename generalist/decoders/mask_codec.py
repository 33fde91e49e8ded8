"""Mask codec: a 64x64 crop as a raster of cells, each quantised by itself.

Every code describes one cell of the crop, in reading order: the nearest of some shapes that cells have, in the
principal components of that cell. So what a code says can be seen at one place of the image, as with the codes of a
depth map, and a model can be taught to look there. Codes of the whole crop (residual and product quantisation of its
principal components) reconstruct a little better, and a small model hardly ever learns to write them. Decoding is a
sum of entries and one matrix product.

N crops, P = 4096 pixels, R components, C codes a crop, K entries a code.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from generalist.decoders import codec_file
from generalist.decoders.clusters import distances, kmeans, nearest
from generalist.tokens import VocabularySizes
from generalist.types import GeneralistError

SIDE = 64
PIXELS = SIDE * SIDE
_KMEANS_ROUNDS = 15
_KMEANS_CROPS = 40000
_CHUNK = 4096
_REFINE_CHUNK = 32


class MaskCodec(nn.Module):
    """Buffers ``mean`` [P], ``basis`` [P, R] with orthonormal columns, ``codebooks`` [C, K, R], ``trust`` [C].

    ``trust`` in 0-1 says how much of a code's entry is to be believed when a model wrote the code: 1 for a
    model that is always right; see :mod:`generalist.training.mask_trust`.
    """

    mean: Tensor
    basis: Tensor
    codebooks: Tensor
    trust: Tensor

    def __init__(self, mean: Tensor, basis: Tensor, codebooks: Tensor, trust: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.register_buffer("codebooks", codebooks)
        self.register_buffer("trust", torch.ones(len(codebooks)) if trust is None else trust)

    @classmethod
    def fit(
        cls,
        crops: Tensor,
        codes: int = 16,
        entries: int = 128,
        components: int = 8,
        seed: int = 0,
    ) -> MaskCodec:
        """A codec for shapes like ``crops`` bool[N, 64, 64]; the same crops and seed give the same codec.

        ``codes``: how many cells, a square number whose root divides 64; ``components`` of each. Raises
        :class:`GeneralistError` for crops of another size or fewer than the entries asked for, and other cells.
        """
        grid = math.isqrt(codes)
        if codes < 1 or grid * grid != codes or SIDE % grid:
            raise GeneralistError(f"a mask cannot have {codes} codes; use the square of a number that divides {SIDE}")
        if crops.shape[1:] != (SIDE, SIDE) or len(crops) < entries:
            raise GeneralistError(f"mask crops are {list(crops.shape)}; give [N, {SIDE}, {SIDE}] with N >= {entries}")
        generator = torch.Generator().manual_seed(seed)
        flat = crops.flatten(1)
        mean = torch.stack([piece.float().sum(0) for piece in flat.split(_CHUNK)]).sum(0) / len(flat)
        some = flat[torch.randperm(len(flat), generator=generator)[:_KMEANS_CROPS]]
        places = (
            torch.arange(PIXELS).view(grid, SIDE // grid, grid, SIDE // grid).transpose(1, 2).flatten(2).flatten(0, 1)
        )
        basis = torch.zeros(PIXELS, codes * components)
        books = torch.zeros(codes, entries, codes * components)
        for cell, pixels in enumerate(places):
            own = slice(cell * components, (cell + 1) * components)
            parts = some[:, pixels].float() - mean[pixels]
            squares = (parts.T @ parts).double()  # which is singular where pixels are always alike
            axes = torch.linalg.eigh(squares)[1].flip(1)[:, :components].float()
            basis[pixels, own] = axes
            books[cell, :, own] = kmeans(parts @ axes, entries, rounds=_KMEANS_ROUNDS, generator=generator)
        # Half precision already here, so that a codec and its file agree to the bit.
        return cls(*(v.half().float() for v in (mean, basis, books)))

    def encode(self, crops: Tensor, sweeps: int = 0, shortlist: int = 8) -> Tensor:
        """Codes int64[N, C] of crops bool or float [N, 64, 64].

        ``sweeps`` 0 takes the nearest entry: fast and smooth in the shape, so the better target for learning. Each
        sweep then goes through the codes once and takes, among the ``shortlist`` closest entries, the one that leaves
        the fewest wrong pixels given the others: about a millisecond a crop with the default.
        """
        codes = self._nearest(_project(crops.flatten(1), self.mean, self.basis))[0]
        if sweeps == 0 or not len(codes):
            return codes
        pieces = zip(crops.flatten(1).split(_REFINE_CHUNK), codes.split(_REFINE_CHUNK), strict=True)
        return torch.cat([self._refine(x > 0.5, c, sweeps, shortlist) for x, c in pieces])

    def decode(self, codes: Tensor, *, predicted: bool = False) -> Tensor:
        """Crops float[N, 64, 64] of codes int64[N, C]: about 0-1, a pixel is set above 0.5.

        ``predicted``: the codes are a model's, so each counts by its ``trust``.
        """
        entries = self.entries(codes) * (self.trust if predicted else torch.ones_like(self.trust))[:, None]
        return (self.mean + entries.sum(1) @ self.basis.T).view(-1, SIDE, SIDE)

    def entries(self, codes: Tensor) -> Tensor:
        """The entry of every code, float[N, C, R] of int64[N, C]."""
        which = torch.arange(len(self.codebooks), device=codes.device)
        return self.codebooks[which, codes]

    def soft_targets(self, crops: Tensor, temperature: float) -> Tensor:
        """Probabilities float[N, C, K] of the entries for crops [N, 64, 64]: near entries share the target.

        softmax(-squared distance / (``temperature`` * mean squared distance of the code's entries from
        their mean)), so that one temperature (above 0) suits every cell.
        """
        _, left = self._nearest(_project(crops.flatten(1), self.mean, self.basis))
        spread = (self.codebooks - self.codebooks.mean(1, keepdim=True)).pow(2).sum(2).mean(1)  # [C]
        far = torch.stack([distances(c, e) for c, e in zip(left.unbind(1), self.codebooks, strict=True)], dim=1)
        return (-far / (temperature * spread.clamp(min=1e-12))[:, None]).softmax(dim=2)

    def wrong_shares(self, crops: Tensor) -> Tensor:
        """Share float[N, C, K] of a code's pixels that each of its entries gets wrong of crops bool[N, 64, 64].

        A code's pixels are those that its entries change at all: of a codec of cells, its cell.
        """
        wanted, shares = crops.flatten(1).float(), []
        for entries in self.codebooks:
            own = (self.basis[:, entries.any(0)] != 0).any(1).nonzero()[:, 0]
            drawn = (self.mean[own] + entries @ self.basis[own].T > 0.5).float()  # [K, pixels]
            seen = wanted[:, own]
            wrong = seen.sum(1, keepdim=True) + drawn.sum(1) - 2 * seen @ drawn.T
            shares.append(wrong / max(len(own), 1))
        return torch.stack(shares, dim=1)

    def save(self, path: Path) -> None:
        """Write a safetensors file (about 1 MB)."""
        codec_file.write(path, self.state_dict())

    @classmethod
    def load(cls, path: Path, sizes: VocabularySizes) -> MaskCodec:
        """Read what :meth:`save` wrote; :class:`GeneralistError` when it does not fit ``sizes``."""
        tensors = codec_file.read(path)
        books = tensors.get("codebooks")
        components = books.shape[2] if books is not None and books.ndim == 3 else 0
        shape = (sizes.mask_length, sizes.mask_codes, components)
        expected = {"mean": (PIXELS,), "basis": (PIXELS, components), "codebooks": shape, "trust": shape[:1]}
        codec_file.check(path, tensors, expected)
        return cls(**tensors)

    # --- inside ---

    def _nearest(self, left: Tensor) -> tuple[Tensor, Tensor]:
        """Components float[N, R] -> nearest codes int64[N, C], and what each code had to describe float[N, C, R]."""
        codes, before = [], []
        for book in self.codebooks:
            index = nearest(left, book)
            codes.append(index)
            before.append(left)
            left = left - book[index]
        return torch.stack(codes, dim=1), torch.stack(before, dim=1)

    def _pixels(self, codes: Tensor) -> Tensor:
        """Codes int64[N, C] -> float[N, P]."""
        return self.decode(codes).flatten(1)

    def _refine(self, wanted: Tensor, codes: Tensor, sweeps: int, shortlist: int) -> Tensor:
        """Coordinate descent on the number of wrong pixels; never makes it larger.

        ``wanted`` bool[N, P], ``codes`` int64[N, C].
        """
        codes = codes.clone()
        rows = torch.arange(len(codes), device=codes.device)
        whole = _project(wanted, self.mean, self.basis)
        pixels = self._pixels(codes)
        short = min(shortlist, self.codebooks.shape[1])
        for _ in range(sweeps):
            left = whole - self.entries(codes).sum(1)
            for c, entries in enumerate(self.codebooks):
                present = entries[codes[:, c]]
                close = distances(left + present, entries).topk(short, largest=False).indices
                choices = torch.cat([codes[:, c, None], close], dim=1)  # the present one first: it wins a tie
                change = entries[choices] - present[:, None]  # [N, choices, R]
                tried = pixels[:, None] + change @ self.basis.T  # [N, choices, P]
                best = ((tried > 0.5) != wanted[:, None]).sum(2).argmin(1)
                codes[:, c], pixels, left = choices[rows, best], tried[rows, best], left - change[rows, best]
        return codes


def _project(flat: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Crops [N, P] -> float[N, components]; in pieces, since crops in float32 are large."""
    return torch.cat([(piece.float() - mean) @ basis for piece in flat.split(_CHUNK)])
