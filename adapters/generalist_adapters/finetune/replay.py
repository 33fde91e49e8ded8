"""Scenes of the composed world between the pictures of the user's, so that what the base model knows is not lost.

With the sprites and photographs in the cache these are scenes like those of base training. Nothing is fetched for it:
without them, scenes hold solids before painted backgrounds, which need no files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from generalist.model import GeneralistConfig
from generalist.tokens import Vocabulary
from generalist.training.packing import Packer
from generalist_adapters.finetune.packing import LONGEST, Row, from_example
from generalist_datasets.assets import packaged
from generalist_datasets.world.ask import Questioner, ask_about
from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.concepts import CONCEPTS
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.splits import TRAINED_PAIRS, get_split

_NEEDED = ("fluent-3d", "emoji-names", "twemoji", "mate-backgrounds", "plasma-wallpapers", "gnome-backgrounds")
"""Packages that scenes of base training are made of."""

Replay = Callable[[np.random.Generator, Collection[str] | None], Row]
"""A scene and its questions, of some tasks only where these are given."""


def replay(vocab: Vocabulary, config: GeneralistConfig) -> tuple[Replay | None, str]:
    """What composes scenes for a model, and one line that says of what; None where scenes do not suit it."""
    height, width = config.image_hw
    if height != width or config.grid[0] != config.grid[1] or height % config.grid[0]:
        return None, f"no scenes: they are square with whole patches, and this model reads {width}x{height} pixels"
    assets, menu, told = _world()
    questioner = Questioner(concepts=assets.concepts, absent=menu.concepts, pairs=menu.pairs)
    packer = Packer(vocab, config.grid[0], longest=config.num_image_tokens + LONGEST)

    def make(rng: np.random.Generator, tasks: Collection[str] | None) -> Row:
        scene = compose(rng, assets, menu, width=width, height=height)
        questions = ask_about(rng, questioner, scene)
        chosen = [q for q in questions if tasks is None or q.task in tasks]
        return from_example(packer.pack(rng, scene, chosen or questions))

    return make, told


def _world() -> tuple[Assets, Menu, str]:
    if all(packaged(key).is_dir() for key in _NEEDED):
        split = get_split("train")
        assets = Assets.load(split.styles, split.photos)
        return assets, split.menu(assets), "scenes of the composed world"
    solids = Assets(concepts=CONCEPTS, sprites={"fluent": ((),) * len(CONCEPTS)})
    menu = Menu(concepts=(), styles=("fluent",), pairs=TRAINED_PAIRS, solids=1.0)
    return solids, menu, "scenes with solids only (`generalist data world` fetches the pictures of the other things)"
