"""What the tab of documents shows: excerpts with the words that speak for a hit, whatever a server says of them."""

from __future__ import annotations

import pytest

from generalist_serving.client import DocumentHit, Evidence, StoreInfo
from generalist_serving.demo.documents import views

BOTH = StoreInfo(id="cards", name="cards", documents=3, modes=("hybrid", "lexical", "generative"), images=True)
WORDS = StoreInfo(id="w", name="w", documents=1, modes=("lexical",), images=False)
LONG = "".join(f"Sentence {number:03} is here. " for number in range(60))


def hit(text: str, *spans: tuple[int, int] | None, title: str = "T", score: float = 2.0) -> DocumentHit:
    evidence = tuple(
        Evidence(text="speaks" if span is None else text[slice(*span)], span=span, score=1.0) for span in spans
    )
    return DocumentHit(document_id="d/1", title=title, text=text, score=score, evidence=evidence)


def shown(*hits: DocumentHit) -> list[dict[str, object]]:
    found: list[dict[str, object]] = views.hits(BOTH, hits, question="what?")["hits"]
    return found


def words(pieces: object) -> str:
    assert isinstance(pieces, list)
    return "".join(f"[{one['text']}]" if one["mark"] else one["text"] for one in pieces)


def test_evidence_is_marked_and_what_touches_is_one() -> None:
    (one,) = shown(hit("The dog is asleep 🐕 here.", (4, 7), (5, 10), (18, 19)))
    assert words(one["excerpt"]) == "The [dog is] asleep [🐕] here."
    assert one["whole"] == [] and words(one["title"]) == "T" and (one["id"], one["score"]) == ("d/1", 2.0)


@pytest.mark.parametrize("span", [(5, 5), (7, 4), (-3, 2), (0, 999)])
def test_spans_that_do_not_fit_lose_no_words(span: tuple[int, int]) -> None:
    (one,) = shown(hit("The dog.", span))
    assert words(one["excerpt"]) == "The dog."


def test_a_long_text_is_shown_from_before_its_evidence_on() -> None:
    at = LONG.index("Sentence 030")
    (one,) = shown(hit(LONG, (at, at + 12)))
    excerpt = words(one["excerpt"])
    assert excerpt.startswith("… ") and excerpt.endswith(" …") and "[Sentence 030]" in excerpt and len(excerpt) < 450
    assert words(one["whole"]).replace("[", "").replace("]", "") == LONG


@pytest.mark.parametrize("span", [(0, 8), (len(LONG) - 6, len(LONG))])
def test_evidence_at_an_end_of_a_long_text_is_in_the_excerpt(span: tuple[int, int]) -> None:
    (one,) = shown(hit(LONG, span))
    assert f"[{LONG[slice(*span)]}]" in words(one["excerpt"])


def test_words_of_a_title_are_marked_in_it_or_told_beside_the_text() -> None:
    inside, beside = shown(hit("A text.", None, None, title="It speaks"), hit("A text.", None, None, title="Silent"))
    assert (words(inside["title"]), inside["title_evidence"]) == ("It [speaks]", [])
    assert (words(beside["title"]), beside["title_evidence"]) == ("Silent", ["speaks"])
    assert words(beside["excerpt"]) == "A text."


def test_a_document_without_a_title_has_its_id_alone() -> None:
    for one in shown(hit("a", title="d/1"), hit("b", title="")):
        assert (words(one["title"]), one["id"]) == ("d/1", "")


def test_bars_compare_with_the_best() -> None:
    assert [one["share"] for one in shown(hit("a", score=4), hit("b", score=1), hit("c", score=-1))] == [1, 0.25, 0]
    assert [one["share"] for one in shown(hit("a", score=0.0))] == [0]


def test_how_many_were_found() -> None:
    assert views.status([hit("a")], "a dog", 0.25) == "1 hit for “a dog” in 0.2 s."
    assert views.status([], "a dog", 1) == "Nothing was found for “a dog” in 1.0 s."
    assert not views.hits(WORDS)["asked"] and views.hits(WORDS, [])["asked"]
    assert views.failure(WORDS, "It is busy.")["status"] == "It is busy."


def test_menus_offer_what_the_index_can() -> None:
    assert [mode for _, mode in views.mode_choices(BOTH)] == ["", "hybrid", "lexical", "generative"]
    assert [find for _, find in views.find_choices(BOTH)] == ["document", "passage", "sentence", "entity"]
    assert views.find_choices(WORDS) == [("Documents", "document")]
    assert views.store_choices([BOTH, WORDS]) == [("cards (3)", "cards"), ("w (1)", "w")]
    assert views.hits(BOTH)["pictures"] and not views.hits(WORDS)["pictures"]
