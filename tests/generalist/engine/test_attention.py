from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from generalist.engine.attention import ReplyAttention, _summed_up
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.types import GeneralistError, Prompt, Sampling


@pytest.fixture
def engine(tiny_checkpoint: Checkpoint) -> TransformersEngine:
    return TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)


def prompt_of(vocab: Vocabulary, *colours: str) -> Prompt:
    images = tuple(Image.new("RGB", (40, 30), colour) for colour in colours)
    s = vocab.structure
    ids = [s[BOS], s[USER], *[vocab.image] * len(images), *vocab.encode_text("Where is the dog?"), s[ASSISTANT]]
    return Prompt(token_ids=tuple(ids), images=images)


def by_hand(checkpoint: Checkpoint, prompt: Prompt, reply: Sequence[int]) -> np.ndarray:
    """Attention [heads, T, image tokens] of the tiny model's one layer, computed from its weights alone."""
    model, patches = checkpoint.model, checkpoint.model.config.num_image_tokens
    image = checkpoint.vocabulary.image
    ids = [i for one in prompt.token_ids for i in ([one] * patches if one == image else [one])]
    ids = [*ids, *reply[:-1]]
    pixels = checkpoint.processor.image_processor(list(prompt.images), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        embedded = model.model._embed(torch.tensor([ids]), model.get_image_features(pixels).pooler_output, True)
        language = model.model.language_model
        layer = language.layers[0]
        states = layer.input_layernorm(embedded)
        width = layer.self_attn.head_dim
        query, key = (
            linear(states).view(1, len(ids), -1, width).transpose(1, 2)
            for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj)
        )
        cos, sin = language.rotary_emb(states, torch.arange(len(ids))[None])
        query, key = (one * cos + _half_turned(one) * sin for one in (query, key))
        scores = query @ key.transpose(2, 3) / width**0.5  # [1, heads, L, L]
        scores = scores.masked_fill(torch.ones(len(ids), len(ids)).triu(1).bool(), -torch.inf)
        where = torch.tensor(ids) == image
        return scores.softmax(-1)[0, :, -len(reply) :][..., where].numpy()


def _half_turned(states: torch.Tensor) -> torch.Tensor:
    low, high = states.chunk(2, -1)
    return torch.cat([-high, low], -1)


def test_the_attention_is_that_of_the_model_itself(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint, vocab: Vocabulary
) -> None:
    prompt = prompt_of(vocab, "red")
    reply = engine.generate([prompt], Sampling(max_new_tokens=6))[0].token_ids
    told = engine.attention(prompt, reply)
    looks = by_hand(tiny_checkpoint, prompt, reply).mean(0)  # it has fewer heads than are averaged
    assert told.maps.shape == (len(reply), 1, 2, 2) and told.maps.dtype == np.float32
    np.testing.assert_allclose(told.share, looks.sum(-1), rtol=1e-4)
    np.testing.assert_allclose(told.maps.reshape(len(reply), -1), looks / looks.sum(-1, keepdims=True), rtol=1e-4)


def test_each_image_has_a_map_of_its_own(engine: TransformersEngine, vocab: Vocabulary) -> None:
    told = engine.attention(prompt_of(vocab, "red", "blue"), [5, 6, 7])
    assert told.maps.shape == (3, 2, 2, 2)
    np.testing.assert_allclose(told.maps.sum((1, 2, 3)), 1, rtol=1e-5)
    assert not np.allclose(told.maps[:, 0], told.maps[:, 1])


def test_a_later_token_does_not_change_an_earlier_one(engine: TransformersEngine, vocab: Vocabulary) -> None:
    prompt = prompt_of(vocab, "red")
    short, long = engine.attention(prompt, [5, 6]), engine.attention(prompt, [5, 6, 9, 10])
    np.testing.assert_allclose(long.maps[:2], short.maps, atol=1e-5)


def test_what_the_model_says_is_the_same_afterwards(engine: TransformersEngine, vocab: Vocabulary) -> None:
    prompt, sampling = prompt_of(vocab, "green"), Sampling(max_new_tokens=8)
    language = engine._model.model.language_model
    kind, before = language.config._attn_implementation, engine.generate([prompt], sampling)
    engine.attention(prompt, before[0].token_ids)
    assert language.config._attn_implementation == kind != "eager"
    assert TransformersEngine(engine._model, engine._reader._processor, vocab).generate([prompt], sampling) == before


@pytest.mark.parametrize(("colours", "reply"), [((), [5]), (("red",), [])])
def test_without_an_image_or_a_token_there_is_nothing_to_tell(
    engine: TransformersEngine, vocab: Vocabulary, colours: tuple[str, ...], reply: list[int]
) -> None:
    with pytest.raises(GeneralistError, match="give both"):
        engine.attention(prompt_of(vocab, *colours), reply)


def test_a_reply_that_does_not_fit_the_context_is_refused(engine: TransformersEngine, vocab: Vocabulary) -> None:
    with pytest.raises(GeneralistError, match="context"):
        engine.attention(prompt_of(vocab, "red"), [5] * (engine.max_prompt_tokens + 1))


def test_heads_that_look_at_everything_or_at_the_words_are_left_out() -> None:
    looks = torch.zeros(8, 1, 4)
    looks[0] = 0.24  # almost all of its attention, evenly
    looks[1:5, 0, 2] = 0.9  # at one patch
    looks[5:, 0, 1] = 0.01  # mostly at words
    told: ReplyAttention = _summed_up(looks, (2, 2))
    np.testing.assert_allclose(told.maps[0, 0], [[0, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(told.share, [0.9], rtol=1e-5)
