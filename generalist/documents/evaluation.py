"""How well documents are found: a corpus with questions and judgements against an index of its documents.

Measures are those of ir-measures (MacAvaney et al. 2022), a question at a time; only questions that have a relevant
document count.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from generalist.documents.asking import Question
from generalist.documents.fusion import fit_weight
from generalist.documents.search import Searcher, SearchOptions
from generalist.evaluation.cases import Figure, Outcome, Result
from generalist.evaluation.intervals import bootstrap
from generalist.evaluation.report import write_whole
from generalist.types import GeneralistError
from generalist_datasets.corpora import Corpus
from generalist_datasets.records import Problems, Query

GROUP = "search"
DEPTH = 100
"""How many documents are ranked for each question."""
_FIGURES = {"Hits@1": "Success@1", "Hits@5": "Success@5", "RR@10": "RR@10", "nDCG@10": "nDCG@10", "R@100": "R@100"}
"""What a figure is called -> what ir-measures calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Questions, and how relevant which documents are to each: query id -> document id -> grade."""

    name: str
    queries: tuple[Query, ...]
    judgements: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Retrieval:
    """``result`` as every evaluation has it; ``run``: query id -> ids of documents, the best first."""

    result: Result
    run: Mapping[str, tuple[str, ...]]


def read_task(corpus: Corpus, name: str, limit: int | None = None, *, test: bool = True) -> Task:
    """The questions of a corpus that have a relevant document.

    Where the corpus has a split ``test``, only its questions; with ``test=False`` all others.
    Raises :class:`GeneralistError` when there are none, or the files cannot be read.
    """
    judged = list(corpus.judgements(Problems()))
    has_test = any(one.split == "test" for one in judged)
    relevant: dict[str, dict[str, int]] = {}
    for one in judged:
        if not has_test or (one.split == "test") == test:
            relevant.setdefault(one.query, {})[one.document] = one.relevance
    asked = {query for query, grades in relevant.items() if max(grades.values()) > 0}
    queries = tuple(islice((query for query in corpus.queries(Problems()) if query.id in asked), limit))
    if not queries:
        raise GeneralistError(f"{name}: no question there has a relevant document; use a corpus with judgements")
    return Task(name=name, queries=queries, judgements={query.id: relevant[query.id] for query in queries})


def evaluate(
    searcher: Searcher,
    task: Task,
    options: SearchOptions,
    *,
    model: str,
    batch_size: int = 16,
    progress: Callable[[int, int | None], object] = lambda done, total: None,
) -> Retrieval:
    """Search for every question, and measure.

    Raises :class:`GeneralistError` when a relevant document is not in the index, which no search could find.
    """
    _check_documents(searcher, task)
    run: dict[str, tuple[str, ...]] = {}
    outcomes: dict[str, Outcome] = {}
    for begin in range(0, len(task.queries), batch_size):
        batch = task.queries[begin : begin + batch_size]
        began = time.perf_counter()
        rankings = searcher.rank([Question(text=query.text) for query in batch], options)
        seconds = (time.perf_counter() - began) / len(batch)
        for query, ranking in zip(batch, rankings, strict=True):
            run[query.id] = tuple(searcher.collection.id_of(one.place) for one in ranking)
            outcomes[query.id] = Outcome(case=query.id, text=" ".join(run[query.id][:1]), seconds=seconds)
        progress(len(run), len(task.queries))
    kept = _judge(run, task)
    result = Result(
        suite=task.name,
        model=model,
        engine=options.mode + (" with feedback" if options.feedback else ""),
        figures={GROUP: tuple(_figures(kept, task, searcher.collection.index.documents))},
        groups=dict.fromkeys(kept, GROUP),
        kept=kept,
        outcomes=outcomes,
        seconds=sum(outcome.seconds for outcome in outcomes.values()),
    )
    return Retrieval(result=result, run=run)


def fit_trust(searcher: Searcher, task: Task, options: SearchOptions, *, batch_size: int = 16) -> tuple[float, float]:
    """How much identifiers, and vectors where there are any, are to count beside words, by the questions of ``task``.

    Those should be none that the search is evaluated on. Raises :class:`GeneralistError` as :func:`evaluate` does.
    """
    _check_documents(searcher, task)
    modes = ["lexical", *(["dense"] if searcher.dense else []), "generative"]
    texts = [query.text for query in task.queries]
    ways = [rankings_of(searcher, texts, replace(options, mode=mode), batch_size) for mode in modes]
    relevant = [{id for id, grade in task.judgements[query.id].items() if grade > 0} for query in task.queries]
    weights = [1.0, *[0.0] * (len(modes) - 1)]
    for which in range(1, len(modes)):
        weights[which] = fit_weight(ways, weights, which, relevant)
    return weights[-1], weights[1] if searcher.dense else 0.0


def rankings_of(
    searcher: Searcher, texts: Sequence[str], options: SearchOptions, batch_size: int = 16
) -> list[list[str]]:
    """The ids of the documents found for each question, the best first."""
    found: list[list[str]] = []
    for begin in range(0, len(texts), batch_size):
        questions = [Question(text=text) for text in texts[begin : begin + batch_size]]
        ranked = searcher.rank(questions, replace(options, most=DEPTH))
        found += [[searcher.collection.id_of(one.place) for one in ranking] for ranking in ranked]
    return found


def write_run(retrieval: Retrieval, path: Path) -> None:
    """The ranking as a TREC run file; :class:`GeneralistError` when it cannot be written."""
    tag = _word(f"generalist-{retrieval.result.engine}")
    lines = (
        f"{_word(query)} Q0 {_word(document)} {rank} {len(documents) - rank + 1} {tag}\n"
        for query, documents in retrieval.run.items()
        for rank, document in enumerate(documents, 1)
    )
    write_whole(path, "".join(lines))


def _word(text: str) -> str:
    """``text`` without the spaces that would end a column."""
    return re.sub(r"\s", "_", text)


def _check_documents(searcher: Searcher, task: Task) -> None:
    there = searcher.collection.places
    for query, grades in task.judgements.items():
        missing = next((id for id, grade in grades.items() if grade > 0 and id not in there), None)
        if missing is not None:
            raise GeneralistError(
                f"{searcher.collection.index.folder}: document {missing[:200]!r} of question {query[:200]!r} is not in "
                f"this index; build it from {task.name}"
            )


def _judge(run: Mapping[str, Sequence[str]], task: Task) -> dict[str, dict[str, float]]:
    """Query id -> figure -> its value."""
    import ir_measures

    measures = {name: ir_measures.parse_measure(measure) for name, measure in _FIGURES.items()}
    names = {measure: name for name, measure in measures.items()}
    qrels = [
        ir_measures.Qrel(query, document, grade)
        for query, grades in task.judgements.items()
        for document, grade in grades.items()
    ]
    scored = [
        ir_measures.ScoredDoc(query, document, float(-rank))
        for query, documents in run.items()
        for rank, document in enumerate(documents)
    ]
    kept: dict[str, dict[str, float]] = {query.id: dict.fromkeys(_FIGURES, 0.0) for query in task.queries}
    for found in ir_measures.iter_calc(list(measures.values()), qrels, scored) if scored else ():
        kept[found.query_id][names[found.measure]] = float(found.value)
    return kept


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in kept])) for name in _FIGURES}


def _figures(kept: Mapping[str, Mapping[str, float]], task: Task, documents: int) -> Iterable[Figure]:
    values = list(kept.values())
    bounds = bootstrap(values, _combine)
    for name, value in _combine(values).items():
        low, high = bounds.get(name, (None, None))
        floor = _by_chance(int(name.removeprefix("Hits@")), task, documents) if name.startswith("Hits") else None
        yield Figure(
            name=name,
            value=value,
            count=len(values),
            low=low,
            high=high,
            floor=floor,
            floor_name="" if floor is None else "documents at random",
        )


def _by_chance(first: int, task: Task, documents: int) -> float:
    """How often a relevant document is among the first few of a random order."""
    missed = []
    for grades in task.judgements.values():
        relevant = sum(grade > 0 for grade in grades.values())
        draws = np.arange(min(first, documents))
        missed.append(float(np.prod(((documents - relevant - draws) / (documents - draws)).clip(0))))
    return 1 - float(np.mean(missed))
