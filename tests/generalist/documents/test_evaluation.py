"""Figures of a search, against ones counted by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from generalist.documents import Collection, Searcher, SearchOptions
from generalist.documents.evaluation import evaluate, fit_trust, read_task, write_run
from generalist.evaluation.report import to_json
from generalist.types import GeneralistError
from generalist_datasets.records import Judgement, Problems, Query

from .conftest import MadeUpModel
from .test_search import thinking_of


@dataclass
class Asked:
    """A corpus of questions."""

    asked: dict[str, str]
    judged: list[Judgement] = field(default_factory=list)

    def documents(self, problems: Problems):  # type: ignore[no-untyped-def]
        return iter(())

    def queries(self, problems: Problems):  # type: ignore[no-untyped-def]
        return (Query(id=id, text=text) for id, text in self.asked.items())

    def judgements(self, problems: Problems):  # type: ignore[no-untyped-def]
        return iter(self.judged)


ASKED = Asked(
    {"q1": "mug and sofa", "q 2": "mask", "q3": "unicorn", "q4": "nobody judged this"},
    [
        Judgement(query="q1", document="dog", relevance=2),
        Judgement(query="q1", document="cat", relevance=0),
        Judgement(query="q 2", document="dog", relevance=1),  # the words say cat
        Judgement(query="q3", document="box/1", relevance=1),  # the words say nothing
    ],
)


def test_figures_and_run(small: Collection, tmp_path: Path) -> None:
    task = read_task(ASKED, "asked")
    assert [query.id for query in task.queries] == ["q1", "q 2", "q3"]
    progress: list[tuple[int, int | None]] = []
    found = evaluate(Searcher(small), task, SearchOptions(mode="lexical", most=100), model="m", batch_size=2,
                     progress=lambda done, total: progress.append((done, total)))  # fmt: skip
    figures = {figure.name: figure for figure in found.result.figures["search"]}
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(
        {"Hits@1": 1 / 3, "Hits@5": 1 / 3, "RR@10": 1 / 3, "nDCG@10": 1 / 3, "R@100": 1 / 3}
    )
    assert figures["Hits@1"].floor == pytest.approx(1 / 4)  # one of four documents
    assert figures["Hits@5"].floor == pytest.approx(1)
    assert progress == [(2, 3), (3, 3)]
    write_run(found, tmp_path / "run")
    assert (tmp_path / "run").read_text() == ("q1 Q0 dog 1 1 generalist-lexical\nq_2 Q0 cat 1 1 generalist-lexical\n")
    assert to_json(found.result)["figures"]["search"][0]["name"] == "Hits@1"


def test_the_test_split_is_evaluated_and_the_rest_fitted() -> None:
    both = Asked(
        {"a": "x", "b": "y"},
        [
            Judgement(query="a", document="dog", relevance=1, split="test"),
            Judgement(query="b", document="cat", relevance=1, split="train"),
        ],
    )
    assert [query.id for query in read_task(both, "both").queries] == ["a"]
    assert [query.id for query in read_task(both, "both", test=False).queries] == ["b"]


def test_trust_is_what_helps(small: Collection) -> None:
    from functools import partial

    from generalist.documents.beam import write

    task = read_task(Asked({"q": "mask"}, [Judgement(query="q", document="box/1", relevance=1)]), "x")

    def fitted(model: MadeUpModel) -> tuple[float, float]:
        return fit_trust(Searcher(small, partial(write, model)), task, SearchOptions())

    assert fitted(thinking_of(small, " 12 boxes, a point"))[0] > 0
    assert fitted(thinking_of(small, " is a mask")) == (0, 0)


def test_what_cannot_be_evaluated(small: Collection) -> None:
    with pytest.raises(GeneralistError, match="none: no question there has a relevant document"):
        read_task(Asked({"q": "x"}, [Judgement(query="q", document="dog", relevance=0)]), "none")
    task = read_task(Asked({"q": "x"}, [Judgement(query="q", document="fox", relevance=1)]), "other")
    with pytest.raises(
        GeneralistError, match="document 'fox' of question 'q' is not in this index; build it from other"
    ):
        evaluate(Searcher(small), task, SearchOptions(mode="lexical"), model="m")
