"""BEIR's layout, generated, against json; and broken lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets.corpora import detect_corpus, open_corpus
from generalist_datasets.records import Document, Judgement, Problems, Query

CORPUS = [
    {"_id": "d1", "title": "One", "text": "first text", "metadata": {"url": "x"}},
    {"_id": 2, "text": "zweiter Text é"},
    {"_id": "d3", "title": None, "text": ""},
]
QUERIES = [{"_id": "q1", "text": "what?"}, {"_id": "q2", "text": "who?", "metadata": {}}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, entries in (("corpus", CORPUS), ("queries", QUERIES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (tmp_path / "qrels").mkdir()
    header = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "qrels" / "test.tsv").write_bytes(f"{header}q1\td1\t2\r\nq1\t2\t0\r\n".encode())
    (tmp_path / "qrels" / "dev.tsv").write_text("q2\td 3\t-1\n")  # without a header, spaces in an id
    return tmp_path


def test_documents_queries_and_judgements(folder: Path) -> None:
    for path in (folder, folder / "corpus.jsonl"):
        form = detect_corpus(path)
        assert form is not None and form.name == "beir"
        corpus, problems = open_corpus(path), Problems()
        assert list(corpus.documents(problems)) == [
            Document(id="d1", text="first text", title="One"),
            Document(id="2", text="zweiter Text é"),
            Document(id="d3", text=""),
        ]
        assert list(corpus.queries(problems)) == [Query(id="q1", text="what?"), Query(id="q2", text="who?")]
        assert list(corpus.judgements(problems)) == [
            Judgement(query="q2", document="d 3", relevance=-1, split="dev"),
            Judgement(query="q1", document="d1", relevance=2, split="test"),
            Judgement(query="q1", document="2", relevance=0, split="test"),
        ]
        assert not problems.counts


def test_only_the_corpus_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}')
    corpus = open_corpus(tmp_path)
    assert list(corpus.queries(Problems())) == list(corpus.judgements(Problems())) == []


BROKEN_DOCUMENTS = {
    '{"text": "x"}': "missing field",  # no id
    '{"_id": "", "text": "x"}': "missing field",  # an empty id
    '{"_id": ["a"], "text": "x"}': "wrong type",  # a list for the id
    '{"_id": true, "text": "x"}': "wrong type",  # a truth value for the id
    '{"_id": "n"}': "missing field",  # no text
    '{"_id": "n", "text": 3}': "wrong type",  # a number for the text
    '{"_id": "d1", "text": "x"}': "duplicate id",  # the first one again
    "[]": "wrong type",  # a list
    "{": "not valid JSON",  # cut off
}


@pytest.mark.parametrize("line", BROKEN_DOCUMENTS)
def test_a_broken_document_costs_only_itself(folder: Path, line: str) -> None:
    with (folder / "corpus.jsonl").open("a") as file:
        file.write(f'{line}\n{{"_id": "last", "text": "x"}}\n')
    problems = Problems(strict=False)
    assert [document.id for document in open_corpus(folder).documents(problems)] == ["d1", "2", "d3", "last"]
    assert [(p.kind, p.where.entry) for p in problems.kept] == [(BROKEN_DOCUMENTS[line], "line 4")]


BROKEN_JUDGEMENTS = {
    "q1\td1": "line with the wrong number of values",  # no score
    "q1 0 d1 1": "line with the wrong number of values",  # TREC's form
    "q1\td1\t1.5": "not a number",  # no grade
    "q1\td1\tinf": "not a number",  # infinite
    "q1\td1\t" + "9" * 5000: "not a number",  # larger than any grade
}


@pytest.mark.parametrize("line", BROKEN_JUDGEMENTS, ids=lambda line: line[:12])
def test_a_broken_judgement_costs_only_itself(folder: Path, line: str) -> None:
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{line}\nq1\td1\t1\n")
    (folder / "qrels" / "dev.tsv").unlink()
    problems = Problems(strict=False)
    assert len(list(open_corpus(folder).judgements(problems))) == 1
    assert [(p.kind, p.where.entry) for p in problems.kept] == [(BROKEN_JUDGEMENTS[line], "line 2")]


def test_what_is_no_corpus_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"text": "no ids here"}')
    assert detect_corpus(tmp_path) is None
    assert detect_corpus(tmp_path / "missing") is None
    with pytest.raises(GeneralistError, match="no known corpus; name its format: beir, squad, trec"):
        open_corpus(tmp_path)
    with pytest.raises(GeneralistError, match="there is no corpus format 'bier'"):
        open_corpus(tmp_path, "bier")
    with pytest.raises(GeneralistError, match="no such file or folder"):
        open_corpus(tmp_path / "missing")
    with pytest.raises(GeneralistError, match=r"no corpus\.jsonl there"):
        open_corpus(tmp_path / "..", "beir")
