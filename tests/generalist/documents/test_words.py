from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from generalist.documents.words import Words
from generalist.types import GeneralistError

TEXTS = ["A dog sleeps. The dogs sleep.", "A cat sleeps on the mat.", "The car is red.", ""]


@pytest.fixture
def words(tmp_path: Path) -> Words:
    Words.build(TEXTS, tmp_path)
    return Words.open(tmp_path)


def test_scores_are_those_of_the_formula(words: Words) -> None:
    ((number, score),) = words.search(["the red CARS"], 10)[0]
    lengths = [4, 3, 2, 0]  # without stopwords
    rarity = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))
    norm = 0.9 * (1 - 0.4 + 0.4 * lengths[2] / (sum(lengths) / 4))
    assert number == 2
    assert score == pytest.approx(2 * rarity / (1 + norm), rel=1e-5)


def test_stems_count_and_stopwords_do_not(words: Words) -> None:
    assert [number for number, _ in words.search(["sleeping"], 10)[0]] == [0, 1]
    assert words.search(["the", "", "unicorn", "!?"], 10) == [[], [], [], []]
    assert len(words.search(["sleeping"], 1)[0]) == 1


def test_feedback_finds_what_has_none_of_the_words(tmp_path: Path) -> None:
    Words.build(["pump primer valve", "primer valve seal", "seal ring"], tmp_path)
    words = Words.open(tmp_path)
    assert [number for number, _ in words.search(["pump"], 10)[0]] == [0]
    (found,) = words.search_again(["pump"], [["pump primer valve"]], 10)
    assert [number for number, _ in found] == [0, 1]


def test_matches_are_placed_in_the_text(words: Words) -> None:
    found = words.matches("Do dogs sleep?", TEXTS[0])
    assert [(TEXTS[0][a:b]) for a, b, _ in found] == ["dog", "sleeps"]  # the rarer word first


@pytest.mark.parametrize("texts", [["", "the"], ["x"]], ids=["no words", "one letter"])
def test_texts_without_words(texts: list[str], tmp_path: Path) -> None:
    Words.build(texts, tmp_path)
    assert Words.open(tmp_path).search(["dog x the"], 10) == [[]]
    assert Words.open(tmp_path).documents == len(texts)


def test_no_index_of_words(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="cannot read the index of words"):
        Words.open(tmp_path)


def test_xquad_and_cranfield(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """A plain BM25 has 0.923 and 0.987 of the former's first and first five, and an nDCG@10 of 0.346 on the latter."""
    from generalist.documents import Collection, Searcher, SearchOptions, build_index
    from generalist.documents.evaluation import evaluate, read_task
    from generalist_datasets.corpora import open_corpus
    from generalist_datasets.records import Problems

    figures = {}
    for name in ("xquad", "cranfield"):
        corpus = open_corpus(shared_data(name))
        build_index(corpus.documents(Problems(strict=False)), tmp_path / name)
        searcher = Searcher(Collection.open(tmp_path / name))
        found = evaluate(searcher, read_task(corpus, name), SearchOptions(mode="lexical", most=100), model="m")
        figures[name] = {figure.name: figure.value for figure in found.result.figures["search"]}
    assert figures["xquad"]["Hits@1"] >= 0.923
    assert figures["xquad"]["Hits@5"] >= 0.987
    assert figures["cranfield"]["nDCG@10"] >= 0.346
