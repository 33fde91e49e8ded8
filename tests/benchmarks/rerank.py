"""How well ``/v1/rerank`` orders what BM25 finds first, in each of its modes.

    python tests/benchmarks/rerank.py CORPUS INDEX [--questions 200] [--depth 20] [--device auto]

CORPUS has judgements (XQuAD, Cranfield, ...), INDEX holds its documents in the tokens of a causal language model. For a
sample of questions, the first documents of the index's BM25 are ordered anew; given are the mean reciprocal rank of a
relevant one, the share of questions with one at the top, and seconds a question. Depths above
``generalist.documents.reranking.READ`` are not read whole.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from generalist.documents import Collection, Searcher, SearchOptions
from generalist.documents.asking import Question
from generalist.documents.bases import load_base
from generalist.documents.evaluation import read_task
from generalist.documents.network import load_network
from generalist.documents.reranking import MODES, QuestionReader, rerank
from generalist_datasets.corpora import open_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    task = read_task(open_corpus(arguments.corpus, None), arguments.corpus.name)
    queries = random.Random(0).sample(task.queries, min(arguments.questions, len(task.queries)))
    collection = Collection.open(arguments.index)
    base = load_base(collection.index.base.name)
    if base.vocabulary is not None:
        parser.error("the index is in the tokens of a checkpoint of this project; build it with a language model's")
    reader = QuestionReader(load_network(base, arguments.device))
    searcher = Searcher(collection)
    options = SearchOptions(mode="lexical", most=arguments.depth)
    ranks: dict[str, list[float]] = {mode: [] for mode in MODES}
    seconds = 0.0
    for query in queries:
        (hits,) = searcher.search([Question(text=query.text)], options)
        texts = [f"{hit.title}\n{hit.text}" for hit in hits]
        good = {number for number, hit in enumerate(hits) if task.judgements[query.id].get(hit.document_id, 0) > 0}
        begun = time.perf_counter()
        orders = {mode: rerank(query.text, texts, mode, lambda: reader) for mode in MODES} if texts else {}
        seconds += (time.perf_counter() - begun) / 2  # two of them read the texts
        for mode, order in orders.items():
            ranks[mode].append(next((1 / rank for rank, (number, _) in enumerate(order, 1) if number in good), 0.0))
    for mode in MODES:
        found, count = ranks[mode], max(1, len(ranks[mode]))
        top = sum(one == 1 for one in found) / count
        print(f"{mode:12} RR {sum(found) / count:.3f}  Hits@1 {top:.3f}")
    print(f"{len(queries)} questions, {seconds / len(queries):.2f} s to read the texts of one")


if __name__ == "__main__":
    main()
