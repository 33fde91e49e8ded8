"""Checking a corpus of text with its queries and judgements."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from generalist_datasets.check.digests import digest
from generalist_datasets.check.pictures import split_name
from generalist_datasets.check.report import CorpusReport, Counts, findings
from generalist_datasets.corpora import Corpus, CorpusFormat
from generalist_datasets.records import Problems, Where


def check_corpus(form: CorpusFormat, path: Path) -> CorpusReport:
    """Read documents, queries and judgements, and report; :class:`GeneralistError` for what is no corpus at all."""
    problems = Problems(strict=False)
    corpus = form.open(path)
    lengths, documents = _documents(corpus, path, problems)
    if not lengths and not problems.errors:
        problems.error("nothing to read", Where(file=path), "there is no document")
    answers, queries = _queries(corpus, path, problems)
    judgements = _judgements(corpus, path, problems, documents, queries)
    return CorpusReport(
        path=str(path),
        format=form.name,
        summary=form.summary,
        documents=lengths.total(),
        queries=len(queries),
        answers=answers,
        judgements=Counts(total=judgements.total(), by_split=dict(judgements)),
        characters=_spread(lengths),
        findings=findings(problems),
    )


def _documents(corpus: Corpus, path: Path, problems: Problems) -> tuple[Counter[int], set[bytes]]:
    """How many documents have how many characters, and digests of their ids."""
    lengths: Counter[int] = Counter()
    ids: set[bytes] = set()
    texts: set[bytes] = set()
    for document in corpus.documents(problems):
        where = Where(file=path, entry=f"document {document.id[:100]!r}")
        lengths[len(document.text)] += 1
        ids.add(_key(document.id))
        text = _key(document.title, document.text)
        if not document.text.strip():
            problems.warn("empty text", where)
        elif text in texts:
            problems.warn("duplicate document", where, "its text is that of an earlier one")
        texts.add(text)
    return lengths, ids


def _queries(corpus: Corpus, path: Path, problems: Problems) -> tuple[int, set[bytes]]:
    """How many answers there are, and digests of the ids of the queries."""
    answers = 0
    ids: set[bytes] = set()
    for query in corpus.queries(problems):
        answers += len(query.answers)
        ids.add(_key(query.id))
        if not query.text.strip():
            problems.warn("empty text", Where(file=path, entry=f"query {query.id[:100]!r}"))
    return answers, ids


def _judgements(
    corpus: Corpus, path: Path, problems: Problems, documents: set[bytes], queries: set[bytes]
) -> Counter[str]:
    """Split -> judgements that can be used."""
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()
    for judgement in corpus.judgements(problems):
        where = Where(file=path, entry=f"judgement of query {judgement.query[:100]!r}")
        key = _key(judgement.split, judgement.query, judgement.document)
        if _key(judgement.query) not in queries:
            problems.error("unknown query id", where)
        elif _key(judgement.document) not in documents:
            problems.error("unknown document id", where, f"document {judgement.document[:100]!r}")
        elif key in seen:
            problems.warn("duplicate judgement", where, f"document {judgement.document[:100]!r}")
        else:
            counts[split_name(judgement.split)] += 1
        seen.add(key)
    return counts


def _key(*texts: str) -> bytes:
    return digest("\0".join(texts).encode(errors="surrogatepass"))


def _spread(lengths: Counter[int]) -> tuple[int, int, int] | None:
    """The shortest, the median and the longest."""
    passed = 0
    for length in sorted(lengths):
        passed += lengths[length]
        if 2 * passed >= lengths.total():
            return min(lengths), length, max(lengths)
    return None
