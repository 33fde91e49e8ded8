"""A composed base in a folder: whole, or not there at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from generalist.composing.card import write_card
from generalist.composing.joining import join
from generalist.composing.parents import load_language, load_vision
from generalist.composing.vocabulary import join_vocabulary
from generalist.decoders import depth, mask
from generalist.loading import DEFAULT_MODEL, shipped_models
from generalist.model import GeneralistProcessor, save_checkpoint
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeOptions:
    """``vision``, ``llm``: a folder, an id that has been fetched from the hub, or for ``vision`` a shipped name.

    ``locs``: bins of a coordinate. ``merge``: m x m neighbouring image tokens become one. ``seed``: of what is new.
    """

    vision: str
    llm: str
    out: Path
    locs: int = 1024
    merge: int = 1
    seed: int = 0


def compose(options: ComposeOptions) -> Path:
    """Join the parents into the new folder ``options.out``, which any command takes as ``--model``.

    Raises :class:`GeneralistError` when the folder exists, and for parents that cannot be joined.
    """
    out = options.out
    if os.path.lexists(out):
        raise GeneralistError(f"--out {out} exists; name a new folder")
    vision = load_vision(options.vision)  # first, since it is the smaller of the two
    language = load_language(options.llm)
    nano = shipped_models()[DEFAULT_MODEL]
    vocabulary = join_vocabulary(language, replace(Vocabulary.load(nano).sizes, locs=options.locs))
    model = join(language, vision, vocabulary, merge=options.merge, seed=options.seed)
    processor = GeneralistProcessor.for_model(model.config, vocabulary, vision.image_processor)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save_checkpoint(beside, model, processor, vocabulary)
        for codec in (mask.FILE, depth.FILE):
            shutil.copyfile(nano / codec, beside / codec)
        card = write_card(language, vision, model, vocabulary, merge=options.merge, seed=options.seed)
        (beside / "README.md").write_text(card, encoding="utf-8")
        beside.rename(out)
    except OSError as error:
        raise GeneralistError(f"--out {out}: cannot be written ({error}); name another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out
