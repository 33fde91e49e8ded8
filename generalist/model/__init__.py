"""The model in transformers' conventions.

Names are imported on first use, so that importing this package costs nothing until a model is needed.
:func:`register` makes transformers' Auto classes know them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from generalist.broken_packages import hide_broken

if TYPE_CHECKING:
    from generalist.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from generalist.model.configuration import GeneralistConfig, GeneralistVisionConfig
    from generalist.model.image_processing import GeneralistImageProcessor
    from generalist.model.modeling import GeneralistForConditionalGeneration, GeneralistModel
    from generalist.model.processing import GeneralistProcessor
    from generalist.model.vision import GeneralistVisionModel

__all__ = [
    "Checkpoint",
    "GeneralistConfig",
    "GeneralistForConditionalGeneration",
    "GeneralistImageProcessor",
    "GeneralistModel",
    "GeneralistProcessor",
    "GeneralistVisionConfig",
    "GeneralistVisionModel",
    "load_checkpoint",
    "register",
    "save_checkpoint",
]

_MODULES = {
    "Checkpoint": "checkpoint",
    "GeneralistConfig": "configuration",
    "GeneralistForConditionalGeneration": "modeling",
    "GeneralistImageProcessor": "image_processing",
    "GeneralistModel": "modeling",
    "GeneralistProcessor": "processing",
    "GeneralistVisionConfig": "configuration",
    "GeneralistVisionModel": "vision",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}


hide_broken()  # before transformers looks for them


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def register() -> None:
    """Tell transformers' Auto classes about the model; may be called any number of times."""
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor

    from generalist.model.configuration import GeneralistConfig, GeneralistVisionConfig
    from generalist.model.image_processing import GeneralistImageProcessor
    from generalist.model.modeling import GeneralistForConditionalGeneration, GeneralistModel
    from generalist.model.processing import GeneralistProcessor
    from generalist.model.vision import GeneralistVisionModel

    AutoConfig.register(GeneralistVisionConfig.model_type, GeneralistVisionConfig, exist_ok=True)
    AutoConfig.register(GeneralistConfig.model_type, GeneralistConfig, exist_ok=True)
    AutoModel.register(GeneralistVisionConfig, GeneralistVisionModel, exist_ok=True)
    AutoModel.register(GeneralistConfig, GeneralistModel, exist_ok=True)
    AutoModelForImageTextToText.register(GeneralistConfig, GeneralistForConditionalGeneration, exist_ok=True)
    AutoImageProcessor.register(
        GeneralistConfig, image_processor_classes={"pil": GeneralistImageProcessor}, exist_ok=True
    )
    AutoProcessor.register(GeneralistConfig, GeneralistProcessor, exist_ok=True)
