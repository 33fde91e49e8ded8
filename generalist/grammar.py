"""How drawn things and plans are written in tokens: what reply, prompt and constrain share.

unit    := "(" <Unit> KIND </Unit> ref+ ")"
ref     := [k] payload                       k = 0, 1, 2 ... within a unit
payload := box 4 loc | point 2 loc | mask 4 loc + 16 mask | depth 2 loc + G*G depth | doc <doc> text </doc>
plan    := <Task> lines "- Name: NAME Unit: KIND Num: N" </Task>
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from generalist.tokens import MAX_REFS, UNIT_CLOSE, UNIT_OPEN, Vocabulary
from generalist.types import KINDS, Kind, PlanItem

NAME, UNIT, NUM = "- Name:", " Unit:", " Num:"
"""The fixed pieces of a plan's line; what follows each begins with a space."""

# The name is greedy: a name that itself holds " Unit: box Num: 1" still reads back.
_LINE = re.compile(rf"{NAME}(.*){UNIT} ({'|'.join(KINDS)}){NUM} ([0-9]{{1,2}})")


def payload_blocks(vocab: Vocabulary, kind: str) -> tuple[tuple[range, int], ...]:
    """The blocks of a payload of fixed length, as (token ids, how many), in order; empty for ``doc``."""
    sizes = vocab.sizes
    blocks: dict[str, tuple[tuple[range, int], ...]] = {
        "box": ((vocab.loc, 4),),
        "point": ((vocab.loc, 2),),
        "mask": ((vocab.loc, 4), (vocab.mask, sizes.mask_length)),
        "depth": ((vocab.loc, 2), (vocab.depth, sizes.depth_grid**2)),
        "doc": (),
    }
    return blocks[kind]


def unit_ids(vocab: Vocabulary, kind: str, payloads: Sequence[Iterable[int]]) -> list[int]:
    """``(<Unit>kind</Unit>[0]payload[1]payload...)`` as token ids; at most 64 payloads."""
    ids = [vocab.open_paren, vocab.structure[UNIT_OPEN], *vocab.encode_text(kind), vocab.structure[UNIT_CLOSE]]
    for index, payload in enumerate(payloads):
        ids += [vocab.ref[index], *payload]
    return [*ids, vocab.close_paren]


def plan_pieces(item: PlanItem) -> tuple[str, ...]:
    """A plan's line in the pieces that are turned into tokens one by one; joined they are the line."""
    return (NAME, f" {item.name}", UNIT, f" {item.kind}", NUM, f" {item.num}")


def read_plan_line(line: str) -> PlanItem | None:
    """The item of one line, or None when it is not written as :func:`plan_pieces` does."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[3]) > MAX_REFS:
        return None
    kind: Kind = next(k for k in KINDS if k == match[2])
    return PlanItem(name=match[1].removeprefix(" "), kind=kind, num=int(match[3]))
