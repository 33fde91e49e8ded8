"""Mask codec: a 64x64 crop as 16 codes, by principal components and additive quantisation.

Shapes of real things fill a small corner of 4096 dimensions, which principal components find. The first
codes quantise all components at once, each what the codes before it left over (residual quantisation):
they alone give the silhouette, so a model that gets only these right draws a good mask. The others share
the rest out: its axes form groups of about equal information, and each code quantises one group (product
quantisation), which suits shapes that were never seen. Fitting takes seconds; decoding is a sum of
entries and one matrix product.

N crops, P = 4096 pixels, R components, C codes a crop, K entries a code.
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
_KMEANS_ROUNDS = 15
_PCA_CROPS = 16000
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
        components: int = 128,
        coarse: int = 4,
        seed: int = 0,
    ) -> MaskCodec:
        """A codec for shapes like ``crops`` bool[N, 64, 64]; the same crops and seed give the same codec.

        ``coarse``: how many of the codes describe the whole shape. Raises :class:`GeneralistError` for
        crops of another size or fewer than the entries and components asked for.
        """
        needed = max(entries, components + 1)
        if crops.shape[1:] != (SIDE, SIDE) or len(crops) < needed:
            raise GeneralistError(f"mask crops are {list(crops.shape)}; give [N, {SIDE}, {SIDE}] with N >= {needed}")
        generator = torch.Generator().manual_seed(seed)
        flat = crops.flatten(1)
        mean = torch.stack([piece.float().sum(0) for piece in flat.split(_CHUNK)]).sum(0) / len(flat)
        some = torch.randperm(len(flat), generator=generator)[:_PCA_CROPS]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rank = min(components + 16, len(some))
            _, _, basis = torch.svd_lowrank(flat[some].float() - mean, q=rank, niter=3)
        basis = basis[:, :components]
        left = _project(flat, mean, basis)[torch.randperm(len(flat), generator=generator)[:_KMEANS_CROPS]]
        books = []
        for _ in range(coarse):
            book = kmeans(left, entries, rounds=_KMEANS_ROUNDS, generator=generator)
            books.append(book)
            left = left - book[nearest(left, book)]
        variances, axes = torch.linalg.eigh(left.T @ left / len(left))  # ascending
        variances, axes = variances.flip(0), axes.flip(1)
        for group in _groups(variances, codes - coarse):
            part = kmeans(left @ axes[:, group], entries, rounds=_KMEANS_ROUNDS, generator=generator)
            books.append(part @ axes[:, group].T)
        # Half precision already here, so that a codec and its file agree to the bit.
        values = (mean, basis, torch.stack(books))
        return cls(*(v.half().float() for v in values))

    def encode(self, crops: Tensor, sweeps: int = 0, shortlist: int = 8) -> Tensor:
        """Codes int64[N, C] of crops bool or float [N, 64, 64].

        ``sweeps`` 0 takes the nearest entry, one code after the other: fast and smooth in the shape, so the
        better target for learning. Each sweep then goes through the codes once and takes, among the
        ``shortlist`` closest entries, the one that leaves the fewest wrong pixels given the others: about a
        millisecond a crop with the default.
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
        their mean)), so that one temperature (above 0) suits the coarse codes and the fine ones. The
        distances of a code are those to what the nearest entries of the codes before it leave over.
        """
        _, left = self._nearest(_project(crops.flatten(1), self.mean, self.basis))
        spread = (self.codebooks - self.codebooks.mean(1, keepdim=True)).pow(2).sum(2).mean(1)  # [C]
        far = torch.stack([distances(c, e) for c, e in zip(left.unbind(1), self.codebooks, strict=True)], dim=1)
        return (-far / (temperature * spread.clamp(min=1e-12))[:, None]).softmax(dim=2)

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


def _groups(variances: Tensor, groups: int) -> list[list[int]]:
    """Members of ``groups`` groups of axes that carry about equal information; ``variances`` [R] descending.

    The largest go first, one to each group; then each goes to the open group with the smallest product of
    variances. Information grows with the logarithm of the variance, hence sums of logarithms.
    """
    size = len(variances) // max(groups, 1)
    logs = variances.clamp(min=1e-12).log().tolist()
    members: list[list[int]] = [[] for _ in range(groups)]
    for k in range(size * groups):
        still_open = [g for g in range(groups) if len(members[g]) < size]
        fewest = min(still_open, key=lambda g: (bool(members[g]), sum(logs[i] for i in members[g])))
        members[fewest].append(k)
    return members
