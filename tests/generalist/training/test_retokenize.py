"""Another tokenizer for a trained model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from generalist.tokens import Vocabulary, VocabularySizes
from generalist.training.retokenize import pieces, retokenized
from generalist.training.start import Beginning
from generalist.types import GeneralistError


def about_koalas(sizes: VocabularySizes) -> Vocabulary:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=275, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["koala", " koala", " koala's 42"] * 20, trainer)
    return Vocabulary.extend(tokenizer, sizes)


@pytest.fixture(scope="module")
def with_koalas(vocab: Vocabulary) -> Vocabulary:
    """A vocabulary that has read of koalas, with the visual tokens of ``vocab``."""
    return about_koalas(vocab.sizes)


def names(ids: list[int], vocab: Vocabulary) -> list[str]:
    return [vocab.name(i) for i in ids]


def test_a_word_gets_the_pieces_of_both_its_forms(vocab: Vocabulary, with_koalas: Vocabulary) -> None:
    (koala,) = with_koalas.encode_text("koala")
    (behind_a_space,) = with_koalas.encode_text(" koala")
    both = [*vocab.encode_text("koala"), *vocab.encode_text(" koala")]
    assert len(vocab.encode_text("koala")) > 1
    assert pieces(koala, vocab, with_koalas) == both
    assert pieces(behind_a_space, vocab, with_koalas) == both


def test_every_token_stands_for_old_ones_that_say_the_same(vocab: Vocabulary, with_koalas: Vocabulary) -> None:
    for token in range(with_koalas.size):
        old = pieces(token, vocab, with_koalas)
        if not with_koalas.is_text(token):
            assert names(old, vocab) == [with_koalas.name(token)]
            continue
        said = b"".join(vocab.text_bytes(i) or b"" for i in old)
        text = with_koalas.text_bytes(token)
        assert text is not None
        assert said == text or said == text.strip() + b" " + text.strip()


def test_what_both_vocabularies_have_is_answered_as_before(
    new_beginning: Callable[[], Beginning], with_koalas: Vocabulary
) -> None:
    beginning = new_beginning()
    old, model = beginning.vocab, beginning.model.eval()
    changed = retokenized(model, old, with_koalas).eval()
    assert changed.config.vocab_hash == with_koalas.hash
    assert changed.config.text_config.vocab_size == with_koalas.size
    shared = [(t, before[0]) for t in range(with_koalas.size) if len(before := pieces(t, old, with_koalas)) == 1]
    new_ids, old_ids = (torch.tensor(ids) for ids in zip(*shared, strict=True))
    without_image = new_ids != with_koalas.image
    new_ids, old_ids = new_ids[without_image], old_ids[without_image]
    with torch.no_grad():
        before = model(input_ids=old_ids[None, -60:]).logits[0][:, old_ids]
        after = changed(input_ids=new_ids[None, -60:]).logits[0][:, new_ids]
    torch.testing.assert_close(after, before)


def test_a_new_word_means_what_its_pieces_meant(
    new_beginning: Callable[[], Beginning], with_koalas: Vocabulary
) -> None:
    beginning = new_beginning()
    changed = retokenized(beginning.model, beginning.vocab, with_koalas)
    (koala,) = with_koalas.encode_text(" koala")
    made_of = pieces(koala, beginning.vocab, with_koalas)
    for table in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(model, table)().weight for model in (beginning.model, changed))
        torch.testing.assert_close(new[koala], old[made_of].mean(0))


def test_visual_tokens_must_be_the_same(new_beginning: Callable[[], Beginning]) -> None:
    beginning = new_beginning()
    more = about_koalas(VocabularySizes(locs=128, mask_codes=16, depth_codes=32))
    with pytest.raises(GeneralistError, match="the visual tokens differ"):
        retokenized(beginning.model, beginning.vocab, more)
