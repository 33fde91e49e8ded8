"""The decoder of PaliGemma's mask codes: 16 codes of 128 entries -> a map of 64x64.

The convolutional decoder of a VQ-VAE that Google publishes as ``vae-oid.npz`` (big_vision, PaliGemma): a layer of
1x1, two residual blocks, four transposed layers that double the side, a layer of 1x1. In numpy, since it takes a
few milliseconds a mask and the dialects need no torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from generalist.types import GeneralistError

GRID, ENTRIES = 4, 128
_TABLE = "_vq_vae._embedding"
_BLOCKS = (2, 3)
_UP = (4, 6, 8, 10)
_FIRST, _LAST = 0, 12


class SegCodec:
    """``weights``: the arrays of the file by name; only the decoder's are used."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = {name: np.asarray(weights[name], np.float32) for name in _names()}

    @classmethod
    def load(cls, path: Path) -> SegCodec:
        """Read the published file; :class:`GeneralistError` when it is another one."""
        try:
            with np.load(path, allow_pickle=False) as file:
                codec = cls(file)
            codec.decode([0] * GRID**2)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:200]
            raise GeneralistError(f"{path}: this is not PaliGemma's mask codec ({reason}); restore it") from error
        return codec

    def decode(self, codes: Sequence[int]) -> np.ndarray:
        """float32[64, 64] in 0-1 of 16 codes, row by row; a pixel is set above 0.5."""
        features = self._weights[_TABLE][list(codes)].reshape(GRID, GRID, -1).transpose(2, 0, 1)  # [C, 4, 4]
        features = _relu(self._convolve(features, f"decoder.{_FIRST}"))
        for block in _BLOCKS:
            inner = features
            for layer in (0, 2):
                inner = _relu(self._convolve(inner, f"decoder.{block}.net.{layer}"))
            features = features + self._convolve(inner, f"decoder.{block}.net.4")
        for layer in _UP:
            features = _relu(self._double(features, f"decoder.{layer}"))
        drawn = self._convolve(features, f"decoder.{_LAST}")[0]
        clipped: np.ndarray = np.clip(drawn * 0.5 + 0.5, 0, 1)
        return clipped

    def _convolve(self, features: np.ndarray, name: str) -> np.ndarray:
        """[C, H, W] -> [D, H, W] with a kernel [D, C, k, k], k odd, edges padded with 0."""
        kernel, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        pad = kernel.shape[2] // 2
        padded = np.pad(features, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))  # [C, H, W, k, k]
        convolved: np.ndarray = np.tensordot(kernel, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]
        return convolved

    def _double(self, features: np.ndarray, name: str) -> np.ndarray:
        """[C, H, W] -> [D, 2H, 2W]: a transposed convolution, kernel [C, D, 4, 4], stride 2, padding 1."""
        kernel, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        _, height, width = features.shape
        spread = np.tensordot(kernel, features, axes=(0, 0))  # [D, 4, 4, H, W]
        whole = np.zeros((kernel.shape[1], 2 * height + 2, 2 * width + 2), np.float32)
        for row in range(4):
            for column in range(4):
                whole[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += spread[:, row, column]
        return whole[:, 1:-1, 1:-1] + bias[:, None, None]


def _names() -> list[str]:
    layers = [_FIRST, *_UP, _LAST]
    names = [f"decoder.{layer}" for layer in layers]
    names += [f"decoder.{block}.net.{layer}" for block in _BLOCKS for layer in (0, 2, 4)]
    return [_TABLE, *(f"{name}.{part}" for name in names for part in ("weight", "bias"))]


def _relu(values: np.ndarray) -> np.ndarray:
    positive: np.ndarray = np.maximum(values, 0)
    return positive
