"""``generalist index``, ``search`` and ``eval --index`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generalist.cli import execute
from generalist.pipeline import shipped_models

needs_nano = pytest.mark.skipif("nano" not in shipped_models(), reason="the shipped checkpoint is absent")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of notes, beside which the user stands."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "pump.md").write_text("# The pump\n\nPrime the pump with water. Then open the valve.")
    (folder / "roof.txt").write_text("The roof leaks near the chimney.")
    monkeypatch.chdir(tmp_path)
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert execute(arguments) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert execute(arguments) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: ") and found.count("\n") == 1
    return found


@needs_nano
def test_an_index_from_building_to_deleting(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "2 documents" in said(capsys, "index", "build", "notes", "--out", "i")
    (notes.parent / "more.md").write_text("# Shed\n\nThe key of the shed.")
    facts = json.loads(said(capsys, "index", "add", "i", "more.md", "--json"))
    assert (facts["documents"], facts["segments"], facts["base"]) == (3, 2, "nano")
    assert facts["ids"] == ["pump.md", "roof.txt", "more.md"]
    said(capsys, "index", "delete", "i", "roof.txt")
    assert json.loads(said(capsys, "index", "info", "i", "--json"))["documents"] == 2
    assert "2 documents" in said(capsys, "index", "check", "i")
    assert "there is no document 'roof.txt'" in complaint(capsys, "index", "delete", "i", "roof.txt")


@needs_nano
def test_a_search_on_the_screen_and_as_json(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "index", "build", "notes", "--out", "i")
    shown = said(capsys, "search", "i", "How is the pump primed?", "--mode", "lexical")
    assert "pump.md" in shown and "Prime the pump" in shown
    hits = json.loads(said(capsys, "search", "i", "chimneys", "--json"))["hits"]
    assert [(hit["document_id"], hit["title"]) for hit in hits] == [("roof.txt", "roof")]
    assert hits[0]["evidence"][0]["text"] == "chimney"
    assert "nothing found" in said(capsys, "search", "i", "unicorn", "--mode", "lexical")
    generated = json.loads(said(capsys, "search", "i", "the pump", "--mode", "generative", "--beams", "3", "--json"))
    assert {hit["document_id"] for hit in generated["hits"]} <= {"pump.md", "roof.txt"}


@needs_nano
def test_figures_of_a_corpus(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = notes.parent / "beir"
    (corpus / "qrels").mkdir(parents=True)
    (corpus / "corpus.jsonl").write_text('{"_id": "a", "text": "A pump."}\n{"_id": "b", "text": "A roof."}\n')
    (corpus / "queries.jsonl").write_text('{"_id": "q", "text": "pumps"}\n{"_id": "t", "text": "roofs"}\n')
    (corpus / "qrels" / "test.tsv").write_text("q\ta\t1\n")
    (corpus / "qrels" / "train.tsv").write_text("t\tb\t1\n")
    said(capsys, "index", "build", "beir", "--out", "i")
    report = json.loads(said(capsys, "eval", "beir", "--index", "i", "--mode", "lexical", "--json", "--out", "out"))
    assert report["figures"]["search"][0]["value"] == 1
    assert report["answers"]["questions"] == 1
    assert (notes.parent / "out" / "beir-lexical.run").read_text().startswith("q Q0 a 1 ")
    assert json.loads((notes.parent / "out" / "beir-lexical.json").read_text())["suite"] == "beir"
    assert "Hits@1" in said(capsys, "eval", "beir", "--index", "i")
    assert json.loads(said(capsys, "index", "fit", "i", "beir", "--json"))["trust"] == 0


@needs_nano
def test_an_index_learns(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (notes / "shed.md").write_text("# Shed\n\nThe key of the shed hangs behind the old door.")
    said(capsys, "index", "build", "notes", "--out", "i")
    assert execute(("index", "train", "i", "--mode", "dense", "--steps", "2", "--rank", "2", "--json")) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert list(facts["bytes"]) == ["text", "words", "encoder", "vectors"] and all(facts["bytes"].values())
    assert "dense: 2 of 2 loss" in printed.err and "counts 0 beside words" in printed.err
    hits = json.loads(said(capsys, "search", "i", "the key", "--mode", "dense", "--json"))["hits"]
    assert {hit["document_id"] for hit in hits} == {"pump.md", "roof.txt", "shed.md"}
    assert "of vectors" in said(capsys, "index", "info", "i")
    said(capsys, "index", "build", "notes", "--out", "i", "--train", "--minutes", "0.001")
    facts = json.loads(said(capsys, "index", "info", "i", "--json"))
    assert list(facts["bytes"]) == ["text", "words", "generator"]


@needs_nano
def test_mistakes_of_learning_are_one_line(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "index", "build", "notes", "--out", "i")
    assert "nothing is learnt for mode 'lexical'" in complaint(capsys, "index", "train", "i", "--mode", "lexical")
    assert "--minutes is -1.0" in complaint(capsys, "index", "train", "i", "--minutes", "-1")
    assert "are for --queries-from" in complaint(capsys, "index", "train", "i", "--queries-model", "m")
    assert "give it with --queries-model" in complaint(capsys, "index", "train", "i", "--queries-from", "http://a/v1")
    assert "give the URL" in complaint(capsys, "index", "train", "i", "--queries-from", "a", "--queries-model", "m")
    assert "no index there" in complaint(capsys, "index", "train", "notes")
    assert "this index has no vectors" in complaint(capsys, "search", "i", "what?", "--mode", "dense")


@needs_nano
def test_mistakes_are_one_line(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "index", "build", "notes", "--out", "i")
    assert "no index there" in complaint(capsys, "search", "notes", "what?")
    assert "holds something else" in complaint(capsys, "index", "build", "notes", "--out", "notes")
    assert "no mode 'magic'" in complaint(capsys, "search", "i", "what?", "--mode", "magic")
    assert "the question is empty" in complaint(capsys, "search", "i", " ")
    assert "unknown model 'big'" in complaint(capsys, "search", "i", "what?", "--mode", "generative", "--model", "big")
    assert "give one with --image" in complaint(capsys, "search", "i", "what?", "--box", "1,2,3,4")
    assert "no such file" in complaint(capsys, "index", "add", "i", "nowhere")
    assert "name one with --index" in complaint(capsys, "eval", "notes", "--mode", "lexical")
    assert "no question there" in complaint(capsys, "eval", "notes", "--index", "i")
    assert "a search has one model" in complaint(
        capsys, "eval", "notes", "--index", "i", "--model", "a", "--model", "b"
    )
