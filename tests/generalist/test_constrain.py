"""The grammar: what it accepts parses without issues, what encode writes it accepts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from generalist.constrain import compile_constraint, reply_constraint
from generalist.reply import encode, parse
from generalist.tokens import Vocabulary
from generalist.types import KINDS, Constraint, GeneralistError, Kind, Phrase, PlanItem, Ref, Reply, Unit

xgrammar = pytest.importorskip("xgrammar")

Ids = Callable[[str], list[int]]
KIND_SETS: tuple[tuple[Kind, ...], ...] = (KINDS, (), ("box",), ("mask", "depth"), ("doc",), ("point", "doc"))
LOCS = "<loc_0001>" * 4


class Walker:
    """Follows a grammar token by token."""

    def __init__(self, constraint: Constraint, vocab: Vocabulary) -> None:
        self._matcher = xgrammar.GrammarMatcher(compile_constraint(constraint, vocab))
        self._mask = xgrammar.allocate_token_bitmask(1, vocab.size)
        self._size = vocab.size

    def allowed(self) -> np.ndarray:
        """Token ids, int64 [n]."""
        self._matcher.fill_next_token_bitmask(self._mask)
        bits = np.unpackbits(self._mask.numpy().view(np.uint8), bitorder="little")
        return np.flatnonzero(bits[: self._size])

    def take(self, token: int) -> bool:
        return bool(self._matcher.accept_token(token))


def accepts(constraint: Constraint, tokens: Iterable[int], vocab: Vocabulary) -> bool:
    walker = Walker(constraint, vocab)
    return all(walker.take(token) for token in [*tokens, vocab.eos])


def random_reply(kinds: Sequence[Kind], plan: bool, vocab: Vocabulary, rng: random.Random) -> list[int]:
    """A walk that likes special tokens and units, and ends once it may after 60 tokens."""
    walker = Walker(reply_constraint(vocab, kinds, plan), vocab)
    task, task_end, phrase_end, unit = (vocab.structure[n] for n in ("<Task>", "</Task>", "</Phrase>", "<Unit>"))
    is_text = np.array([vocab.is_text(i) for i in range(vocab.size)])
    taken: list[int] = []
    due: list[int] = []
    while True:
        allowed = walker.allowed()
        if len(taken) > 60 and vocab.eos in allowed:
            return taken
        plain = allowed[is_text[allowed]]
        special = allowed[~is_text[allowed] & (allowed != vocab.eos)]
        in_name = task in taken and task_end not in taken and len(plain) > 100
        if in_name and not due and rng.random() < 0.4:  # by chance alone no name would ever end
            due = [i for part in (" Unit:", f" {rng.choice(kinds)}", " Num:") for i in vocab.encode_text(part)]
        if taken[-1:] == [phrase_end] and kinds and rng.random() < 0.7:
            due = [vocab.open_paren, unit]
        likes_special = len(special) and (not len(plain) or rng.random() < 0.5)
        token = due.pop(0) if due else int(rng.choice(special if likes_special else plain))
        assert walker.take(token), vocab.name(token)
        taken.append(token)


@pytest.mark.parametrize("kinds", KIND_SETS, ids=lambda kinds: "+".join(kinds) or "none")
@pytest.mark.parametrize("plan", [True, False], ids=["plan", "no plan"])
def test_what_is_accepted_parses_without_issues(vocab: Vocabulary, kinds: tuple[Kind, ...], plan: bool) -> None:
    rng = random.Random(7)
    replies = [parse(random_reply(kinds, plan, vocab, rng), vocab) for _ in range(20)]
    assert [reply.issues for reply in replies] == [()] * 20
    drawn = {phrase.unit.kind for reply in replies for phrase in reply.phrases if phrase.unit}
    assert drawn == set(kinds)
    assert any(reply.plan for reply in replies) == (plan and bool(kinds))
    assert all(item.kind in kinds for reply in replies for item in reply.plan or ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 64])
def test_what_encode_writes_is_accepted(vocab: Vocabulary, kind: Kind, count: int) -> None:
    codes = {"box": (5,) * 4, "point": (5,) * 2, "mask": (5,) * 20, "depth": (5,) * 66}
    codes["doc"] = tuple(vocab.encode_text("12 (dogs)\n"))
    refs = tuple(Ref(index=k, codes=codes[kind]) for k in range(count))
    reply = Reply(
        text="(The dog)(s) and\n日本 (",
        phrases=(
            Phrase(text="The dog", span=(1, 8), unit=Unit(kind=kind, refs=refs)),
            Phrase(text="日", span=(17, 18)),
        ),
        plan=(PlanItem(name="dog Unit: box Num: 1 ", kind=kind, num=count), PlanItem(name="", kind=kind, num=0)),
    )
    written = encode(reply, vocab)
    assert accepts(reply_constraint(vocab, (kind,)), written, vocab)
    assert not accepts(reply_constraint(vocab, [k for k in KINDS if k != kind]), written, vocab)
    assert not accepts(reply_constraint(vocab, (kind,), plan=False), written, vocab)


REFUSED = {
    "empty phrase": "<Phrase></Phrase>",
    "open phrase": "<Phrase>dog",
    "unit without a phrase": f"dog(<Unit>box</Unit>[0]{LOCS})",
    "unit without refs": "<Phrase>dog</Phrase>(<Unit>box</Unit>)",
    "unknown kind": f"<Phrase>dog</Phrase>(<Unit>dog</Unit>[0]{LOCS})",
    "three coordinates": "<Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001><loc_0001><loc_0001>)",
    "five coordinates": f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{LOCS}<loc_0001>)",
    "first ref is not [0]": f"<Phrase>dog</Phrase>(<Unit>box</Unit>[1]{LOCS})",
    "ref given twice": f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{LOCS}[0]{LOCS})",
    "index behind the payload": f"<Phrase>dog</Phrase>(<Unit>box</Unit>{LOCS}[0])",
    "plan behind text": "dog<Task></Task>",
    "line of the plan without a number": "<Task>- Name: dog Unit: box Num:</Task>",
    "role token": "<user>",
    "empty document": "<Phrase>dog</Phrase>(<Unit>doc</Unit>[0]<doc></doc>)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_malformed_is_refused(vocab: Vocabulary, ids: Ids, name: str) -> None:
    assert not accepts(reply_constraint(vocab), ids(REFUSED[name]), vocab)


def test_without_kinds_there_are_text_and_bare_phrases(vocab: Vocabulary, ids: Ids) -> None:
    constraint = reply_constraint(vocab, ())
    assert accepts(constraint, ids("2 <Phrase>dogs</Phrase>(here)."), vocab)
    assert not accepts(constraint, ids(f"<Phrase>dog</Phrase>(<Unit>box</Unit>[0]{LOCS})"), vocab)
    assert not accepts(constraint, ids("<Task></Task>dog"), vocab)


def test_the_end_token_is_offered_where_a_reply_may_end(vocab: Vocabulary, ids: Ids) -> None:
    walker = Walker(reply_constraint(vocab), vocab)
    written = ids(f"A <Phrase>d</Phrase>(<Unit>box</Unit>[0]{LOCS}).")
    ends = []
    for token in written:
        ends.append(vocab.eos in walker.allowed())
        walker.take(token)
    opened = written.index(vocab.structure["<Phrase>"])
    closed = written.index(vocab.structure["</Phrase>"])
    last = written.index(vocab.close_paren)
    may_end = [k <= opened or k in (closed + 1, closed + 2) or k > last for k in range(len(written))]
    assert ends == may_end


def test_kinds_are_a_set(vocab: Vocabulary) -> None:
    assert reply_constraint(vocab, ("mask", "box", "box")) == reply_constraint(vocab, ("box", "mask"))
    assert reply_constraint(vocab, ("box",)) != reply_constraint(vocab, ("box", "mask"))


def test_unknown_kind_is_the_callers_mistake(vocab: Vocabulary) -> None:
    with pytest.raises(GeneralistError, match="no kind 'bxo'; use some of box, point"):
        reply_constraint(vocab, ["bxo"])  # type: ignore[list-item]


def test_grammar_that_is_none_is_the_callers_mistake(vocab: Vocabulary) -> None:
    with pytest.raises(GeneralistError, match="is not valid") as raised:
        compile_constraint(Constraint(grammar="root ::= nothing"), vocab)
    assert "\n" not in str(raised.value)
