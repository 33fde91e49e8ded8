"""What a camera does to a picture: light, colour, blur, noise, compression. Geometry stays as it is."""

from __future__ import annotations

import cv2
import numpy as np

_NOISE_SIDE = 512
_NOISE_SPREAD = 32.0


def make_noise() -> np.ndarray:
    """A fixed sheet of Gaussian noise around 128 with spread 32, uint8 [512, 512, 3]; scenes cut pieces of it."""
    noise = np.random.default_rng(5).normal(128, _NOISE_SPREAD, (_NOISE_SIDE, _NOISE_SIDE, 3))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def photographed(rng: np.random.Generator, image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The picture as a camera would have it, uint8 [H, W, 3]."""
    image = cv2.LUT(image, _tone_curve(rng))
    chances = rng.random(3)
    if chances[0] < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.1)))
    if chances[1] < 0.4:
        image = _noisy(rng, image, noise)
    if chances[2] < 0.2:
        quality = int(rng.integers(30, 95))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image


def _tone_curve(rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and a colour cast, as one table: uint8 [1, 256, 3]."""
    levels = np.arange(256)[:, None] / 255
    contrast, brightness = rng.uniform(0.8, 1.15), rng.normal(0, 0.03)
    cast = np.clip(rng.normal(1, 0.05, 3), 0.85, 1.15)
    curve = ((levels - 0.5) * contrast + 0.5 + brightness) * cast
    return np.clip(np.rint(curve * 255), 0, 255).astype(np.uint8)[None]


def _noisy(rng: np.random.Generator, image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    if height > _NOISE_SIDE or width > _NOISE_SIDE:
        noise = np.tile(noise, (-(-height // _NOISE_SIDE) + 1, -(-width // _NOISE_SIDE) + 1, 1))
    top = int(rng.integers(noise.shape[0] - height + 1))
    left = int(rng.integers(noise.shape[1] - width + 1))
    piece = noise[top : top + height, left : left + width]
    strength = float(rng.uniform(2, 9)) / _NOISE_SPREAD
    noisy: np.ndarray = cv2.addWeighted(image, 1.0, piece, strength, -128 * strength)
    return noisy
