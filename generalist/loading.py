"""Finding models and loading their engines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from generalist.hub_line import HubLine
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

if TYPE_CHECKING:
    import torch

    from generalist.engine.hub_engine import HubEngine
    from generalist.engine.transformers_engine import TransformersEngine

DEFAULT_MODEL = "nano"
_CHECKPOINTS = Path(__file__).parent / "checkpoints"


def shipped_models() -> dict[str, Path]:
    """The checkpoints that come with the package, by name."""
    folders = sorted(_CHECKPOINTS.iterdir()) if _CHECKPOINTS.is_dir() else []
    return {folder.name: folder for folder in folders if (folder / "config.json").is_file()}


def resolve_model(model: str | Path) -> Path:
    """The checkpoint folder of a shipped name or of a path; raises :class:`GeneralistError` for neither."""
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)]
    if os.path.isdir(model):  # unlike Path.is_dir, False for a name that no file can have
        return Path(model)
    names = ", ".join(shipped) or "none"
    raise GeneralistError(f"unknown model {str(model)[:200]!r}; use a shipped one ({names}) or a checkpoint folder")


def load_transformers_engine(
    folder: Path, device: str, dtype: str | torch.dtype | None = None
) -> tuple[TransformersEngine, Vocabulary]:
    """The in-process engine and its vocabulary; arguments as for :meth:`Generalist.from_pretrained`."""
    import torch

    from generalist.engine.transformers_engine import TransformersEngine
    from generalist.model.checkpoint import load_checkpoint

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    chosen = dtypes.get(dtype) if isinstance(dtype, str) else dtype
    if isinstance(dtype, str) and chosen is None:
        raise GeneralistError(f"dtype is {dtype!r}; use one of {', '.join(dtypes)}")
    if chosen is None:
        chosen = torch.float32 if device == "cpu" else torch.bfloat16
    checkpoint = load_checkpoint(folder, device=device, dtype=chosen)
    engine = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    return engine, checkpoint.vocabulary


def load_hub_model(
    folder: Path, dialect: str, device: str, dtype: str | torch.dtype | None = None
) -> tuple[HubEngine, HubLine]:
    """A vision-language model from the hub, unchanged, with the line of its dialect."""
    from generalist.dialects import get_dialect
    from generalist.engine.hub_engine import load_hub_engine

    spoken = get_dialect(dialect, folder)  # before the weights, which take longer
    engine = load_hub_engine(folder, device, dtype)
    return engine, HubLine(spoken, engine.processor)
