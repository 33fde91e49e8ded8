"""What a check says of a corpus of text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets.check import CorpusReport, check


def write_beir(folder: Path, documents: Sequence[tuple[str, str]], judged: Sequence[tuple[str, str]]) -> Path:
    """A corpus with two queries, q1 and q2, the second one empty."""
    (folder / "qrels").mkdir(parents=True)
    entries = [json.dumps({"_id": id, "title": "", "text": text}) for id, text in documents]
    (folder / "corpus.jsonl").write_text("\n".join(entries))
    queries = [json.dumps({"_id": id, "text": text}) for id, text in (("q1", "Who?"), ("q2", " "))]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    lines = ["query-id\tcorpus-id\tscore", *(f"{query}\t{document}\t1" for query, document in judged)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    return folder


def found(report: CorpusReport) -> dict[str, tuple[str, int]]:
    return {finding.kind: (finding.severity, finding.count) for finding in report.findings}


def test_counts_and_defects(tmp_path: Path) -> None:
    documents = [("a", "one text"), ("b", "another text"), ("c", "one text"), ("d", " ")]
    judged = [("q1", "a"), ("q1", "a"), ("q1", "z"), ("q9", "a"), ("q2", "b")]
    report = check(write_beir(tmp_path, documents, judged))
    assert isinstance(report, CorpusReport) and report.format == "beir"
    assert (report.documents, report.queries, report.characters) == (4, 2, (1, 8, 12))
    assert report.judgements.by_split == {"test": 2}
    assert found(report) == {
        "unknown document id": ("error", 1),
        "unknown query id": ("error", 1),
        "empty text": ("warning", 2),
        "duplicate document": ("warning", 1),
        "duplicate judgement": ("warning", 1),
    }
    assert not report.usable and report.to_dict()["errors"] == 2
    (unknown,) = (f.examples[0] for f in report.findings if f.kind == "unknown document id")
    assert unknown.entry == "judgement of query 'q1'" and unknown.detail == "document 'z'"


def test_a_sound_corpus_is_usable_and_an_empty_one_is_not(tmp_path: Path) -> None:
    assert check(write_beir(tmp_path / "sound", [("a", "one text")], [("q1", "a")])).usable
    empty = write_beir(tmp_path / "empty", [], [])
    report = check(empty, "beir")
    assert not report.usable and found(report)["nothing to read"] == ("error", 1)


def test_a_format_of_corpora_can_be_named(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="SQuAD"):
        check(write_beir(tmp_path, [("a", "one text")], []), "squad")


@pytest.mark.parametrize("name, documents, queries, judgements", [
    ("xquad", 240, 1190, 1190), ("cranfield", 1400, 225, 1837),
])  # fmt: skip
def test_real_corpora(
    shared_data: Callable[[str], Path], name: str, documents: int, queries: int, judgements: int
) -> None:
    report = check(shared_data(name))
    assert isinstance(report, CorpusReport) and report.usable
    assert (report.documents, report.queries, report.judgements.total) == (documents, queries, judgements)
