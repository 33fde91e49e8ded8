"""From a prompt to what the language model reads: ids, and features of images.

Shapes: I images of n positions, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from generalist.engine.adapters import Adapter, Adapters
from generalist.engine.caches import LruCache, pixel_digest
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError, Prompt

SharedKey: TypeAlias = tuple[int, tuple[int, ...], tuple[bytes, ...]]
ImageKey: TypeAlias = tuple[int, bytes]
"""Both begin with the number of an adapter, 0 for what the base has read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input:
    """A checked prompt. ``ids`` hold ``<image>`` once for every position of an image.

    ``shared``: how many of the ids, up to the last one of an image, a further question on the same
    images starts with; 0 without images. ``pixels``: float32[3, H, W] of each image; ``digests`` identify them.
    ``adapter``: the one that the name stood for when the prompt was checked.
    """

    ids: tuple[int, ...]
    pixels: tuple[Tensor, ...]
    digests: tuple[bytes, ...]
    shared: int
    adapter: Adapter | None = None

    @property
    def rest(self) -> tuple[int, ...]:
        """What follows the shared part."""
        return self.ids[self.shared :]

    @property
    def shared_key(self) -> SharedKey:
        return 0 if self.adapter is None else self.adapter.number, self.ids[: self.shared], self.digests

    @property
    def image_keys(self) -> tuple[ImageKey, ...]:
        """What the features of each image are kept under."""
        number = 0 if self.adapter is None else self.adapter.image_number
        return tuple((number, digest) for digest in self.digests)


def check_prompt(prompt: Prompt, vocabulary: Vocabulary, image_tokens: int, max_tokens: int) -> int:
    """The tokens of a prompt whose images take ``image_tokens`` each.

    Raises :class:`GeneralistError` for one that cannot be run; the adapter is not looked at.
    """
    if not prompt.token_ids:
        raise GeneralistError("the prompt has 0 tokens; give it at least one")
    if (places := prompt.token_ids.count(vocabulary.image)) != len(prompt.images):
        raise GeneralistError(
            f"the prompt has {places} <image> tokens and {len(prompt.images)} images; give one image for each"
        )
    if wrong := [i for i in prompt.token_ids if not 0 <= i < vocabulary.size]:
        raise GeneralistError(f"the prompt has token id {wrong[0]}; use ids from 0 to {vocabulary.size - 1}")
    count = len(prompt.token_ids) + len(prompt.images) * (image_tokens - 1)
    if count > max_tokens:
        raise GeneralistError(
            f"the prompt has {count} tokens ({len(prompt.images)} images of {image_tokens} each); use at most "
            f"{max_tokens}, so that one new token fits the model's context of {max_tokens + 1}"
        )
    return count


class InputReader:
    """Checks prompts and computes the features of their images, once for each image."""

    def __init__(
        self,
        model: GeneralistForConditionalGeneration,
        processor: GeneralistProcessor,
        vocabulary: Vocabulary,
        adapters: Adapters,
        *,
        feature_cache_images: int,
    ) -> None:
        self._model = model
        self._processor = processor
        self._vocabulary = vocabulary
        self._adapters = adapters
        self._features: LruCache[ImageKey, Tensor] = LruCache(feature_cache_images)

    def check(self, prompt: Prompt, max_tokens: int) -> Input:
        """The prompt with its images expanded; :class:`GeneralistError` when it cannot be run."""
        adapter = self._adapters.get(prompt.adapter)
        image_id, copies = self._vocabulary.image, self._model.config.num_image_tokens
        check_prompt(prompt, self._vocabulary, copies, max_tokens)
        ids = tuple(i for token in prompt.token_ids for i in ((token,) * copies if token == image_id else (token,)))
        pixels = self._pixels(prompt)
        shared = len(ids) - ids[::-1].index(image_id) if pixels else 0
        # A shared part that is the whole prompt would leave nothing to read for the first new token.
        shared = 0 if shared == len(ids) else shared
        digests = tuple(map(pixel_digest, pixels))
        return Input(ids=ids, pixels=pixels, digests=digests, shared=shared, adapter=adapter)

    def _pixels(self, prompt: Prompt) -> tuple[Tensor, ...]:
        if not prompt.images:
            return ()
        return tuple(self._processor.image_processor(list(prompt.images), return_tensors="pt")["pixel_values"])

    @torch.inference_mode()
    def features(self, inputs: Sequence[Input]) -> Tensor | None:
        """Features [I, n, D] of all images in order, None without images.

        The vision tower runs once, on those that it has not seen lately, or not at all.
        """
        images = {
            key: (image, item.adapter if key[0] else None)
            for item in inputs
            for key, image in zip(item.image_keys, item.pixels, strict=True)
        }
        if not images:
            return None
        found = {key: features for key in images if (features := self._features.get(key)) is not None}
        new = {key: image for key, image in images.items() if key not in found}
        if new:
            pixels = torch.stack([image for image, _ in new.values()]).to(self._model.device, self._model.dtype)
            with self._adapters.applied([adapter for _, adapter in new.values()]):
                computed = self._model.get_image_features(pixels).pooler_output
            assert computed is not None
            for key, features in zip(new, computed, strict=True):
                # A copy: a view would keep the features of the whole batch alive.
                found[key] = features.clone()
                self._features.put(key, found[key])
        return torch.stack([found[key] for item in inputs for key in item.image_keys])
