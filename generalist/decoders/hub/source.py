"""Finding and loading a model of transformers that draws. Nothing is fetched; errors say what would fetch it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from generalist.types import GeneralistError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_LONGEST = 4096
"""Pixels along the longer side; these models read less, and processors take a hundred bytes a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checkpoint on this machine. ``name``: as the user calls it; ``what``: it draws, in words."""

    name: str
    what: str
    folder: Path
    config: Mapping[str, Any]

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @property
    def weights_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    @classmethod
    def find(cls, name: str | Path, what: str, model_types: Sequence[str]) -> Source:
        """The checkpoint in a folder, or of an id whose files the hub's own cache holds.

        Raises :class:`GeneralistError` when it is not there, not whole, or none of ``model_types``.
        """
        folder, remedy = _locate(str(name), what)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise GeneralistError(f"{what}: {name} has no config.json; {remedy}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise GeneralistError(f"{what}: the config.json of {name} cannot be read ({_line(error)})") from error
        found = config.get("model_type") if isinstance(config, dict) else None
        if found not in model_types:
            known = ", ".join(model_types)
            raise GeneralistError(f"{what}: {name} has model_type {str(found)[:80]!r}; use a model of type {known}")
        if not any(folder.glob("*.safetensors")):
            raise GeneralistError(f"{what}: {name} has no weights in safetensors; {remedy}")
        return cls(name=str(name), what=what, folder=folder, config=config)

    def load_model(self, auto_class: Any, device: str) -> Any:
        """The model in float32 (coordinates need its digits), whole, ready to draw."""
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            model, report = auto_class.from_pretrained(
                self.folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:  # every kind of damage has a type of its own in transformers
            raise GeneralistError(
                f"{self.what}: cannot load {self.name} ({_line(error)}); fetch its files again"
            ) from error
        if missing := sorted(report["missing_keys"]):  # else they would stay random
            raise GeneralistError(
                f"{self.what}: {self.name} lacks {len(missing)} weights, such as {missing[0]}; fetch its files again"
            )
        return model.to(device).train(False)

    def load_processor(self, processor_class: Any) -> Any:
        """An image processor that needs no torchvision, with the checkpoint's own sizes and colours."""
        try:
            return processor_class.from_pretrained(self.folder, local_files_only=True)
        except Exception as error:  # as above
            raise GeneralistError(
                f"{self.what}: {self.name} has no usable preprocessor_config.json ({_line(error)}); "
                "fetch its files again"
            ) from error

    def process(self, processor: Any, image: Image.Image, **options: Any) -> Any:
        """What the model takes for an image; :class:`GeneralistError` for one that it cannot."""
        picture = image if image.mode == "RGB" else image.convert("RGB")
        if (size := seen_size(image)) != image.size:
            picture = picture.resize(size, Image.Resampling.BOX)
        try:
            return processor(images=[picture], return_tensors="pt", **options)
        except (ValueError, TypeError, ZeroDivisionError, RuntimeError, MemoryError) as error:
            raise GeneralistError(
                f"{self.what}: {self.name} cannot read an image of {image.width}x{image.height} ({_line(error)}); "
                "cut it into a usual shape"
            ) from error


def seen_size(image: Image.Image) -> tuple[int, int]:
    """(W, H) at which a processor is given an image."""
    share = min(1.0, _LONGEST / max(image.size))
    return max(1, round(image.width * share)), max(1, round(image.height * share))


def _locate(name: str, what: str) -> tuple[Path, str]:
    """(folder, what to do when it is not whole)."""
    if os.path.isdir(name):
        return Path(name), f"complete the folder, as in `hf download ID --local-dir {name}`"
    if not _HUB_ID.fullmatch(name):
        raise GeneralistError(
            f"{what}: {name[:200]!r} is no folder, and no id of the hub such as owner/model; name one"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    remedy = f"fetch it with `hf download {name}`, or name a folder"
    try:
        return Path(snapshot_download(name, local_files_only=True)), remedy
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise GeneralistError(f"{what}: {name} is not on this machine; {remedy}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
