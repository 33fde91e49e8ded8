"""TREC's layout: the Cranfield collection against other parsers, TREC's own looser forms, broken files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import ir_measures
import pytest

from generalist.types import GeneralistError
from generalist_datasets.corpora import detect_corpus, open_corpus, trec
from generalist_datasets.records import Problems


def squeeze(text: str | None) -> str:
    return " ".join((text or "").split())


def test_cranfield_against_an_xml_parser_and_ir_measures(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("cranfield")
    form = detect_corpus(folder)
    assert form is not None and form.name == "trec"
    corpus, problems = open_corpus(folder), Problems()

    root = ElementTree.fromstring(f"<all>{(folder / 'cran.all.1400.xml').read_text()}</all>")
    wanted = [tuple(squeeze(doc.findtext(tag)) for tag in ("docno", "title", "text")) for doc in root]
    documents = list(corpus.documents(problems))
    assert [(d.id, d.title, squeeze(d.text)) for d in documents] == wanted
    assert len(documents) == 1400

    assert {(j.query, j.document, j.relevance) for j in corpus.judgements(problems)} == {
        (q.query_id, q.doc_id, q.relevance) for q in ir_measures.read_trec_qrels(str(folder / "cranqrel.trec.txt"))
    }
    assert len(list(corpus.judgements(problems))) == 1837

    topics = ElementTree.parse(folder / "cran.qry.xml").getroot()
    queries = list(corpus.queries(problems))
    assert [query.text for query in queries] == [squeeze(top.findtext("title")) for top in topics]
    # topics are numbered 1, 2, 4, 8 ... and judgements count 1 to 225
    assert [query.id for query in queries] == [str(number) for number in range(1, 226)]
    assert problems.counts == {("warning", "topics numbered otherwise than judgements"): 1}


DOCUMENTS = b"""<DOC>
<DOCNO> AP-1 </DOCNO><HEAD>ignored</HEAD>
<HEADLINE>Fish &amp; chips</HEADLINE>
<TEXT>
One <B>two</B> & three < four.
</TEXT>
<TEXT>Five.</TEXT>
</DOC>
<doc><docno>AP-2</docno>no text element</doc>
"""
TOPICS = b"""<top>
<num> Number: 301
<title> Topic: International Organized Crime

<desc> Description:
Identify organizations.
</top>
<top><num>302</num><title></title><desc>Only this.</desc></top>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "ap").write_bytes(DOCUMENTS)
    (tmp_path / "topics.txt").write_bytes(TOPICS)
    (tmp_path / "qrels.txt").write_bytes(b"301 0 AP-1 1\r\n302\tQ0\tAP-2\t-2\n\n")
    (tmp_path / "README.md").write_text("```\n<doc>\n")
    return tmp_path


def test_the_looser_forms_of_trec(folder: Path) -> None:
    corpus, problems = open_corpus(folder), Problems()
    documents = [(d.id, d.title, squeeze(d.text)) for d in corpus.documents(problems)]
    assert documents == [
        ("AP-1", "Fish & chips", "One two & three < four. Five."),
        ("AP-2", "", "no text element"),
    ]
    queries = [(query.id, query.text) for query in corpus.queries(problems)]
    assert queries == [("301", "International Organized Crime"), ("302", "Only this.")]
    judgements = [(j.query, j.document, j.relevance) for j in corpus.judgements(problems)]
    assert judgements == [("301", "AP-1", 1), ("302", "AP-2", -2)]
    assert not problems.counts


def test_a_file_of_documents_can_be_named(folder: Path) -> None:
    corpus = open_corpus(folder / "disk" / "ap")
    assert len(list(corpus.documents(Problems()))) == 2
    assert list(corpus.queries(Problems())) == []


@pytest.mark.parametrize(
    "qrels",
    [
        "1 0 AP-1 1\n",  # one of two topics is judged
        "301 0 AP-1 1\n302 0 AP-1 1\n",  # numbered as the topics are
        "301 0 AP-1 1\n303 0 AP-1 1\n",  # not counted from 1
        "",  # none
    ],
)
def test_topics_keep_their_numbers_unless_judgements_count_all_of_them(folder: Path, qrels: str) -> None:
    (folder / "qrels.txt").write_text(qrels)
    assert [query.id for query in open_corpus(folder).queries(Problems())] == ["301", "302"]


def test_topics_in_the_order_of_counted_judgements(folder: Path) -> None:
    (folder / "qrels.txt").write_text("2 0 AP-1 1\n1 0 AP-2 1\n")
    problems = Problems()
    assert [query.id for query in open_corpus(folder).queries(problems)] == ["1", "2"]
    assert problems.warnings == 1


BROKEN = {
    b"<DOC>no number</DOC>": ("error", "missing field"),  # no DOCNO
    b"<DOC><DOCNO></DOCNO></DOC>": ("error", "missing field"),  # an empty one
    b"<DOC><DOCNO>AP-1</DOCNO></DOC>": ("error", "duplicate id"),  # the first one again
    b"<DOC><DOCNO>L</DOCNO><TEXT>caf\xe9</TEXT></DOC>": ("warning", "not UTF-8 text"),  # Latin-1
}


@pytest.mark.parametrize("element", BROKEN)
def test_a_broken_document_is_reported_with_its_number(folder: Path, element: bytes) -> None:
    (folder / "disk" / "ap").write_bytes(DOCUMENTS + element + b"<DOC><DOCNO>last</DOCNO></DOC>")
    problems = Problems(strict=False)
    documents = list(open_corpus(folder).documents(problems))
    assert documents[-1].id == "last"
    assert [(p.severity, p.kind) for p in problems.kept] == [BROKEN[element]]
    assert problems.kept[0].where.entry == "doc 3"
    if BROKEN[element][0] == "warning":
        assert documents[-2].text == "café"


def test_a_document_without_an_end_is_an_error_and_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "disk" / "ap").write_bytes(DOCUMENTS + b"<DOC><DOCNO>x</DOCNO>" + b"y " * 2_000_000)
    for limit in (1 << 20, 1 << 30):
        monkeypatch.setattr(trec, "LONGEST", limit)
        problems = Problems(strict=False)
        assert len(list(open_corpus(folder).documents(problems))) == 2
        assert [p.kind for p in problems.kept] == ["element without an end"]


def test_a_broken_judgement_costs_only_itself(folder: Path) -> None:
    (folder / "qrels.txt").write_bytes(b"301 0 AP-1 1\n301 0 AP-1\n301 0 AP-2 x\n301 0 AP-\xff 1\n302 0 AP-2 1\n")
    problems = Problems(strict=False)
    assert len(list(open_corpus(folder).judgements(problems))) == 2
    assert [(p.kind, p.where.entry) for p in problems.kept] == [
        ("line with the wrong number of values", "line 2"),
        ("not a number", "line 3"),
        ("not UTF-8 text", "line 4"),
    ]


def test_a_folder_without_documents_is_no_corpus(folder: Path) -> None:
    (folder / "disk" / "ap").unlink()
    assert detect_corpus(folder) is None
    with pytest.raises(GeneralistError, match="no file there begins with <DOC>"):
        open_corpus(folder, "trec")
