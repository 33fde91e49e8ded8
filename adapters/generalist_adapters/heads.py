"""Visual heads: dense outputs that tokens cannot carry well, learnt from a few labelled images.

Example::

    head = fit(model, processor, images, labels, ["cell", "nucleus"], seed=0)
    maps = head.predict(image)  # float32 [2, H, W]
    head.save(folder)  # visual_head.safetensors, beside a LoRA if there is one

This is for whatever else lies over a picture: depths, directions, densities. What finds things and classes of pixels,
and is served as an adapter, is :mod:`generalist_adapters.attached_head`.

A channel whose labels are all 0 or 1 gives probabilities, any other the values that its labels are.
The head computes on the CPU in float32. It reads the features of the model as it is: load it into a model with the same
adapter as when it was fitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from generalist.adapter_spec import one_line
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.types import GeneralistError
from generalist_adapters.attached import seeded
from generalist_adapters.head_data import Channels, Eyes, Support
from generalist_adapters.head_network import LABELS_A_CELL, HeadNetwork, fold
from generalist_adapters.own_file import read_own, write_tensors

FILE = "visual_head.safetensors"
_MOST_SUPPORT = 6  # images that a training step looks things up in
_MOST_CHANNELS = 4  # channels of a training step
_LEARNING_RATE = 2e-3


class VisualHead:
    """A fitted head and the labelled images that it looks things up in."""

    def __init__(self, eyes: Eyes, network: HeadNetwork, support: Support, channels: Channels) -> None:
        self._eyes, self._network, self._support, self._channels = eyes, network, support, channels

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of what :meth:`predict` gives, in order."""
        return self._channels.names

    @torch.no_grad()
    def predict(self, image: Image.Image) -> np.ndarray:
        """float32 [K, H, W] in the pixels of ``image``."""
        levels, pixels = self._eyes.see([image])
        support, binary = self._support, self._channels.binary
        answers = [
            self._network(levels, support.levels, support.labels[part], support.known[part], pixels, binary[part])[0]
            for part in torch.arange(len(self.channels)).split(_MOST_CHANNELS)
        ]
        maps = self._channels.labels(torch.cat(answers))  # [K, R * P, C * P]
        full = functional.interpolate(maps[None], (image.height, image.width), mode="bilinear", antialias=True)[0]
        return np.asarray(full.numpy())

    def save(self, folder: str | Path) -> Path:
        """Write ``visual_head.safetensors`` into ``folder``, whole or not at all; its path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        support, channels = self._support, self._channels
        tensors = {f"network.{name}": tensor for name, tensor in self._network.state_dict().items()}
        tensors |= {f"support.levels.{k}": level for k, level in enumerate(support.levels)}
        tensors |= {f"support.{name}": getattr(support, name) for name in ("labels", "known", "pixels")}
        tensors |= {f"channels.{name}": getattr(channels, name).float() for name in ("binary", "shift", "scale")}
        write_tensors(folder / FILE, tensors, {"channels": json.dumps(channels.names)})
        return folder / FILE


def fit(
    model: GeneralistForConditionalGeneration,
    processor: GeneralistProcessor,
    images: Sequence[Image.Image],
    labels: Sequence[np.ndarray],
    channels: Sequence[str],
    *,
    seed: int = 0,
    steps: int = 200,
) -> VisualHead:
    """Learn to label as ``labels`` do: float [K, h, w] for each image, of any size, NaN where nothing is known.

    Each step labels one of the images by looking at some others; a single image is labelled by its mirror image. The
    same ``seed`` gives the same head. The model is not changed.
    Raises :class:`GeneralistError` for labels that are no such maps, do not match, or know nothing of a channel.
    """
    _check(images, labels, channels, steps)
    eyes = Eyes(model, processor)
    maps = [torch.from_numpy(np.array(one, np.float32)) for one in labels]
    names = Channels.of_labels(channels, maps)
    maps = [names.values(one) for one in maps]
    if len(images) == 1:
        images = [*images, images[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
        maps.append(maps[0].flip(-1))
    levels, pixels = eyes.see(images)
    targets = torch.stack([_resize(one, eyes.label_hw) for one in maps], dim=1)  # [K, S, h, w], NaN where not known
    cells = fold(targets)  # [K, S, n, U]
    known = cells.isfinite().float().mean(-1)
    filled = torch.where(cells.isfinite(), cells, cells.nanmean(-1, keepdim=True)).nan_to_num(0.0)
    support = Support(levels=levels, labels=filled, known=known, pixels=pixels)
    with seeded(seed):
        network = HeadNetwork(eyes.widths, eyes.grid)
        _train(network, support, targets, names.binary, np.random.default_rng(seed), steps)
    return VisualHead(eyes, network.eval(), support, names)


def load(model: GeneralistForConditionalGeneration, processor: GeneralistProcessor, folder: str | Path) -> VisualHead:
    """The head that ``folder`` holds. Raises :class:`GeneralistError` for a file that is none or fits another tower."""
    path = Path(folder) / FILE
    tensors, metadata = read_own(path)
    eyes = Eyes(model, processor)
    network = HeadNetwork(eyes.widths, eyes.grid)
    try:
        names = json.loads(metadata["channels"])
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"channels are {names!r}")
        network.load_state_dict({n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")})
        levels = [tensors[f"support.levels.{k}"] for k in range(len(eyes.widths))]
        support = Support(levels=levels, **{name: tensors[f"support.{name}"] for name in ("labels", "known", "pixels")})
        fields = {name: tensors[f"channels.{name}"] for name in ("binary", "shift", "scale")}
        _check_shapes(eyes, support, len(names), fields)
    except (KeyError, ValueError, RuntimeError) as error:
        raise GeneralistError(
            f"{path}: holds no visual head for this model ({one_line(error)}); use the model that it was fitted on"
        ) from error
    channels = Channels(names=tuple(names), **{**fields, "binary": fields["binary"] > 0})
    return VisualHead(eyes, network.eval(), support, channels)


def _check_shapes(eyes: Eyes, support: Support, channels: int, fields: Mapping[str, torch.Tensor]) -> None:
    """Raises ValueError when a file's tensors do not fit together."""
    cells, images = eyes.grid[0] * eyes.grid[1], len(support.pixels)
    expected = {
        "labels": (support.labels, (channels, images, cells, LABELS_A_CELL**2)),
        "known": (support.known, (channels, images, cells)),
        "pixels": (support.pixels, (images, 3, *eyes.label_hw)),
        **{str(k): (level, (images, cells, eyes.widths[k])) for k, level in enumerate(support.levels)},
        **{name: (tensor, (channels,)) for name, tensor in fields.items()},
    }
    for name, (tensor, shape) in expected.items():
        if not images or tuple(tensor.shape) != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)} instead of {shape}")


