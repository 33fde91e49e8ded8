"""SQuAD's json: real questions against json, version 2, broken entries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generalist.types import GeneralistError
from generalist_datasets.corpora import detect_corpus, open_corpus
from generalist_datasets.records import Judgement, Problems, Query


def test_xquad_against_json(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("xquad")
    form = detect_corpus(folder)
    assert form is not None and form.name == "squad"
    corpus, problems = open_corpus(folder), Problems()
    articles = json.loads((folder / "xquad.en.json").read_text())["data"]
    paragraphs = [(article, paragraph) for article in articles for paragraph in article["paragraphs"]]

    documents = list(corpus.documents(problems))
    assert [document.text for document in documents] == [paragraph["context"] for _, paragraph in paragraphs]
    assert [d.title.replace(" ", "_") for d in documents] == [article["title"] for article, _ in paragraphs]
    assert len({document.id for document in documents}) == 240

    queries = {query.id: query for query in corpus.queries(problems)}
    wanted = {question["id"]: question for _, paragraph in paragraphs for question in paragraph["qas"]}
    assert len(wanted) == 1190
    assert {id: (q.text, q.answers) for id, q in queries.items()} == {
        id: (q["question"], tuple(answer["text"] for answer in q["answers"])) for id, q in wanted.items()
    }

    text_of = {document.id: document.text for document in documents}
    judgements = list(corpus.judgements(problems))
    assert {judgement.query for judgement in judgements} == set(wanted)
    assert all(answer in text_of[j.document] for j in judgements for answer in queries[j.query].answers)
    assert not problems.counts


def question(id: Any = "q", text: Any = "What?", **more: Any) -> dict[str, Any]:
    return {"id": id, "question": text, "answers": [{"text": "x", "answer_start": 0}], **more}


def paragraph(*questions: Any, context: Any = "x y z") -> dict[str, Any]:
    return {"context": context, "qas": list(questions)}


def write(folder: Path, *paragraphs: Any, name: str = "train-v2.0.json") -> Path:
    content = {"version": "v2.0", "data": [{"title": "A_B", "paragraphs": list(paragraphs)}]}
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_a_question_that_cannot_be_answered_has_no_judgement(tmp_path: Path) -> None:
    impossible = question("q2", is_impossible=True, answers=[], plausible_answers=[{"text": "y", "answer_start": 2}])
    twice = [{"text": "x", "answer_start": 0}] * 3
    write(tmp_path, paragraph(question("q1", is_impossible=False, answers=twice), impossible))
    corpus = open_corpus(tmp_path)
    assert list(corpus.queries(Problems())) == [
        Query(id="q1", text="What?", answers=("x",)),
        Query(id="q2", text="What?"),
    ]
    assert list(corpus.judgements(Problems())) == [
        Judgement(query="q1", document="train-v2.0/0/0", relevance=1, split="train")
    ]


def test_two_files_are_two_splits_and_a_question_is_asked_once(tmp_path: Path) -> None:
    write(tmp_path, paragraph(question("q1")))
    write(tmp_path, paragraph(question("q1"), question("q2")), name="dev-v2.0.json")
    corpus, problems = open_corpus(tmp_path), Problems(strict=False)
    assert [document.id for document in corpus.documents(problems)] == ["dev-v2.0/0/0", "train-v2.0/0/0"]
    assert [query.id for query in corpus.queries(problems)] == ["q1", "q2"]
    assert problems.counts == {("error", "duplicate id"): 1}


BROKEN_QUESTIONS: list[tuple[str, Any]] = [
    ("wrong type", 3),  # a number for the question
    ("missing field", question(None)),  # no id
    ("wrong type", question(["q"])),  # a list for the id
    ("missing field", {"id": "q"}),  # no text
    ("wrong type", question(text={})),  # an object for the text
    ("wrong type", question(answers="x")),  # text for the answers
    ("wrong type", question(answers=["x"])),  # text for an answer
    ("missing field", question(answers=[{}])),  # an answer without text
    ("duplicate id", question("first")),  # the first one again
]


@pytest.mark.parametrize("at", range(len(BROKEN_QUESTIONS)))
def test_a_broken_question_costs_only_itself(tmp_path: Path, at: int) -> None:
    kind, broken = BROKEN_QUESTIONS[at]
    write(tmp_path, paragraph(question("first"), broken, question("last")))
    problems = Problems(strict=False)
    assert [query.id for query in open_corpus(tmp_path).queries(problems)] == ["first", "last"]
    assert [(p.kind, p.where.entry) for p in problems.kept] == [(kind, "data[0].paragraphs[0].qas[1]")]


BROKEN_PARAGRAPHS: list[tuple[str, Any]] = [
    ("wrong type", []),  # a list for the paragraph
    ("missing field", {"qas": []}),  # no text
    ("wrong type", paragraph(context=3)),  # a number for the text
    ("wrong type", {"context": "x", "qas": {}}),  # an object for the questions
]


@pytest.mark.parametrize("at", range(len(BROKEN_PARAGRAPHS)))
def test_a_broken_paragraph_costs_only_itself_and_its_questions(tmp_path: Path, at: int) -> None:
    kind, broken = BROKEN_PARAGRAPHS[at]
    write(tmp_path, paragraph(question("q1")), broken, paragraph(question("q2")))
    corpus, problems = open_corpus(tmp_path), Problems(strict=False)
    assert len(list(corpus.documents(problems))) == len(list(corpus.queries(problems))) == 2
    assert [(p.kind, p.where.entry) for p in problems.kept] == [(kind, "data[0].paragraphs[1]")]


BROKEN_FILES = [
    b'{"data": [{"paragraphs": [',  # cut off
    b'{"data": [3, {"paragraphs": 3}]}',  # wrong types
    b'{"data": {"paragraphs": []}}',  # an object for the list
    b'{"data": [' + b"[" * 100_000,  # nested deeper than any parser goes
    b'{"data": [{"paragraphs": ["\xff"]}]}',  # not UTF-8
    b'{"data": [{"paragraphs": ["\\ud800"]}]}',  # half a character
    b"",  # nothing
]


@pytest.mark.parametrize("content", BROKEN_FILES, ids=lambda content: repr(content[:30]))
def test_a_broken_file_is_reported(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "train.json"
    file.write_bytes(content)
    corpus, problems = open_corpus(file, "squad"), Problems(strict=False)
    assert list(corpus.documents(problems)) == []
    assert problems.errors
    assert list(corpus.queries(problems)) == list(corpus.judgements(problems)) == []


def test_other_json_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data": [{"text": "x"}]}')
    assert detect_corpus(tmp_path) is None
    with pytest.raises(GeneralistError, match="no SQuAD json there"):
        open_corpus(tmp_path, "squad")
