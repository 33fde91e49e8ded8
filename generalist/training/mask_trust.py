"""How far the mask codes of a trained model can be trusted: a last step of training.

A model gets the coarse codes of a mask right more often than the fine ones. A wrong entry, believed in full, adds
its whole length as noise; the least-squares answer to unreliable entries is to shorten each code's by one factor.
The factors are fitted on training scenes that the model answers, and kept in the codec's file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from generalist.decoders import MaskCodec
from generalist.decoders.mask import FILE, MaskDecoder
from generalist.decoders.mask_codec import SIDE
from generalist.pipeline import Generalist
from generalist.types import ChatRequest, Message, Sampling
from generalist_datasets.world.dataset import World
from generalist_datasets.world.scene import Scene

_SEED = 555
_BATCH = 24
_FEWEST = 50
"""Masks, below which the factors would be a matter of chance."""


def fit_trust(codec: MaskCodec, codes: Tensor, crops: Tensor) -> Tensor:
    """Factors float[C] in 0-1 for which codes int64[N, C] give crops bool[N, 64, 64] best, in least squares."""
    entries = codec.entries(codes)  # [N, C, R]
    wanted = (crops.flatten(1).float() - codec.mean) @ codec.basis
    products = torch.einsum("ncr,ndr->cd", entries, entries)
    # A little of the diagonal on top: a code that is hardly ever right gets no weight of its own.
    ridge = 0.01 * products.diagonal().mean() * torch.eye(len(products))
    factors = torch.linalg.solve(products + ridge, torch.einsum("ncr,nr->c", entries, wanted))
    return factors.clamp(0, 1)


def what_the_box_shows(mask: np.ndarray, xyxy: tuple[float, float, float, float]) -> np.ndarray:
    """What of a mask bool[H, W] lies in a box (0-1), sampled at 64 x 64 points."""
    height, width = mask.shape
    steps = (np.arange(SIDE) + 0.5) / SIDE
    columns = np.clip(((xyxy[0] + (xyxy[2] - xyxy[0]) * steps) * width).astype(int), 0, width - 1)
    rows = np.clip(((xyxy[1] + (xyxy[3] - xyxy[1]) * steps) * height).astype(int), 0, height - 1)
    return mask[np.ix_(rows, columns)]


def answers(model: Generalist, world: World) -> tuple[Tensor, Tensor]:
    """Codes that ``model`` writes for things of training scenes, and what its boxes really show."""
    scenes = [world[k].scene for k in range(len(world))]
    asked = [(scene, thing) for scene in scenes for thing in _unique(scene)[:1]]
    codes, crops = [], []
    for start in track(range(0, len(asked), _BATCH), description="asking"):
        batch = asked[start : start + _BATCH]
        requests = [_request(scene, world.assets.concepts[scene.things[t].concept].name) for scene, t in batch]
        for answer, (scene, thing) in zip(model.answer(requests), batch, strict=True):
            refs = [ref for phrase in answer.reply.phrases if phrase.unit for ref in phrase.unit.refs]
            shown = what_the_box_shows(scene.mask(thing), answer.masks[0].xyxy) if refs else np.zeros(1, bool)
            if shown.mean() > 0.2:  # a box beside its thing teaches nothing about codes
                codes.append(refs[0].codes[4:])
                crops.append(shown)
    return torch.tensor(codes), torch.from_numpy(np.array(crops))


def _unique(scene: Scene) -> list[int]:
    counts = Counter(thing.concept for thing in scene.things)
    return [k for k, thing in enumerate(scene.things) if counts[thing.concept] == 1]


def _request(scene: Scene, name: str) -> ChatRequest:
    message = Message(role="user", text=f"Segment the {name}.", images=(Image.fromarray(scene.image),))
    return ChatRequest(messages=(message,), task="segment", sampling=Sampling(max_new_tokens=64))


def fit_checkpoint(checkpoint: Path, scenes: int) -> None:
    """Fit and store how far a checkpoint's mask codes can be trusted, from that many scenes (a minute for 800).

    Rewrites the mask codec of the folder; a model that hardly ever draws a mask leaves it as it is.
    """
    model = Generalist.from_pretrained(checkpoint)
    decoder = model.decoders["mask"]
    assert isinstance(decoder, MaskDecoder)
    codes, crops = answers(model, World("train", seed=_SEED, size=(192, 192), count=scenes))
    if len(codes) < _FEWEST:
        print(f"{checkpoint / FILE}: left as it is; only {len(codes)} masks of {scenes} scenes can be judged")
        return
    decoder.codec.trust.copy_(fit_trust(decoder.codec, codes, crops))
    decoder.codec.save(checkpoint / FILE)
    print(f"{checkpoint / FILE}: trust {[round(v, 2) for v in decoder.codec.trust.tolist()]} from {len(codes)} masks")
