"""Questions that a language model writes: the server here says what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from generalist.documents import Collection
from generalist.documents.learning import written as module
from generalist.documents.learning.material import Material
from generalist.documents.learning.written import Writing, read_examples, written_pairs
from generalist.documents.words import Words
from generalist.types import GeneralistError

Answer = Callable[[dict[str, Any]], tuple[int, str]]


@contextmanager
def served(answer: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a server, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            status, content = answer(body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def says(text: str) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def about(body: dict[str, Any]) -> tuple[int, str]:
    """Two good questions, a bad one, and chatter."""
    animal = body["messages"][-1]["content"].split()[1]
    return says(
        f"1. When did the {animal} come?\n- Where does the {animal} sleep under a tree?\n\nWho wrote Hamlet?\nOk"
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


@pytest.fixture
def words(notes: Collection) -> Words:
    part = notes.index.manifest.words
    assert part is not None
    return Words.open(notes.index.folder / part.folder)


def test_questions_that_find_their_document_stay(
    material: Material, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    done: list[tuple[int, int]] = []
    with served(about) as (url, asked):
        pairs = written_pairs(
            Writing(url=url, model="m"), material, words, tmp_path / "w.jsonl",
            notice=lambda count, total: done.append((count, total)),
        )  # fmt: skip
    assert len(pairs) == 12 and not any("Hamlet" in pair.question for pair in pairs)
    assert pairs[0].question == "When did the fox come?"
    for pair in pairs:
        animal = pair.question.split()[3]
        sentence = material.sentences[pair.sentence]
        assert material.ids[sentence.document] == f"{animal}.md"
        assert ("tree" in sentence.text) == ("tree" in pair.question)
    assert done[-1] == (6, 6)
    first = asked[0]
    assert (first["path"], first["key"], first["model"]) == ("/v1/chat/completions", "Bearer mine", "m")
    assert [one["role"] for one in first["messages"]] == ["system", *["user", "assistant"] * 3, "user"]


def test_what_was_written_is_not_asked_for_again(material: Material, words: Words, tmp_path: Path) -> None:
    kept = tmp_path / "w.jsonl"
    with served(about) as (url, asked):
        writing = Writing(url=url, model="m")
        first = written_pairs(writing, material, words, kept)
        kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:4]) + '{"document": "be')
        assert written_pairs(writing, material, words, kept) == first
        assert len(asked) == 6 + 2


def test_a_few_documents_of_many(material: Material, words: Words, tmp_path: Path) -> None:
    with served(about) as (url, asked):
        pairs = written_pairs(Writing(url=url, model="m", most=2, each=1), material, words, tmp_path / "w.jsonl")
    assert len(asked) == 2 and len(pairs) == 2


def test_a_busy_server_is_asked_again(material: Material, words: Words, tmp_path: Path) -> None:
    answers = iter([(503, "busy"), (429, "busy")])
    with served(lambda body: next(answers, None) or about(body)) as (url, asked):
        assert len(written_pairs(Writing(url=url, model="m"), material, words, tmp_path / "w.jsonl")) == 12
    assert len(asked) == 8


MISTAKES: dict[str, tuple[Answer, str]] = {
    "an unknown model": (lambda body: (404, '{"error": "no\nsuch model"}'), "answered 404 .*no such model.*check"),
    "no JSON": (lambda body: (200, "<html>"), "the answer is no chat completion"),
    "another JSON": (lambda body: (200, '{"choices": []}'), "the answer is no chat completion"),
    "always busy": (lambda body: (503, "busy"), "answered 503"),
    "nothing useful": (lambda body: says("Who wrote Hamlet?"), "of 6 questions that m wrote none finds its document"),
    "nothing at all": (lambda body: (200, '{"choices": [{"message": {"content": null}}]}'), "of 0 questions"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_of_a_server_are_said_in_one_line(what: str, material: Material, words: Words, tmp_path: Path) -> None:
    answer, message = MISTAKES[what]
    with served(answer) as (url, _), pytest.raises(GeneralistError, match=message) as raised:
        written_pairs(Writing(url=url, model="m"), material, words, tmp_path / "w.jsonl")
    assert "\n" not in str(raised.value)


def test_nobody_there(material: Material, words: Words, tmp_path: Path) -> None:
    with served(about) as (url, _):
        pass
    with pytest.raises(GeneralistError, match=r"no answer .* check --queries-from"):
        written_pairs(Writing(url=url, model="m"), material, words, tmp_path / "w.jsonl")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "file:///etc", "model": "m"}, "--queries-from is 'file:///etc'; give the URL"),
        ({"url": "localhost:8000", "model": "m"}, "give the URL of an API"),
        ({"url": "http://a/v1", "model": ""}, "give it with --queries-model"),
        ({"url": "http://a/v1", "model": "m", "each": 0}, "0 questions of a document"),
    ],
)
def test_options_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(GeneralistError, match=message):
        Writing(**fields)


def test_examples_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "e.jsonl"
    file.write_text('{"text": "A", "question": "b?"}\n\n{"text": "C", "question": "d?", "more": 1}\n')
    assert read_examples(file) == (("A", "b?"), ("C", "d?"))
    for content in ("[]", '{"text": "A"}', "{", '{"text": "A", "question": ""}', "", '{"text": 1, "question": "a"}\n'):
        file.write_text(content)
        with pytest.raises(GeneralistError):
            read_examples(file)
    with pytest.raises(GeneralistError, match="cannot read the examples"):
        read_examples(tmp_path)
