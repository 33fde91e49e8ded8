"""Stop strings over text that comes in pieces."""

from __future__ import annotations

from itertools import chain

import pytest

from generalist_serving.stops import StopGate


def through(stop: list[str], *given: str | tuple[int, str]) -> tuple[list[list[str]], bool]:
    """What passes at each piece of text or (place, item), and at the end."""
    gate: StopGate[str] = StopGate(stop)
    passed = [gate.text(one) if isinstance(one, str) else gate.item(*one) for one in given]
    passed.append(gate.finish())
    return passed, gate.stopped


def test_without_stop_strings_everything_passes_at_once() -> None:
    assert through([], "a", (1, "<box>"), "b") == ([["a"], ["<box>"], ["b"], []], False)


@pytest.mark.parametrize("pieces", [["one END two"], ["one E", "ND two"], list("one END two")])
def test_text_ends_before_a_stop_string_however_it_is_cut(pieces: list[str]) -> None:
    passed, stopped = through(["END"], *pieces)
    assert stopped and "".join(chain.from_iterable(passed)) == "one "


def test_what_may_be_a_stop_string_is_held_back_until_it_is_none() -> None:
    assert through(["END"], "a E", "N", "X")[0] == [["a "], [], ["ENX"], []]


def test_what_is_held_back_comes_at_the_end() -> None:
    assert through(["END"], "an E", (4, "<box>")) == ([["an "], [], ["E", "<box>"]], False)


def test_the_first_of_several_stop_strings_counts() -> None:
    assert through(["two", "one"], "zero one two")[0] == [["zero "], []]


def test_a_stop_string_may_begin_within_a_failed_one() -> None:
    assert through(["aab"], "aa", "ab", "c")[0] == [[], ["a"], [], []]


def test_items_of_text_behind_the_stop_never_come() -> None:
    given = ("cat ", (3, "<cat>"), "dog E", (7, "<dog>"), (9, "<late>"), "ND", (9, "<later>"))
    passed, stopped = through(["END"], *given)
    assert stopped and list(chain.from_iterable(passed)) == ["cat ", "<cat>", "dog ", "<dog>"]
