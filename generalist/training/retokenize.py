"""Another tokenizer for a trained model: what it has learnt of the old tokens is carried over to the new ones.

A name of one or two tokens is read off an image token in one step; one of six pieces has to be spelt.
"""

from __future__ import annotations

import torch

from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

_TABLES = ("model.language_model.embed_tokens.weight", "lm_head.weight")


@torch.no_grad()
def retokenized(
    model: GeneralistForConditionalGeneration, old: Vocabulary, new: Vocabulary
) -> GeneralistForConditionalGeneration:
    """A model for ``new`` with the weights of ``model``; a new token gets the mean of what it was made of.

    Raises :class:`GeneralistError` when the vocabularies differ in more than text.
    """
    if old.sizes != new.sizes:
        raise GeneralistError(f"the visual tokens differ: {old.sizes} and {new.sizes}; only text can be tokenized anew")
    before = model.config
    config = GeneralistConfig.for_vocabulary(
        new,
        vision_config=before.vision_config,
        text_config=before.text_config,
        projector_hidden=before.projector_hidden,
        projector_merge=before.projector_merge,
    )
    state = model.state_dict()
    made_of = [pieces(token, old, new) for token in range(new.size)]
    for name in _TABLES:
        state[name] = torch.stack([state[name][ids].float().mean(0) for ids in made_of])
    changed = GeneralistForConditionalGeneration(config)
    changed.load_state_dict(state)
    return changed


def pieces(token: int, old: Vocabulary, new: Vocabulary) -> list[int]:
    """Ids of ``old`` that ``token`` of ``new`` stands for.

    A word that was in pieces gets those of both its forms, behind a space and at the beginning of a text, which are
    also what the vision tower was taught to name it by.
    """
    same = old.tokenizer.token_to_id(new.name(token))
    if same is not None:
        return [same]
    text = (new.text_bytes(token) or b"").decode(errors="replace")
    word = text.strip()
    if word.isalpha():
        return [*old.encode_text(word), *old.encode_text(f" {word}")]
    return old.encode_text(text)
