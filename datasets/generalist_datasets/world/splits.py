"""What is trained on, and the evaluation sets that keep something back: each a fixed list of scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from generalist.types import GeneralistError
from generalist_datasets.world.backgrounds import PhotoSplit
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.concepts import CONCEPTS, HELD_OUT
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.scene import Scene, Style
from generalist_datasets.world.solids import COLOURS, SHAPES

_TRAINED_STYLES: tuple[Style, ...] = ("fluent", "twemoji")

Pair = tuple[str, str]
"""(colour, shape) of a solid."""

HELD_OUT_PAIRS: tuple[Pair, ...] = tuple(
    # A diagonal through the table: every colour and every shape is still trained on, in other pairs.
    (colour, shape)
    for row, colour in enumerate(COLOURS)
    for column, shape in enumerate(SHAPES)
    if (3 * row + column) % 7 == 0
)
TRAINED_PAIRS: tuple[Pair, ...] = tuple(
    (colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in HELD_OUT_PAIRS
)
_HELD_OUT_NAMES = frozenset(CONCEPTS[number].name for number in HELD_OUT)

KeptBack = Literal["", "pairs", "style", "concepts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A named part of the world.

    ``styles`` of its sprites; ``photos``: which background photographs; ``kept_back``: what every scene shows
    that is never trained on; ``size``: how many scenes belong to it, None for as many as one asks for.
    """

    name: str
    summary: str
    styles: tuple[Style, ...] = _TRAINED_STYLES
    photos: PhotoSplit = "test"
    kept_back: KeptBack = ""
    seed: int = 0
    size: int | None = 1000

    def menu(self, assets: Assets) -> Menu:
        """What its scenes may be made of: concepts that ``assets`` have pictures of in the styles of the split."""
        pictured = [n for n in range(len(assets.concepts)) if any(assets.sprites[style][n] for style in self.styles)]
        wanted = self.kept_back == "concepts"
        concepts = tuple(n for n in pictured if (assets.concepts[n].name in _HELD_OUT_NAMES) == wanted)
        needed = HELD_OUT_PAIRS if self.kept_back == "pairs" else ()
        return Menu(concepts=concepts, styles=self.styles, pairs=TRAINED_PAIRS, needs_pair=needed)

    def shows(self, scene: Scene, assets: Assets) -> bool:
        """Whether a scene shows what the split is there to test; things may be hidden or find no place."""
        if self.kept_back == "pairs":
            return any((t.colour, assets.concepts[t.concept].name) in HELD_OUT_PAIRS for t in scene.things)
        if self.kept_back:
            return any(thing.style != "solid" for thing in scene.things)
        return True


SPLITS: dict[str, Split] = {
    split.name: split
    for split in (
        Split(name="train", summary="to train on, as many scenes as one asks for", photos="train", size=None),
        Split(name="compositions", summary="what is trained on, in new scenes before new photographs", seed=1),
        Split(name="attributes", summary="solids in pairs of colour and shape never trained on", kept_back="pairs",
              seed=2),
        Split(name="style", summary="an art style never trained on", styles=("noto",), kept_back="style", seed=3),
        Split(name="concepts", summary="concepts never trained on", kept_back="concepts", seed=4),
    )
}  # fmt: skip

DIGESTS: dict[str, str] = {
    "compositions": "f631bf7533d657e9b3fee6e3d8f8af7439e76487f70f25d0bc9682e85afa61d9",
    "attributes": "da66edb0161cf670c3f4177d82987d56417215e66ad3753cef6244fb7b514353",
    "style": "45b2cb98358ea6b2ecf9a80f4157f5e6440e04afce5f1f622962f4fd2a7d53b0",
    "concepts": "9bc0c5c745662d1f3233baba6691ad4f0829f1aa0261778c0cce905fdd188c1f",
}
"""``dataset.digest`` of every evaluation set, at 224 x 224 pixels."""


def get_split(name: str) -> Split:
    """The split called ``name``; raises :class:`GeneralistError` when there is none."""
    if name not in SPLITS:
        raise GeneralistError(f"there is no split {name!r} of the world; use one of {', '.join(SPLITS)}")
    return SPLITS[name]
