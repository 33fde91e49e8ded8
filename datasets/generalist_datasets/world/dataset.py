"""The world as a data set: item number k of a split is the same on every machine and in every worker.

Works as a map-style data set of ``torch.utils.data.DataLoader`` without importing torch.
"""

from __future__ import annotations

import operator
import zlib
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np

from generalist.types import GeneralistError
from generalist_datasets.world.arrange import Arrangement, Assets, arrange, rearranged
from generalist_datasets.world.ask import ABILITIES, COMPARE, Questioner, ask, ask_about, compare
from generalist_datasets.world.backgrounds import PhotoSplit
from generalist_datasets.world.compose import draw
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.question import Question
from generalist_datasets.world.scene import Scene, Style
from generalist_datasets.world.splits import Split, get_split

SIDES = range(64, 2049)
"""Pixels that a side of a scene may have."""

_MOST_SCENES = 25_000_000
"""As many as shards can be numbered in five digits."""
_TRIES = 100
_COMPARE_EVERY = 8
_UNCHANGED = 0.1
"""How often the two pictures that are compared are the same."""
_QUESTIONS = 8
"""Questions about a scene of an evaluation set."""
_EXAM = (*(name for name in ABILITIES if name != "segment_except"), COMPARE)
"""Abilities of the evaluation sets, which stay the recorded ones; an exception is asked for by ``generalist eval``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldItem:
    """A scene and questions about it; (``split``, ``seed``, ``index``) and the size of the picture determine it."""

    split: str
    seed: int
    index: int
    scene: Scene
    questions: tuple[Question, ...]

    def digest(self) -> bytes:
        """SHA-256 of the pixels and of the words; depth to the millimetre."""
        scene = self.scene
        hashed = sha256()
        earlier = [question.earlier.image for question in self.questions if question.earlier]
        for array in (scene.image, scene.instances, scene.surfaces, *earlier):
            hashed.update(repr(array.shape).encode() + array.tobytes())
        if scene.depth is not None:
            hashed.update(np.rint(scene.depth * 1000).astype("<u4").tobytes())
        said = [(q.task, q.ability, q.text, q.answer, q.drawn, q.history, q.negative) for q in self.questions]
        hashed.update(repr((scene.things, said)).encode())
        return hashed.digest()


class World:
    """Scenes of a split with questions about them, by number: ``world[k]`` is a :class:`WorldItem`.

    Args:
        split: a name of ``splits.SPLITS``, or a split of one's own.
        seed: another seed makes other scenes of the same kind; the split's own makes its fixed list.
        size: (W, H) of the pictures.
        count: how many there are; all of the split's when None.
        assets: what scenes are made of; fetched and read when None.

    Raises:
        GeneralistError: an argument is out of its range, or the assets cannot be fetched.
    """

    def __init__(
        self,
        split: str | Split,
        *,
        seed: int | None = None,
        size: tuple[int, int] = (224, 224),
        count: int | None = None,
        assets: Assets | None = None,
    ) -> None:
        self.split = get_split(split) if isinstance(split, str) else split
        self.seed = self.split.seed if seed is None else seed
        self.size = size
        self.count = self.split.size if count is None else count
        _check(self.split, self.seed, size, self.count)
        self.assets = _load(self.split.styles, self.split.photos) if assets is None else assets
        self._menu = self.split.menu(self.assets)
        self.questioner = _questioner(self.split, self.assets, self._menu)
        self._key = zlib.crc32(self.split.name.encode())

    def __len__(self) -> int:
        """How many scenes there are; :class:`TypeError` when there is no end to them."""
        if self.count is None:
            raise TypeError(f"split {self.split.name!r} has no end; give World a count")
        return self.count

    def __getitem__(self, index: int) -> WorldItem:
        index = operator.index(index)
        if index < 0 or (self.count is not None and index >= self.count):
            raise IndexError(f"there is no scene {index} in split {self.split.name!r} with {self.count} of them")
        rng = np.random.default_rng([self.seed, self._key, index])
        made, scene = self._scene(rng)
        mixture = self.split.size is None
        questions = self._mixture(rng, made, scene, index) if mixture else self._exam(rng, made, scene)
        return WorldItem(split=self.split.name, seed=self.seed, index=index, scene=scene, questions=tuple(questions))

    def _scene(self, rng: np.random.Generator) -> tuple[Arrangement, Scene]:
        """A scene that shows what the split is about; most do at the first try."""
        width, height = self.size
        for _ in range(_TRIES):
            made = arrange(rng, self.assets, self._menu, width=width, height=height)
            scene = draw(made, self.assets)
            hardly = bool(scene.hidden) and not scene.things  # neither empty nor showing anything
            if not hardly and self.split.shows(scene, self.assets):
                return made, scene
        raise GeneralistError(
            f"no scene of {self.size[0]}x{self.size[1]} shows what split {self.split.name!r} is about"
        )

    def _mixture(self, rng: np.random.Generator, made: Arrangement, scene: Scene, index: int) -> list[Question]:
        """What training asks; every few scenes are compared with the same place at another time."""
        questions = ask_about(rng, self.questioner, scene)
        if index % _COMPARE_EVERY == 0:
            questions += self._comparison(rng, made, scene)
        return questions

    def _exam(self, rng: np.random.Generator, made: Arrangement, scene: Scene) -> list[Question]:
        """One question of each of some abilities, so that a set asks for each as often as its scenes allow."""
        questions: list[Question] = []
        for place in rng.permutation(len(_EXAM)):
            name = _EXAM[place]
            questions += self._comparison(rng, made, scene) if name == COMPARE else self._asked(rng, scene, name)
            if len(questions) == _QUESTIONS:
                break
        return questions

    def _asked(self, rng: np.random.Generator, scene: Scene, ability: str) -> list[Question]:
        """A question of an ability, if the scene offers one."""
        negative = bool(rng.random() < ABILITIES[ability].negatives)
        for denied in dict.fromkeys((negative, False)):
            question = ask(rng, self.questioner, scene, ability, negative=denied)
            if question is not None:
                return [question]
        return []

    def _comparison(self, rng: np.random.Generator, made: Arrangement, scene: Scene) -> list[Question]:
        """A question about what changed since an earlier picture of the same place; sometimes nothing did."""
        earlier = scene
        if rng.random() >= _UNCHANGED:
            earlier = draw(rearranged(rng, made, self.assets, self._menu), self.assets)
        asked = compare(rng, self.questioner, earlier, scene)
        return [asked] if asked else []


def digest(world: World, n: int = 16) -> str:
    """SHA-256 of the first ``n`` scenes and their questions: whether two machines have the same world.

    The last bit of a pixel may differ between kinds of processors, and then the digest does.
    """
    return sha256(b"".join(world[index].digest() for index in range(n))).hexdigest()


@lru_cache(maxsize=4)
def _load(styles: tuple[Style, ...], photos: PhotoSplit) -> Assets:
    return Assets.load(styles, photos)


def _questioner(split: Split, assets: Assets, menu: Menu) -> Questioner:
    """Asks for what is not there only among what the split shows: to deny a thing always is no way to keep it back."""
    absent = None if split.kept_back == "concepts" else menu.concepts
    pairs = None if split.kept_back == "pairs" else menu.pairs
    return Questioner(concepts=assets.concepts, absent=absent, pairs=pairs)


def _check(split: Split, seed: int, size: tuple[int, int], count: int | None) -> None:
    if seed < 0:
        raise GeneralistError(f"the seed is {seed}; use 0 or more")
    if any(side not in SIDES for side in size):
        raise GeneralistError(f"the size is {size[0]}x{size[1]}; use {SIDES[0]} to {SIDES[-1]} pixels a side")
    if count is not None and not 1 <= count <= _MOST_SCENES:
        raise GeneralistError(f"{count} scenes were asked for; use 1 to {_MOST_SCENES}")
    if count is not None and split.size is not None and count > split.size:
        raise GeneralistError(f"split {split.name!r} has {split.size} scenes, not {count}; ask for fewer")
