"""The model card of a composed base."""

from __future__ import annotations

import os

from generalist.composing.parents import Language, Vision
from generalist.model import GeneralistForConditionalGeneration
from generalist.tokens import BOS, Vocabulary

_CARD = """---
library_name: generalist
pipeline_tag: image-text-to-text
---
# {llm} with the eyes of {vision}

Composed with `generalist compose --vision {vision} --llm {llm}{options}`. **Not trained yet**: it answers text as
`{llm}` does, and about images nothing that makes sense.

| part | from | parameters |
|---|---|---|
| vision tower ({vision_type}, {height} x {width} pixels, {grid} tokens) | `{vision}`, unchanged | {vision_size:,} |
| projector | new, random (seed {seed}) | {projector_size:,} |
| language model ({text_type}) | `{llm}`, unchanged | {text_size:,} |
| {new} new tokens ({locs} of them locations) | near the mean of the old embeddings (seed {seed}) | in the above |

The licences of both parents apply to what was taken from them.

## How it is asked
* Without an image: in the chat template of `{llm}`{template}. Answers are its own, token by token.
* With images: `{bos}`, then for every turn a role token (`<system>`, `<user>`, `<assistant>`), the images, the text;
  each answer ends with `{eos}`.

Boxes, points, masks and depth are written in tokens behind the {old} of `{llm}`. Weights are safetensors alone;
`vocabulary.json` names the new tokens and the template. The codecs of masks and depth are those of generalist-nano.
"""


def write_card(
    language: Language,
    vision: Vision,
    model: GeneralistForConditionalGeneration,
    vocabulary: Vocabulary,
    *,
    merge: int,
    seed: int,
) -> str:
    """README.md of the folder: the parents, what is new, how it is asked."""
    base = vocabulary.base
    assert base is not None
    config, inner = model.config, model.model
    height, width = config.image_hw
    return _CARD.format(
        llm=_shown(language.name),
        vision=_shown(vision.name),
        options=f" --merge {merge}" * (merge > 1) + f" --locs {len(vocabulary.loc)} --seed {seed}",
        vision_type=config.vision_config.model_type,
        text_type=config.text_config.model_type,
        height=height,
        width=width,
        grid=f"{config.grid[0]} x {config.grid[1]}",
        vision_size=inner.vision_tower.num_parameters(),
        projector_size=sum(parameter.numel() for parameter in inner.projector.parameters()),
        text_size=language.model.num_parameters(),
        seed=seed,
        old=base.tokens,
        new=vocabulary.size - base.tokens,
        locs=len(vocabulary.loc),
        template="" if language.tokenizer.chat_template else ", which has none: the bare text",
        bos=vocabulary.name(vocabulary.structure[BOS]),
        eos=vocabulary.name(vocabulary.eos),
    )


def _shown(name: str) -> str:
    """An id as it is; of a folder its name alone, which means something elsewhere too."""
    return os.path.basename(os.path.abspath(name)) if os.path.isdir(name) else name