def _check(images: Sequence[Image.Image], labels: Sequence[np.ndarray], channels: Sequence[str], steps: int) -> None:
    if isinstance(channels, str) or not channels or len(set(channels)) < len(channels):
        raise GeneralistError(f"channels are {channels!r}; name at least one, each once")
    if not images or len(images) != len(labels):
        raise GeneralistError(f"{len(images)} images and {len(labels)} label maps were given; give as many of each")
    if steps < 0:
        raise GeneralistError(f"steps is {steps}; use 0 or more")
    known = np.zeros(len(channels), bool)
    for number, one in enumerate(labels):
        shape = np.shape(one)
        if len(shape) != 3 or shape[0] != len(channels) or not one.size or not np.can_cast(one.dtype, np.float64):
            raise GeneralistError(
                f"label map {number} is {one.dtype} {shape}; use numbers [{len(channels)}, height, width], one channel "
                f"for each of {', '.join(channels)}"
            )
        if np.isinf(one).any():
            raise GeneralistError(f"label map {number} holds infinite values; use NaN where nothing is known")
        known |= np.isfinite(one).any((1, 2))
    if not known.all():
        raise GeneralistError(f"no label map knows anything of channel {channels[int(known.argmin())]!r}; leave it out")


def _resize(maps: torch.Tensor, hw: tuple[int, int]) -> torch.Tensor:
    """[K, h, w] -> [K, *hw], means of what is known, NaN where nothing is."""
    there = functional.interpolate(maps.isfinite().float()[None], hw, mode="area")[0]
    sums = functional.interpolate(maps.nan_to_num(0.0)[None], hw, mode="area")[0]
    return torch.where(there > 0, sums / there, torch.nan)


def _train(
    network: HeadNetwork,
    support: Support,
    targets: torch.Tensor,
    binary: torch.Tensor,
    rng: np.random.Generator,
    steps: int,
) -> None:
    """``targets`` [K, S, R * P, C * P] of the support's images, NaN where not known; ``binary`` bool [K]."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=max(steps, 1))
    channels, count = targets.shape[:2]
    for _ in range(steps):
        query, *others = (int(k) for k in rng.permutation(count)[: _MOST_SUPPORT + 1])
        picked = torch.from_numpy(rng.permutation(channels)[:_MOST_CHANNELS])
        answer = network(
            [level[[query]] for level in support.levels],
            [level[others] for level in support.levels],
            support.labels[picked][:, others],
            support.known[picked][:, others],
            support.pixels[[query]],
            binary[picked],
        )[0]
        loss = _loss(answer, targets[picked, query], binary[picked])
        if loss is not None:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        schedule.step()


def _loss(answer: torch.Tensor, target: torch.Tensor, binary: torch.Tensor) -> torch.Tensor | None:
    """Mean over what is known of ``target`` [K, h, w]; None when nothing is."""
    known = target.isfinite()
    if not bool(known.any()):
        return None
    target = target.nan_to_num(0.0)
    entropy = functional.binary_cross_entropy_with_logits(answer, target.clamp(0, 1), reduction="none")
    distance = functional.smooth_l1_loss(answer, target, reduction="none")
    return torch.where(binary[:, None, None], entropy, distance)[known].mean()
