"""The sentences of an index."""

from __future__ import annotations

import numpy as np

from generalist.documents import Collection
from generalist.documents.learning.material import Material, without_links

from .conftest import NOTES


def test_sentences_are_those_of_the_documents(material: Material, notes: Collection) -> None:
    assert material.ids == tuple(note.id for note in NOTES)
    assert material.titles == tuple(note.title for note in NOTES)
    for number, note in enumerate(NOTES):
        said = " ".join(material.sentences[k].text for k in material.of_document[number])
        assert said == " ".join(note.text.split())
    for one in material.sentences[:5]:
        assert notes.tokenizer.decode(list(one.tokens)).strip() == one.text
        assert notes.automaton().find(one.tokens) >= 0


def test_neighbours_are_of_the_same_passage(material: Material) -> None:
    first = material.of_document[2]
    assert list(material.neighbours(first[0])) == [first[1]]
    assert list(material.neighbours(first[1])) == [first[0]]
    assert len({material.sentences[k].passage for k in first}) == 3


def test_rare_tokens_tell_more(material: Material) -> None:
    seen = np.flatnonzero(material.counts)
    order = seen[np.argsort(material.counts[seen])]
    assert material.rarity[order[0]] > material.rarity[order[-1]] > 0


def test_links_lead_to_documents_that_are_there(material: Material) -> None:
    found = {(material.sentences[number].document, target) for number, target in material.links}
    assert found == {(k, k + 1) for k in range(5)}  # the last one names a file that is not there


def test_links_read_as_their_words() -> None:
    assert without_links("See [the fox](fox.md) and [[Owl|owls]], [[Elk]].") == "See the fox and owls, Elk."
