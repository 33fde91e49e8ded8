"""What a model is made of: a vision tower, a projector, a causal language model.

Both towers are configurations of transformers, found by their ``model_type``; our own small
vision tower is one more of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig

from generalist.tokens import BOS, Vocabulary
from generalist.types import GeneralistError

STEMS = ("mbconv", "patch")
# Some language models change their logits behind the head; ours is a plain linear layer.
_LOGIT_OPTIONS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
_DEFAULT_TEXT: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}


class GeneralistVisionConfig(PreTrainedConfig):
    """Our small vision tower. ``stem``: "mbconv" (convolutions, stride 16) or "patch" (one linear layer)."""

    model_type = "generalist_vision"
    base_config_key = "vision_config"

    hidden_size: int = 256
    intermediate_size: int = 1024
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    image_size: int = 192
    patch_size: int = 16
    stem: str = "mbconv"
    layer_norm_eps: float = 1e-6

    def __post_init__(self, **kwargs: Any) -> None:
        if self.stem not in STEMS:
            raise GeneralistError(f"stem is {self.stem!r}; use one of {', '.join(STEMS)}")
        if self.stem == "mbconv" and self.patch_size != 16:
            raise GeneralistError(f"patch_size is {self.patch_size}; the mbconv stem has a stride of 16")
        if self.patch_size < 1 or self.image_size < 1 or self.image_size % self.patch_size:
            raise GeneralistError(f"image_size is {self.image_size}; use a multiple of patch_size {self.patch_size}")
        if self.hidden_size % self.num_attention_heads:
            raise GeneralistError(
                f"hidden_size is {self.hidden_size}; use a multiple of num_attention_heads {self.num_attention_heads}"
            )
        super().__post_init__(**kwargs)


class GeneralistConfig(PreTrainedConfig):
    """The whole model.

    ``vision_config``, ``text_config``: configurations, or dictionaries with a ``model_type``, which become
    configurations here.
    ``projector_merge``: m x m neighbouring image tokens become one. ``projector_hidden``: width of the
    projector's hidden layer, None for a single linear layer. ``vocab_hash``: ``Vocabulary.hash``.
    Raises :class:`GeneralistError` when the parts do not fit.
    """

    model_type = "generalist"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": AutoConfig, "text_config": AutoConfig}

    vision_config: Any = None
    text_config: Any = None
    image_token_id: int = 0
    projector_merge: int = 1
    projector_hidden: int | None = None
    vocab_hash: str = ""
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = as_config(self.vision_config, {"model_type": GeneralistVisionConfig.model_type}, "vision")
        self.text_config = as_config(self.text_config, _DEFAULT_TEXT, "text")
        # The text config decides; transformers looks for the answer on the outer config.
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)
        rows, columns = vision_grid(self.vision_config)
        merge = self.projector_merge
        if merge < 1 or rows % merge or columns % merge:
            raise GeneralistError(
                f"projector_merge is {merge}; use a divisor of the vision tower's grid of {rows} x {columns} tokens"
            )
        if self.projector_hidden is not None and self.projector_hidden < 1:
            raise GeneralistError(f"projector_hidden is {self.projector_hidden}; use None or a width above 0")
        if not 0 <= self.image_token_id < self.text_config.vocab_size:
            raise GeneralistError(
                f"image_token_id is {self.image_token_id}; use an id below the vocabulary size "
                f"{self.text_config.vocab_size}"
            )
        for option in _LOGIT_OPTIONS:
            if (value := getattr(self.text_config, option, None)) not in (None, 1):
                raise GeneralistError(
                    f"text_config has {option} {value}; use a language model with a plain linear head"
                )
        super().__post_init__(**kwargs)

    @classmethod
    def for_vocabulary(
        cls,
        vocabulary: Vocabulary,
        *,
        vision_config: PreTrainedConfig | dict[str, Any] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> GeneralistConfig:
        """A configuration with the sizes, special ids and hash of ``vocabulary``."""
        text = as_config(text_config, _DEFAULT_TEXT, "text").to_dict()
        text.update(bos_token_id=vocabulary.structure[BOS], eos_token_id=vocabulary.eos, pad_token_id=vocabulary.pad)
        return cls(
            vision_config=vision_config,
            text_config={**text, "vocab_size": vocabulary.size},
            image_token_id=vocabulary.image,
            vocab_hash=vocabulary.hash,
            **kwargs,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of image tokens as the language model sees them."""
        rows, columns = vision_grid(self.vision_config)
        return rows // self.projector_merge, columns // self.projector_merge

    @property
    def num_image_tokens(self) -> int:
        """Positions that an image takes in the prompt."""
        rows, columns = self.grid
        return rows * columns

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels of the vision tower's input."""
        return _pair(self.vision_config.image_size)


def as_config(
    value: PreTrainedConfig | Mapping[str, Any] | None, default: Mapping[str, Any], part: str
) -> PreTrainedConfig:
    """``value`` as a configuration object; a dictionary is dispatched by its ``model_type``."""
    if isinstance(value, PreTrainedConfig):
        return value
    fields = dict(default if value is None else value)
    model_type = fields.pop("model_type", default.get("model_type"))
    if model_type == GeneralistVisionConfig.model_type:
        return GeneralistVisionConfig(**fields)
    if model_type not in CONFIG_MAPPING:
        raise GeneralistError(f"{part}_config has model_type {model_type!r}, which this transformers does not know")
    return CONFIG_MAPPING[model_type](**fields)


def vision_grid(config: PreTrainedConfig) -> tuple[int, int]:
    """Rows and columns of the tokens that a vision tower gives, from its configuration alone.

    A hierarchical tower (one with ``depths``) halves the grid before every stage but the first.
    """
    image, patch = getattr(config, "image_size", None), getattr(config, "patch_size", None)
    if image is None or patch is None:
        raise GeneralistError(
            f"vision_config has model_type {config.model_type!r} without image_size or patch_size; "
            "use a vision tower's own configuration, such as siglip_vision_model, dinov2 or swin"
        )
    stages = len(getattr(config, "depths", (1,)))
    stride = [p * 2 ** (stages - 1) for p in _pair(patch)]
    (height, width), (down, across) = _pair(image), stride
    if stages > 1 and (height % down or width % across):
        raise GeneralistError(f"image_size is {image}; use a multiple of the {config.model_type} tower's stride {down}")
    return height // down, width // across


def vision_width(config: PreTrainedConfig) -> int:
    """Channels of a vision tower's tokens."""
    if (width := getattr(config, "hidden_size", None)) is not None:
        return int(width)
    return int(config.hidden_sizes[-1])


def _pair(value: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
