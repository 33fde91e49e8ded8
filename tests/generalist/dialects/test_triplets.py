"""Our own dialect written as text, with 64 locations a side here."""

from __future__ import annotations

from pathlib import Path

import pytest

from generalist.dialects import get_dialect, parse
from generalist.dialects.triplets import Triplets
from generalist.reply import parse as parse_tokens
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

from .rows import CHAT, Row, check, documented, malformed

AT, CAT_AT = "<loc_0006><loc_0012><loc_0032><loc_0048>", "<loc_0000><loc_0000><loc_0063><loc_0063>"
DOG = f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{AT})"
CAT = f"<Phrase>cat</Phrase>(<Unit>box</Unit>[0]{CAT_AT})"
DOG_BOX, CAT_BOX = "dog box 101.6 97.7 507.8 378.9", "cat box 7.8 3.9 992.2 496.1"
TIP = "<Phrase>tip</Phrase>(<Unit>point</Unit>[0]<loc_0032><loc_0016>)"
TIP_POINT = "tip point 507.8 128.9"

DOCUMENTED = [
    documented(f"The {DOG} is asleep.", DOG_BOX, CHAT, "The dog is asleep."),
    documented(DOG, DOG_BOX, CHAT, "dog"),
    documented(f"{DOG} and {CAT}", f"{DOG_BOX}; {CAT_BOX}", CHAT, "dog and cat"),
    documented(f"A {TIP}", TIP_POINT, CHAT, "A tip"),
    documented(
        f"<Phrase>two</Phrase>(<Unit>box</Unit>[0]{AT}[1]{CAT_AT})", f"two{DOG_BOX[3:]}; two{CAT_BOX[3:]}", CHAT, "two"
    ),
    documented("<Phrase>dog</Phrase> is here", "", CHAT, "dog is here"),
    documented("Nothing (at all).", "", CHAT, "Nothing (at all)."),
    documented("<Task>- Name: dog Unit: box Num: 1</Task>" + DOG, DOG_BOX, CHAT, "dog"),
    documented(f"(see {DOG})", DOG_BOX, CHAT, "(see dog)"),
    documented("", "", CHAT, ""),
    documented("3 < 4 [and so on]", "", CHAT, "3 < 4 [and so on]"),
    documented(f"<Phrase>der Hund, süß</Phrase>(<Unit>box</Unit>[0]{AT})", f"der Hund, süß{DOG_BOX[3:]}", CHAT),
    documented(f"<Phrase>dog</Phrase>(<Unit>box</Unit>{AT}[0])", DOG_BOX, CHAT),
]

MALFORMED = [
    malformed(DOG[:-1], DOG_BOX, CHAT),  # no ")"
    malformed(DOG[:-13], "", CHAT),  # cut off behind three locations
    malformed(DOG[:-5], "", CHAT),  # cut off in a tag
    malformed("<Phrase>dog", "", CHAT),  # cut off in a phrase
    malformed("<Phrase>dog</Phrase>(<Unit>bo", "", CHAT),  # cut off in a kind
    malformed("<Phrase>dog</Phrase>(<Unit>box</Unit>", "", CHAT),  # no ref
    malformed("<Phrase>dog</Phrase>(<Unit>box</Unit>)", "", CHAT),  # an empty unit
    malformed(f"<Phrase>dog</Phrase>(<Unit>tree</Unit>[0]{AT})", "", CHAT),  # no such kind
    malformed(f"<Phrase>dog</Phrase><Unit>box</Unit>[0]{AT})", DOG_BOX, CHAT),  # no "("
    malformed(f"<Phrase>dog(<Unit>box</Unit>[0]{AT})", DOG_BOX, CHAT),  # no </Phrase>
    malformed(f"(<Unit>box</Unit>[0]{AT})", DOG_BOX[4:], CHAT),  # no phrase
    malformed(f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{AT}<loc_0001>)", DOG_BOX, CHAT),  # five locations
    malformed(f"<Phrase>dog</Phrase>(<Unit>box</Unit>[5]{AT})", DOG_BOX, CHAT),  # not numbered from 0
    malformed(f"<Phrase>dog</Phrase>(<Unit>point</Unit>[0]{AT})", "dog point 101.6 97.7", CHAT),  # a box for a point
    malformed("<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0032><loc_0016>)", "", CHAT),  # a point for a box
    malformed("<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_9999>)", "", CHAT),  # no such location
    malformed(f"{AT} dog", "", CHAT),  # locations in prose
    malformed(f"<Phrase></Phrase>{DOG}", DOG_BOX, CHAT),  # an empty phrase
    malformed(f"<Phrase>a <Phrase>dog</Phrase>(<Unit>box</Unit>[0]{AT})", DOG_BOX, CHAT),  # nested
    malformed("</Unit></Phrase></Task>", "", CHAT),  # ends without beginnings
    malformed(f"{DOG} <Task>late</Task>", DOG_BOX, CHAT),  # a plan at the end
    malformed("<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]<doc>D 1</doc>)", "", CHAT),  # a document: not drawn
]


@pytest.fixture(scope="session")
def dialect(vocab: Vocabulary) -> Triplets:
    return Triplets(vocabulary=vocab)


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row, dialect: Triplets) -> None:
    check(row, dialect, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row, dialect: Triplets) -> None:
    check(row, dialect, issues=True)


def test_says_what_the_parser_of_tokens_does(dialect: Triplets, ids: object) -> None:
    answer = f"The {DOG} is by {CAT}."
    reply = parse_tokens(ids(answer), dialect.vocabulary)  # type: ignore[operator]
    reading = parse(dialect, answer, CHAT)
    assert reading.text == reply.text
    assert [(phrase.text, phrase.span) for phrase in reading.reply.phrases] == [(p.text, p.span) for p in reply.phrases]


def test_needs_a_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="needs the vocabulary"):
        get_dialect("triplets")
    with pytest.raises(GeneralistError, match="cannot read the vocabulary"):
        get_dialect("triplets", tmp_path)
