"""What the tests of every package share: a vocabulary small enough to make in milliseconds."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from generalist.tokens import Vocabulary, VocabularySizes

SENTENCES = (
    "The dog is asleep (on a sofa). Where is the red mug? Segment the cat.",
    "There are 12 boxes, a point, a mask, a depth map and a doc.",
    "- Name: the dog Unit: box Num: 2\n- Name: the cat Unit: mask Num: 10\n",
)


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def vocab() -> Vocabulary:
    """Byte-level BPE of three sentences, 64 locations, 16 mask codes (x 16), 32 depth codes (x 8 x 8)."""
    return Vocabulary.extend(make_tokenizer(), VocabularySizes(locs=64, mask_codes=16, depth_codes=32))


@pytest.fixture(scope="session")
def ids(vocab: Vocabulary) -> Callable[[str], list[int]]:
    """Token ids of a reply as one reads it: names of special tokens become those, the rest is text."""
    names = {vocab.name(i): i for i in vocab.special_ids}
    unit_ends = [r"\((?=<Unit>)", r"(?<=[>\]])\)"]  # a unit's parentheses are tokens of their own
    longest_first = sorted(names, key=len, reverse=True)
    special = re.compile("(" + "|".join([*map(re.escape, longest_first), *unit_ends]) + ")")

    def write(written: str) -> list[int]:
        parts = [p for p in special.split(written) if p]
        return [i for p in parts for i in ([names[p]] if p in names else vocab.encode_text(p))]

    return write
