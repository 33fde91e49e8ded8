"""From the codes of a reply to typed outputs: one small decoder a kind, and the two codecs they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from generalist.decoders.box import BoxDecoder
from generalist.decoders.depth import DepthDecoder
from generalist.decoders.depth_codec import DepthCodec
from generalist.decoders.mask import MaskDecoder
from generalist.decoders.mask_codec import MaskCodec
from generalist.decoders.point import PointDecoder
from generalist.tokens import Vocabulary
from generalist.types import Kind, Output, Ref

__all__ = ["DECODERS", "Decoder", "DepthCodec", "MaskCodec", "load_decoders"]


class Decoder(Protocol):
    """What turns the refs of one kind into outputs."""

    @property
    def kind(self) -> Kind: ...

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> Sequence[Output | None]:
        """One output a ref, in order, for an image of (H, W) pixels; never raises on complete payloads.

        None for an identifier that no document has; everything else means something.
        """
        ...


DECODERS: dict[Kind, Callable[[Path, Vocabulary], Decoder]] = {
    "box": BoxDecoder.load,
    "point": PointDecoder.load,
    "mask": MaskDecoder.load,
    "depth": DepthDecoder.load,
}
"""How to load each kind's decoder from a checkpoint folder. Documents need an index, which comes with a request."""


def load_decoders(folder: Path, vocab: Vocabulary) -> dict[str, Decoder]:
    """Every decoder of a checkpoint folder, by kind; :class:`GeneralistError` when a codec is missing or unfit."""
    return {kind: load(folder, vocab) for kind, load in DECODERS.items()}
