"""Replies that name documents: of an open index, and of nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from generalist.decoders.box import BoxDecoder
from generalist.documents import DocumentIndex, add_documents, build_index, delete_documents
from generalist.engine.rows import Row
from generalist.engine.scripted import ScriptedEngine
from generalist.engine.transformers_engine import TransformersEngine
from generalist.hub_line import HubLine
from generalist.identifiers import TITLES
from generalist.index import open_index
from generalist.model import Checkpoint
from generalist.pipeline import Generalist, Line
from generalist.tokens import DOC_CLOSE, PHRASE_CLOSE, PHRASE_OPEN, UNIT_OPEN, Vocabulary
from generalist.types import Box, ChatRequest, DocHit, GeneralistError, Grounded, Likeliest, Message, Sampling
from generalist_datasets.records import Document

from .conftest import DOCUMENTS

PICTURE = Image.new("RGB", (64, 64), (90, 90, 90))
CARDS = (
    Document(id="1", title="dog", text="A dog barks.\n\nIt is on the sofa."),
    Document(id="2", title="dog house", text="A house of a dog."),
    Document(id="3", title="Größe", text=""),
)
DOG = "A <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0000><loc_0000><loc_0063><loc_0063>), "

Ids = Callable[[str], list[int]]


@pytest.fixture(scope="module")
def cards(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> DocumentIndex:
    """Documents with titles of their own. Shared: do not change it."""
    folder = tmp_path_factory.mktemp("cards") / "cards"
    build_index(CARDS, folder, base=tiny_checkpoint.folder)
    return DocumentIndex.open(folder)


@pytest.fixture
def own_cards(cards: DocumentIndex, tmp_path: Path) -> DocumentIndex:
    return DocumentIndex.open(shutil.copytree(cards.folder, tmp_path / "own"))


def says(vocab: Vocabulary, reply: Sequence[int]) -> Generalist:
    return Generalist(ScriptedEngine([reply]), Line(vocab, {"box": BoxDecoder(vocab)}))


def named(*identifiers: str) -> str:
    refs = "".join(f"[{k}]<doc>{identifier}</doc>" for k, identifier in enumerate(identifiers))
    return f"<Phrase>card</Phrase>(<Unit>doc</Unit>{refs})"


def documents(vocab: Vocabulary, ids: Ids, index: DocumentIndex, *identifiers: str) -> list[str]:
    """The ids of the documents that these identifiers name."""
    answer = says(vocab, ids(named(*identifiers))).ask(PICTURE, "Which?", index=index)
    return [hit.doc_id for hit in answer.documents]


def test_a_reply_has_boxes_and_documents(vocab: Vocabulary, ids: Ids, cards: DocumentIndex) -> None:
    model = says(vocab, ids(DOG + named("dog")))
    answer = model.ask(PICTURE, "Which card describes this?", index=cards)
    assert answer.text == "A dog, card" and len(answer.boxes) == 1 and answer.issues == ()
    (hit,) = answer.documents
    assert (hit.doc_id, hit.title, hit.text) == ("1", "dog", "A dog barks.\n\nIt is on the sofa.")
    assert hit.score == pytest.approx(np.exp(-0.2)) and hit.evidence is None
    entry = answer.to_visual()[1]
    assert (entry["type"], entry["document_id"], entry["label"], entry["span"]) == ("document", "1", "card", [7, 11])
    assert entry["evidence"] == [{"text": "dog", "span": None}]
    streamed = [one for one in model.stream(PICTURE, "Which?", index=cards) if isinstance(one, Grounded)]
    assert [type(one.output) for one in streamed] == [Box, DocHit]
    assert model.chat([Message(role="user", text="Which?")], index=cards).documents[0].doc_id == "1"


def test_a_title_is_the_whole_title(vocab: Vocabulary, ids: Ids, cards: DocumentIndex) -> None:
    assert cards.identifiers == f"{cards.folder}{TITLES}"
    assert documents(vocab, ids, cards, "dog house", "dog", "Größe") == ["2", "1", "3"]
    assert documents(vocab, ids, cards, "do", "dog hous", "cat", "A dog barks.", "dog house ") == []


def test_words_name_a_text_where_titles_do_not(vocab: Vocabulary, ids: Ids, _built: Path) -> None:
    index = DocumentIndex.open(_built)  # one document of it has no title
    assert index.identifiers == str(_built)
    answer = says(vocab, ids(named(" asleep on a", " red", "nothing of it"))).ask(None, "Which?", index=index)
    assert [hit.doc_id for hit in answer.documents] == ["dog", "dog"]
    text = answer.documents[0].text
    assert [text[slice(*hit.evidence)] for hit in answer.documents if hit.evidence] == ["asleep on a", "red"]
    assert [one.ref for one in answer.outputs] == [0, 1]


def test_words_that_several_hold_mean_the_one_that_holds_most(vocab: Vocabulary, ids: Ids, _built: Path) -> None:
    index = DocumentIndex.open(_built)
    both = " is"
    assert DOCUMENTS[0].text.count(both) and DOCUMENTS[1].text.count(both)
    assert documents(vocab, ids, index, both) == ["dog"]
    assert documents(vocab, ids, index, both, " mask") == ["cat", "cat"]


def test_without_an_index_no_document_is_named(vocab: Vocabulary, ids: Ids, cards: DocumentIndex) -> None:
    engine = ScriptedEngine([ids(DOG + named("dog"))])
    model = Generalist(engine, Line(vocab, {"box": BoxDecoder(vocab)}))
    answer = model.ask(PICTURE, "Which?")
    assert len(answer.outputs) == 1 and answer.documents == ()
    assert model.ask(PICTURE, "Which?", index=cards).documents
    without, bound = (prompt.constraint for prompt in engine.prompts)
    assert without is not None and bound is not None
    assert without.identifiers is None and without.grammar != bound.grammar
    assert bound.identifiers == cards.identifiers


def test_requests_of_a_batch_have_indexes_of_their_own(
    vocab: Vocabulary, ids: Ids, cards: DocumentIndex, _built: Path
) -> None:
    model = says(vocab, ids(named("dog", " asleep")))
    asked = Message(role="user", text="Which?")
    indexes = (cards, None, DocumentIndex.open(_built))
    answers = model.answer([ChatRequest(messages=(asked,), index=index) for index in indexes])
    assert [[hit.doc_id for hit in answer.documents] for answer in answers] == [["1"], [], ["dog"]]


# --- an index that changes -------------------------------------------------------------------------------


def test_what_another_process_adds_and_deletes(vocab: Vocabulary, ids: Ids, own_cards: DocumentIndex) -> None:
    line = Line(vocab, {})
    request = ChatRequest(messages=(Message(role="user", text="Which?"),), index=own_cards)
    prompt = line.prepare(request)
    (generation,) = ScriptedEngine([ids(named("dog", "cat"))]).generate([prompt], Sampling())
    delete_documents(own_cards.folder, ["1"])  # while the reply is written
    assert line.answer(prompt, generation).documents == ()
    add_documents(own_cards.folder, [Document(id="4", title="cat", text="A cat.")])
    assert documents(vocab, ids, own_cards, "dog", "cat") == ["4"]
    add_documents(own_cards.folder, [Document(id="5", title="cat", text="Another.")])
    assert not own_cards.identifiers.endswith(TITLES)  # "cat" says no longer which


def test_an_index_that_vanishes(vocab: Vocabulary, ids: Ids, own_cards: DocumentIndex) -> None:
    line = Line(vocab, {})
    prompt = line.prepare(ChatRequest(messages=(Message(role="user", text="Which?"),), index=own_cards))
    (generation,) = ScriptedEngine([ids(named("dog"))]).generate([prompt], Sampling())
    shutil.rmtree(own_cards.folder)
    assert [hit.doc_id for hit in line.answer(prompt, generation).documents] == ["1"]
    with pytest.raises(GeneralistError, match="no index there"):
        documents(vocab, ids, own_cards, "dog")


# --- what is refused -------------------------------------------------------------------------------------


def test_requests_that_cannot_name_documents(vocab: Vocabulary, ids: Ids, cards: DocumentIndex) -> None:
    model = says(vocab, ids("Hm."))
    with pytest.raises(GeneralistError, match="task 'detect' names no documents; use task 'chat'"):
        model.detect(PICTURE, index=cards)
    other = Vocabulary.extend(vocab.tokenizer, type(vocab.sizes)(locs=32, mask_codes=16, depth_codes=32))
    with pytest.raises(GeneralistError, match=f"{cards.folder}: its identifiers are in vocabulary {vocab.hash}"):
        says(other, []).ask(None, "Which?", index=cards)
    hub = HubLine(None, None)  # type: ignore[arg-type]
    with pytest.raises(GeneralistError, match="a model from the hub names no documents"):
        hub.prepare(ChatRequest(messages=(), index=cards))


def test_folders_that_are_no_index_of_ours(tmp_path: Path, tiny_checkpoint: Checkpoint) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(GeneralistError, match="no index there"):
            DocumentIndex.open(folder)
    build_index([Document(id="1", title="", text=" \n")], tmp_path / "silent", base=tiny_checkpoint.folder)
    with pytest.raises(GeneralistError, match="its documents have no words"):
        DocumentIndex.open(tmp_path / "silent")


def test_an_index_of_a_language_model_is_refused(own_cards: DocumentIndex) -> None:
    from dataclasses import replace

    from generalist.index.writer import writing

    manifest = open_index(own_cards.folder).manifest
    with writing(own_cards.folder) as writer:
        writer.commit(replace(manifest, base=replace(manifest.base, open=None, close=None)))
    with pytest.raises(GeneralistError, match="which cannot write <doc>"):
        DocumentIndex.open(own_cards.folder)


# --- a model that says anything --------------------------------------------------------------------------


class Eager(TransformersEngine):
    """Draws far more often than chance would have it, and ends what it begins."""

    def choose(
        self, logits: Tensor, rows: Sequence[Row], generators: Sequence[torch.Generator], sampling: Sampling
    ) -> list[tuple[int, float, Likeliest | None]]:
        structure, pushed = self._vocabulary.structure, logits.clone()
        best = logits.amax(-1)
        for name in (PHRASE_OPEN, PHRASE_CLOSE, UNIT_OPEN, DOC_CLOSE):
            pushed[:, structure[name]] = best + 6
        for place, row in enumerate(rows):
            if row.ids and row.ids[-1] == structure[PHRASE_CLOSE]:
                pushed[place, self._vocabulary.open_paren] = best[place] + 12
        return super().choose(pushed, rows, generators, sampling)


def eager(checkpoint: Checkpoint) -> Generalist:
    engine = Eager(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    return Generalist(engine, Line(checkpoint.vocabulary, {"box": BoxDecoder(checkpoint.vocabulary)}))


@pytest.mark.parametrize("which", ["cards", "texts"])
def test_no_reply_names_a_document_that_does_not_exist(
    which: str, cards: DocumentIndex, _built: Path, tiny_checkpoint: Checkpoint
) -> None:
    index = cards if which == "cards" else DocumentIndex.open(_built)
    there = {document.id: document for document in (CARDS if which == "cards" else DOCUMENTS)}
    requests = [
        ChatRequest(
            messages=(Message(role="user", text=f"Which card is {k}?", images=(PICTURE,)),),
            sampling=Sampling(temperature=1.5, max_new_tokens=60, seed=seed),
            index=index,
        )
        for seed in range(2)
        for k in range(6)
    ]
    answers = eager(tiny_checkpoint).answer(requests)
    written = [phrase for answer in answers for phrase in answer.reply.phrases if phrase.unit is not None]
    refs = [ref for phrase in written if phrase.unit and phrase.unit.kind == "doc" for ref in phrase.unit.refs]
    hits = [hit for answer in answers for hit in answer.documents]
    assert len(hits) == len(refs) >= 20  # each identifier is one of the index
    assert any(answer.boxes for answer in answers) and any(answer.text.strip() for answer in answers)
    for hit in hits:
        assert hit.title == there[hit.doc_id].title
        assert hit.score is not None and 0 <= hit.score <= 1
        assert hit.evidence is None or hit.text[slice(*hit.evidence)]
    assert any(hit.evidence for hit in hits) == (which == "texts")


@pytest.mark.parametrize("name", ["suffixes", "tokens"])
@pytest.mark.parametrize("how", ["high", "low", "mixed"])
def test_an_index_that_is_damaged_while_open_ends_no_engine(
    name: str, how: str, own_cards: DocumentIndex, tiny_checkpoint: Checkpoint
) -> None:
    (file,) = own_cards.folder.glob(f"segment-*/{name}.npy")
    stored = np.load(file, mmap_mode="r+")
    most, least = np.iinfo(stored.dtype).max, np.iinfo(stored.dtype).min
    mixed = np.random.default_rng(0).permutation(stored)
    stored[:] = {"high": np.full_like(mixed, most), "low": np.full_like(mixed, least), "mixed": mixed}[how]
    stored.flush()
    answer = eager(tiny_checkpoint).ask(
        PICTURE, "Which?", sampling=Sampling(temperature=1.5, max_new_tokens=60, seed=5), index=own_cards
    )
    assert any(phrase.unit for phrase in answer.reply.phrases) or answer.reply.issues  # it did begin a document
    assert all(hit.doc_id in {card.id for card in CARDS} for hit in answer.documents)
