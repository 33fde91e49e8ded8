"""A visual head: the network with the names of its classes, what it answers, and the file that holds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from generalist.adapter_folder import HEAD
from generalist.adapter_spec import check_vocabulary, one_line
from generalist.decoders.crops import bounds, relative, to_rle
from generalist.heads.decode import Found, boxes_of, classes_of, nearest
from generalist.heads.network import HeadNetwork, Maps
from generalist.heads.pyramid import Pyramid
from generalist.heads.wording import Asked, Wish, read_wish
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.types import Box, ChatRequest, GeneralistError, Mask, Output, Seen

_SURE = 0.35
"""Score from which a box is counted, and stands for "the" thing of its class."""
_SMALLEST = 8
"""Pixels of a mask that is drawn."""
_MOST_NAMES = 10_000
_TASK: dict[Asked, str] = {"detect": "detect", "box": "detect", "count": "count", "segment": "segment"}
"""The task that teaches a head to answer."""

Preprocess: TypeAlias = Callable[[Sequence[Image.Image]], torch.Tensor]
"""Images -> float32 [I, 3, H, W], as the tower takes them."""
Thing: TypeAlias = tuple[str, Found]
"""A box and its class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Classes of ``boxes`` and ``masks``; ``stuff``: those of the masks that have no instances. ``said``: class by what
    questions call it, in small letters. ``tasks``: what is answered."""

    tasks: tuple[str, ...]
    boxes: tuple[str, ...]
    masks: tuple[str, ...]
    stuff: tuple[str, ...]
    said: Mapping[str, str]


def preprocess_of(processor: GeneralistProcessor) -> Preprocess:
    """Images made ready as ``processor`` does."""

    def preprocess(images: Sequence[Image.Image]) -> torch.Tensor:
        values: torch.Tensor = processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        return values

    return preprocess


class Head:
    """Answers plain questions for boxes, masks and numbers of its classes. It does not change the model.

    ``preprocess`` makes images ready for the tower. Safe to share between threads only while nobody else uses the
    tower.
    """

    def __init__(self, pyramid: Pyramid, preprocess: Preprocess, network: HeadNetwork, names: Names) -> None:
        self.pyramid, self.preprocess, self.network, self.names = pyramid, preprocess, network, names

    @classmethod
    def new(
        cls, model: GeneralistForConditionalGeneration, preprocess: Preprocess, names: Names, seed: int = 0
    ) -> Head:
        """Untrained; the seed decides its weights."""
        pyramid = Pyramid(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = HeadNetwork(pyramid.levels, len(names.boxes), len(names.masks))
        return cls(pyramid, preprocess, network.to(model.device), names)

    # --- answering ---

    def answer(self, request: ChatRequest) -> Seen | None:
        """What the head sees on the last image; None for a question that is the model's to answer."""
        message = request.messages[-1]
        images = [image for one in request.messages for image in one.images]
        if message.role != "user" or message.visual_prompts or not images:
            return None
        wish = read_wish(message.text, request.task, self.names.said)
        known = self.names.masks if wish is not None and wish.asked == "segment" else self.names.boxes
        if wish is None or _TASK[wish.asked] not in self.names.tasks or not known or not {*wish.names} <= {*known}:
            return None
        return self._seen(wish, images[-1], wish.names or known)

    def _seen(self, wish: Wish, image: Image.Image, names: Sequence[str]) -> Seen:
        maps = self._look(image)
        found = boxes_of(maps["heat"][0], maps["sides"][0]) if self.names.boxes else []
        things = [(self.names.boxes[one.label], one) for one in found]
        if wish.asked == "count":
            return Seen(text=str(sum(one.score >= _SURE for name, one in things if name in names)))
        if wish.asked == "segment":
            assert maps["pixels"] is not None  # its masks have names
            drawn = list(self._masks(maps["pixels"][0], things, (image.height, image.width), wish, names))
        else:
            drawn = [(name, Box(xyxy=one.xyxy, score=one.score)) for name, one in things if name in names]
            drawn = drawn[:1] if wish.asked == "box" else drawn
        return _grouped(drawn) if drawn else Seen(text=_denial(wish.names))

    @torch.inference_mode()
    def _look(self, image: Image.Image) -> Maps:
        pixel_values = self.preprocess([image]).to(self.pyramid.device)
        maps: Maps = self.network(self.pyramid.read(pixel_values), pixel_values)
        return maps

    def _masks(
        self, pixels: torch.Tensor, things: Sequence[Thing], hw: tuple[int, int], wish: Wish, names: Sequence[str]
    ) -> Iterator[tuple[str, Output]]:
        """One mask for all stuff of a class, and one for each thing: the pixels of its class that its box is nearest
        to. "All objects" are things, where there are any."""
        labels, sure = classes_of(pixels, hw)
        only_things = not wish.whole and not wish.names and set(self.names.masks) > set(self.names.stuff)
        for number, name in enumerate(self.names.masks, start=1):
            stuff = name in self.names.stuff
            if name not in names or (stuff and only_things):
                continue
            region = labels == number
            boxes = [one for label, one in things if label == name and one.score >= _SURE and not stuff]
            owner = nearest(boxes, hw) if len(boxes) > 1 else np.zeros(hw, np.int64)
            for k in range(max(len(boxes), 1)):
                mine = region & (owner == k)
                if np.count_nonzero(mine) >= _SMALLEST:
                    yield name, _mask(mine, float(sure[mine].mean()))

    # --- on disk ---

    def save(self, folder: Path) -> Path:
        """Write the head's file into ``folder``, whole or not at all; its path."""
        content = {"names": asdict(self.names), "levels": [asdict(level) for level in self.pyramid.levels]}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        path = folder / HEAD
        part = path.with_name(f"{HEAD}.part")
        save_file(tensors, part, metadata={"head": json.dumps(content)})  # one entry: several come in any order
        part.replace(path)
        return path

    @classmethod
    def load(
        cls, folder: str | Path, model: GeneralistForConditionalGeneration, preprocess: Preprocess, vocab_hash: str
    ) -> Head:
        """The head of a folder; :class:`GeneralistError` for a file that is none, or that another model's tower needs.

        ``vocab_hash``: of the model, whose vocabulary says which model the adapter was made for.
        """
        check_vocabulary(folder, vocab_hash)
        path = Path(folder) / HEAD
        tensors, content = _read(path)
        try:
            head = cls.new(model, preprocess, _names(content["names"]))
            if content["levels"] != [asdict(level) for level in head.pyramid.levels]:
                raise ValueError("it reads another vision tower")
            if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError("it holds numbers that are not finite")
            head.network.load_state_dict(tensors)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise GeneralistError(
                f"{path}: no visual head for this model ({one_line(error)}); use the model that it was trained on"
            ) from error
        head.network.eval().requires_grad_(False)
        return head


