"""From a reply to token ids: the inverse of parsing."""

from __future__ import annotations

from generalist.grammar import payload_blocks, plan_pieces, unit_ids
from generalist.tokens import (
    DOC_CLOSE,
    DOC_OPEN,
    MAX_REFS,
    PHRASE_CLOSE,
    PHRASE_OPEN,
    TASK_CLOSE,
    TASK_OPEN,
    Vocabulary,
)
from generalist.types import KINDS, GeneralistError, Phrase, PlanItem, Ref, Reply, Unit


def encode(reply: Reply, vocab: Vocabulary) -> list[int]:
    """The token ids of ``reply``, without the end token; ``reply.issues`` are not written.

    ``The dog is asleep.`` with a box for (4, 7) becomes
    ``The <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc><loc><loc><loc>) is asleep.``
    Raises :class:`GeneralistError` for what the grammar cannot say: spans that overlap or do not
    hold the phrase's text, a unit without refs, refs not numbered 0, 1, 2 ... 63, codes out of
    range or too few or too many of them.
    """
    ids = [] if reply.plan is None else _plan_ids(reply.plan, vocab)
    done = 0
    for phrase in reply.phrases:
        start, stop = phrase.span
        if not done <= start < stop <= len(reply.text):
            raise GeneralistError(
                f"phrase {phrase.text!r} has span {phrase.span}; use at least one character, "
                f"from {done} (where the phrase before it ends) to {len(reply.text)} (the length of the text)"
            )
        if reply.text[start:stop] != phrase.text:
            raise GeneralistError(
                f"phrase {phrase.text!r} has span {phrase.span}, where the text says {reply.text[start:stop]!r}; "
                "make them agree"
            )
        ids += [*vocab.encode_text(reply.text[done:start]), *_phrase_ids(phrase, vocab)]
        done = stop
    return ids + vocab.encode_text(reply.text[done:])


def _phrase_ids(phrase: Phrase, vocab: Vocabulary) -> list[int]:
    ids = [vocab.structure[PHRASE_OPEN], *vocab.encode_text(phrase.text), vocab.structure[PHRASE_CLOSE]]
    if phrase.unit is None:
        return ids
    where = f"phrase {phrase.text!r}"
    return ids + unit_ids(vocab, phrase.unit.kind, _payloads(phrase.unit, where, vocab))


def _payloads(unit: Unit, where: str, vocab: Vocabulary) -> list[list[int]]:
    if unit.kind not in KINDS:
        raise GeneralistError(f"{where} has a unit of kind {unit.kind!r}; use one of {', '.join(KINDS)}")
    if not 1 <= len(unit.refs) <= MAX_REFS:
        raise GeneralistError(f"{where} has {len(unit.refs)} refs; use 1 to {MAX_REFS}, or no unit")
    for position, ref in enumerate(unit.refs):
        if ref.index != position:
            raise GeneralistError(f"{where}: ref {position} has index {ref.index}; number the refs 0, 1, 2 ...")
    encode_codes = _doc_ids if unit.kind == "doc" else _code_ids
    return [encode_codes(ref, f"{where}, {unit.kind} [{ref.index}]", unit.kind, vocab) for ref in unit.refs]


def _code_ids(ref: Ref, where: str, kind: str, vocab: Vocabulary) -> list[int]:
    blocks = [block for block, count in payload_blocks(vocab, kind) for _ in range(count)]
    if len(ref.codes) != len(blocks):
        raise GeneralistError(f"{where} has {len(ref.codes)} codes; give {len(blocks)}")
    for code, block in zip(ref.codes, blocks, strict=True):
        if not 0 <= code < len(block):
            name = vocab.name(block[0])
            raise GeneralistError(f"{where} has code {code} in the block of {name}; use 0 to {len(block) - 1}")
    return [block[code] for code, block in zip(ref.codes, blocks, strict=True)]


def _doc_ids(ref: Ref, where: str, kind: str, vocab: Vocabulary) -> list[int]:
    if not ref.codes:
        raise GeneralistError(f"{where} has 0 codes; give the text tokens of a document identifier")
    for code in ref.codes:
        if not vocab.is_text(code):
            raise GeneralistError(f"{where} has code {code}, which is not a text token; use ids of text tokens")
    return [vocab.structure[DOC_OPEN], *ref.codes, vocab.structure[DOC_CLOSE]]


def _plan_ids(plan: tuple[PlanItem, ...], vocab: Vocabulary) -> list[int]:
    ids: list[int] = []
    for number, item in enumerate(plan):
        if "\n" in item.name:
            raise GeneralistError(f"plan item {item.name!r} has a line break in its name; remove it")
        if item.kind not in KINDS:
            raise GeneralistError(f"plan item {item.name!r} has kind {item.kind!r}; use one of {', '.join(KINDS)}")
        if not 0 <= item.num <= MAX_REFS:
            raise GeneralistError(f"plan item {item.name!r} has num {item.num}; use 0 to {MAX_REFS}")
        for piece in ("\n" if number else "", *plan_pieces(item)):
            ids += vocab.encode_text(piece)
    return [vocab.structure[TASK_OPEN], *ids, vocab.structure[TASK_CLOSE]]
