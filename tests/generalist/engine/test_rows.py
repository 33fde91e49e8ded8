import numpy as np
import pytest
import torch

from generalist.engine.rows import Allowed, Row

EOS = 1


class Script:
    """A matcher that allows, step by step, the tokens it was given."""

    def __init__(self, *steps: set[int]) -> None:
        self.steps = list(steps)

    def fill_next_token_bitmask(self, bits: torch.Tensor, slot: int) -> bool:
        bits[slot] = 0
        for token in self.steps[0]:
            bits[slot, token // 32] |= (1 << (token % 32)) - (1 << 32 if token % 32 == 31 else 0)
        return True

    def accept_token(self, token: int) -> bool:
        return token in self.steps.pop(0)


def row(*steps: set[int], budget: int = 100) -> Row:
    return Row(0, Allowed(1, 200), Script(*steps), eos=EOS, budget=budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 31, 32, 33, 63, 64, 1000])
def test_without_a_grammar_every_token_of_the_vocabulary_is_allowed(size: int) -> None:
    allowed = Allowed(2, size)
    assert allowed.count(1) == size
    assert allowed.bits.shape == (2, -(-size // 32))


@pytest.mark.parametrize("token", [0, 1, 31, 32, 63, 199])
def test_a_single_allowed_token_is_forced(token: int) -> None:
    assert row({token}).forced == token


def test_a_choice_is_not_forced() -> None:
    assert row({5, 6}).forced is None
    assert Row(0, Allowed(1, 200), None, eos=EOS, budget=1).forced is None


def test_a_reply_ends_at_the_end_token_which_is_no_part_of_it() -> None:
    reply = row({5, 6}, {7}, {EOS})
    assert reply.take(6, -0.5)
    assert reply.forced == 7
    assert reply.take(7, 0.0)
    assert not reply.take(EOS, -0.1)
    assert (reply.ids, reply.logprobs) == ([6, 7], [-0.5, 0.0])
    assert reply.finish_reason == "stop"


def test_a_reply_ends_at_its_budget() -> None:
    reply = row({5}, {6}, {7}, budget=2)
    reply.take(5, 0.0)
    assert reply.forced == 6
    reply.take(6, 0.0)
    assert (reply.ids, reply.finish_reason) == ([5, 6], "length")


def test_each_token_is_read_once() -> None:
    reply = row({5}, {6}, {7}, {8})
    reply.take(5, 0.0)
    reply.take(6, 0.0)
    assert reply.unread() == [5, 6]
    reply.take(7, 0.0)
    assert (reply.unread(), reply.unread()) == ([7], [])


def test_a_dead_end_of_the_grammar_ends_the_reply() -> None:
    reply = row({5}, set())
    assert reply.take(5, -0.5)
    assert (reply.ids, reply.logprobs, reply.finish_reason) == ([5], [-0.5], "stop")
    assert row(set()).finish_reason == "stop"


def test_the_likeliest_tokens_are_kept_where_they_are_asked_for() -> None:
    reply = Row(0, Allowed(1, 200), None, eos=EOS, budget=9, keeps_top=True)
    reply.take(5, -0.5, ((7, -0.1), (5, -0.5)))
    reply.take(6, 0.0)  # what is forced has no other
    assert reply.top == [((7, -0.1), (5, -0.5)), ((6, 0.0),)]
    plain = row({5}, {6})
    plain.take(5, -0.5, ((5, -0.5),))
    assert plain.top == []


def test_a_token_against_the_grammar_is_refused() -> None:
    with pytest.raises(RuntimeError, match="refused token 9"):
        row({5}, {6}).take(9, 0.0)


class Names:
    """After token 5 only 6 and 7 are allowed, after anything behind it everything."""

    def start(self) -> int:
        return 0

    def advance(self, state: int, token: int) -> int:
        return int(token == 5)

    def allowed(self, state: int) -> np.ndarray | None:
        return np.array([6, 7], np.int32) if state else None


def test_identifiers_narrow_what_may_come_next() -> None:
    steps = [{4, 5}, {6}, {4, 6}, {8}]
    reply = Row(0, Allowed(1, 200), Script(*steps), eos=EOS, budget=9, identifiers=Names())  # type: ignore[arg-type]
    assert reply.candidates is None
    reply.take(5, 0.0)
    assert reply.candidates is not None
    assert reply.candidates.tolist() == [6, 7]
    assert reply.forced is None  # although the grammar leaves no choice: the engine has to look whether it exists
    reply.take(6, 0.0)
    assert reply.candidates is None
