"""Replies as written and as read: every kind, both orders, streaming, and a table of what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from generalist.reply import Event, Issue, PhraseDone, PlanDone, StreamParser, TextDelta, encode, parse
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError, Kind, ParseIssue, Phrase, PlanItem, Ref, Reply, Unit

Ids = Callable[[str], list[int]]

A, B = "<loc_0001><loc_0002><loc_0003><loc_0004>", "<loc_0005><loc_0006><loc_0007><loc_0008>"
MASK = "".join(f"<mask_{k:03d}>" for k in range(16))
DEPTH = "<depth_009>" * 64
DOG = f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A})"
CAT = " <Phrase>cat</Phrase>(<Unit>point</Unit>[0]<loc_0001><loc_0002>)"


def box(*refs: tuple[int, ...]) -> Unit:
    return Unit(kind="box", refs=tuple(Ref(index=k, codes=codes) for k, codes in enumerate(refs)))


# --- well-formed ---------------------------------------------------------------------------------------


WELL_FORMED: dict[str, tuple[str, Reply]] = {
    "nothing": ("", Reply()),
    "text": ("The dog (and 日本) is asleep.", Reply(text="The dog (and 日本) is asleep.")),
    "box": (
        f"The {DOG} is asleep.",
        Reply(text="The dog is asleep.", phrases=(Phrase(text="dog", span=(4, 7), unit=box((1, 2, 3, 4))),)),
    ),
    "several refs": (
        f"<Phrase>dogs</Phrase>(<Unit>box</Unit>[0]{A}[1]{B})",
        Reply(text="dogs", phrases=(Phrase(text="dogs", span=(0, 4), unit=box((1, 2, 3, 4), (5, 6, 7, 8))),)),
    ),
    "index behind the payload": (
        f"<Phrase>dogs</Phrase>(<Unit>box</Unit>{A}[0]{B}[1])",
        Reply(text="dogs", phrases=(Phrase(text="dogs", span=(0, 4), unit=box((1, 2, 3, 4), (5, 6, 7, 8))),)),
    ),
    "point": (
        CAT,
        Reply(
            text=" cat",
            phrases=(Phrase(text="cat", span=(1, 4), unit=Unit(kind="point", refs=(Ref(index=0, codes=(1, 2)),))),),
        ),
    ),
    "mask": (
        f"<Phrase>cat</Phrase>(<Unit>mask</Unit>[0]{A}{MASK})",
        Reply(
            text="cat",
            phrases=(
                Phrase(
                    text="cat",
                    span=(0, 3),
                    unit=Unit(kind="mask", refs=(Ref(index=0, codes=(1, 2, 3, 4, *range(16))),)),
                ),
            ),
        ),
    ),
    "depth": (
        f"<Phrase>scene</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0060>{DEPTH})",
        Reply(
            text="scene",
            phrases=(
                Phrase(
                    text="scene",
                    span=(0, 5),
                    unit=Unit(kind="depth", refs=(Ref(index=0, codes=(1, 60, *[9] * 64)),)),
                ),
            ),
        ),
    ),
    "phrase without a unit": (
        "a <Phrase>dog</Phrase>",
        Reply(text="a dog", phrases=(Phrase(text="dog", span=(2, 5)),)),
    ),
    "parenthesis behind a phrase": (
        "<Phrase>dog</Phrase>(brown)",
        Reply(text="dog(brown)", phrases=(Phrase(text="dog", span=(0, 3)),)),
    ),
    "parenthesis behind a phrase, at the end": (
        "<Phrase>dog</Phrase>(",
        Reply(text="dog(", phrases=(Phrase(text="dog", span=(0, 3)),)),
    ),
    "parentheses around and in a phrase": (
        f"((<Phrase>a (b)((</Phrase>(<Unit>box</Unit>[0]{A}))",
        Reply(text="((a (b)(()", phrases=(Phrase(text="a (b)((", span=(2, 9), unit=box((1, 2, 3, 4))),)),
    ),
    "phrases side by side": (
        f"{DOG}{DOG}",
        Reply(
            text="dogdog",
            phrases=(
                Phrase(text="dog", span=(0, 3), unit=box((1, 2, 3, 4))),
                Phrase(text="dog", span=(3, 6), unit=box((1, 2, 3, 4))),
            ),
        ),
    ),
    "plan": (
        "<Task>- Name: the dog Unit: box Num: 2\n- Name: cat Unit: mask Num: 10</Task>Here.",
        Reply(
            text="Here.",
            plan=(PlanItem(name="the dog", kind="box", num=2), PlanItem(name="cat", kind="mask", num=10)),
        ),
    ),
    "empty plan": ("<Task></Task>No.", Reply(text="No.", plan=())),
}


@pytest.mark.parametrize("name", WELL_FORMED)
def test_reading(vocab: Vocabulary, ids: Ids, name: str) -> None:
    written, expected = WELL_FORMED[name]
    assert parse(ids(written), vocab) == expected


@pytest.mark.parametrize("name", [n for n in WELL_FORMED if n != "index behind the payload"])
def test_writing(vocab: Vocabulary, ids: Ids, name: str) -> None:
    written, reply = WELL_FORMED[name]
    names = [vocab.name(i) for i in encode(reply, vocab) if not vocab.is_text(i)]
    assert names == [vocab.name(i) for i in ids(written) if not vocab.is_text(i)]
    assert vocab.decode_text(encode(reply, vocab)) == vocab.decode_text(ids(written))


def test_document_identifiers_are_text_tokens(vocab: Vocabulary, ids: Ids) -> None:
    reply = parse(ids("<Phrase>Rome</Phrase>(<Unit>doc</Unit>[0]<doc>a) (é</doc>[1]<doc>b</doc>)!"), vocab)
    codes = [tuple(vocab.encode_text(text)) for text in ("a) (é", "b")]
    assert reply.text == "Rome!"
    assert reply.issues == ()
    assert reply.phrases[0].unit == Unit(
        kind="doc", refs=tuple(Ref(index=k, codes=code) for k, code in enumerate(codes))
    )


def test_offsets_of_labels_and_codes(vocab: Vocabulary, ids: Ids) -> None:
    written = ids(
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A}[1]{B}) <Phrase>a</Phrase>(<Unit>doc</Unit>[0]<doc>é</doc>)"
    )
    dog, doc = parse(written, vocab).phrases
    assert dog.unit is not None
    assert doc.unit is not None
    assert vocab.decode_text(written[slice(*dog.tokens)]) == "dog"
    assert [written[slice(*ref.tokens)] for ref in dog.unit.refs] == [ids(A), ids(B)]
    assert vocab.decode_text(written[slice(*doc.unit.refs[0].tokens)]) == "é"


# --- streaming -----------------------------------------------------------------------------------------


def events_of(written: list[int], vocab: Vocabulary) -> tuple[list[list[Event]], Reply]:
    """The events of every token, then those of the end."""
    parser = StreamParser(vocab)
    events = [parser.feed(token) for token in written]
    return [*events, parser.finish()], parser.reply()


def test_a_unit_comes_whole_with_its_last_token(vocab: Vocabulary, ids: Ids) -> None:
    written = ids(f"The {DOG}.")
    events, reply = events_of(written, vocab)
    phrase_at = [k for k, group in enumerate(events) for e in group if isinstance(e, PhraseDone)]
    assert phrase_at == [written.index(vocab.close_paren)]
    assert [e.phrase for group in events for e in group if isinstance(e, PhraseDone)] == list(reply.phrases)


def test_text_comes_at_once_and_labels_too(vocab: Vocabulary, ids: Ids) -> None:
    events, _ = events_of(ids(f"A {DOG}."), vocab)
    written = ids(f"A {DOG}.")
    before_unit = written.index(vocab.structure["<Unit>"])
    heard = "".join(e.text for group in events[:before_unit] for e in group if isinstance(e, TextDelta))
    assert heard == "A dog"


def test_a_bare_phrase_is_done_with_the_next_token(vocab: Vocabulary, ids: Ids) -> None:
    events, _ = events_of(ids("<Phrase>a</Phrase>!"), vocab)
    assert [[type(e) for e in group] for group in events] == [[], [TextDelta], [], [PhraseDone, TextDelta], []]


def test_a_character_comes_when_its_last_byte_does(vocab: Vocabulary) -> None:
    written = vocab.encode_text("é日")
    assert len(written) == 5
    events, reply = events_of(written, vocab)
    heard = ["".join(e.text for e in group if isinstance(e, TextDelta)) for group in events]
    assert heard == ["", "é", "", "", "日", ""]
    assert reply.text == "é日"


def test_half_a_character_does_not_run_into_a_phrase(vocab: Vocabulary) -> None:
    first, second = vocab.encode_text("é")
    reply = parse([first, vocab.structure["<Phrase>"], second, vocab.structure["</Phrase>"]], vocab)
    assert reply.text == "\ufffd\ufffd"
    assert reply.phrases == (Phrase(text="\ufffd", span=(1, 2)),)


def test_the_plan_comes_once_and_is_no_text(vocab: Vocabulary, ids: Ids) -> None:
    events, _ = events_of(ids("<Task>- Name: dog Unit: box Num: 1</Task>Yes"), vocab)
    flat = [e for group in events for e in group]
    assert flat[0] == PlanDone(plan=(PlanItem(name="dog", kind="box", num=1),))
    assert {type(e) for e in flat[1:]} == {TextDelta}


def test_a_reply_can_be_looked_at_on_the_way(vocab: Vocabulary, ids: Ids) -> None:
    parser = StreamParser(vocab)
    for token in ids(f"The {DOG} and the {CAT}")[:-1]:
        parser.feed(token)
    assert parser.reply().text == "The dog and the  cat"
    assert [phrase.text for phrase in parser.reply().phrases] == ["dog"]


def test_issues_come_as_events_too(vocab: Vocabulary, ids: Ids) -> None:
    events, reply = events_of(ids("[0]a<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001>)<Phrase>"), vocab)
    assert tuple(e.issue for group in events for e in group if isinstance(e, Issue)) == reply.issues
    assert len(reply.issues) == 3


# --- malformed -----------------------------------------------------------------------------------------

# name -> what was written, the text, (label, kind, indices of the refs) of every phrase, (offset, expected, got)
Shown = tuple[str, str | None, list[int]]
Malformed = tuple[str, str, list[Shown], list[tuple[int, str, str]]]
OF_4 = "<loc_0000> to <loc_0063> (code {} of 4)"
D, E = ("dog", "box", [0]), ("cat", "point", [0])

MALFORMED: dict[str, Malformed] = {
    "missing </Phrase> before the unit": (
        f"<Phrase>dog(<Unit>box</Unit>[0]{A}) ran{CAT}",
        "dog ran cat",
        [D, E],
        [(5, "</Phrase>", "<Unit>")],
    ),
    "missing </Phrase> before the next phrase": (
        f"a <Phrase>dog and{CAT}",
        "a dog and cat",
        [E],
        [(8, "</Phrase>", "<Phrase>")],
    ),
    "missing </Phrase> at the end": ("a <Phrase>dog", "a dog", [], [(6, "</Phrase>", "the end")]),
    "empty phrase": ("<Phrase></Phrase>dog", "dog", [], [(1, "text in <Phrase>", "</Phrase>")]),
    "empty phrase with a unit": (
        f"<Phrase></Phrase>(<Unit>box</Unit>[0]{A})!",
        "!",
        [("", "box", [0])],
        [(1, "text in <Phrase>", "</Phrase>")],
    ),
    "stray </Phrase>": (f"a</Phrase> b{CAT}", "a b cat", [E], [(1, "text or <Phrase>", "</Phrase>")]),
    "code in a phrase": (
        "<Phrase>do<loc_0001><loc_0002>g</Phrase>",
        "dog",
        [("dog", None, [])],
        [(3, "text or </Phrase>", "<loc_0001>")],
    ),
    "unit without a phrase": (
        f"dog(<Unit>box</Unit>[0]{A}) ran",
        "dog ran",
        [("", "box", [0])],
        [(4, "<Phrase> before a unit", "<Unit>")],
    ),
    "unit without (": (
        f"<Phrase>dog</Phrase><Unit>box</Unit>[0]{A}) ran",
        "dog ran",
        [D],
        [(5, "( before a unit", "<Unit>")],
    ),
    "unit without )": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A} ran{CAT}",
        "dog ran cat",
        [D, E],
        [(15, "[1] or )", "' '")],
    ),
    "unit without ) before a phrase": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A}<Phrase>cat</Phrase>",
        "dogcat",
        [D, ("cat", None, [])],
        [(15, "[1] or )", "<Phrase>")],
    ),
    "unit without ) at the end": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A}",
        "dog",
        [D],
        [(15, "[1] or )", "the end")],
    ),
    "unit without </Unit>": (f"<Phrase>dog</Phrase>(<Unit>box[0]{A}) ran", "dog ran", [D], [(9, "</Unit>", "[0]")]),
    "unit that is never closed, in prose": (
        f"<Phrase>dog</Phrase>(<Unit>which is asleep on the sofa, I think.{CAT}",
        "dogwhich is asleep on the sofa, I think. cat",
        [("dog", None, []), E],
        [(22, "</Unit>", "'th'")],
    ),
    "unit interrupted in its kind": (
        f"<Phrase>dog</Phrase>(<Unit>bo{CAT}",
        "dogbo cat",
        [("dog", None, []), E],
        [(9, "</Unit>", "<Phrase>")],
    ),
    "unit cut off in its kind": (
        "<Phrase>dog</Phrase>(<Unit>bo",
        "dog",
        [("dog", None, [])],
        [(8, "</Unit>", "the end")],
    ),
    "unit with a known kind, interrupted": (
        f"<Phrase>dog</Phrase>(<Unit>box{CAT}",
        "dogbox cat",
        [("dog", None, []), E],
        [(10, "</Unit>", "<Phrase>")],
    ),
    "second unit of a phrase": (
        f"{DOG}(<Unit>box</Unit>[0]{B})",
        "dog",
        [D, ("", "box", [0])],
        [(17, "<Phrase> before a unit", "<Unit>")],
    ),
    "unknown kind": (
        f"<Phrase>dog</Phrase>(<Unit>bxo</Unit>[0]{A}) ran{CAT}",
        "dog ran cat",
        [("dog", None, []), E],
        [(7, "a kind: box, point, mask, depth, doc", "'bxo'")],
    ),
    "kind in capitals": (
        f"<Phrase>dog</Phrase>(<Unit>Box</Unit>[0]{A})",
        "dog",
        [("dog", None, [])],
        [(7, "a kind: box, point, mask, depth, doc", "'Box'")],
    ),
    "no kind": (
        f"<Phrase>dog</Phrase>(<Unit></Unit>[0]{A}) ran",
        "dog ran",
        [("dog", None, [])],
        [(7, "a kind: box, point, mask, depth, doc", "''")],
    ),
    "no refs": ("<Phrase>dog</Phrase>(<Unit>box</Unit>) ran", "dog ran", [("dog", None, [])], [(10, "[0]", "')'")]),
    "ref without codes": (
        "<Phrase>dog</Phrase>(<Unit>box</Unit>[0]) ran",
        "dog ran",
        [("dog", None, [])],
        [(11, OF_4.format(1), "')'")],
    ),
    "two indices in a row": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0][1]{A}) ran",
        "dog ran",
        [("dog", "box", [1])],
        [(11, OF_4.format(1), "[1]")],
    ),
    "three coordinates": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001><loc_0002><loc_0003>) ran{CAT}",
        "dog ran cat",
        [("dog", None, []), E],
        [(14, OF_4.format(4), "')'")],
    ),
    "three coordinates, then a whole box": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001><loc_0002><loc_0003>[1]{B})",
        "dog",
        [("dog", "box", [1])],
        [(14, OF_4.format(4), "[1]")],
    ),
    "three coordinates, index behind": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>{A}[0]<loc_0001><loc_0002><loc_0003>[1]{B}[2])",
        "dog",
        [("dog", "box", [0, 2])],
        [(18, OF_4.format(4), "[1]")],
    ),
    "five coordinates": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A}<loc_0001>[1]{B})",
        "dog",
        [("dog", "box", [0, 1])],
        [(15, "[1] or )", "<loc_0001>")],
    ),
    "no index": (f"<Phrase>dog</Phrase>(<Unit>box</Unit>{A}) ran", "dog ran", [D], [(14, "[0]", "')'")]),
    "no index, twice": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>{A}{B})",
        "dog",
        [("dog", "box", [0, 1])],
        [(14, "[0]", "<loc_0005>"), (18, "[1]", "')'")],
    ),
    "index given twice": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A}[0]{B})",
        "dog",
        [("dog", "box", [0, 0])],
        [(15, "[1]", "[0]")],
    ),
    "index given twice, behind": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>{A}[0]{B}[0])",
        "dog",
        [("dog", "box", [0, 0])],
        [(19, "[1]", "[0]")],
    ),
    "indices out of order": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[1]{A}[0]{B})",
        "dog",
        [("dog", "box", [1, 0])],
        [(10, "[0]", "[1]"), (15, "[2]", "[0]")],
    ),
    "index left out": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{A}[2]{B})",
        "dog",
        [("dog", "box", [0, 2])],
        [(15, "[1]", "[2]")],
    ),
    "index behind without a payload": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>{A}[0][1])",
        "dog",
        [D],
        [(15, OF_4.format(1), "[1]")],
    ),
    "mask codes in a box": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{MASK}[1]{B}) ran",
        "dog ran",
        [("dog", "box", [1])],
        [(11, OF_4.format(1), "<mask_000>")],
    ),
    "mask without its box": (
        f"<Phrase>dog</Phrase>(<Unit>mask</Unit>[0]{MASK}) ran",
        "dog ran",
        [("dog", None, [])],
        [(12, "<loc_0000> to <loc_0063> (code 1 of 20)", "<mask_000>")],
    ),
    "mask cut short": (
        f"<Phrase>dog</Phrase>(<Unit>mask</Unit>[0]{A}<mask_001>) ran",
        "dog ran",
        [("dog", None, [])],
        [(17, "<mask_000> to <mask_015> (code 6 of 20)", "')'")],
    ),
    "depth with too few codes": (
        "<Phrase>dog</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0002>" + "<depth_001>" * 63 + ") ran",
        "dog ran",
        [("dog", None, [])],
        [(77, "<depth_000> to <depth_031> (code 66 of 66)", "')'")],
    ),
    "depth with a box for its range": (
        f"<Phrase>dog</Phrase>(<Unit>depth</Unit>[0]{A}{DEPTH}) ran",
        "dog ran",
        [("dog", None, [])],
        [(14, "<depth_000> to <depth_031> (code 3 of 66)", "<loc_0003>")],
    ),
    "document in a box": (
        "<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<doc>x</doc>) ran",
        "dogx) ran",
        [("dog", None, [])],
        [(11, OF_4.format(1), "<doc>"), (13, "text or <Phrase>", "</doc>")],
    ),
    "box in a document": (
        f"<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]{A}) ran",
        "dog ran",
        [("dog", None, [])],
        [(12, "<doc>", "<loc_0001>")],
    ),
    "empty document": (
        "<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]<doc></doc>) ran",
        "dog ran",
        [("dog", None, [])],
        [(13, "text in <doc>", "</doc>")],
    ),
    "document without </doc>, next ref": (
        "<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]<doc>a[1]<doc>b</doc>) ran",
        "dog ran",
        [("dog", "doc", [1])],
        [(14, "</doc>", "[1]")],
    ),
    "document without </doc>, next phrase": (
        f"<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]<doc>a) ran{CAT}",
        "doga) ran cat",
        [("dog", None, []), E],
        [(20, "</doc>", "<Phrase>")],
    ),
    "document cut off": (
        "<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]<doc>a) ran",
        "dog",
        [("dog", None, [])],
        [(19, "</doc>", "the end")],
    ),
    "text among the refs": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001>ran{CAT}",
        "dogran cat",
        [("dog", None, []), E],
        [(12, OF_4.format(2), "'r'")],
    ),
    "unit in a unit": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<Unit>box</Unit>[0]{A})",
        "dog",
        [("dog", None, []), ("", "box", [0])],
        [(11, OF_4.format(1), "<Unit>"), (11, "<Phrase> before a unit", "<Unit>")],
    ),
    "refs in the text": (f"a [0]{A}) b{CAT}", "a ) b cat", [E], [(2, "text or <Phrase>", "[0]")]),
    "role and end tokens": (
        "a<user><eos>b<image>",
        "ab",
        [],
        [(1, "text or <Phrase>", "<user>"), (4, "text or <Phrase>", "<image>")],
    ),
    "reserved token in a ref": (
        f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<REF>[1]{A})",
        "dog",
        [("dog", "box", [1])],
        [(11, OF_4.format(1), "<REF>")],
    ),
    "plan behind text": (
        "a<Task>- Name: dog Unit: box Num: 1</Task>b",
        "ab",
        [],
        [(1, "the plan at the start, once", "<Task>")],
    ),
    "second plan": (
        "<Task></Task><Task>- Name: dog Unit: box Num: 1</Task>b",
        "b",
        [],
        [(2, "the plan at the start, once", "<Task>")],
    ),
    "plan cut off": (
        "<Task>- Name: dog Unit: box Num: 1\n- Na",
        "",
        [],
        [(11, "- Name: NAME Unit: KIND Num: N", "'- Na'"), (15, "</Task>", "the end")],
    ),
    "plan without </Task>": (
        f"<Task>- Name: dog Unit: box Num: 1\nThe{CAT}",
        "The cat",
        [E],
        [(11, "- Name: NAME Unit: KIND Num: N", "'The '"), (14, "</Task>", "<Phrase>")],
    ),
    "code in the plan": (
        "<Task>- Name: dog<loc_0001> Unit: box Num: 1</Task>b",
        "b",
        [],
        [(5, "a line of the plan", "<loc_0001>")],
    ),
    "stray </Task>": ("a</Task>b", "ab", [], [(1, "text or <Phrase>", "</Task>")]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_rows(vocab: Vocabulary, ids: Ids, name: str) -> None:
    written, text, phrases, issues = MALFORMED[name]
    reply = parse(ids(written), vocab)
    shown = [(p.text, p.unit and p.unit.kind, [r.index for r in p.unit.refs] if p.unit else []) for p in reply.phrases]
    assert reply.text == text
    assert shown == phrases
    assert [(issue.at, issue.expected, issue.got) for issue in reply.issues] == issues


@pytest.mark.parametrize("token", [-1, 10**6, 2**70, True])
def test_integers_that_are_no_token(vocab: Vocabulary, token: int) -> None:
    reply = parse([*vocab.encode_text("a"), token, *vocab.encode_text("b")], vocab)
    if token is True:  # counts as 1, which is text
        assert reply.issues == ()
    else:
        assert reply.text == "ab"
        assert reply.issues == (ParseIssue(at=1, expected="text or <Phrase>", got=f"id {token}"),)


def test_the_plan_is_broken_line_by_line(vocab: Vocabulary, ids: Ids) -> None:
    bad = ["no line", "- Name: cat Unit: bxo Num: 1", "- Name: cat Unit: box Num: 65", "- Name: cat Unit: box Num: ٣"]
    lines = ["- Name: a Unit: box Num: 1", *bad, "- Name: b Unit: doc Num: 0"]
    reply = parse(ids("<Task>" + "\n".join(lines) + "</Task>"), vocab)
    assert reply.plan == (PlanItem(name="a", kind="box", num=1), PlanItem(name="b", kind="doc", num=0))
    assert [issue.got for issue in reply.issues] == [repr(line) for line in bad]
    assert [issue.expected for issue in reply.issues] == ["- Name: NAME Unit: KIND Num: N"] * 4
    assert reply.text == ""


# --- what cannot be written ------------------------------------------------------------------------------

GOOD = Reply(text="a dog", phrases=(Phrase(text="dog", span=(2, 5), unit=box((1, 2, 3, 4))),))


def with_unit(kind: str, *refs: Ref) -> Reply:
    return replace(GOOD, phrases=(replace(GOOD.phrases[0], unit=Unit(kind=kind, refs=refs)),))  # type: ignore[arg-type]


def with_phrases(*phrases: Phrase) -> Reply:
    return Reply(text="a dog", phrases=phrases)


def with_plan(name: str = "dog", kind: Kind = "box", num: int = 1) -> Reply:
    return Reply(plan=(PlanItem(name=name, kind=kind, num=num),))


REF = Ref(index=0, codes=(1, 2, 3, 4))
UNSAYABLE: dict[str, tuple[Reply, str]] = {
    "too few codes": (with_unit("box", Ref(index=0, codes=(1, 2, 3))), r"phrase 'dog', box \[0\] has 3 codes; give 4"),
    "too many codes": (with_unit("point", Ref(index=0, codes=(1, 2, 3))), "has 3 codes; give 2"),
    "depth without its grid": (with_unit("depth", Ref(index=0, codes=(1, 2))), "has 2 codes; give 66"),
    "code out of range": (with_unit("box", Ref(index=0, codes=(1, 2, 3, 64))), "code 64 .* use 0 to 63"),
    "code below zero": (with_unit("box", Ref(index=0, codes=(-1, 2, 3, 4))), "code -1 .* use 0 to 63"),
    "mask code out of its block": (
        with_unit("mask", Ref(index=0, codes=(1, 2, 3, 4, *range(1, 17)))),
        "code 16 in the block of <mask_000>; use 0 to 15",
    ),
    "empty document": (with_unit("doc", Ref(index=0, codes=())), "0 codes"),
    "document of special tokens": (with_unit("doc", Ref(index=0, codes=(10**6,))), "code 1000000, .* not a text token"),
    "no refs": (with_unit("box"), "phrase 'dog' has 0 refs"),
    "65 refs": (with_unit("box", *(Ref(index=k, codes=(1, 2, 3, 4)) for k in range(65))), "has 65 refs; use 1 to 64"),
    "index beyond 63": (with_unit("box", Ref(index=64, codes=(1, 2, 3, 4))), "ref 0 has index 64"),
    "index given twice": (with_unit("box", REF, REF), "ref 1 has index 0; number the refs 0, 1, 2"),
    "unknown kind": (with_unit("bxo", REF), "kind 'bxo'; use one of box"),
    "overlapping phrases": (
        with_phrases(Phrase(text="a do", span=(0, 4)), Phrase(text="og", span=(3, 5))),
        r"phrase 'og' has span \(3, 5\); .* from 4",
    ),
    "phrases out of order": (
        with_phrases(Phrase(text="dog", span=(2, 5)), Phrase(text="a", span=(0, 1))),
        r"phrase 'a' has span \(0, 1\)",
    ),
    "empty phrase": (with_phrases(Phrase(text="", span=(2, 2))), r"span \(2, 2\); use at least one character"),
    "span beyond the text": (with_phrases(Phrase(text="dog", span=(2, 6))), "to 5"),
    "span before the text": (with_phrases(Phrase(text="g", span=(-1, 5))), "from 0"),
    "span of other words": (with_phrases(Phrase(text="cat", span=(2, 5))), "the text says 'dog'"),
    "lone surrogate": (Reply(text="\ud800"), "not Unicode"),
    "plan over two lines": (with_plan(name="a\nb"), "line break"),
    "plan of an unknown kind": (with_plan(kind="bxo"), "kind 'bxo'"),  # type: ignore[arg-type]
    "plan for too many": (with_plan(num=65), "num 65; use 0 to 64"),
    "plan for less than none": (with_plan(num=-1), "num -1; use 0 to 64"),
}


@pytest.mark.parametrize("name", UNSAYABLE)
def test_what_cannot_be_written_is_refused(vocab: Vocabulary, name: str) -> None:
    reply, said = UNSAYABLE[name]
    with pytest.raises(GeneralistError, match=said) as raised:
        encode(reply, vocab)
    assert "\n" not in str(raised.value)
