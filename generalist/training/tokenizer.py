"""The text tokenizer of the small default model: a byte-level BPE learnt from what the model says.

The corpus is the composed world's questions and answers, the names of all pictographs, and the
language reference that comes with Python (PSF licence) for ordinary English.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from generalist.tokens import Vocabulary, VocabularySizes
from generalist.types import KINDS
from generalist_datasets.world.dataset import World
from generalist_datasets.world.language import plural, with_article
from generalist_datasets.world.question import answer_text
from generalist_datasets.world.sprites import pictograph_names

NANO_SIZES = VocabularySizes(locs=256)
_TEXT_TOKENS = 5120
_NAME_REPEATS = 60
"""So often is every name in the corpus: each of its words becomes one token, alone, behind a space and as plural."""
_SCENES = 3000


def corpus() -> Iterator[str]:
    """Lines to learn merges from (half a minute of composing)."""
    world = World("train", seed=99, size=(64, 64), count=_SCENES)
    for concept in world.assets.concepts:
        name = concept.name
        for text in (name, f" {name}", f" {plural(name)}"):
            yield from [text] * _NAME_REPEATS
        for text in (f"A{with_article(name)[1:]}", f"There is no {name}."):
            yield from [text] * 6
        yield from (f" {synonym}" for synonym in concept.synonyms)
    for number in range(len(world)):
        for question in world[number].questions:
            yield question.text
            yield answer_text(question.answer)
    for kind in KINDS:
        yield from [kind] * 500
    yield from (f" {entry['name']}" for entry in pictograph_names().values())
    from pydoc_data.topics import topics

    yield from (line for key in sorted(topics) for line in topics[key].splitlines())


def train_tokenizer(text_tokens: int = _TEXT_TOKENS) -> Tokenizer:
    """Byte-level BPE with at most ``text_tokens`` tokens; every byte is a token, so any text can be written."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=text_tokens, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def nano_vocabulary() -> Vocabulary:
    """Text, 256 location bins, 128 mask codes, 256 depth codes, structure."""
    return Vocabulary.extend(train_tokenizer(), NANO_SIZES)