def _read(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """Tensors, and what the file says of them."""
    if not path.is_file():
        raise GeneralistError(f"{path}: no such file; name the folder of a visual head")
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {}).get("head", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, content  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise GeneralistError(f"{path}: not readable as a head ({one_line(error)}); fetch the file again") from error


def _names(content: Any) -> Names:
    """Raises ValueError, KeyError or TypeError for what are no names."""
    tasks, boxes, masks, stuff = (tuple(content[part]) for part in ("tasks", "boxes", "masks", "stuff"))
    said = dict(content["said"])
    every = [*tasks, *boxes, *masks, *stuff, *said, *said.values()]
    if not boxes and not masks:
        raise ValueError("it has no classes")
    if len(every) > _MOST_NAMES or not all(isinstance(n, str) and n.strip() and n.isprintable() for n in every):
        raise ValueError("its classes are no names")
    if len(set(boxes)) < len(boxes) or len(set(masks)) < len(masks) or not {*stuff} <= {*masks}:
        raise ValueError("its classes are not each once")
    return Names(tasks=tasks, boxes=boxes, masks=masks, stuff=stuff, said=said)


# --- what is said -----------------------------------------------------------------------------------------


def _grouped(drawn: Sequence[tuple[str, Output]]) -> Seen:
    """One group a class, classes and things from the left, as the model itself lists them."""
    groups: dict[str, list[Output]] = {}
    for name, output in sorted(drawn, key=lambda one: _middle(one[1])):
        groups.setdefault(name, []).append(output)
    return Seen(drawn=tuple((name, tuple(outputs)) for name, outputs in groups.items()))


def _middle(output: Output) -> float:
    """Twice the middle, from the left."""
    assert isinstance(output, Box | Mask)
    return output.xyxy[0] + output.xyxy[2]


def _denial(names: Sequence[str]) -> str:
    return " ".join(f"There is no {name}." for name in names) or "There is nothing."


def _mask(bitmap: np.ndarray, score: float) -> Mask:
    xyxy = relative(bounds(bitmap), bitmap.shape)
    return Mask(size=(bitmap.shape[0], bitmap.shape[1]), counts=to_rle(bitmap), xyxy=xyxy, score=score)
