"""How long a mutated answer takes to read, in each dialect: the median and the longest, in processor time.

    python -m tests.benchmarks.dialect_speed

The answers are those of ``tests/generalist/dialects/test_all.py``: documented and malformed ones with pieces cut,
doubled, turned round, or signs put in.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Annotated

import typer

from generalist.dialects import get_dialect, parse
from generalist.dialects.triplets import Triplets
from generalist.tokens import Vocabulary, VocabularySizes
from tests.conftest import make_tokenizer
from tests.generalist.dialects.test_all import MUTATED, TABLES, mutated, rows


def main(answers: Annotated[int, typer.Option(min=1)] = MUTATED) -> None:
    """Measure every dialect."""
    vocab = Vocabulary.extend(make_tokenizer(), VocabularySizes(locs=64, mask_codes=16, depth_codes=32))
    for name in TABLES:
        dialect = Triplets(vocabulary=vocab) if name == "triplets" else get_dialect(name)
        rng, table, times = random.Random(name), rows(name), []
        for _ in range(answers):
            row = rng.choice(table)
            answer = mutated(row.answer, rng)
            begun = time.thread_time()
            parse(dialect, answer, row.question)
            times.append(1000 * (time.thread_time() - begun))
        print(f"{name:14} median {statistics.median(times):6.3f} ms  longest {max(times):6.2f} ms")


if __name__ == "__main__":
    typer.run(main)
