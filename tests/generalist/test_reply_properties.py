"""Replies, in general: what is written comes back, and no sequence of integers is too wrong to read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generalist.decoders import Decoder, DepthCodec, MaskCodec
from generalist.decoders.box import BoxDecoder
from generalist.decoders.depth import DepthDecoder
from generalist.decoders.mask import MaskDecoder
from generalist.decoders.point import PointDecoder
from generalist.reply import Issue, PhraseDone, PlanDone, StreamParser, TextDelta, encode, parse
from generalist.tokens import Vocabulary
from generalist.types import KINDS, Kind, Output, Phrase, PlanItem, Ref, Reply, Unit

# The blocks of a payload as (codes to choose from, how many), for the vocabulary of conftest.
BLOCKS: dict[Kind, tuple[tuple[int, int], ...]] = {
    "box": ((64, 4),),
    "point": ((64, 2),),
    "mask": ((64, 4), (16, 16)),
    "depth": ((64, 2), (32, 64)),
}
TRICKY = (
    "(",
    ")",
    " (",
    "((",
    "<Phrase>",
    "</Unit>",
    "[0]",
    "<loc_0001>",
    "\n",
    "é日",
    "\ufffd",
    "- Name: a Unit: box Num: 1",
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
texts = st.lists(words | st.sampled_from(TRICKY), max_size=4).map("".join)
labels = texts.filter(bool)
names = texts.map(lambda text: text.replace("\n", ""))


@st.composite
def units(draw: st.DrawFn, kind: Kind) -> Unit:
    codes = st.binary(min_size=1, max_size=8).map(tuple)  # doc: the first 256 ids are text
    if kind != "doc":
        limits = [size for size, count in BLOCKS[kind] for _ in range(count)]
        codes = st.binary(min_size=len(limits), max_size=len(limits)).map(
            lambda drawn: tuple(byte % limit for byte, limit in zip(drawn, limits, strict=True))
        )
    payloads = draw(st.lists(codes, min_size=1, max_size=3))
    return Unit(kind=kind, refs=tuple(Ref(index=k, codes=payload) for k, payload in enumerate(payloads)))


@st.composite
def replies(draw: st.DrawFn, kinds: Sequence[Kind] = KINDS, plans: bool = True) -> Reply:
    """Any reply that can be written, drawing only ``kinds``."""
    text, phrases = "", []
    any_unit = st.none() | st.sampled_from(kinds).flatmap(units)
    for before, label, unit in draw(st.lists(st.tuples(texts, labels, any_unit), max_size=3)):
        start = len(text) + len(before)
        text += before + label
        phrases.append(Phrase(text=label, span=(start, len(text)), unit=unit))
    items = st.builds(PlanItem, name=names, kind=st.sampled_from(kinds), num=st.integers(0, 64))
    plan = draw(st.none() | st.lists(items, max_size=3).map(tuple)) if plans else None
    return Reply(text=text + draw(texts), phrases=tuple(phrases), plan=plan)


any_token = st.integers(-2, 500) | st.integers() | st.sampled_from(range(330, 370))
any_tokens = st.lists(any_token, max_size=60)


# --- what is written comes back ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_what_is_written_comes_back(vocab: Vocabulary, kind: Kind, data: st.DataObject) -> None:
    reply = data.draw(replies(kinds=(kind,)))
    assert parse(encode(reply, vocab), vocab) == reply


@given(reply=replies())
@settings(deadline=None)
def test_both_orders_of_a_ref_mean_the_same(vocab: Vocabulary, reply: Reply) -> None:
    written = encode(reply, vocab)
    for phrase in parse(written, vocab).phrases:
        for ref in phrase.unit.refs if phrase.unit else ():
            outside = 1 if phrase.unit and phrase.unit.kind == "doc" else 0  # the tags around the codes
            start, stop = ref.tokens[0] - outside, ref.tokens[1] + outside
            written[start - 1 : stop] = [*written[start:stop], written[start - 1]]
    assert parse(written, vocab) == reply


@given(reply=replies())
@settings(deadline=None)
def test_a_prefix_says_no_more_than_the_whole(vocab: Vocabulary, reply: Reply) -> None:
    parser = StreamParser(vocab)
    for token in encode(reply, vocab):
        parser.feed(token)
        so_far = parser.reply()
        assert reply.text.startswith(so_far.text)
        assert reply.phrases[: len(so_far.phrases)] == so_far.phrases
        assert so_far.issues == ()


@given(reply=replies(), cut=st.integers(0, 400))
@settings(deadline=None)
def test_cut_off_replies_keep_what_was_complete(vocab: Vocabulary, reply: Reply, cut: int) -> None:
    written = encode(reply, vocab)
    part = parse(written[:cut], vocab)
    check(part, written[:cut], vocab)
    whole = [phrase for phrase in parse(written, vocab).phrases if phrase.unit and last_token(phrase) < cut - 1]
    assert [p for p in part.phrases if p.unit][: len(whole)] == whole


def last_token(phrase: Phrase) -> int:
    """Offset of the ")" behind a unit."""
    assert phrase.unit is not None
    return phrase.unit.refs[-1].tokens[1] + (phrase.unit.kind == "doc")


# --- nothing is too wrong to read ------------------------------------------------------------------------


def check(reply: Reply, written: Sequence[int], vocab: Vocabulary) -> None:
    """What holds for every parsed reply, so that decoders and drawings never fail on one."""
    done = 0
    for phrase in reply.phrases:
        assert done <= phrase.span[0] <= phrase.span[1] <= len(reply.text)
        assert reply.text[slice(*phrase.span)] == phrase.text
        assert 0 <= phrase.tokens[0] <= phrase.tokens[1] <= len(written)
        done = phrase.span[1]
        if phrase.unit is not None:
            check_unit(phrase.unit, written, vocab)
    for issue in reply.issues:
        assert 0 <= issue.at <= len(written)
        assert issue.expected
        assert issue.got
    assert all(item.kind in KINDS and 0 <= item.num <= 64 for item in reply.plan or ())
    if not reply.issues:
        assert parse(encode(reply, vocab), vocab) == reply


def check_unit(unit: Unit, written: Sequence[int], vocab: Vocabulary) -> None:
    assert unit.refs
    for ref in unit.refs:
        assert 0 <= ref.index <= 63
        assert 0 <= ref.tokens[0] < ref.tokens[1] <= len(written)
        assert ref.tokens[1] - ref.tokens[0] == len(ref.codes)
        if unit.kind == "doc":
            assert list(ref.codes) == list(written[slice(*ref.tokens)])
            assert all(vocab.is_text(code) for code in ref.codes)
        else:
            limits = [size for size, count in BLOCKS[unit.kind] for _ in range(count)]
            assert all(0 <= code < limit for code, limit in zip(ref.codes, limits, strict=True))


@given(written=any_tokens)
@settings(deadline=None, max_examples=300)
def test_the_stream_says_what_the_reply_says(vocab: Vocabulary, written: list[int]) -> None:
    parser = StreamParser(vocab)
    events = [event for token in written for event in parser.feed(token)] + parser.finish()
    reply = parse(written, vocab)
    assert parser.reply() == reply
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == reply.text
    assert tuple(event.phrase for event in events if isinstance(event, PhraseDone)) == reply.phrases
    assert tuple(event.issue for event in events if isinstance(event, Issue)) == reply.issues
    assert [event.plan for event in events if isinstance(event, PlanDone)] == (
        [] if reply.plan is None else [reply.plan]
    )
    check(reply, written, vocab)


@given(broken=any_tokens, reply=replies(plans=False))
@settings(deadline=None, max_examples=300)
def test_what_is_broken_costs_nothing_behind_it(vocab: Vocabulary, broken: list[int], reply: Reply) -> None:
    count = len(reply.phrases)
    found = parse([*broken, *encode(reply, vocab)], vocab).phrases
    assert [(p.text, p.unit) for p in found[len(found) - count :]] == [(p.text, p.unit) for p in reply.phrases]


@pytest.fixture(scope="module")
def decoders(vocab: Vocabulary) -> dict[str, Decoder]:
    """All decoders, with codecs of random weights."""
    sizes, generator = vocab.sizes, torch.Generator().manual_seed(0)
    books = torch.randn(sizes.mask_length, sizes.mask_codes, 4, generator=generator)
    masks = MaskCodec(torch.rand(4096, generator=generator), torch.randn(4096, 4, generator=generator), books)
    depths = DepthCodec(sizes.depth_grid, sizes.depth_codes).eval()
    made = (BoxDecoder(vocab), PointDecoder(vocab), MaskDecoder(vocab, masks), DepthDecoder(vocab, depths))
    return {decoder.kind: decoder for decoder in made}


def decode_all(reply: Reply, decoders: dict[str, Decoder]) -> list[Output]:
    """Everything that a reply draws, on a small image."""
    units = [phrase.unit for phrase in reply.phrases if phrase.unit is not None and phrase.unit.kind in decoders]
    outputs = [output for unit in units for output in decoders[unit.kind].decode(unit.refs, (24, 32))]
    assert len(outputs) == sum(len(unit.refs) for unit in units)
    return outputs


def random_tokens(rng: random.Random, vocab: Vocabulary) -> list[int]:
    """Up to 60 integers: structure often, so that every part of the parser is entered; nonsense rarely."""
    structure = [*vocab.structure.values(), vocab.open_paren, vocab.close_paren, *vocab.ref[:3]]
    kinds = [vocab.encode_text(kind) for kind in KINDS]
    tokens: list[int] = []
    for _ in range(rng.randrange(40)):
        choice = rng.random()
        if choice < 0.45:
            tokens.append(rng.choice(structure))
        elif choice < 0.6:
            tokens += [rng.choice((vocab.loc, vocab.mask, vocab.depth))[rng.randrange(16)]] * rng.choice((1, 2, 4))
        elif choice < 0.7:
            opening = [vocab.open_paren, vocab.structure["<Unit>"], *rng.choice(kinds), vocab.structure["</Unit>"]]
            tokens += opening
        else:
            tokens.append(rng.randrange(-3, vocab.size + 3))
    return tokens


def test_20000_random_sequences(vocab: Vocabulary, decoders: dict[str, Decoder]) -> None:
    rng = random.Random(0)
    drawn = 0
    for _ in range(20_000):
        written = random_tokens(rng, vocab)
        reply = parse(written, vocab)
        check(reply, written, vocab)
        drawn += len(decode_all(reply, decoders))
    assert drawn > 100  # the sequences reach as far as whole units


def real_replies(rng: random.Random, vocab: Vocabulary) -> Iterator[list[int]]:
    """Token ids of replies with every kind, with and without a plan."""
    while True:
        phrases, text = [], "On the left: "
        for kind in rng.sample(KINDS, 3):
            blocks = BLOCKS.get(kind, ((256, 6),))
            refs = tuple(
                Ref(index=k, codes=tuple(rng.randrange(size) for size, count in blocks for _ in range(count)))
                for k in range(rng.randrange(1, 4))
            )
            phrases.append(Phrase(text="the dog", span=(len(text), len(text) + 7), unit=Unit(kind=kind, refs=refs)))
            text += "the dog (日本) and "
        plan = tuple(PlanItem(name=p.text, kind=p.unit.kind, num=1) for p in phrases if p.unit)
        yield encode(Reply(text=text, phrases=tuple(phrases), plan=rng.choice((None, plan))), vocab)


def mutated(written: list[int], rng: random.Random, vocab: Vocabulary) -> list[int]:
    """One to three of: drop, repeat, replace, move or cut."""
    tokens = list(written)
    for _ in range(rng.randrange(1, 4)):
        at, length = rng.randrange(len(tokens)), rng.choice((1, 1, 2, 8, 40))
        piece = tokens[at : at + length]
        other = rng.randrange(len(tokens))
        tokens = rng.choice(
            (
                tokens[:at] + tokens[at + length :],
                tokens[:at] + piece + tokens[at:],
                tokens[:at] + [rng.randrange(vocab.size) for _ in piece] + tokens[at + length :],
                tokens[:other] + piece + tokens[other:],
                tokens[:at],
            )
        ) or [0]
    return tokens


def test_2000_mutated_replies(vocab: Vocabulary, decoders: dict[str, Decoder]) -> None:
    rng = random.Random(0)
    broken = 0
    for _, written in zip(range(2_000), real_replies(rng, vocab), strict=False):
        tokens = mutated(written, rng, vocab)
        reply = parse(tokens, vocab)
        check(reply, tokens, vocab)
        decode_all(reply, decoders)
        broken += bool(reply.issues)
    assert broken > 1_000
