"""Folders of text, Markdown and PDF."""

from __future__ import annotations

from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets.corpora import CARDS, detect_corpus, open_corpus
from generalist_datasets.records import Document, Problems
from generalist_datasets.world.concepts import CONCEPTS


def pdf(text: str, title: str = "") -> bytes:
    """A PDF of one page that says ``text``."""
    content = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Title({title})>>".encode(),
    ]
    data, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(data)
    data += b"xref\n0 7\n0000000000 65535 f \n%s" % table
    return data + b"trailer<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF" % start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    (tmp_path / "plain.txt").write_text("One line.\r\nAnother.")
    (tmp_path / "more" / "notes.md").write_text("---\nlayout: x\n---\nIntro.\n\n## The *pump* ##\n\nText é.")
    (tmp_path / "more" / "sheet.PDF").write_bytes(pdf("Hello pages", "A sheet"))
    return tmp_path


def test_every_file_is_a_document(folder: Path) -> None:
    form = detect_corpus(folder)
    assert form is not None and form.name == "texts"
    corpus, problems = open_corpus(folder), Problems()
    assert list(corpus.documents(problems)) == [
        Document(id="plain.txt", text="One line.\nAnother.", title="plain"),
        Document(id="more/notes.md", text="Intro.\n\n## The *pump* ##\n\nText é.", title="The *pump*"),
        Document(id="more/sheet.PDF", text="Hello pages", title="A sheet"),
    ]
    assert not problems.counts
    assert list(corpus.queries(problems)) == list(corpus.judgements(problems)) == []


def test_one_file_will_do(folder: Path) -> None:
    for path in (folder / "more" / "notes.md", folder / "more" / "sheet.PDF"):
        assert [document.id for document in open_corpus(path).documents(Problems())] == [path.name]
    assert [d.id for d in open_corpus(folder / "plain.txt", "texts").documents(Problems())] == ["plain.txt"]


OTHERS = {
    "labels beside pictures": {"a.jpg": b"", "a.txt": b"0 0.5 0.5 1 1"},
    "a table beside notes": {"README.md": b"# x", "data.csv": b"a,b"},
    "TREC's judgements": {"qrels.txt": b"1 0 d1 1\n"},
    "nothing": {},
    "programs": {"a.py": b"x"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_not_text_alone_is_not_found(what: str, tmp_path: Path) -> None:
    for name, data in OTHERS[what].items():
        (tmp_path / name).write_bytes(data)
    assert detect_corpus(tmp_path) is None


BROKEN = {
    "cut.pdf": (pdf("Hello")[:200], "unreadable file"),  # without its table
    "none.pdf": (b"no PDF at all", "unreadable file"),
    "empty.md": (b" \n", "empty text"),
    "latin.txt": ("für".encode("latin-1"), "not UTF-8 text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_costs_only_itself(name: str, folder: Path) -> None:
    data, kind = BROKEN[name]
    (folder / name).write_bytes(data)
    problems = Problems(strict=False)
    found = {document.id for document in open_corpus(folder).documents(problems)}
    assert found - {name} == {"plain.txt", "more/notes.md", "more/sheet.PDF"}
    assert [(problem.kind, problem.where.file) for problem in problems.kept] == [(kind, folder / name)]


def test_strictly_a_broken_file_is_one_line(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    (folder / "none.pdf").write_bytes(b"no PDF at all")
    with pytest.raises(GeneralistError, match=r"none\.pdf: unreadable file"):
        list(open_corpus(folder).documents(Problems()))
    with pytest.raises(GeneralistError, match="no text, Markdown or PDF file there"):
        open_corpus(empty, "texts")


def test_cards_are_of_every_concept_and_called_as_a_model_calls_them() -> None:
    cards = list(open_corpus(CARDS).documents(Problems()))
    assert [card.id for card in cards] == [card.title for card in cards] == [concept.name for concept in CONCEPTS]
    assert all(card.text for card in cards)
