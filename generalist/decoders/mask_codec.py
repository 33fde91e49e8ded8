"""Mask codec: a 64x64 crop as 16 codes, by principal components and product quantisation.

Shapes of real things fill a small corner of 4096 dimensions. Principal components find it, groups of
components of about equal information are formed, and each group is quantised on its own. Fitting takes
seconds; decoding is one matrix product.

N crops, P = 4096 pixels, C codes a crop, K entries a code, D dimensions a code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from generalist.decoders import codec_file
from generalist.decoders.clusters import distances, kmeans, nearest
from generalist.tokens import VocabularySizes
from generalist.types import GeneralistError

SIDE = 64
PIXELS = SIDE * SIDE
_KMEANS_ROUNDS = 20
_PCA_CROPS = 16000
_CHUNK = 4096
_SHORTLIST = 8
_REFINE_CHUNK = 32


class MaskCodec(nn.Module):
    """Buffers ``mean`` [P], ``basis`` [P, C*D] with orthonormal columns, ``codebooks`` [C, K, D].

    Code 0 covers the directions in which shapes differ most, the last code those in which they differ least.
    """

    mean: Tensor
    basis: Tensor
    codebooks: Tensor

    def __init__(self, mean: Tensor, basis: Tensor, codebooks: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.register_buffer("codebooks", codebooks)

    @classmethod
    def fit(
        cls, crops: Tensor, codes: int = 16, entries: int = 128, dims_per_code: int = 8, seed: int = 0
    ) -> MaskCodec:
        """A codec for shapes like ``crops`` bool[N, 64, 64]; the same crops and seed give the same codec.

        Raises :class:`GeneralistError` for crops of another size or fewer than the components asked for.
        """
        dims = codes * dims_per_code
        needed = max(entries, dims + 1)
        if crops.shape[1:] != (SIDE, SIDE) or len(crops) < needed:
            raise GeneralistError(f"mask crops are {list(crops.shape)}; give [N, {SIDE}, {SIDE}] with N >= {needed}")
        generator = torch.Generator().manual_seed(seed)
        flat = crops.flatten(1)
        mean = torch.stack([piece.float().sum(0) for piece in flat.split(_CHUNK)]).sum(0) / len(flat)
        some = torch.randperm(len(flat), generator=generator)[:_PCA_CROPS]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rank = min(dims + 16, len(some))
            _, _, basis = torch.svd_lowrank(flat[some].float() - mean, q=rank, niter=3)
        components = _project(flat, mean, basis[:, :dims])
        order = _group(components.var(0), codes)
        components = components[:, order].view(-1, codes, dims_per_code)
        books = [kmeans(c, entries, rounds=_KMEANS_ROUNDS, generator=generator) for c in components.unbind(1)]
        # Half precision already here, so that a codec and its file agree to the bit.
        values = (mean, basis[:, :dims][:, order], torch.stack(books))
        return cls(*(v.half().float() for v in values))

    def encode(self, crops: Tensor, sweeps: int = 0) -> Tensor:
        """Codes int64[N, C] of crops bool or float [N, 64, 64].

        ``sweeps`` 0 takes each group's nearest entry: fast and smooth in the shape, so the better target
        for learning. Each sweep then goes through the codes once and takes, among close entries, the one
        that leaves the fewest wrong pixels given the others: about a millisecond a crop.
        """
        components = self._components(crops)
        codes = torch.stack([nearest(c, e) for c, e in zip(components.unbind(1), self.codebooks, strict=True)], dim=1)
        if sweeps == 0 or not len(codes):
            return codes
        parts = zip(crops.flatten(1).split(_REFINE_CHUNK), components.split(_REFINE_CHUNK), strict=False)
        pieces = codes.split(_REFINE_CHUNK)
        return torch.cat([self._refine(x > 0.5, c, k, sweeps) for (x, c), k in zip(parts, pieces, strict=True)])

    def decode(self, codes: Tensor) -> Tensor:
        """Crops float[N, 64, 64] of codes int64[N, C]: about 0-1, a pixel is set above 0.5."""
        return self._pixels(codes).view(-1, SIDE, SIDE)

    def soft_targets(self, crops: Tensor, temperature: float) -> Tensor:
        """Probabilities float[N, C, K] of the entries for crops [N, 64, 64]: near entries share the target.

        softmax(-squared distance / (``temperature`` * mean squared distance of the code's entries from
        their mean)), so that one temperature (above 0) suits the coarse codes and the fine ones.
        """
        components = self._components(crops)
        spread = (self.codebooks - self.codebooks.mean(1, keepdim=True)).pow(2).sum(2).mean(1)  # [C]
        far = torch.stack([distances(c, e) for c, e in zip(components.unbind(1), self.codebooks, strict=True)], dim=1)
        return (-far / (temperature * spread.clamp(min=1e-12))[:, None]).softmax(dim=2)

    def save(self, path: Path) -> None:
        """Write a safetensors file (about 1 MB)."""
        codec_file.write(path, self.state_dict())

    @classmethod
    def load(cls, path: Path, sizes: VocabularySizes) -> MaskCodec:
        """Read what :meth:`save` wrote; :class:`GeneralistError` when it does not fit ``sizes``."""
        tensors = codec_file.read(path)
        books = tensors.get("codebooks")
        dims = books.shape[2] if books is not None and books.ndim == 3 else 0
        shape = (sizes.mask_length, sizes.mask_codes, dims)
        expected = {"mean": (PIXELS,), "basis": (PIXELS, sizes.mask_length * dims), "codebooks": shape}
        codec_file.check(path, tensors, expected)
        return cls(**tensors)

    # --- inside ---

    def _components(self, crops: Tensor) -> Tensor:
        """Crops [N, 64, 64] -> float[N, C, D]."""
        codes, _, dims = self.codebooks.shape
        return _project(crops.flatten(1), self.mean, self.basis).view(-1, codes, dims)

    def _pixels(self, codes: Tensor) -> Tensor:
        """Codes int64[N, C] -> float[N, P]."""
        which = torch.arange(len(self.codebooks), device=codes.device)
        return self.mean + self.codebooks[which, codes].flatten(1) @ self.basis.T

    def _refine(self, wanted: Tensor, components: Tensor, codes: Tensor, sweeps: int) -> Tensor:
        """Coordinate descent on the number of wrong pixels; never makes it larger.

        ``wanted`` bool[N, P], ``components`` float[N, C, D], ``codes`` int64[N, C].
        """
        codes = codes.clone()
        rows = torch.arange(len(codes), device=codes.device)
        pixels = self._pixels(codes)
        directions = self.basis.view(PIXELS, *components.shape[1:]).unbind(1)  # C times [P, D]
        short = min(_SHORTLIST, self.codebooks.shape[1])
        for _ in range(sweeps):
            for c, (entries, axes) in enumerate(zip(self.codebooks, directions, strict=True)):
                close = distances(components[:, c], entries).topk(short, largest=False).indices
                choices = torch.cat([codes[:, c, None], close], dim=1)  # the present one first: it wins a tie
                change = entries[choices] - entries[codes[:, c], None]  # [N, choices, D]
                tried = pixels[:, None] + change @ axes.T  # [N, choices, P]
                best = ((tried > 0.5) != wanted[:, None]).sum(2).argmin(1)
                codes[:, c], pixels = choices[rows, best], tried[rows, best]
        return codes


def _project(flat: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Crops [N, P] -> float[N, components]; in pieces, since crops in float32 are large."""
    return torch.cat([(piece.float() - mean) @ basis for piece in flat.split(_CHUNK)])


def _group(variances: Tensor, groups: int) -> Tensor:
    """An order of the components such that consecutive groups carry about equal information.

    The largest go first, one to each group; then each goes to the open group with the smallest product of
    variances. Information grows with the logarithm of the variance, hence sums of logarithms.
    """
    size = len(variances) // groups
    logs = variances.clamp(min=1e-12).log().tolist()
    members: list[list[int]] = [[] for _ in range(groups)]
    for k in range(len(logs)):
        still_open = [g for g in range(groups) if len(members[g]) < size]
        fewest = min(still_open, key=lambda g: (bool(members[g]), sum(logs[i] for i in members[g])))
        members[fewest].append(k)
    return torch.tensor([k for group in members for k in group])
