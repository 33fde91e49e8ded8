"""Molmo: points as tags, in hundredths; Molmo 2: in thousandths, several in one attribute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generalist.dialects import Question, Sizes, get_dialect, parse
from generalist.types import GeneralistError, VisualPrompt

from .rows import BOX, CHAT, POINT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("molmo")
PEAK = '<point x="63.5" y="44.5" alt="Mt Rainier">Mt Rainier</point>'
PEAK_POINT = "Mt Rainier point 635 222.5"
BOATS = '<points x1="10.0" y1="20.0" x2="30.5" y2="40.1" alt="boats">boats</points>'
BOATS_POINTS = "boats point 100 100; boats point 305 200.5"

DOCUMENTED = [
    documented(f" {PEAK}", PEAK_POINT, POINT, " Mt Rainier"),
    documented(BOATS, BOATS_POINTS, POINT, "boats"),
    documented(
        f"The peak is {PEAK} and there are {BOATS}.",
        f"{PEAK_POINT}; {BOATS_POINTS}",
        CHAT,
        "The peak is Mt Rainier and there are boats.",
    ),
    documented(
        f"Counting the {BOATS} shows a total of 2.", BOATS_POINTS, CHAT, "Counting the boats shows a total of 2."
    ),
    documented('<point x="0" y="100" alt="corner">corner</point>', "corner point 0 500", POINT),
    documented('<point x="50" y="50" alt="">here</point>', "here point 500 250", POINT),
    documented('<point x="50" y="50" alt="dog"></point>', "dog point 500 250", POINT, "dog"),
    documented('<point x="50" y="50"/>', "the dog point 500 250", POINT),
    documented('<point x=" 50.0" y=" 50.0" alt="dog">dog</point>', "dog point 500 250", POINT),
    documented(
        '<points coords="1 1 0635 0445 2 0100 0200" alt="boats">boats</points>',
        "boats point 635 222.5; boats point 100 100",
        POINT,
    ),
    documented('<points coords="1 1 500 500"/>', "the dog point 500 250", POINT),
    documented(
        '<points coords="1 1 500 500;1 2 100 200">dogs</points>', "dogs point 500 250; dogs point 100 100", POINT
    ),
    documented("There are none.<|endoftext|>", "", POINT, "There are none."),
    documented("<p>no point</p> 3 < 4", "", CHAT, "<p>no point</p> 3 < 4"),
]

MALFORMED = [
    malformed(PEAK[:-8], PEAK_POINT, POINT),  # no end
    malformed(PEAK[:-3], PEAK_POINT, POINT),  # cut off in the end
    malformed('<point x="63.5" alt="dog">dog</point>', "", POINT),  # no y
    malformed('<point y="63.5" alt="dog">dog</point>', "", POINT),  # no x
    malformed('<point alt="dog">dog</point>', "", POINT),  # neither
    malformed("<point>dog</point>", "", POINT),  # no attributes
    malformed('<point x="left" y="44.5" alt="dog">dog</point>', "", POINT),  # a word
    malformed('<point x="" y="" alt="dog">dog</point>', "", POINT),  # nothing
    malformed('<point x="635" y="445" alt="dog">dog</point>', "", POINT),  # pixels
    malformed('<point x="-5" y="50" alt="dog">dog</point>', "", POINT),  # outside
    malformed('<point x="nan" y="50" alt="dog">dog</point>', "", POINT),  # not a number
    malformed('<point x="1e5" y="50" alt="dog">dog</point>', "", POINT),  # an exponent
    malformed('<points x1="10" y1="20" x2="30.5" alt="boats">boats</points>', "boats point 100 100", POINT),  # no y2
    malformed('<points x1="10" y1="20" x2="300" y2="5">boats</points>', "boats point 100 100", POINT),  # one outside
    malformed(f"{PEAK[:-8]}{PEAK}", f"{PEAK_POINT}; {PEAK_POINT}", POINT),  # nested
    malformed(f"dog</point> {PEAK}", PEAK_POINT, POINT),  # an end without a beginning
    malformed(PEAK.replace("</point>", "</points>"), PEAK_POINT, POINT),  # the other end
    malformed('<points coords="1 1 0635">boats</points>', "", POINT),  # half a point
    malformed('<points coords="1 1 0635 0445 2 0100">boats</points>', "boats point 635 222.5", POINT),  # and another
    malformed('<points coords="a b c d">boats</points>', "", POINT),  # letters
    malformed('<points coords="">boats</points>', "", POINT),  # none
    malformed('<points coords="1 1 5000 500">boats</points>', "", POINT),  # outside
    malformed(f"{PEAK} <point x='50' y='50'>dog</point>", PEAK_POINT, POINT),  # single quotes
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


def test_points_on_another_image_are_left_out() -> None:
    second = replace(POINT, sizes=Sizes(submitted=(1000, 500), resized=(500, 250), image=1))
    reading = parse(DIALECT, '<points coords="1 1 500 500;2 2 100 200">dogs</points>', second)
    (item,) = reading.outputs
    assert item.image == 1 and len(reading.issues) == 1


def test_asks_to_point() -> None:
    assert DIALECT.ask(POINT).text == "Point to the dog."
    assert DIALECT.ask(CHAT).text == CHAT.text


def test_refuses_boxes() -> None:
    with pytest.raises(GeneralistError, match="no answer for task 'box'; use chat, point"):
        DIALECT.ask(BOX)
    prompt = VisualPrompt(kind="point", xy=(0.5, 0.5))
    with pytest.raises(GeneralistError, match="cannot be shown a point"):
        DIALECT.ask(Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES))
