"""Where a model looks while it writes: the attention of each reply token to the patches of the images.

One pass over prompt and reply. Most heads of a language model hardly look at an image, some look at all of it, and the
mean over them says little; so those are taken that look at few patches and at little else, as Kang et al. 2025 do
("Your Large Vision-Language Model Only Needs A Few Attention Heads For Visual Grounding").

Shapes: L positions of prompt and reply, T reply tokens, H heads of all layers together, I images of n = rows x columns
positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generalist.engine.adapters import Adapters
from generalist.engine.inputs import Input
from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError

LOOKING_HEADS = 4
"""Of how many heads the attention is averaged."""

_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplyAttention:
    """Where a model looked when it chose each token of a reply.

    ``maps`` float32 [T, I, rows, columns]: how its attention to images is spread over their patches, 1 in all for a
    token. ``share`` float32 [T]: how much of its attention went to images at all, 0-1. Both are means over the few
    heads that look at something on the images.
    """

    maps: np.ndarray
    share: np.ndarray


def reply_attention(
    model: GeneralistForConditionalGeneration,
    adapters: Adapters,
    item: Input,
    features: Tensor | None,
    reply: Sequence[int],
) -> ReplyAttention:
    """The attention with which ``model`` writes ``reply`` behind a prompt, token for token.

    The row of a token is the one that it was chosen from, which is that of the position before it. Raises
    :class:`GeneralistError` without an image, without a token, or where the language model tells no attention.
    """
    if features is None or not reply:
        raise GeneralistError(f"the prompt has {len(item.pixels)} images and the reply {len(reply)} tokens; give both")
    if (length := len(item.ids) + len(reply)) > (most := int(model.config.text_config.max_position_embeddings)):
        raise GeneralistError(f"prompt and reply have {length} tokens; the model's context is {most}, so cut the reply")
    ids = torch.tensor([[*item.ids, *reply[:-1]]], dtype=torch.int64, device=model.device)  # [1, L]
    is_image = ids[0] == model.config.image_token_id
    is_image[len(item.ids) :] = False
    with torch.inference_mode(), adapters.applied([item.adapter]), _telling(model):
        told = model(
            input_ids=ids, image_features=features, use_cache=False, output_attentions=True, logits_to_keep=1
        ).attentions
    layers = [layer for layer in told or () if layer is not None]
    if not layers:
        raise GeneralistError(f"{model.config.text_config.model_type} tells no attention; use another language model")
    looks = torch.cat([layer[0, :, -len(reply) :][..., is_image].float() for layer in layers])  # [H, T, I * n]
    return _summed_up(looks, model.config.grid)


def _summed_up(looks: Tensor, grid: tuple[int, int]) -> ReplyAttention:
    """Attention [H, T, I * n] -> the mean of the chosen heads."""
    patches = looks.shape[-1]
    mass = looks.sum(-1)  # [H, T]
    spread = looks / mass[..., None].clamp(min=_TINY)
    # 1 where a head looks at one patch, 0 where it looks at all alike.
    pointed = 1 + torch.xlogy(spread, spread).sum(-1) / max(math.log(patches), _TINY)  # [H, T]
    chosen = (mass * pointed).mean(-1).topk(min(LOOKING_HEADS, len(looks))).indices
    mean = looks[chosen].mean(0)  # [T, I * n]
    share = mean.sum(-1)
    maps = mean / share[:, None].clamp(min=_TINY)
    return ReplyAttention(maps=maps.reshape(len(mean), -1, *grid).cpu().numpy(), share=share.cpu().numpy())


@contextmanager
def _telling(model: GeneralistForConditionalGeneration) -> Iterator[None]:
    """Within, the language model computes attention step by step: the fused kernels do not tell it."""
    language_model = model.model.language_model
    before = language_model.config._attn_implementation
    language_model.set_attn_implementation("eager")
    try:
        yield
    finally:
        language_model.set_attn_implementation(before)
