"""How families of vision-language models are asked for boxes, points and masks, and how their answers are read.

    dialect = get_dialect("qwen2_5_vl")
    question = Question(text="Detect dogs.", task="detect", sizes=Sizes(submitted=(640, 480), resized=(644, 476)))
    dialect.ask(question).text              # the words for the model
    parse(dialect, answer, question).outputs  # boxes in 0-1 of the submitted image, tied to words of the clean text

A model's dialect follows from the ``model_type`` of its ``config.json``. A new one is a module with a class like
:class:`~generalist.dialects.molmo.Molmo` and a row in :data:`DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from generalist.dialects.deepseek_vl2 import DeepseekVl2
from generalist.dialects.dialect import Asked, Dialect, Question, Reader, Sizes, parse
from generalist.dialects.florence2 import Florence2
from generalist.dialects.json_dialects import GEMINI, PLAIN_JSON, QWEN2_5_VL, QWEN3_VL
from generalist.dialects.kosmos2 import Kosmos2
from generalist.dialects.molmo import Molmo
from generalist.dialects.paligemma import Paligemma
from generalist.dialects.triplets import Triplets
from generalist.dialects.writer import Drawn, Event, Reading
from generalist.types import GeneralistError

__all__ = [
    "DIALECTS",
    "MODEL_TYPES",
    "Asked",
    "Dialect",
    "Drawn",
    "Event",
    "Question",
    "Reader",
    "Reading",
    "Sizes",
    "get_dialect",
    "parse",
]

DIALECTS: dict[str, Callable[[Path | None], Dialect]] = {
    "triplets": Triplets.load,
    "qwen2_5_vl": lambda folder: QWEN2_5_VL,
    "qwen3_vl": lambda folder: QWEN3_VL,
    "paligemma": Paligemma.load,
    "florence2": lambda folder: Florence2(),
    "kosmos2": lambda folder: Kosmos2(),
    "molmo": lambda folder: Molmo(),
    "deepseek_vl2": lambda folder: DeepseekVl2(),
    "gemini": lambda folder: GEMINI,
    "json": lambda folder: PLAIN_JSON,
}
"""By name: how to make a dialect for a checkpoint folder (None where there is no folder)."""

MODEL_TYPES: dict[str, str] = {
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "qwen3_vl_moe": "qwen3_vl",
    "paligemma": "paligemma",
    "florence2": "florence2",
    "kosmos-2": "kosmos2",
    "molmo": "molmo",
    "molmo2": "molmo",
    "deepseek_vl_v2": "deepseek_vl2",
    "deepseek_vl2": "deepseek_vl2",
}
"""The dialect of every ``model_type`` that is known."""


def get_dialect(name: str, folder: Path | None = None) -> Dialect:
    """The dialect called ``name``; raises :class:`GeneralistError` when there is none or ``folder`` lacks its files."""
    if name not in DIALECTS:
        raise GeneralistError(f"there is no dialect {name[:80]!r}; use one of {', '.join(DIALECTS)}")
    return DIALECTS[name](folder)
