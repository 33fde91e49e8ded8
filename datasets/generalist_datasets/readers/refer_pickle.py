"""Reading ``refs(...).p`` of RefCOCO without running what is in it.

A pickle is a program. Only the instructions that build numbers, texts, lists, tuples and dicts are known here;
those that look up or call anything do not exist, and neither do those that reserve memory of a size they name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path

from generalist_datasets.readers.json_stream import Defect, open_regular

LARGEST_PICKLE = 128 << 20
"""Bytes; refs(umd).p of RefCOCOg, the largest of the originals, has a seventh of it."""

_PLAIN = (
    "PROTO FRAME STOP MARK POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET"
)
_NAMES = {ord(instruction.code): instruction.name for instruction in pickletools.opcodes}


class _PlainUnpickler(pickle._Unpickler):  # the one in Python: that in C has no table of instructions to cut down
    """Knows ``_PLAIN`` only; anything else is a KeyError with the instruction's number."""

    dispatch = {code: pickle._Unpickler.dispatch[code] for code, name in _NAMES.items() if name in _PLAIN.split()}  # noqa: RUF012


def read_plain_pickle(path: Path) -> object:
    """The lists, dicts, texts and numbers in a pickle; OSError, or a :class:`Defect` for anything beyond them."""
    with open_regular(path) as file:
        data = file.read(LARGEST_PICKLE + 1)
    if len(data) > LARGEST_PICKLE:
        raise Defect("unreadable file", f"more than {LARGEST_PICKLE >> 20} MiB of pickle")
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="replace").load()
    except KeyError as error:
        name = _NAMES.get(error.args[0])
        detail = f"a pickle with {name}, which is more than plain data" if name else "not a whole pickle"
        raise Defect("unreadable file", detail) from None
    except Exception as error:  # whatever a wrong order of instructions leads to
        raise Defect("unreadable file", f"not a whole pickle ({type(error).__name__})") from None
