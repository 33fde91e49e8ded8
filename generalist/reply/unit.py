"""The part of the parser between ``<Unit>`` and ``)``: a kind and its refs."""

from __future__ import annotations

from generalist.grammar import payload_blocks
from generalist.tokens import DOC_CLOSE, DOC_OPEN, MAX_REFS, PHRASE_OPEN, TASK_OPEN, UNIT_CLOSE, UNIT_OPEN, Vocabulary
from generalist.types import KINDS, Kind, ParseIssue, Ref, Unit

_LONGEST_KIND = 32  # bytes; a "kind" that goes on is prose whose </Unit> was forgotten


def shown(token: int, vocab: Vocabulary) -> str:
    """A token as an issue names it: text in quotes, anything else by its name."""
    return repr(vocab.decode_text([token])) if vocab.is_text(token) else vocab.name(token)


class UnitParser:
    """Takes the tokens behind ``<Unit>`` until ``finished``.

    Both orders of a ref are read, ``[k] payload`` and ``payload [k]``; the first ref of a unit shows
    which it is. A ref is kept whole or not at all; one without its ``[k]`` gets the next number.
    """

    def __init__(self, vocab: Vocabulary) -> None:
        self._vocab = vocab
        self._structure = vocab.structure
        self._openers = {vocab.structure[name] for name in (PHRASE_OPEN, TASK_OPEN, UNIT_OPEN)}
        self.issues: list[ParseIssue] = []
        self.finished = False
        self.prose = b""  # what was read as a kind or an identifier and is neither
        self._state = self._in_kind
        self._kind: Kind | None = None
        self._kind_bytes = b""
        self._kind_at: int | None = None
        self._blocks: list[range] = []  # the block of every code of a payload; empty for doc
        self._refs: list[Ref] = []
        self._next = 0  # the index due
        self._index_first: bool | None = None
        self._clear()

    def feed(self, token: int, at: int) -> bool:
        """Take the token at offset ``at``; False when it is not the unit's, which is then finished."""
        return self._state(token, at)

    def end(self, at: int) -> None:
        """The reply ends inside the unit."""
        if self._state == self._in_kind:
            self._report(at, "</Unit>", "the end")
        elif self._state == self._in_doc:
            self._report(at, "</doc>", "the end")
        elif self._state == self._in_refs:
            self._break(at, "the end")
        self.finished = True

    def unit(self) -> Unit | None:
        """What was drawn; None when nothing whole was."""
        if self._kind is None or not self._refs:
            return None
        return Unit(kind=self._kind, refs=tuple(self._refs))

    # --- states: each takes a token and says whether it did ---

    def _in_kind(self, token: int, at: int) -> bool:
        self._kind_at = at if self._kind_at is None else self._kind_at
        data = self._vocab.text_bytes(token)
        if data is not None:
            self._kind_bytes += data
            if len(self._kind_bytes) > _LONGEST_KIND:
                self._report(at, "</Unit>", shown(token, self._vocab))
                self.prose = self._kind_bytes
                self.finished = True
            return True
        text = self._kind_bytes.decode("utf-8", "replace")
        kind = next((k for k in KINDS if k == text), None)
        if token == self._structure[UNIT_CLOSE]:
            if kind is None:
                self._report(self._kind_at, "a kind: " + ", ".join(KINDS), repr(text))
                self._state = self._skip
            else:
                self._begin_refs(kind)
            return True
        self._report(at, "</Unit>", shown(token, self._vocab))
        if kind is None or token in self._openers:
            self.prose = self._kind_bytes
            self.finished = True
            return False
        self._begin_refs(kind)
        return self._in_refs(token, at)

    def _in_refs(self, token: int, at: int) -> bool:
        if token in self._vocab.ref:
            self._take_index(token - self._vocab.ref.start, at)
            return True
        if token == self._vocab.close_paren:
            if self._pending():
                self._break(at, shown(token, self._vocab))
            elif not self._refs and not self.issues:
                self._report(at, "[0]", shown(token, self._vocab))
            self.finished = True
            return True
        if self._complete and self._fits(token, 0):
            self._break(at, shown(token, self._vocab))
        if self._may_draw() and self._fits(token, len(self._codes)):
            self._take_code(token, at)
            return True
        self._break(at, shown(token, self._vocab))
        self._state = self._skip
        return self._skip(token, at)

    def _in_doc(self, token: int, at: int) -> bool:
        if self._vocab.is_text(token):
            self._codes.append(token)
            return True
        if token == self._structure[DOC_CLOSE]:
            self._state = self._in_refs
            if self._codes:
                self._end_payload()
            else:
                self._report(at, "text in <doc>", shown(token, self._vocab))
                self._clear()
                self._state = self._skip
            return True
        self._report(at, "</doc>", shown(token, self._vocab))
        if token in self._openers:
            self.prose = b"".join(self._vocab.text_bytes(code) or b"" for code in self._codes)
        self._clear()
        self._state = self._skip
        return self._skip(token, at)

    def _skip(self, token: int, at: int) -> bool:
        """Behind something broken: go on at the next ref, or leave at ")", text or a new tag."""
        if token == self._vocab.close_paren:
            self.finished = True
            return True
        if token in self._openers or self._vocab.is_text(token):
            self.finished = True
            return False
        if self._kind is not None and token in self._vocab.ref:
            self._state = self._in_refs
            index = token - self._vocab.ref.start
            if self._index_first is False:
                self._next = index + 1  # this [k] ends the broken ref
            else:
                self._take_index(index, at)
        return True

    # --- refs ---

    def _begin_refs(self, kind: Kind) -> None:
        self._kind = kind
        self._blocks = [block for block, count in payload_blocks(self._vocab, kind) for _ in range(count)]
        self._state = self._in_refs

    def _clear(self) -> None:
        """No ref is under way."""
        self._index: int | None = None
        self._codes: list[int] = []
        self._start = 0
        self._complete = False  # a whole payload that waits for its [k]

    def _pending(self) -> bool:
        return self._index is not None or bool(self._codes)

    def _may_draw(self) -> bool:
        return self._index is not None or self._index_first is not True

    def _fits(self, token: int, position: int) -> bool:
        if self._kind == "doc":
            return position == 0 and token == self._structure[DOC_OPEN]
        return position < len(self._blocks) and token in self._blocks[position]

    def _take_index(self, index: int, at: int) -> None:
        got = f"[{index}]"
        if self._complete:
            self._number(index, at)
            self._finish_ref(index)
            return
        if self._pending() or self._index_first is False:
            self._break(at, got)
        if self._index_first is False:
            self._next = index + 1
            return
        self._index_first = True
        self._number(index, at)
        self._index = index

    def _number(self, index: int, at: int) -> None:
        if index != self._next:
            self._report(at, self._due(), f"[{index}]")
        self._next = index + 1

    def _take_code(self, token: int, at: int) -> None:
        if self._index is None:
            self._index_first = False
        if self._kind == "doc":
            self._start = at + 1
            self._state = self._in_doc
            return
        if not self._codes:
            self._start = at
        self._codes.append(token - self._blocks[len(self._codes)].start)
        if len(self._codes) == len(self._blocks):
            self._end_payload()

    def _end_payload(self) -> None:
        if self._index is None:
            self._complete = True
        else:
            self._finish_ref(self._index)

    def _finish_ref(self, index: int) -> None:
        tokens = (self._start, self._start + len(self._codes))
        self._refs.append(Ref(index=index, codes=tuple(self._codes), tokens=tokens))
        self._clear()

    # --- issues ---

    def _break(self, at: int, got: str) -> None:
        """Report what should have come; a whole payload is kept, part of one is dropped."""
        self._report(at, self._expected(), got)
        if self._complete:
            index = min(self._next, MAX_REFS - 1)
            self._next = index + 1
            self._finish_ref(index)
        self._clear()

    def _expected(self) -> str:
        if self._complete:
            return self._due()
        if not self._pending() and self._index_first is not False:
            return f"{self._due()} or )" if self._refs else "[0]"
        if self._kind == "doc":
            return "<doc>"
        block = self._blocks[len(self._codes)]
        first, last = self._vocab.name(block[0]), self._vocab.name(block[-1])
        return f"{first} to {last} (code {len(self._codes) + 1} of {len(self._blocks)})"

    def _due(self) -> str:
        return f"[{self._next}]" if self._next < MAX_REFS else ")"

    def _report(self, at: int, expected: str, got: str) -> None:
        self.issues.append(ParseIssue(at=at, expected=expected, got=got))
