"""How document indexes grow: building, size on disk, opening, and finding what may come next.

    OMP_NUM_THREADS=2 python tests/benchmarks/index_scale.py --tokens 500000 5000000 --queries 20

The text is invented: words of a Zipf distribution over 50,000, sentences of 20 words, documents of 10 sentences. A
step is one of a search with 15 beams, without the model: what may follow each of them, and taking one token of that.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from generalist.documents import Collection, Searcher, SearchOptions, build_index
from generalist.documents.asking import Question
from generalist.documents.bases import load_base
from generalist.documents.beam import BeamOptions, write
from generalist.documents.models import load_model
from generalist.index import Index, TextAutomaton
from generalist_datasets.records import Document

BEAMS, LENGTH = 15, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--base", default="nano")
    parser.add_argument("--queries", type=int, default=0, help="whole searches to time with the model, if any")
    options = parser.parse_args()
    for tokens in options.tokens:
        folder = Path(tempfile.mkdtemp(prefix="index-scale-"))
        try:
            measure(tokens, options.base, folder / "index", options.queries)
        finally:
            shutil.rmtree(folder)


def measure(tokens: int, base: str, folder: Path, queries: int) -> None:
    documents = list(invented(tokens))
    began, busy = time.perf_counter(), time.process_time()
    index = build_index(documents, folder, base=base)
    built, worked = time.perf_counter() - began, time.process_time() - busy
    text = sum(part.size for part in index.manifest.segments) / index.tokens
    words = index.manifest.words.size / index.tokens if index.manifest.words else 0.0
    opened = [timed(lambda: Collection.open(folder)) for _ in range(5)]
    steps = list(step_seconds(index))
    print(
        f"{index.tokens:,} tokens, {index.documents:,} documents: built in {built:.1f} s "
        f"({worked:.1f} s of processors), {text:.2f} + {words:.2f} (words) bytes a token, "
        f"opened in {statistics.median(opened):.4f} s"
    )
    print(
        f"  a step of one beam: median {1e3 * statistics.median(steps):.4f} ms, "
        f"95 of 100 {1e3 * float(np.percentile(steps, 95)):.4f} ms, largest {1e3 * max(steps):.3f} ms"
    )
    whole = [sum(steps[at : at + BEAMS]) for at in range(0, len(steps) - BEAMS, BEAMS)]
    print(f"  a step of {BEAMS} beams: median {1e3 * statistics.median(whole):.4f} ms")
    if queries:
        searches = list(search_seconds(folder, base, queries))
        print(f"  a search: median {statistics.median(searches):.3f} s, largest {max(searches):.3f} s")


def timed(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def search_seconds(folder: Path, base: str, count: int) -> Iterator[float]:
    """Seconds of searches with 15 beams of 10 tokens, one question at a time, after one that warms up."""
    searcher = Searcher(Collection.open(folder), partial(write, load_model(load_base(base), "cpu")))
    options = SearchOptions(mode="generative", beams=BeamOptions(width=BEAMS, length=LENGTH))
    rng = np.random.default_rng(2)
    words = [word for one in islice(invented(100_000), 16) for word in one.text.split()]
    for number in range(count + 1):
        question = Question(text=" ".join(rng.choice(words, 8)))
        seconds = timed(partial(searcher.search, [question], options))
        if number:
            yield seconds


def invented(tokens: int) -> Iterator[Document]:
    """Documents of about as many tokens in all."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(50_000)])
    chances = 1 / np.arange(1, len(words) + 1)
    chances /= chances.sum()
    for number in range(max(1, tokens // 800)):
        drawn = words[rng.choice(len(words), (10, 20), p=chances)]
        sentences = (" ".join(sentence).capitalize() + "." for sentence in drawn)
        yield Document(id=f"d{number}", title=" ".join(drawn[0, :3]), text=" ".join(sentences))


def step_seconds(index: Index) -> Iterator[float]:
    """Seconds of steps along text of the index and off it, with nothing known from before."""
    rng = np.random.default_rng(1)
    automaton = TextAutomaton(index.segments, vocab_hash="")
    stream = index.segments[0].tokens
    for _ in range(40 * BEAMS):
        state, at = automaton.root, int(rng.integers(len(stream) - LENGTH))
        for depth in range(LENGTH):
            began = time.perf_counter()
            following = automaton.following(state)
            seconds = time.perf_counter() - began
            if not len(following.tokens):
                break
            token = int(stream[at + depth])
            if token not in following.tokens or depth % 3 == 2:
                token = int(rng.choice(following.tokens))
            began = time.perf_counter()
            state = automaton.step(state, token)
            yield seconds + time.perf_counter() - began


if __name__ == "__main__":
    main()
