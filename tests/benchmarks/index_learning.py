"""How well documents are found before and after their index is learnt, in every mode side by side.

    OMP_NUM_THREADS=2 python tests/benchmarks/index_learning.py DATA/xquad DATA/cranfield --base MODEL \\
        --out indexes --minutes 80

Each corpus is indexed with the tokens of ``--base`` (into ``--out``; what is there already is used, and learning that
was interrupted goes on), learnt from its text alone, and then asked the questions that came with it, of which nothing
was learnt. ``--minutes`` is for each of the two modes that learn. ``--limit`` takes that many questions, spread over
all; ``--before`` also measures the base as it is. A table of all modes is printed, and figures with intervals and TREC
run files are written beside the indexes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from generalist.cli.learning import learn
from generalist.documents import SearchOptions, build_index, open_searcher
from generalist.documents.evaluation import DEPTH, Task, evaluate, read_task, write_run
from generalist.documents.learning import LearningOptions
from generalist.evaluation.report import write_json
from generalist.index import MANIFEST, open_index
from generalist_datasets.corpora import open_corpus
from generalist_datasets.records import Problems

WAYS = (("lexical", False), ("lexical", True), ("dense", False), ("generative", False), ("hybrid", False))
"""Mode, and whether with feedback."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--base", default="nano")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--learn", nargs="*", default=["dense", "generative"], choices=["dense", "generative"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--before", action="store_true")
    options = parser.parse_args()
    for corpus in options.corpora:
        folder = options.out / corpus.name
        if not (folder / MANIFEST).exists():
            options.out.mkdir(parents=True, exist_ok=True)
            build_index(open_corpus(corpus).documents(Problems(strict=False)), folder, base=options.base)
        task = thinned(read_task(open_corpus(corpus), corpus.name), options.limit)
        if options.before:
            measure(folder, task, "before")
        manifest = open_index(folder).manifest
        there = {"dense": manifest.encoder, "generative": manifest.generator}
        for mode in options.learn:
            if there[mode] is None:
                began, busy = time.perf_counter(), time.process_time()
                asked = LearningOptions(modes=(mode,), minutes=options.minutes, steps=options.steps, seed=options.seed)
                learn(folder, asked)
                print(f"{corpus.name}: {mode} learnt in {(time.perf_counter() - began) / 60:.1f} minutes "
                      f"({(time.process_time() - busy) / 60:.1f} of processors)", flush=True)  # fmt: skip
        measure(folder, task, "after")


def thinned(task: Task, limit: int | None) -> Task:
    """Every n-th question."""
    if limit is None or limit >= len(task.queries):
        return task
    queries = tuple(task.queries[k * len(task.queries) // limit] for k in range(limit))
    return replace(task, queries=queries, judgements={query.id: task.judgements[query.id] for query in queries})


def measure(folder: Path, task: Task, when: str) -> None:
    searcher = open_searcher(folder)
    manifest = searcher.collection.index.manifest
    print(f"{task.name} {when} learning: {len(task.queries)} questions, {len(searcher.collection.places)} documents; "
          f"trust in vectors {manifest.dense_trust:g}, in identifiers {manifest.trust:g}")  # fmt: skip
    for mode, feedback in WAYS:
        if mode == "dense" and not searcher.dense:
            continue
        asked = SearchOptions(mode=mode, most=DEPTH, feedback=feedback)
        found = evaluate(searcher, task, asked, model=Path(searcher.collection.index.base.name).name)
        stem = f"{task.name}-{when}-{mode}{'-feedback' if feedback else ''}"
        write_json(found.result, folder.parent / f"{stem}.json", command="tests/benchmarks/index_learning.py")
        write_run(found, folder.parent / f"{stem}.run")
        (figures,) = found.result.figures.values()
        shown = "  ".join(f"{one.name} {one.value:.3f}" for one in figures)
        print(f"  {found.result.engine:24} {shown}  ({found.result.seconds / len(task.queries):.2f} s a question)",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
