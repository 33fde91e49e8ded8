"""Samples say in geometry what questions say in things."""

from __future__ import annotations

import numpy as np
import pytest

from generalist.types import Box, DepthMap, DocHit, Mask, Point
from generalist.visual import mask_bitmap
from generalist_datasets.world.question import Drawn, Question, Target, Turn
from generalist_datasets.world.samples import to_sample
from generalist_datasets.world.scene import Camera, Scene, Thing


@pytest.fixture
def scene() -> Scene:
    """Two squares on a floor below a sky, 8 rows by 16 columns."""
    instances = np.zeros((8, 16), np.uint8)
    instances[2:6, 1:5], instances[3:7, 10:14] = 1, 2
    surfaces = np.full((8, 16), 3, np.uint8)
    surfaces[4:] = 1
    things = (
        Thing(concept=0, xyxy=(1 / 16, 2 / 8, 5 / 16, 6 / 8), distance=2.0),
        Thing(concept=0, xyxy=(10 / 16, 3 / 8, 14 / 16, 7 / 8), distance=3.0),
    )
    return Scene(
        image=np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3),
        instances=instances,
        surfaces=surfaces,
        depth=np.linspace(1, 40, 128, dtype=np.float32).reshape(8, 16),
        things=things,
        camera=Camera(focal=(1.0, 1.0), centre=(0.5, 0.4), eye=1.5),
    )


RNG = np.random.default_rng(0)


def ask(*answer: str | Target, **more: object) -> Question:
    return Question(task="chat", ability="test", text="What?", answer=answer, **more)  # type: ignore[arg-type]


def test_spans_are_those_of_the_phrases(scene: Scene) -> None:
    both = Target(label="two cubes", kind="box", things=(0, 1))
    first = Target(label="a cube", kind="mask", things=(0,))
    sample = to_sample(scene, ask("There are ", both, "; ", first, "."), "x", RNG)
    assert sample.text == "There are two cubes; a cube."
    assert [sample.text[slice(*t.span)] for t in sample.targets] == ["two cubes", "two cubes", "a cube"]
    assert [t.ref for t in sample.targets] == [0, 1, 0] and {t.image for t in sample.targets} == {0}
    assert [t.output for t in sample.targets[:2]] == [Box(xyxy=thing.xyxy) for thing in scene.things]


def test_masks_are_exact(scene: Scene) -> None:
    sample = to_sample(scene, ask(Target(label="cubes", kind="mask", things=(0, 1))), "x", RNG)
    for index, target in enumerate(sample.targets):
        assert isinstance(target.output, Mask) and target.output.size == (8, 16)
        assert (mask_bitmap(target.output) == scene.mask(index)).all()
        assert target.output.xyxy == scene.things[index].xyxy


def test_points_lie_on_their_things(scene: Scene) -> None:
    sample = to_sample(scene, ask(Target(label="cubes", kind="point", things=(0, 1))), "x", RNG)
    for index, target in enumerate(sample.targets):
        assert isinstance(target.output, Point)
        assert scene.mask(index)[int(target.output.xy[1] * 8), int(target.output.xy[0] * 16)]


def test_surfaces_depth_and_documents(scene: Scene) -> None:
    floor = Target(label="the floor", kind="mask", surface="floor")
    depth = Target(label="scene", kind="depth")
    card = Target(label="cube", kind="doc", document="cube")
    outputs = [t.output for t in to_sample(scene, ask(floor, " ", depth, " ", card), "x", RNG).targets]
    assert isinstance(outputs[0], Mask) and isinstance(outputs[1], DepthMap)
    assert (mask_bitmap(outputs[0]) == scene.surface_mask("floor")).all() and outputs[0].xyxy == (0, 0.5, 1, 1)
    assert (outputs[1].values == scene.depth).all() and outputs[1].unit == "metre"
    assert isinstance(outputs[2], DocHit) and outputs[2].doc_id == "cube"


def test_two_images_earlier_turns_and_what_is_drawn(scene: Scene) -> None:
    turn = Turn(text="And this?", answer=("A ", Target(label="cube", kind="box", things=(0,))),
                drawn=(Drawn(kind="point", thing=0),))  # fmt: skip
    question = ask(
        Target(label="cube", kind="box", things=(1,)),
        drawn=(Drawn(kind="mask", thing=1),), history=(turn,), earlier=scene, negative=True,
    )  # fmt: skip
    sample = to_sample(scene, question, "train-7", RNG, {"split": "train", "index": 7})
    assert sample.id == "train-7"
    assert [np.asarray(image).tolist() for image in sample.earlier_images] == [scene.image.tolist()]
    assert sample.targets[0].image == 1  # the second of two
    assert (sample.visual_prompts[0].bitmap == scene.mask(1)).all()
    asked, answered = sample.history
    assert (asked.role, asked.text, answered.role, answered.text) == ("user", "And this?", "assistant", "A cube")
    assert asked.visual_prompts[0].kind == "point"
    assert dict(sample.meta) == {"ability": "test", "negative": True, "split": "train", "index": 7}
    assert (np.asarray(sample.image) == scene.image).all()
