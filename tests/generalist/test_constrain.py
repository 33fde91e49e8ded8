"""The grammar: what it accepts parses without issues, what encode writes it accepts; and JSON of a schema."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from generalist.constrain import check_json_schema, compile_constraint, reply_constraint
from generalist.reply import encode, parse
from generalist.tokens import Vocabulary
from generalist.types import (
    KINDS,
    Constraint,
    GeneralistError,
    Kind,
    Phrase,
    PlanItem,
    Prompt,
    Ref,
    Reply,
    Sampling,
    Unit,
)

if TYPE_CHECKING:
    from generalist.model import Checkpoint

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


def test_grammars_that_differ_in_token_ids_alone_are_kept_apart(vocab: Vocabulary) -> None:
    for first, second in ((5, 6), (7, 8)):
        walker = Walker(Constraint(grammar=f"root ::= Token({first}) Token({second})"), vocab)
        assert walker.allowed().tolist() == [first]
        assert walker.take(first)
        assert walker.allowed().tolist() == [second]


# --- JSON of a schema ---

DOG: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "legs": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


def as_json(schema: object, vocab: Vocabulary) -> Constraint:
    return check_json_schema(json.dumps(schema), vocab)


def test_json_is_held_to_its_schema(vocab: Vocabulary) -> None:
    constraint = as_json(DOG, vocab)
    good = ['{"name": "Bo", "legs": 4}', '{"name": "é \\" \\n", "legs": 0}', '{"name": "<loc_0001>", "legs": 1}']
    for text in good:
        assert accepts(constraint, vocab.encode_text(text), vocab), text
    bad = [
        "",
        "{}",
        '{"name": "Bo", "legs": 44}',
        '{"name":"Bo","legs":4}',
        '{"name": "Bo"}',
        '{"name": "a\nb", "legs": 1}',
    ]
    bad += ['{"name": "Bo", "legs": 4} ', '{\n"name": "Bo", "legs": 4}', '{"legs": 4, "name": "Bo"}']
    for text in bad:
        assert not accepts(constraint, vocab.encode_text(text), vocab), text


def test_json_draws_nothing(vocab: Vocabulary) -> None:
    walker = Walker(as_json({"type": "object"}, vocab), vocab)
    for token in vocab.encode_text('{"'):
        assert walker.take(token)
    assert not set(walker.allowed()) & set(vocab.special_ids)


@pytest.mark.parametrize("schema", [
    DOG,
    {"type": "object"},
    {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 3}, "minItems": 2, "maxItems": 3},
    {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"enum": ["a", None]}]},
])  # fmt: skip
def test_whatever_is_written_is_json(vocab: Vocabulary, schema: dict[str, Any]) -> None:
    rng = random.Random(1)
    constraint = as_json(schema, vocab)
    ended = 0
    for _ in range(20):
        walker, written = Walker(constraint, vocab), []
        while len(written) < 60 and vocab.eos not in written:
            allowed = walker.allowed().tolist()
            written.append(vocab.eos if vocab.eos in allowed and rng.random() < 0.5 else rng.choice(allowed))
            assert walker.take(written[-1])
        if written[-1] == vocab.eos:
            json.loads(b"".join(vocab.text_bytes(token) or b"" for token in written[:-1]))
            ended += 1
    assert ended or schema["type"] == "object"


@pytest.mark.parametrize("schema, said", [
    ({"type": "nope"}, 'Unsupported type "nope"'),
    ({"$ref": "#"}, "no JSON follows"),
    ({"enum": []}, "must not be empty"),
    (5, "should be an object or bool"),
])  # fmt: skip
def test_a_schema_that_is_none_is_the_callers_mistake_in_one_line(vocab: Vocabulary, schema: object, said: str) -> None:
    with pytest.raises(GeneralistError, match=said) as caught:
        as_json(schema, vocab)
    assert "\n" not in str(caught.value) and ".cc:" not in str(caught.value)


def test_the_engine_writes_json(tiny_checkpoint: Checkpoint, vocab: Vocabulary) -> None:
    from generalist.engine.transformers_engine import TransformersEngine

    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"type": "boolean"}}, "required": ["a", "b"]}
    engine = TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, vocab)
    prompt = Prompt(token_ids=tuple(vocab.encode_text("Count.")), constraint=as_json(schema, vocab))
    for seed in range(3):
        (made,) = engine.generate([prompt], Sampling(temperature=1.5, seed=seed, max_new_tokens=200))
        said = json.loads(parse(made.token_ids, vocab).text)
        assert made.finish_reason == "stop" and said["a"] in (1, 2) and said["b"] in (True, False)
