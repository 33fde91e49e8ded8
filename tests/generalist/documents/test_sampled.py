"""The index as a constraint of requests: engines without beams write only what exists, too."""

from __future__ import annotations

from functools import partial

import pytest

from generalist.documents import Collection, Searcher, SearchOptions
from generalist.documents.asking import Question
from generalist.documents.beam import BeamOptions
from generalist.documents.sampled import write_with_engine
from generalist.engine.scripted import ScriptedEngine
from generalist.engine.transformers_engine import TransformersEngine
from generalist.identifiers import TITLES, load_identifiers
from generalist.model import Checkpoint
from generalist.pipeline import Line
from generalist.tokens import DOC_CLOSE, DOC_OPEN
from generalist.types import GeneralistError

from .conftest import DOCUMENTS

ASKED = [Question(text="Where is the dog?"), Question(text="What is red?")]


@pytest.mark.parametrize("what", ["ngrams", "titles"])
def test_the_engine_writes_only_what_exists(what: str, small: Collection, tiny_checkpoint: Checkpoint) -> None:
    engine = TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)
    automaton = small.automaton(what)  # type: ignore[arg-type]
    asked = [Question(text=one.text, granularity="entity" if what == "titles" else "document") for one in ASKED]
    options = BeamOptions(width=8, length=12, temperature=1.5)
    line = Line(tiny_checkpoint.vocabulary, {})
    found = write_with_engine(engine, line, small.index.folder, automaton, asked, options)
    for search in found:
        assert len(search.written) >= 2
        assert all(automaton.find(one.tokens) == one.state and one.logprob < 0 for one in search.written)
    if what == "titles":
        titles = {document.title for document in DOCUMENTS}
        assert {
            small.tokenizer.decode(list(one.tokens)) for search in found for one in search.written if one.whole
        } <= titles
        assert any(one.whole for search in found for one in search.written)


def test_replies_are_read_as_ngrams(small: Collection, tiny_checkpoint: Checkpoint) -> None:
    vocabulary = tiny_checkpoint.vocabulary
    opened, closed = vocabulary.structure[DOC_OPEN], vocabulary.structure[DOC_CLOSE]
    words = vocabulary.encode_text(" a mask")
    engine = ScriptedEngine([[opened, *words, closed], [opened, *words[:1]], []])
    draw = partial(write_with_engine, engine, Line(vocabulary, {}), small.index.folder)
    (search,) = draw(small.automaton(), ASKED[:1], BeamOptions(width=3))
    assert [one.tokens for one in search.written] == [tuple(words[:count]) for count in range(1, len(words) + 1)]
    assert search.written[-1].logprob == pytest.approx(-0.1 * len(words))
    assert [sampling.seed for sampling in engine.samplings] == [0, 1, 2]
    hits = Searcher(small, draw).search(ASKED[:1], SearchOptions(mode="generative"))
    assert hits[0][0].document_id == "cat"


def test_an_index_stands_for_its_identifiers(small: Collection) -> None:
    folder = str(small.index.folder)
    for path, what in ((folder, "ngrams"), (f"{folder}{TITLES}", "titles")):
        found = load_identifiers(path)
        assert found.what == what  # type: ignore[union-attr]
        assert load_identifiers(path) is found
    with pytest.raises(GeneralistError, match="cannot read the identifiers"):
        load_identifiers(f"{folder}-other{TITLES}")
