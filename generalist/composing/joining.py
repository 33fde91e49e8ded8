"""Two parents' weights in one model: only the projector and the rows of new tokens are new.

Shapes: V rows of a table of embeddings, D width of the language model.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig
from transformers.initialization import no_init_weights

from generalist.composing.parents import Language, Vision
from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

LOC_SPREAD = 0.25
"""How far location tokens lie from the mean of the old embeddings, in standard deviations of these."""
OTHER_SPREAD = 0.1
_WAVES = 16
_PROBE_TOKENS = 12
_TOLERANCE = 0.02


def join(
    language: Language, vision: Vision, vocabulary: Vocabulary, *, merge: int = 1, seed: int = 0
) -> GeneralistForConditionalGeneration:
    """The whole model in the dtype of ``language``, with a projector of two layers (as LLaVA-1.5 has) from ``seed``.

    ``merge``: m x m neighbouring image tokens become one. Raises :class:`GeneralistError` for a language model that
    is not the same inside ours.
    """
    where = f"--llm {language.name}"
    llm, generator = language.model, torch.Generator().manual_seed(seed)
    tables = _tables(language, vocabulary, generator)
    config = _config(language, vision, vocabulary, rows=len(tables["input"]), merge=merge)
    try:
        with no_init_weights():  # every weight is about to be set
            model = GeneralistForConditionalGeneration._from_config(config, dtype=llm.dtype)
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GeneralistError(f"{where} does not fit into our model ({reason}); give another") from error
    base: Any = llm.base_model
    state = base.state_dict()
    embedding = _name_of(base, base.get_input_embeddings())
    state[f"{embedding}.weight"] = tables["input"]
    _fill(model.model.language_model, state, where)
    _fill(model.model.vision_tower, vision.tower.state_dict(), f"--vision {vision.name}")
    with torch.no_grad():
        if "output" in tables:
            model.lm_head.weight.copy_(tables["output"])
        _start_projector(model.model.projector, generator)
    model.tie_weights()
    model.generation_config = _generation(llm, vocabulary)
    _check_same(where, llm, model.eval(), vocabulary)
    return model


def _config(language: Language, vision: Vision, vocabulary: Vocabulary, *, rows: int, merge: int) -> GeneralistConfig:
    text: Any = language.model.config
    if not isinstance(getattr(text, "max_position_embeddings", None), int):
        raise GeneralistError(f"--llm {language.name} does not say how many positions it reads; give another model")
    return GeneralistConfig(
        vision_config=vision.tower.config,
        text_config={**text.to_dict(), "vocab_size": rows},
        image_token_id=vocabulary.image,
        vocab_hash=vocabulary.hash,
        projector_merge=merge,
        projector_hidden=text.hidden_size,
    )


def _tables(language: Language, vocabulary: Vocabulary, generator: torch.Generator) -> dict[str, Tensor]:
    """The table "input" [V, D], and "output" where the head has its own."""
    llm, where = language.model, f"--llm {language.name}"
    embedding, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    if not isinstance(embedding, nn.Embedding) or not isinstance(head, nn.Linear) or head.bias is not None:
        raise GeneralistError(f"{where} has no plain embedding, or no plain linear head without bias; give another")
    base = vocabulary.base
    assert base is not None
    if base.tokens > len(embedding.weight):
        raise GeneralistError(
            f"{where} has {len(embedding.weight)} embeddings and its tokenizer {base.tokens} tokens; fetch it again"
        )
    tables = {"input": grown(embedding.weight, vocabulary, generator)}
    if head.weight is not embedding.weight:
        tables["output"] = grown(head.weight, vocabulary, generator)
    return tables


@torch.no_grad()
def grown(table: Tensor, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
    """``table`` [V, D] with rows for the tokens behind those of ``vocabulary.base``; all others stay as they are.

    New tokens begin near the mean of the old ones, so that none is likely or odd before it has learnt (Hewitt 2021,
    "Initializing new word embeddings"); location tokens on a smooth curve about it, neighbours beside each other.
    """
    assert vocabulary.base is not None
    first, size = vocabulary.base.tokens, vocabulary.size
    old = table[:first].float()
    mean, spread = old.mean(0), old.std(0)
    width = table.shape[1]
    new = torch.randn(size - first, width, generator=generator) * OTHER_SPREAD
    locs = torch.tensor([token for token in vocabulary.loc if token >= first])
    if len(locs):
        new[locs - first] = LOC_SPREAD * _curve(len(locs), width, generator)
    result = table.new_empty(max(len(table), size), width)
    result[: len(table)] = table
    result[first:size] = (mean + spread * new).to(table.dtype)
    return result


def _curve(points: int, width: int, generator: torch.Generator) -> Tensor:
    """Points [N, D] along a smooth random curve: cosines of falling weight, unit variance in all."""
    along = (torch.arange(points) + 0.5) / points
    numbers = torch.arange(1, _WAVES + 1)
    waves = torch.cos(math.pi * along[:, None] * numbers) / numbers  # [N, waves]
    curve = waves @ torch.randn(_WAVES, width, generator=generator)
    return curve / curve.std().clamp(min=1e-6)


def _start_projector(projector: nn.Module, generator: torch.Generator) -> None:
    for layer in projector.modules():
        if isinstance(layer, nn.Linear):
            weight = torch.randn(layer.weight.shape, generator=generator) * layer.in_features**-0.5
            layer.weight.copy_(weight)
            layer.bias.zero_()


def _fill(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # other names or shapes than the base model of its type has
        reason = " ".join(str(error).split())[:200]
        raise GeneralistError(f"{where} has other weights than its model_type says ({reason}); give another") from error


def _generation(llm: Any, vocabulary: Vocabulary) -> GenerationConfig:
    """It ends where the language model does; an image token in a reply would ask for an image that nobody gave."""
    theirs = llm.generation_config
    return GenerationConfig(
        bos_token_id=theirs.bos_token_id,
        eos_token_id=sorted(vocabulary.ends),
        pad_token_id=vocabulary.pad,
        suppress_tokens=[vocabulary.image],
    )


def _name_of(module: nn.Module, part: nn.Module) -> str:
    return next(name for name, found in module.named_modules() if found is part)


@torch.inference_mode()
def _check_same(where: str, llm: Any, model: GeneralistForConditionalGeneration, vocabulary: Vocabulary) -> None:
    """Read a few tokens in both: some models scale or mask in ways that a plain head behind the base does not."""
    assert vocabulary.base is not None
    size = vocabulary.base.tokens
    ids = torch.linspace(0, size - 1, _PROBE_TOKENS).long()[None]
    theirs, ours = llm(input_ids=ids).logits[..., :size].float(), model(input_ids=ids).logits[..., :size].float()
    limit = _TOLERANCE * float(theirs.abs().max().clamp(min=1e-3))
    if not torch.allclose(theirs, ours, rtol=0, atol=limit):
        raise GeneralistError(f"{where} gives other answers inside our model than alone; give another language model")
    changed = ids.clone()
    changed[0, -1] = ids[0, 0]
    again = model(input_ids=changed).logits[:, :-1, :size].float()
    if not torch.allclose(ours[:, :-1], again, rtol=0, atol=limit):
        raise GeneralistError(f"{where} reads ahead, so that it is no causal language model; give one")
