"""Procedural textures that repeat without seams, made once and tinted for every scene."""

from __future__ import annotations

import cv2
import numpy as np

TEXTURE_SIDE = 256
_SEED = 11
_EACH = 8
_RAMP = np.linspace(0, 1, 256)[:, None]


def make_textures() -> tuple[np.ndarray, ...]:
    """A fixed pool of grey textures, uint8 [256, 256]: plain, noise, tiles, boards, bricks, checks, dots."""
    rng = np.random.default_rng(_SEED)
    makers = (_plain, _noise, _tiles, _boards, _bricks, _checks, _dots)
    return tuple(np.clip(make(rng) * 255, 0, 255).astype(np.uint8) for make in makers for _ in range(_EACH))


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour, float [3]: any brightness, seldom garish."""
    colour = rng.uniform(10, 255, 3)
    return colour.mean() + (colour - colour.mean()) * rng.uniform(0.1, 1.0)


def tinted(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """Grey levels as tones between two random colours: uint8 [H, W] -> [H, W, 3]."""
    light = random_colour(rng)
    # mostly tones of one colour
    dark = light * rng.uniform(0.55, 0.9) if rng.random() < 0.6 else random_colour(rng)
    coloured: np.ndarray = cv2.applyColorMap(grey, (dark + _RAMP * (light - dark)).astype(np.uint8)[:, None])
    return coloured


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:TEXTURE_SIDE, :TEXTURE_SIDE] / TEXTURE_SIDE
    return x, y


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Clouds: noise filtered in the frequency domain, so that it wraps around."""
    spectrum = np.fft.rfft2(rng.standard_normal((TEXTURE_SIDE, TEXTURE_SIDE)))
    fy, fx = np.fft.fftfreq(TEXTURE_SIDE)[:, None], np.fft.rfftfreq(TEXTURE_SIDE)[None]
    spectrum *= 1 / (np.hypot(fx, fy) + 0.5 / TEXTURE_SIDE) ** rng.uniform(0.4, 1.6)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(TEXTURE_SIDE, TEXTURE_SIDE))
    return 0.5 + field / (4 * field.std())


def _plain(rng: np.random.Generator) -> np.ndarray:
    return 0.6 + 0.12 * (_noise(rng) - 0.5)


def _tiles(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count = int(rng.choice([2, 4, 8]))
    joint = np.minimum(x * count % 1, y * count % 1) < 0.06
    return np.where(joint, 0.1, 0.8) + 0.1 * (_noise(rng) - 0.5)


def _boards(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count = int(rng.choice([4, 8]))
    tone = rng.uniform(0.35, 0.9, count)[(x * count).astype(int)]
    grain = 0.08 * np.sin(2 * np.pi * (4 * y + 3 * _noise(rng)))
    return np.where(x * count % 1 < 0.05, 0.1, tone + grain)


def _bricks(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    rows = int(rng.choice([6, 8, 12]))
    row = (y * rows).astype(int)
    across = (x * rows / 2 + 0.5 * (row % 2)) % (rows / 2)
    tone = rng.uniform(0.4, 0.8, (rows, rows // 2 + 1))[row, across.astype(int)]
    joint = (y * rows % 1 < 0.12) | (across % 1 < 0.06)
    return np.where(joint, 0.95, tone) + 0.06 * (_noise(rng) - 0.5)


def _checks(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count = int(rng.choice([2, 4, 8]))
    odd = ((x * count).astype(int) + (y * count).astype(int)) % 2
    return np.where(odd == 1, rng.uniform(0.7, 1.0), rng.uniform(0.0, 0.5)) + 0.05 * (_noise(rng) - 0.5)


def _dots(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    count = int(rng.choice([4, 8]))
    inside = np.hypot(x * count % 1 - 0.5, y * count % 1 - 0.5) < rng.uniform(0.15, 0.4)
    return np.where(inside, 0.9, 0.35) + 0.05 * (_noise(rng) - 0.5)
