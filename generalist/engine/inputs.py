"""From a prompt to what the language model reads: ids, and features of images.

Shapes: I images of n positions, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generalist.engine.caches import LruCache, pixel_digest
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError, Prompt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input:
    """A checked prompt. ``ids`` hold ``<image>`` once for every position of an image.

    ``shared``: how many of the ids, up to the last one of an image, a further question on the same
    images starts with; 0 without images. ``pixels``: float32[3, H, W] of each image; ``digests`` identify them.
    """

    ids: tuple[int, ...]
    pixels: tuple[Tensor, ...]
    digests: tuple[bytes, ...]
    shared: int

    @property
    def rest(self) -> tuple[int, ...]:
        """What follows the shared part."""
        return self.ids[self.shared :]

    @property
    def shared_key(self) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        return self.ids[: self.shared], self.digests


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
        *,
        feature_cache_images: int,
    ) -> None:
        self._model = model
        self._processor = processor
        self._vocabulary = vocabulary
        self._features: LruCache[bytes, Tensor] = LruCache(feature_cache_images)

    def check(self, prompt: Prompt, max_tokens: int) -> Input:
        """The prompt with its images expanded; :class:`GeneralistError` when it cannot be run."""
        if prompt.adapter is not None:
            raise GeneralistError(f"adapter {prompt.adapter!r} is not loaded; this engine runs the base model alone")
        image_id, copies = self._vocabulary.image, self._model.config.num_image_tokens
        check_prompt(prompt, self._vocabulary, copies, max_tokens)
        ids = tuple(i for token in prompt.token_ids for i in ((token,) * copies if token == image_id else (token,)))
        pixels = self._pixels(prompt)
        shared = len(ids) - ids[::-1].index(image_id) if pixels else 0
        # A shared part that is the whole prompt would leave nothing to read for the first new token.
        shared = 0 if shared == len(ids) else shared
        return Input(ids=ids, pixels=pixels, digests=tuple(map(pixel_digest, pixels)), shared=shared)

    def _pixels(self, prompt: Prompt) -> tuple[Tensor, ...]:
        if not prompt.images:
            return ()
        return tuple(self._processor.image_processor(list(prompt.images), return_tensors="pt")["pixel_values"])

    @torch.inference_mode()
    def features(self, inputs: Sequence[Input]) -> Tensor | None:
        """Features [I, n, D] of all images in order, None without images.

        The vision tower runs once, on those that it has not seen lately, or not at all.
        """
        images = {digest: image for item in inputs for digest, image in zip(item.digests, item.pixels, strict=True)}
        if not images:
            return None
        found = {digest: features for digest in images if (features := self._features.get(digest)) is not None}
        new = [digest for digest in images if digest not in found]
        if new:
            pixels = torch.stack([images[digest] for digest in new]).to(self._model.device, self._model.dtype)
            computed = self._model.get_image_features(pixels).pooler_output
            assert computed is not None
            for digest, features in zip(new, computed, strict=True):
                # A copy: a view would keep the features of the whole batch alive.
                found[digest] = features.clone()
                self._features.put(digest, found[digest])
        return torch.stack([found[digest] for item in inputs for digest in item.digests])
