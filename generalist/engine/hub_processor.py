"""The processor of a vision-language model from the hub: from turns to tensors, and from token ids to text.

No torchvision is needed: images go through the processors that transformers has for PIL, and the part of a processor
that is for videos is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tokenizers.decoders import DecodeStream

from generalist.types import GeneralistError, Message

Size = tuple[int, int]

_REFUSALS = (ValueError, TypeError, IndexError, KeyError, StopIteration, RuntimeError)
"""What processors raise for inputs that they cannot take."""


class HubProcessor:
    """A processor with its tokenizer.

    ``pad_right``: for models whose positions count from the first token of a row, padding included.
    """

    def __init__(self, processor: Any, *, ends: Iterable[int] = (), pad_right: bool = False) -> None:
        self._processor = processor
        self.tokenizer = processor.tokenizer
        self._pad_right = pad_right
        if getattr(self.tokenizer, "backend_tokenizer", None) is None:
            raise GeneralistError(
                "the model's tokenizer is not one of the library tokenizers; give it a tokenizer.json"
            )
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._marks = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        marks = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        self._unsaid = frozenset([*ends, *(mark for mark in marks if mark is not None)])

    def mark_in(self, text: str) -> str | None:
        """A special token of the model whose name stands in ``text``: to a template it would not be text."""
        return next((mark for mark in self._marks if mark in text), None)

    @property
    def has_template(self) -> bool:
        """Whether the model knows conversations; otherwise it takes one question about one image."""
        return bool(getattr(self._processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None))

    def resized(self, image: Image.Image) -> Size:
        """(W, H) of an image as the model sees it: that of the pixels which the image processor gives."""
        try:
            made = self._processor.image_processor(images=[image], return_tensors="pt")
        except _REFUSALS as error:
            raise GeneralistError(f"the model's processor refuses the image ({_line(error)}); use another") from error
        grid = made.get("image_grid_thw")
        if grid is not None:
            side = int(self._processor.image_processor.patch_size)
            return int(grid[0][2]) * side, int(grid[0][1]) * side
        pixels = made["pixel_values"]
        # Tiled images have one shape a tile; their models count in fractions or thousandths.
        return (int(pixels.shape[-1]), int(pixels.shape[-2])) if pixels.ndim == 4 else image.size

    def prompt(self, turns: Sequence[Message]) -> str:
        """The text of a conversation; :class:`GeneralistError` for one that the model has no words for."""
        if self.has_template:
            return self._templated(turns)
        if len(turns) != 1 or len(turns[0].images) != 1:
            images = sum(len(turn.images) for turn in turns)
            raise GeneralistError(
                f"the model has no chat template, and the conversation has {len(turns)} turns and {images} images; "
                "ask one question about one image"
            )
        return turns[0].text

    def inputs(self, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> Any:
        """What the model's ``generate`` takes, padded; :class:`GeneralistError` when the processor refuses it."""
        # Without a template one image goes to each text, and processors differ in how they take them nested.
        nested = list(map(list, images)) if self.has_template else [row[0] for row in images]
        given = {"images": nested} if any(images) else {}
        side = "right" if self._pad_right else "left"
        try:
            return self._processor(text=list(texts), padding=True, padding_side=side, return_tensors="pt", **given)
        except _REFUSALS as error:
            raise GeneralistError(f"the model's processor refuses the question ({_line(error)}); change it") from error

    def pieces(self) -> TextPieces:
        """A new reader of token ids."""
        return TextPieces(self.tokenizer.backend_tokenizer, self._unsaid)

    def _templated(self, turns: Sequence[Message]) -> str:
        messages: list[dict[str, Any]] = []
        for turn in turns:
            content: list[dict[str, Any]] = [{"type": "image"} for _ in turn.images]
            messages.append({"role": turn.role, "content": [*content, {"type": "text", "text": turn.text}]})
        owner = self._processor if getattr(self._processor, "chat_template", None) else self.tokenizer
        try:
            return str(owner.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        except Exception as error:  # jinja's, and whatever a template raises on its own
            raise GeneralistError(f"the model's chat template refuses the conversation ({_line(error)})") from error


class TextPieces:
    """Token ids, one at a time, to text; ``stops`` = how many characters there were behind each token."""

    def __init__(self, tokenizer: Any, unsaid: frozenset[int]) -> None:
        self._tokenizer, self._unsaid = tokenizer, unsaid
        self._stream = DecodeStream(skip_special_tokens=False)
        self.stops: list[int] = []

    def feed(self, token: int) -> str:
        """The characters that ``token`` completes; those of special tokens, too, but for marks of an end."""
        text = "" if token in self._unsaid else self._stream.step(self._tokenizer, token) or ""
        self.stops.append((self.stops[-1] if self.stops else 0) + len(text))
        return text

    def alone(self, token: int) -> str:
        """The text of one token by itself; part of a character becomes U+FFFD."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False))


def load_processor(folder: Path, model_type: str) -> Any:
    """The processor of a checkpoint folder; :class:`GeneralistError` when there is none that can be used."""
    from transformers import AutoProcessor

    try:
        try:
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        except ImportError as error:
            if "torchvision" not in str(error).lower():
                raise
            processor = _without_video(model_type).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError, AttributeError, TypeError) as error:
        raise GeneralistError(f"{folder}: cannot load the processor ({_line(error)}); complete the folder") from error
    for part in ("image_processor", "tokenizer"):
        if getattr(processor, part, None) is None:
            raise GeneralistError(f"{folder}: the processor has no {part}; complete the folder's processor files")
    return processor


def _without_video(model_type: str) -> Any:
    """The processor class of a model type, without what needs torchvision."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(model_type)
    base: Any = getattr(transformers, name, None) if name else None
    if base is None:
        raise ImportError(f"the processor of {model_type!r} needs torchvision; pip install torchvision")

    def get_attributes(cls: Any) -> list[str]:
        return [attribute for attribute in base.get_attributes() if attribute != "video_processor"]

    return type(base.__name__, (base,), {"get_attributes": classmethod(get_attributes)})


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
