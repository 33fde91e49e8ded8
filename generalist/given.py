"""What was seen, as a reply: the tokens that a model would write, and beside them what they draw exactly.

Nothing behind an engine tells such a reply from a written one: it is streamed, parsed, drawn and sent alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from generalist.prompt import XYXY, EncodeMask
from generalist.reply import encode, parse
from generalist.scores import refs_of
from generalist.tokens import MAX_REFS, Vocabulary
from generalist.types import (
    Box,
    GeneralistError,
    Given,
    Kind,
    Mask,
    Output,
    Phrase,
    Ref,
    Reply,
    Seen,
    Unit,
    VisualPrompt,
)
from generalist.visual import mask_bitmap

DRAWN: tuple[Kind, ...] = ("box", "mask")
_COMMA = ", "
_LEAST = 1e-6
"""A score has a logarithm."""


def write(seen: Seen, vocab: Vocabulary, encode_mask: EncodeMask | None) -> Given:
    """The reply that says ``seen``: names in their order, commas between them, what is drawn numbered behind each.

    The log-probability of every token of a payload is that of its score. A name with more drawings than a phrase
    can number stands there again. ``encode_mask`` is needed for masks.
    """
    phrases: list[Phrase] = []
    outputs: list[Output] = []
    text = seen.text
    for name, drawn in seen.drawn:
        for part in (drawn[start : start + MAX_REFS] for start in range(0, len(drawn), MAX_REFS)):
            text += _COMMA if text else ""
            unit = _unit(part, vocab, encode_mask)
            phrases.append(Phrase(text=name, span=(len(text), len(text) + len(name)), unit=unit))
            text += name
            outputs += part
    ids = encode(Reply(text=text, phrases=tuple(phrases)), vocab)
    places = [ref.tokens for phrase in parse(ids, vocab).phrases for ref in refs_of(phrase)]
    logprobs = [0.0] * len(ids)
    for (start, stop), output in zip(places, outputs, strict=True):
        certain = math.log(max(1.0 if output.score is None else output.score, _LEAST))
        logprobs[start:stop] = [certain] * (stop - start)
    by_place = {start: output for (start, _), output in zip(places, outputs, strict=True)}
    return Given(token_ids=tuple(ids), logprobs=tuple(logprobs), outputs=by_place)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenDecoder:
    """Draws what is given for a payload, by the token that it begins with."""

    kind: Kind
    outputs: Mapping[int, Output]

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[Output | None]:
        """One output a ref."""
        return [self.outputs.get(ref.tokens[0]) for ref in refs]


def _unit(drawn: Sequence[Output], vocab: Vocabulary, encode_mask: EncodeMask | None) -> Unit:
    kind: Kind = "mask" if isinstance(drawn[0], Mask) else "box"
    refs = (Ref(index=k, codes=tuple(_codes(one, vocab, encode_mask))) for k, one in enumerate(drawn))
    return Unit(kind=kind, refs=tuple(refs))


def _codes(output: Output, vocab: Vocabulary, encode_mask: EncodeMask | None) -> Iterator[int]:
    if isinstance(output, Box):
        yield from _bins(output.xyxy, vocab)
    elif isinstance(output, Mask) and encode_mask is not None:
        xyxy, codes = encode_mask(VisualPrompt(kind="mask", bitmap=mask_bitmap(output)))
        yield from (*_bins(xyxy, vocab), *codes)
    else:
        raise GeneralistError(f"a {type(output).__name__} cannot be written with this checkpoint; ask for boxes")


def _bins(xyxy: XYXY, vocab: Vocabulary) -> Iterator[int]:
    return (vocab.loc_bin(value) for value in xyxy)
