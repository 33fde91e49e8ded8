"""Only what exists is written; what is best comes out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from generalist.documents import Collection, delete_documents
from generalist.documents.asking import Question
from generalist.documents.beam import BeamOptions, write
from generalist.documents.models import ChatModel, Floats
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint
from generalist.pipeline import Line
from generalist.types import GeneralistError

from .conftest import DOCUMENTS, MadeUpModel, log_softmax, told

ASKED = [Question(text="Where is the dog?")]


def streams(collection: Collection) -> list[list[int]]:
    """The sentences and titles of an index, as tokens."""
    size, tokens = collection.index.base.vocabulary_size, collection.index.segments[0].tokens.tolist()
    return [list(part) for mark, part in itertools.groupby(tokens, lambda token: token >= size) if not mark]


def random_model(size: int, seed: int) -> MadeUpModel:
    def think(tokens: tuple[int, ...]) -> Floats:
        rng = np.random.default_rng([seed, *tokens])
        return log_softmax(rng.normal(scale=4, size=size).astype(np.float32))

    return MadeUpModel(think)


def test_whatever_is_thought_only_what_exists_is_written(small: Collection) -> None:
    """5,000 questions, each answered by other random logits at temperature 1.5."""
    automaton, size = small.automaton(), small.index.base.vocabulary_size
    held = {tuple(text[a : a + n]) for text in streams(small) for n in range(1, 11) for a in range(len(text) - n + 1)}
    rng = np.random.default_rng(0)

    def think(tokens: tuple[int, ...]) -> Floats:
        return rng.normal(scale=4, size=size).astype(np.float32)

    options = BeamOptions(width=1, length=10, temperature=1.5)
    found = write(MadeUpModel(think), automaton, ASKED * 5000, options)
    written = [one for search in found for one in search.written]
    assert len(found) == 5000 and all(search.written for search in found)
    assert {one.tokens for one in written} <= held
    assert len({one.tokens for one in written}) > 200
    titles = write(
        MadeUpModel(think), small.automaton("titles"), ASKED * 500, BeamOptions(width=2, temperature=1.5, length=12)
    )
    names = {tuple(tokens_of(small, document.title)) for document in DOCUMENTS if document.title}
    assert {one.tokens for search in titles for one in search.written if one.whole} == names


def tokens_of(collection: Collection, text: str) -> list[int]:
    return list(collection.tokenizer.encode(text, add_special_tokens=False).ids)


def test_deleted_documents_are_never_written(own: Path, small: Collection) -> None:
    delete_documents(own, ["dog"])
    rest = Collection.open(own)
    gone = {tuple(text) for text in streams(small)} - {tuple(text) for text in streams(rest)}
    model = random_model(small.index.base.vocabulary_size, 3)
    found = write(model, rest.automaton(), ASKED, BeamOptions(width=50, length=40))
    assert not gone & {one.tokens for one in found[0].written}
    wanted = tokens_of(small, " asleep")
    sure = MadeUpModel(told(wanted, small.index.base.vocabulary_size))
    for collection, there in ((small, True), (rest, False)):
        written = write(sure, collection.automaton(), ASKED, BeamOptions(width=2))[0].written
        assert (tuple(wanted) in {one.tokens for one in written}) is there


@pytest.mark.parametrize("width", [1, 3, 15, 1000])
def test_beams_are_the_best_of_each_length(width: int, small: Collection) -> None:
    automaton = small.automaton()
    model = random_model(small.index.base.vocabulary_size, 1)
    (search,) = write(model, automaton, ASKED, BeamOptions(width=width, length=3))
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for length in range(1, 4):
        longer = [
            (score + float(model.think(tokens)[token]), (*tokens, token))
            for score, tokens in beam
            for token in automaton.following(automaton.find(tokens)).tokens.tolist()
        ]
        beam = sorted(longer, reverse=True)[:width]
        found = {one.tokens: one.logprob for one in search.written if len(one.tokens) == length}
        assert found == pytest.approx({tokens: score for score, tokens in beam}, abs=1e-4)


def test_titles_count_their_end(small: Collection) -> None:
    title = tokens_of(small, "The cat")
    size = small.index.base.vocabulary_size
    model = MadeUpModel(told([*title, 5], size), end=5)
    (search,) = write(model, small.automaton("titles"), ASKED, BeamOptions(length=12))
    best = max((one for one in search.written if one.whole), key=lambda one: one.logprob)
    assert best.tokens == tuple(title)
    assert best.logprob == pytest.approx(0, abs=1e-3)
    assert all(one.logprob < -10 for one in search.written if one.tokens != best.tokens)


def test_draws_depend_on_the_seed_alone(small: Collection) -> None:
    model = random_model(small.index.base.vocabulary_size, 2)

    def drawn(seed: int) -> list[tuple[int, ...]]:
        options = BeamOptions(temperature=1.0, seed=seed)
        return [one.tokens for one in write(model, small.automaton(), ASKED, options)[0].written]

    assert drawn(1) == drawn(1) != drawn(2)


def test_questions_do_not_change_one_another(small: Collection, tiny_checkpoint: Checkpoint) -> None:
    parts = tiny_checkpoint
    engine = TransformersEngine(parts.model, parts.processor, parts.vocabulary)
    model = ChatModel(engine, Line(parts.vocabulary, {}))
    asked = [Question(text="Where?"), Question(text="Where is the red mug on the map?")]
    together = write(model, small.automaton(), asked, BeamOptions(width=4))
    for question, search in zip(asked, together, strict=True):
        (alone,) = write(model, small.automaton(), [question], BeamOptions(width=4))
        assert {one.tokens for one in alone.written} == {one.tokens for one in search.written}
        by_tokens = {one.tokens: one.logprob for one in alone.written}
        assert {one.tokens: one.logprob for one in search.written} == pytest.approx(by_tokens, abs=1e-3)


def test_nothing_asked(small: Collection) -> None:
    model = random_model(small.index.base.vocabulary_size, 1)
    assert write(model, small.automaton(), [], BeamOptions()) == []


@pytest.mark.parametrize("wrong", [{"width": 0}, {"width": 10**6}, {"length": 0}, {"length": 65}, {"temperature": -1}])
def test_options_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(GeneralistError, match=str(next(iter(wrong.values())))):
        BeamOptions(**wrong)  # type: ignore[arg-type]
