"""A checkpoint folder: written whole, read strictly.

Only safetensors is ever read. Whatever is missing, extra, of another shape or made for another vocabulary
is a :class:`GeneralistError` of one line that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig
from transformers.initialization import no_init_weights

from generalist.model.configuration import GeneralistConfig
from generalist.model.image_processing import GeneralistImageProcessor
from generalist.model.modeling import GeneralistForConditionalGeneration
from generalist.model.processing import GeneralistProcessor, fast_tokenizer
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
GENERATION = "generation_config.json"
PROCESSOR = "processor_config.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
_SHOWN_NAMES = 3
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a folder holds, ready to run: the model is in evaluation mode."""

    model: GeneralistForConditionalGeneration
    processor: GeneralistProcessor
    vocabulary: Vocabulary
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a folder holds beside its weights; it belongs together."""

    config: GeneralistConfig
    processor: GeneralistProcessor
    vocabulary: Vocabulary


def save_checkpoint(
    folder: str | Path,
    model: GeneralistForConditionalGeneration,
    processor: GeneralistProcessor,
    vocabulary: Vocabulary,
    dtype: torch.dtype | None = None,
) -> None:
    """Write everything that :func:`load_checkpoint` and the Auto classes read.

    ``dtype``: of the weights on disk, by default that of the model, which stays as it is.
    Raises :class:`GeneralistError` when the three do not belong together.
    """
    folder = Path(folder)
    _check_parts(folder, model.config, processor, vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(folder)
    vocabulary.save(folder)  # behind the processor: its tokenizer.json is the one that counts
    config = GeneralistConfig.from_dict(model.config.to_dict())
    config.architectures = [type(model).__name__]
    for part in (config, config.vision_config, config.text_config):
        part.dtype = dtype or model.dtype
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tied = model.all_tied_weights_keys
    tensors = {
        name: _stored(tensor, dtype).contiguous() for name, tensor in model.state_dict().items() if name not in tied
    }
    part_file = folder / f"{WEIGHTS}.part"  # so that an interruption leaves the previous weights whole
    save_file(tensors, part_file, metadata={"format": "pt"})
    part_file.replace(folder / WEIGHTS)


def load_checkpoint(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Read a checkpoint folder onto ``device`` in ``dtype``, whatever dtype it was saved in.

    Raises :class:`GeneralistError` for everything that is not exactly as it should be.
    """
    folder = Path(folder)
    parts = load_parts(folder)
    model = _load_model(folder, parts.config, dtype)
    try:
        torch.nn.Module.to(model, device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise GeneralistError(
            f"device is {str(device)!r}, which cannot be used here ({_line(error)}); use cpu"
        ) from error
    return Checkpoint(model=model.eval(), processor=parts.processor, vocabulary=parts.vocabulary, folder=folder)


def load_parts(folder: str | Path) -> Parts:
    """A checkpoint folder without its weights, for an engine that reads those itself.

    Raises :class:`GeneralistError` for everything that is not exactly as it should be.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise GeneralistError(f"{folder}: no such checkpoint folder; give a folder that holds {CONFIG} and {WEIGHTS}")
    vocabulary = Vocabulary.load(folder)
    config = _load_config(folder)
    processor = _load_processor(folder, vocabulary)
    _check_parts(folder, config, processor, vocabulary)
    return Parts(config=config, processor=processor, vocabulary=vocabulary)


def _load_config(folder: Path) -> GeneralistConfig:
    path = folder / CONFIG
    content = _read_json(path)
    if (model_type := content.get("model_type")) != GeneralistConfig.model_type:
        raise GeneralistError(
            f"{path}: model_type is {model_type!r}; use a checkpoint with model_type {GeneralistConfig.model_type!r}"
        )
    return _build(path, lambda: GeneralistConfig.from_dict(content))


def _load_processor(folder: Path, vocabulary: Vocabulary) -> GeneralistProcessor:
    path, template = folder / PROCESSOR, folder / CHAT_TEMPLATE_FILE
    content = _read_json(path)

    def build() -> GeneralistProcessor:
        return GeneralistProcessor(
            GeneralistImageProcessor.from_dict(content["image_processor"]),
            fast_tokenizer(vocabulary),
            chat_template=template.read_text(encoding="utf-8") if template.is_file() else None,
            num_image_tokens=content["num_image_tokens"],
        )

    return _build(path, build)


def _load_model(folder: Path, config: GeneralistConfig, dtype: torch.dtype) -> GeneralistForConditionalGeneration:
    tensors = _read_tensors(folder / WEIGHTS)

    def build() -> GeneralistForConditionalGeneration:
        with no_init_weights():  # every weight is about to be overwritten
            # In its dtype from the start: casting afterwards would round the rotary frequencies too.
            return GeneralistForConditionalGeneration._from_config(config, dtype=dtype)

    model = _build(folder / CONFIG, build)
    _check_tensors(folder / WEIGHTS, model, tensors)
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    if (path := folder / GENERATION).is_file():
        content = _read_json(path)
        model.generation_config = _build(path, lambda: GenerationConfig.from_dict(content))
    return model


def _check_parts(
    folder: Path, config: GeneralistConfig, processor: GeneralistProcessor, vocabulary: Vocabulary
) -> None:
    if config.vocab_hash != vocabulary.hash:
        raise GeneralistError(
            f"{folder}: the model was made with vocabulary {config.vocab_hash or '(none)'}, its vocabulary.json is "
            f"{vocabulary.hash}; use the files of one checkpoint together"
        )
    if config.text_config.vocab_size < vocabulary.size:  # more rows than tokens are only padding
        raise GeneralistError(
            f"{folder}: the model has {config.text_config.vocab_size} tokens, its vocabulary {vocabulary.size}; "
            "use the files of one checkpoint together"
        )
    size = processor.image_processor.size
    if processor.num_image_tokens != config.num_image_tokens or config.image_hw != (size["height"], size["width"]):
        raise GeneralistError(
            f"{folder}: the processor makes {size['height']} x {size['width']} images of {processor.num_image_tokens} "
            f"tokens, the model takes {config.image_hw[0]} x {config.image_hw[1]} of {config.num_image_tokens}; "
            "use the files of one checkpoint together"
        )


def _check_tensors(path: Path, model: GeneralistForConditionalGeneration, tensors: dict[str, torch.Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = model.all_tied_weights_keys
    problems = [
        _named("missing", (name for name in expected if name not in tensors and name not in tied)),
        _named("unexpected", (name for name in tensors if name not in expected)),
        _named(
            "of another shape",
            (
                f"{name} {tuple(tensor.shape)} instead of {expected[name]}"
                for name, tensor in tensors.items()
                if name in expected and tuple(tensor.shape) != expected[name]
            ),
        ),
    ]
    if any(problems):
        listed = "; ".join(problem for problem in problems if problem)
        raise GeneralistError(
            f"{path}: weights do not fit {CONFIG}: {listed}; use the files of one checkpoint together"
        )


def _named(what: str, names: Iterable[str]) -> str:
    """How many and the first few: "2 missing (a, b)"; "" when there are none."""
    found = list(names)
    if not found:
        return ""
    more = ", ..." if len(found) > _SHOWN_NAMES else ""
    return f"{len(found)} {what} ({', '.join(found[:_SHOWN_NAMES])}{more})"


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise GeneralistError(f"{path}: no such file; use a complete checkpoint (only safetensors is read)")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise GeneralistError(f"{path}: not readable as safetensors ({_line(error)}); fetch the file again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GeneralistError(f"{path}: no such file; use a complete checkpoint") from error
    except (OSError, ValueError) as error:
        raise GeneralistError(f"{path}: not readable as JSON ({_line(error)}); fetch the file again") from error
    if not isinstance(content, dict):
        raise GeneralistError(f"{path}: holds a JSON {type(content).__name__}, not an object; fetch the file again")
    return content


def _build(path: Path, build: Callable[[], _T]) -> _T:
    """``build()``, with whatever transformers makes of bad values in ``path`` turned into one line."""
    try:
        return build()
    except GeneralistError as error:
        raise GeneralistError(f"{path}: {error}") from error
    except KeyError as error:
        raise GeneralistError(f"{path}: has no {error}; use a complete checkpoint") from error
    except Exception as error:  # a field of a wrong type can fail anywhere in transformers
        raise GeneralistError(f"{path}: not usable ({_line(error)}); restore the file") from error


def _stored(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """On the CPU, floating point ones in ``dtype``."""
    tensor = tensor.detach().cpu()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
