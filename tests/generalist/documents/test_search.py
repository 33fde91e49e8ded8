"""Questions to hits in every mode."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generalist.documents import MODES, Collection, Searcher, SearchOptions, open_searcher
from generalist.documents.asking import Question
from generalist.documents.beam import write
from generalist.documents.build import set_trust
from generalist.documents.vectors import Floats, Vectors
from generalist.index.store import read_manifest
from generalist.index.writer import writing
from generalist.types import GeneralistError

from .conftest import DOCUMENTS, MadeUpModel, told


def thinking_of(collection: Collection, text: str) -> MadeUpModel:
    """A model that is sure of ``text``, and ends a title with token 5."""
    tokens = [*collection.tokenizer.encode(text, add_special_tokens=False).ids, 5]
    return MadeUpModel(told(tokens, collection.index.base.vocabulary_size), end=5)


def ids(found: list[list[object]]) -> list[list[str]]:
    return [[hit.document_id for hit in hits] for hits in found]  # type: ignore[attr-defined]


def test_generated_words_find_their_document(small: Collection) -> None:
    searcher = Searcher(small, partial(write, thinking_of(small, " is a mask")))
    (hits,) = searcher.search([Question(text="What is the map?")], SearchOptions(mode="generative"))
    best = hits[0]
    assert (best.document_id, best.title, best.text) == ("cat", "The cat", DOCUMENTS[1].text)
    for one in best.evidence:
        assert one.span is not None and best.text[slice(*one.span)] == one.text
    assert best.evidence[0].text in "is a mask"
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert json.loads(json.dumps(best.to_dict())).keys() == {"document_id", "title", "score", "text", "evidence"}


def test_the_question_chooses_what_a_hit_is(small: Collection) -> None:
    searcher = Searcher(small, partial(write, thinking_of(small, " sofa is red")))
    asked = [Question(text="Which?", granularity=one) for one in ("document", "passage", "sentence")]
    found = searcher.search(asked, SearchOptions(mode="generative"))
    assert [hits[0].text for hits in found] == [
        DOCUMENTS[0].text,
        "The dog is asleep on a sofa. A sofa is red.",
        "A sofa is red.",
    ]
    assert {hits[0].document_id for hits in found} == {"dog"}


def test_an_entity_is_found_by_its_title(small: Collection) -> None:
    searcher = Searcher(small, partial(write, thinking_of(small, "The cat")))
    (hits,) = searcher.search([Question(text="Who?", granularity="entity")], SearchOptions(mode="generative"))
    assert hits[0].document_id == "cat"
    assert hits[0].score == pytest.approx(1, abs=0.01)
    assert [(one.text, one.span) for one in hits[0].evidence] == [("The cat", None)]


def test_words_find_documents_without_a_model(small: Collection) -> None:
    (hits, none) = Searcher(small).search(
        [Question(text="boxes and points"), Question(text="unicorn")], SearchOptions(mode="lexical")
    )
    assert hits[0].document_id == "box/1"
    assert sorted(one.text for one in hits[0].evidence) == ["boxes", "point"]
    assert none == []


def test_feedback_reaches_further(small: Collection) -> None:
    asked = [Question(text="mask")]
    plain, further = (
        Searcher(small).search(asked, SearchOptions(mode="lexical", feedback=feedback)) for feedback in (False, True)
    )
    assert len(plain[0]) == 1 and further[0][0].document_id == plain[0][0].document_id


def test_a_generator_without_trust_changes_nothing(small: Collection) -> None:
    asked = [Question(text="Where is the mug?"), Question(text="12 boxes")]
    model = thinking_of(small, " is a mask")
    hybrid = Searcher(small, partial(write, model)).search(asked, SearchOptions(mode="hybrid"))
    assert ids(hybrid) == ids(Searcher(small).search(asked, SearchOptions(mode="lexical")))  # type: ignore[arg-type]
    assert model.questions == []


def test_a_trusted_generator_counts(own: Path) -> None:
    set_trust(own, 2.0)
    collection = Collection.open(own)
    searcher = Searcher(collection, partial(write, thinking_of(collection, " is a mask")))
    asked = [Question(text="Where is the mug?")]
    assert ids(Searcher(collection).search(asked, SearchOptions(mode="lexical"))) == [["dog"]]  # type: ignore[arg-type]
    (hits,) = searcher.search(asked, SearchOptions(mode="hybrid"))
    assert {"cat", "dog"} <= {hit.document_id for hit in hits}
    assert all(one.text in "is a mask" for hit in hits if hit.document_id == "cat" for one in hit.evidence)
    with pytest.raises(GeneralistError, match="the trust is -1"):
        set_trust(own, -1)


def test_where_words_find_nothing_the_generator_does(small: Collection) -> None:
    model = thinking_of(small, " is a mask")
    (hits,) = Searcher(small, partial(write, model)).search([Question(text="unicorn?")], SearchOptions())
    assert hits[0].document_id == "cat"


class Pointing:
    """An encoder in whose eyes every text is about one document."""

    def __init__(self, vectors: Vectors, document: int) -> None:
        self._vector = vectors.rows_of(document)[0]
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Floats:
        self.texts += texts
        return np.stack([self._vector] * len(texts))


@pytest.fixture
def dense(own: Path) -> Collection:
    """An index with made-up vectors."""
    rows = [np.eye(8, dtype=np.float32)[[k, k + 4]] for k in range(len(DOCUMENTS))]
    with writing(own) as writer:
        writer.commit(replace(read_manifest(own), vectors=writer.add("vectors", Vectors.of(rows).save)))
    return Collection.open(own)


def pointing(collection: Collection, document: int, model: MadeUpModel | None = None) -> tuple[Searcher, Pointing]:
    part = collection.index.manifest.vectors
    assert part is not None
    encoder = Pointing(Vectors.open(collection.index.folder / part.folder), document)
    return Searcher(collection, model and partial(write, model), lambda: encoder), encoder  # type: ignore[arg-type,return-value]


def test_vectors_find_documents_whatever_the_words(dense: Collection) -> None:
    searcher, _ = pointing(dense, 1)
    (hits,) = searcher.search([Question(text="boxes")], SearchOptions(mode="dense", most=2))
    assert (hits[0].document_id, hits[0].title, hits[0].text) == ("cat", "The cat", DOCUMENTS[1].text)
    assert hits[0].score == pytest.approx(1, abs=1e-3) and len(hits) == 2
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(GeneralistError, match="vectors are made of words"):
        searcher.search([Question(text="What?", images=(picture,))], SearchOptions(mode="dense"))


def test_vectors_count_in_hybrid_searches_as_far_as_they_are_trusted(dense: Collection) -> None:
    asked = [Question(text="Where is the mug?")]
    searcher, encoder = pointing(dense, 1)
    assert ids(searcher.search(asked, SearchOptions())) == [["dog"]]  # type: ignore[arg-type]
    assert encoder.texts == []
    set_trust(dense.index.folder, 0.0, 2.0)
    searcher, _ = pointing(Collection.open(dense.index.folder), 1)
    assert ids(searcher.search(asked, SearchOptions()))[0][:2] == ["dog", "cat"]  # type: ignore[arg-type]
    # Without what makes vectors of questions, and of pictures, the others search.
    alone = Searcher(Collection.open(dense.index.folder))
    assert ids(alone.search(asked, SearchOptions())) == [["dog"]]  # type: ignore[arg-type]


def test_where_words_find_nothing_vectors_do(dense: Collection) -> None:
    searcher, encoder = pointing(dense, 2, thinking_of(dense, " 12 boxes"))
    hits, others = searcher.search([Question(text="unicorn?"), Question(text="mug?")], SearchOptions())
    assert hits[0].document_id == "box/1" and [hit.document_id for hit in others] == ["dog"]
    assert encoder.texts == ["unicorn?"]


def test_an_index_without_vectors_says_how_to_make_them(small: Collection, dense: Collection) -> None:
    with pytest.raises(GeneralistError, match="no vectors; make them with `generalist index train"):
        Searcher(small).search([Question(text="a")], SearchOptions(mode="dense"))
    with pytest.raises(GeneralistError, match="no vectors; make them with"):
        open_searcher(small.index.folder).encoder  # noqa: B018
    with pytest.raises(GeneralistError, match="needs a model"):
        Searcher(dense).search([Question(text="a")], SearchOptions(mode="dense"))


def test_vectors_of_other_documents_are_damage(dense: Collection) -> None:
    folder = dense.index.folder
    with writing(folder) as writer:
        rows = [np.eye(8, dtype=np.float32)[[0]]]
        writer.commit(replace(read_manifest(folder), vectors=writer.add("vectors", Vectors.of(rows).save)))
    with pytest.raises(GeneralistError, match="damaged"):
        Searcher(Collection.open(folder), None, lambda: None).search(  # type: ignore[arg-type,return-value]
            [Question(text="a")], SearchOptions(mode="dense")
        )


def test_every_mode_takes_many_questions_and_keeps_to_the_number_of_hits(dense: Collection) -> None:
    searcher, _ = pointing(dense, 0, thinking_of(dense, " The"))
    for mode in MODES:
        found = searcher.search([Question(text="the dog on a sofa")] * 3, SearchOptions(mode=mode, most=1))
        assert [len(hits) for hits in found] == [1, 1, 1]
        assert searcher.search([], SearchOptions(mode=mode)) == []


MISTAKES = {
    "an empty question": (Question(text=" "), "lexical", "the question is empty"),
    "no Unicode": (Question(text="a\ud800"), "lexical", "not valid Unicode"),
    "an unknown granularity": (Question(text="a", granularity="word"), "generative", "no granularity 'word'"),  # type: ignore[arg-type]
    "a passage by words": (Question(text="a", granularity="passage"), "lexical", "finds whole documents"),
    "no model": (Question(text="a"), "generative", "needs a model"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_said_in_one_line(what: str, small: Collection) -> None:
    question, mode, message = MISTAKES[what]
    with pytest.raises(GeneralistError, match=message):
        Searcher(small).search([question], SearchOptions(mode=mode))


def test_options_out_of_range() -> None:
    with pytest.raises(GeneralistError, match="no mode 'magic'; use one of generative, lexical, dense, hybrid"):
        SearchOptions(mode="magic")
    with pytest.raises(GeneralistError, match="0 hits"):
        SearchOptions(most=0)


def test_an_image_needs_a_model_that_sees(small: Collection) -> None:
    from generalist.documents.asking import text_prompt

    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(GeneralistError, match="sees no images"):
        text_prompt(Question(text="What is this?", images=(picture,)), small.tokenizer)


def test_an_edited_array_is_an_error_and_no_crash(own: Path) -> None:
    collection = Collection.open(own)
    folder = own / collection.index.manifest.segments[0].folder
    model = thinking_of(collection, " is a mask")
    np.save(folder / "suffixes.npy", np.full(len(collection.index.segments[0].suffixes), 2**31 - 1, np.int32))
    searcher = Searcher(Collection.open(own), partial(write, model))
    with pytest.raises(GeneralistError, match="generalist index check"):
        searcher.search([Question(text="What?")], SearchOptions(mode="generative"))
