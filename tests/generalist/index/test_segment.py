"""Segments against the plain reading of their streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generalist.index.segment as module
from generalist.index import Segment, Stream, make_segment, merge, without_documents
from generalist.index.segment import DOCUMENT, PASSAGE, SENTENCE, token_type
from generalist.types import GeneralistError

from .conftest import D, P, S, V, segment

sentences = st.lists(st.integers(0, 3), max_size=6)
documents = st.lists(
    st.tuples(sentences, sentences, sentences).map(lambda t: [D, *t[0], P, *t[1], S, *t[2]]), min_size=1, max_size=6
)


def following(found: Segment, prefix: list[int]) -> dict[int, int]:
    """What stands behind ``prefix`` in the segment, and how often, by walking down its runs."""
    low, high = 0, len(found.suffixes)
    for depth, token in enumerate(prefix):
        tokens, bounds = found.children(low, high, depth)
        at = int(np.searchsorted(tokens, token))
        if at == len(tokens) or tokens[at] != token:
            return {}
        low, high = int(bounds[at]), int(bounds[at + 1])
    tokens, bounds = found.children(low, high, len(prefix))
    return dict(zip(tokens.tolist(), np.diff(bounds).tolist(), strict=True))


def read(stream: list[list[int]], prefix: list[int]) -> dict[int, int]:
    """The same by reading."""
    text = [*(token for document in stream for token in document), D]
    counts: dict[int, int] = {}
    for at in range(len(text) - len(prefix)):
        if text[at : at + len(prefix)] == prefix and at < len(text) - 1:  # the last mark begins nothing
            counts[text[at + len(prefix)]] = counts.get(text[at + len(prefix)], 0) + 1
    return counts


@pytest.mark.parametrize("read_whole", [2048, 0], ids=["read", "searched"])
@settings(max_examples=30, deadline=None)
@given(stream=documents, prefix=st.lists(st.integers(0, 3), max_size=3))
def test_runs_are_what_follows(read_whole: int, stream: list[list[int]], prefix: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ_WHOLE", read_whole)
        found = segment(stream)
        assert following(found, prefix) == read(stream, prefix)
        assert following(found, [D, *prefix]) == read(stream, [D, *prefix])


@settings(max_examples=30, deadline=None)
@given(stream=documents, data=st.data())
def test_a_segment_without_documents_is_one_that_never_had_them(stream: list[list[int]], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(0, len(stream) - 1), max_size=len(stream)))
    names = [f"d{number}" for number in range(len(stream))]
    rest = without_documents(segment(stream, names), sorted(gone))
    kept = [number for number in range(len(stream)) if number not in gone]
    if not kept:
        assert rest is None
        return
    assert rest is not None
    rest.check()
    anew = segment([stream[number] for number in kept], [names[number] for number in kept])
    assert rest.ids == anew.ids
    for name in ("tokens", "first", "starts", "names", "name_ends"):
        assert np.array_equal(getattr(rest, name), getattr(anew, name)), name
    for prefix in ([], [0], [1, 2], [D], [D, 0], [D, 1, 1]):
        assert following(rest, prefix) == following(anew, prefix)


def test_merged_segments_are_one_of_all_documents() -> None:
    streams = [[[D, 1, P, 2, 3]], [[D, P, 3, S, 1], [D, 2, P, 2]]]
    parts = [segment(stream, names) for stream, names in zip(streams, (["a"], ["b", "c"]), strict=True)]
    whole, anew = merge(parts), segment([*streams[0], *streams[1]], ["a", "b", "c"])
    assert whole.ids == anew.ids
    assert np.array_equal(whole.suffixes, anew.suffixes)


def test_units_begin_at_their_marks_and_end_at_the_next() -> None:
    #                   0  1  2  3  4  5  6  7  8   9 10 11
    found = segment([[D, 1, P, 2, 3, S, 4, P, 5], [D, P, 6]])
    assert found.units(DOCUMENT).tolist() == [0, 9]
    assert found.units(PASSAGE).tolist() == [2, 7, 10]
    assert found.units(SENTENCE).tolist() == [2, 5, 7, 10]
    assert [found.end_of(place, SENTENCE) for place in (2, 5, 7, 10)] == [5, 7, 9, 12]
    assert [found.end_of(place, PASSAGE) for place in (2, 7, 10)] == [7, 9, 12]
    assert [found.end_of(place, DOCUMENT) for place in (0, 9)] == [9, 12]


def test_ids_may_be_any_text() -> None:
    names = ["ä/ö.md", "", "日本"]
    assert segment([[D, P, 1]] * 3, names).ids == tuple(names)


def test_tokens_take_as_little_as_they_need() -> None:
    assert token_type(2**16 - 3) is np.uint16
    assert token_type(2**16 - 2) is np.int32
    wide = Stream(tokens=np.array([100_000, 7], np.int32), starts=np.array([0]), ids=("a",))
    assert make_segment(wide, 100_000).tokens.dtype == np.int32


def test_nothing_is_no_segment() -> None:
    with pytest.raises(GeneralistError, match="0 documents"):
        make_segment(Stream(tokens=np.empty(0, np.uint16), starts=np.empty(0, np.int64), ids=()), V)


BROKEN = {
    "suffixes of another type": {"suffixes": np.arange(3, dtype=np.int64)},
    "fewer suffixes than tokens": {"suffixes": np.arange(2, dtype=np.int32)},
    "a table that falls": {"first": np.array([0, 3, *[2] * (V + 1), 3])},
    "documents behind the end": {"starts": np.array([0, 99]), "name_ends": np.array([1, 2])},
    "documents out of order": {"starts": np.array([0, 0]), "name_ends": np.array([1, 2])},
    "ids behind the end": {"name_ends": np.array([9])},
}


@pytest.mark.parametrize("what", BROKEN)
def test_arrays_that_do_not_fit_are_found(what: str) -> None:
    good = segment([[D, P, 1]])
    good.check()
    names = ("tokens", "suffixes", "first", "starts", "names", "name_ends")
    broken = Segment(**{**{name: getattr(good, name) for name in names}, **BROKEN[what]})
    with pytest.raises(ValueError, match="its"):
        broken.check()
