"""The two models that a base is composed of, loaded from a folder or from the cache of the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import snapshot_download
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from generalist.loading import shipped_models
from generalist.model import GeneralistConfig, GeneralistImageProcessor, load_checkpoint
from generalist.model.configuration import vision_grid
from generalist.model.modeling import vision_tokens
from generalist.types import GeneralistError

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Language:
    """A causal language model and its tokenizer; ``name`` is what the user calls it."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vision:
    """A vision tower and how its images are made; ``name`` is what the user calls it."""

    name: str
    tower: PreTrainedModel
    image_processor: GeneralistImageProcessor


def load_language(name: str) -> Language:
    """Raises :class:`GeneralistError` for what is not a causal language model with a fast tokenizer, in safetensors."""
    folder = find(name, "--llm")
    config = _config(folder, name)
    if config.get_text_config() is not config:
        raise GeneralistError(f"--llm {name} has model_type {config.model_type!r}, of several parts; give a text model")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise GeneralistError(
            f"--llm {name} has model_type {config.model_type!r}, which is not a causal language model; give one"
        )
    loaded: Any = _loaded(
        f"--llm {name}: cannot load the model",
        lambda: AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", local_files_only=True, use_safetensors=True, output_loading_info=True
        ),
    )
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise GeneralistError(f"--llm {name} lacks {len(missing)} weights ({missing[0]}, ...); fetch it again")
    tokenizer = _loaded(
        f"--llm {name}: cannot load the tokenizer",
        lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True),
    )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise GeneralistError(f"--llm {name} has no tokenizer.json; give a model with a fast tokenizer")
    return Language(name=name, model=model.eval(), tokenizer=tokenizer)


def load_vision(name: str) -> Vision:
    """Ours by its shipped name or checkpoint folder; the tower of a two-tower model such as SigLIP; or a tower alone.

    Raises :class:`GeneralistError` for one whose grid of tokens cannot be known, and for what is not a vision model.
    """
    folder = find(name, "--vision")
    if _content(folder / "config.json").get("model_type") == GeneralistConfig.model_type:
        checkpoint = load_checkpoint(folder)
        tower: PreTrainedModel = checkpoint.model.model.vision_tower
        return Vision(name=name, tower=tower, image_processor=checkpoint.processor.image_processor)
    whole = _config(folder, name)
    config = getattr(whole, "vision_config", whole)
    try:
        grid = vision_grid(config)
    except GeneralistError as error:
        raise GeneralistError(f"--vision {name}: {error}") from error
    tower, report = _loaded(
        f"--vision {name}: cannot load the model",
        lambda: AutoModel.from_pretrained(
            folder, config=config, dtype="auto", local_files_only=True, use_safetensors=True, output_loading_info=True
        ),
    )
    _settle_missing(name, tower, report["missing_keys"])
    processor = _image_processor(folder, name, config)
    _check_tower(name, tower.eval(), processor, grid)
    return Vision(name=name, tower=tower, image_processor=processor)


def find(name: str, option: str) -> Path:
    """The folder of a shipped name, of a path, or of what has been fetched from the hub."""
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    if os.path.isdir(name):
        return Path(name)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:  # no path, no id, or not in the cache
        raise GeneralistError(
            f"{option} is {name[:200]!r}, which is no folder and has not been fetched; "
            f"give a folder, or fetch it first: hf download {name[:200]}"
        ) from error


def _config(folder: Path, name: str) -> PreTrainedConfig:
    config: PreTrainedConfig = _loaded(
        f"{name}: cannot read config.json", lambda: AutoConfig.from_pretrained(folder, local_files_only=True)
    )
    return config


def _settle_missing(name: str, tower: PreTrainedModel, missing: set[str]) -> None:
    """Checkpoints of classifiers lack the pooler, which we do not read; zeros, so that it is the same every time."""
    if other := sorted(key for key in missing if not key.startswith("pooler.")):
        raise GeneralistError(f"--vision {name} lacks {len(other)} weights ({other[0]}, ...); fetch it again")
    for key in missing:
        torch.nn.init.zeros_(tower.get_parameter(key))


def _image_processor(folder: Path, name: str, config: PreTrainedConfig) -> GeneralistImageProcessor:
    """With the tower's own normalisation, since a guess would only make it worse in silence."""
    content: dict[str, Any] = {}
    for file in _PROCESSOR_FILES:
        if (folder / file).is_file():
            content = _content(folder / file)
            content = content.get("image_processor", content)
            break
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if content.get("do_normalize") is False:
        content = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    try:
        return GeneralistImageProcessor(
            size={"height": height, "width": width}, image_mean=content["image_mean"], image_std=content["image_std"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GeneralistError(
            f"--vision {name} has no image_mean and image_std of three numbers in its {_PROCESSOR_FILES[0]}; add them"
        ) from error


@torch.inference_mode()
def _check_tower(name: str, tower: PreTrainedModel, processor: GeneralistImageProcessor, grid: tuple[int, int]) -> None:
    pixels = torch.zeros(1, 3, processor.size["height"], processor.size["width"], dtype=tower.dtype)
    tokens = _loaded(f"--vision {name} reads no images", lambda: vision_tokens(tower, pixels))
    assert tokens.shape[1] == grid[0] * grid[1]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GeneralistError(f"{path}: not readable as JSON ({error}); give a complete model folder") from error
    if not isinstance(content, dict):
        raise GeneralistError(f"{path}: holds a JSON {type(content).__name__}, not an object; fetch it again")
    return content


def _loaded(what: str, load: Callable[[], _T]) -> _T:
    """``load()``, with whatever transformers makes of a bad folder turned into one line."""
    try:
        return load()
    except GeneralistError:
        raise
    except Exception as error:  # a folder of strangers can fail anywhere in there
        reason = " ".join(str(error).split())[:200]
        raise GeneralistError(f"{what} ({type(error).__name__}: {reason}); give a complete model folder") from error
