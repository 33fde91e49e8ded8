"""The renderer of solids: depth, normals and shadows agree with geometry that is written anew here.

``distance`` is the other description of every shape: a function of a point in metres, negative inside.
"""

from __future__ import annotations

import numpy as np
import pytest

from generalist.types import GeneralistError
from generalist_datasets.world.scene import FARTHEST, Camera
from generalist_datasets.world.solids import COLOURS, MATERIALS, SHAPES, TEXTURES, Light, Rendered, Solid, render, stand

CAMERA = Camera(focal=(1.1, 1.2), centre=(0.47, 0.35), eye=1.5)
OVERHEAD = Light(towards=(0.36, -0.8, -0.48))
SIZE = (72, 96)  # H, W


# --- independent geometry ------------------------------------------------------------------------------


def rays(camera: Camera, height: int, width: int) -> np.ndarray:
    """Directions through the centres of the pixels, at depth 1: [H, W, 3]."""
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.dstack([(u - camera.centre[0]) / camera.focal[0], (v - camera.centre[1]) / camera.focal[1], u * 0 + 1])


def distance(solid: Solid, points: np.ndarray) -> np.ndarray:
    """About the distance to the surface of a solid in metres, negative inside; ``points`` [..., 3]."""
    x, y, z = np.moveaxis((points - np.array(solid.centre)) @ np.array(solid.turn), -1, 0)
    a, b, c = solid.half
    if solid.shape == "sphere":
        return np.sqrt(x**2 + y**2 + z**2) - a
    if solid.shape == "ellipsoid":
        level = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        return level * (level - 1) / np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2)
    if solid.shape == "cube":
        return np.maximum.reduce([abs(x) - a, abs(y) - b, abs(z) - c])
    if solid.shape in ("cylinder", "disc"):
        return np.maximum(np.hypot(x, z) - a, abs(y) - b)
    if solid.shape == "cone":  # the side falls 2 b while it widens by a
        return np.maximum((np.hypot(x, z) * 2 * b - a * (y + b)) / np.hypot(a, 2 * b), y - b)
    if solid.shape == "pyramid":
        sides = [(abs(s) * 2 * b - h * (y + b)) / np.hypot(h, 2 * b) for s, h in ((x, a), (z, c))]
        return np.maximum(np.maximum(*sides), y - b)
    if solid.shape == "capsule":
        return np.sqrt(x**2 + (y - np.clip(y, a - b, b - a)) ** 2 + z**2) - a
    assert solid.shape == "torus"
    return np.hypot(np.hypot(x, z) - (a - b), y) - b


def any_turn(rng: np.random.Generator) -> np.ndarray:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turn * np.linalg.det(turn)


def any_solid(rng: np.random.Generator, shape: str, near: float = 1.5, far: float = 12.0) -> Solid:
    """Anywhere in view or beside it, turned and stretched at random."""
    a, b, c = rng.uniform(0.1, 0.7, 3)
    half = {
        "sphere": (a, a, a),
        "ellipsoid": (a, b, c),
        "cube": (a, b, c),
        "pyramid": (a, b, c),
        "capsule": (a, a + b, a),
        "torus": (0.15 + a, 0.05 + 0.12 * b, 0.15 + a),
        "disc": (a, 0.1 * b, a),
    }.get(shape, (a, b, a))
    z = rng.uniform(near, far)
    centre = (float(rng.uniform(-0.5, 0.5) * z), float(rng.uniform(-0.35, 0.5) * z), float(z))
    turn = tuple(tuple(float(v) for v in row) for row in any_turn(rng))
    return Solid(
        shape=shape,
        centre=centre,
        half=tuple(float(h) for h in half),  # type: ignore[arg-type]
        turn=turn,  # type: ignore[arg-type]
        colour=str(rng.choice(list(COLOURS))),
        material=str(rng.choice(MATERIALS)),
        texture=str(rng.choice(TEXTURES)),
    )


def any_camera(rng: np.random.Generator) -> Camera:
    focal, centre = rng.uniform(0.8, 1.6, 2), rng.uniform(0.3, 0.6, 2)
    return Camera(focal=tuple(focal), centre=tuple(centre), eye=float(rng.uniform(0.8, 2.0)))  # type: ignore[arg-type]


def floor(camera: Camera, height: int, width: int) -> np.ndarray:
    """The depth of the ground, and of the sky above the horizon."""
    y = rays(camera, height, width)[..., 1]
    return np.where(y > 0, np.minimum(camera.eye / np.maximum(y, 1e-9), FARTHEST), FARTHEST).astype(np.float32)


def picture(
    solids: list[Solid], camera: Camera = CAMERA, light: Light = OVERHEAD, device: str | None = None
) -> Rendered:
    return render([solids], [camera], [light], floor(camera, *SIZE)[None], device)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


# --- depth and normals -----------------------------------------------------------------------------------


def test_spheres_are_where_the_closed_form_has_them(rng: np.random.Generator) -> None:
    for _ in range(20):
        camera, solids = any_camera(rng), [any_solid(rng, "sphere", 0.8, 20.0) for _ in range(4)]
        made = picture(solids, camera)
        d = rays(camera, *SIZE)
        expected = np.full((4, *SIZE), np.inf)
        for k, solid in enumerate(solids):
            centre = np.array(solid.centre)
            a, b = (d**2).sum(-1), d @ centre
            inside = b**2 - a * (centre @ centre - solid.half[0] ** 2)
            expected[k] = np.where(inside > 0, (b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)
        nearest = expected.min(axis=0)
        shown = np.isfinite(nearest)
        assert np.array_equal(made.index[0], np.where(shown, expected.argmin(axis=0), -1))
        assert np.abs(made.depth[0][shown] - nearest[shown]).max() < 1e-5
        assert np.isinf(made.depth[0][~shown]).all()


def test_boxes_are_where_their_planes_are(rng: np.random.Generator) -> None:
    for _ in range(20):
        camera, solid = any_camera(rng), any_solid(rng, "cube", 1.5, 20.0)
        made = picture([solid], camera)
        d, turn, centre = rays(camera, *SIZE), np.array(solid.turn), np.array(solid.centre)
        nearest = np.full(SIZE, np.inf)
        for axis in range(3):
            for side in (-1, 1):
                normal = side * turn[:, axis]
                t = (normal @ centre + solid.half[axis]) / (d @ normal)
                local = abs((d * t[..., None] - centre) @ turn)
                on_face = np.delete(local <= np.array(solid.half), axis, axis=-1).all(-1)
                nearest = np.where(on_face & (t < nearest), t, nearest)
        assert np.array_equal(made.index[0] == 0, np.isfinite(nearest))
        shown = np.isfinite(nearest)
        assert np.abs(made.depth[0][shown] - nearest[shown]).max(initial=0) < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_lies_on_its_surface(rng: np.random.Generator, shape: str) -> None:
    seen = 0
    for _ in range(25):
        camera, solid = any_camera(rng), any_solid(rng, shape)
        made = picture([solid], camera)
        d, shown = rays(camera, *SIZE), made.index[0] == 0
        points = d[shown] * made.depth[0][shown][:, None].astype(np.float64)
        assert np.abs(distance(solid, points)).max(initial=0) < 1e-4
        seen += len(points)

        # no crossing is nearer, and no ray crosses that shows nothing
        pick = rng.integers(0, shown.size, 150)
        middle, reach = solid.centre[2], np.linalg.norm(solid.half) * 1.1
        steps = np.linspace(middle - reach, middle + reach, 1500)
        inside = distance(solid, d.reshape(-1, 1, 3)[pick] * steps[:, None]) < 0
        first = np.where(inside.any(1), steps[inside.argmax(1)], FARTHEST)
        depth = np.minimum(made.depth[0].reshape(-1)[pick], FARTHEST)
        assert (depth <= first + 1e-4).all()
        assert ((first == FARTHEST) | (first - depth < steps[1] - steps[0] + 1e-4)).mean() > 0.99
    assert seen > 1500


@pytest.mark.parametrize("shape", SHAPES)
def test_normals_are_the_gradient(rng: np.random.Generator, shape: str) -> None:
    solid = any_solid(rng, shape, 2.0, 2.5)
    made = picture([solid])
    shown = made.index[0] == 0
    d, normals = rays(CAMERA, *SIZE)[shown], made.normals[0][shown].astype(np.float64)
    points = d * made.depth[0][shown][:, None].astype(np.float64)
    step = 1e-5 * np.eye(3)
    gradient = np.stack([distance(solid, points + e) - distance(solid, points - e) for e in step], -1)
    gradient /= np.linalg.norm(gradient, axis=-1, keepdims=True)
    assert shown.sum() > 100
    assert np.allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    assert ((normals * gradient).sum(-1) > 1 - 1e-5).mean() > 0.995  # on an edge either face is right
    assert (normals * d).sum(-1).max() < 1e-5
    assert (made.normals[0][~shown] == 0).all()


def test_the_nearest_solid_hides_the_others_and_all_are_counted() -> None:
    small = Solid(shape="sphere", centre=(0, 0.5, 2), half=(0.2, 0.2, 0.2), colour="red")
    large = Solid(shape="cube", centre=(0, 0.5, 4), half=(0.8, 0.8, 0.8), colour="blue")
    both, alone = picture([large, small]), picture([small])
    assert np.array_equal(both.index[0] == 1, alone.index[0] == 0)
    assert both.uncovered[0].tolist() == [(picture([large]).index[0] == 0).sum(), (alone.index[0] == 0).sum()]


def test_solids_may_be_cut_by_the_edge_or_lie_outside() -> None:
    close = Solid(shape="cube", centre=(0.2, 0.1, 0.62), half=(0.35, 0.35, 0.35), colour="red")
    beside = Solid(shape="cone", centre=(30, 0, 5), half=(0.5, 0.5, 0.5), colour="red")
    made = picture([close, beside])
    assert made.uncovered[0][0] > 0.4 * SIZE[0] * SIZE[1]
    assert made.uncovered[0][1] == 0


# --- shadows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_shadows_fall_where_the_way_to_the_light_is_blocked(rng: np.random.Generator, shape: str) -> None:
    for _ in range(6):
        towards = rng.normal(size=3) * (1, 0.5, 1) - (0, 1.2, 0)
        towards /= np.linalg.norm(towards)
        light = Light(towards=tuple(towards), ambient=0.3, strength=0.6)
        solid = stand(rng, shape, x=0.2, z=4.0, size=1.2, eye=CAMERA.eye, colour="red")
        made = picture([solid], light=light)
        behind = floor(CAMERA, *SIZE)
        ground = behind < FARTHEST
        dark = made.shadow[0][ground] < 1
        tried = np.arange(len(dark)) % 3 == 0
        points = (rays(CAMERA, *SIZE)[ground] * behind[ground][:, None])[tried]
        clearance = distance(solid, points[:, None] + np.linspace(1e-4, 6, 400)[:, None] * towards).min(axis=1)
        sure = abs(clearance) > 0.015
        assert np.array_equal(dark[tried][sure], (clearance < 0)[sure])
        assert dark.any()
        assert np.allclose(made.shadow[0][ground][dark], 0.3 / 0.9)
        assert (made.shadow[0][~ground] == 1).all()


def test_solids_shade_each_other_and_a_torus_itself() -> None:
    white = Solid(shape="sphere", centre=(0, 1.0, 4), half=(0.5, 0.5, 0.5), colour="white")
    straight = Light(towards=(0, -1, 0))
    lid = Solid(shape="disc", centre=(0, -2.5, 4), half=(0.7, 0.05, 0.7), colour="red")
    free, covered = picture([white], light=straight), picture([white, lid], light=straight)
    shown = covered.index[0] == 0
    lit = shown & (free.normals[0][..., 1] < -0.01)
    assert lit.sum() > 50
    assert (covered.rgb[0][lit] < free.rgb[0][lit]).all()
    unlit = shown & (free.normals[0][..., 1] >= 0)
    assert np.array_equal(covered.rgb[0][unlit], free.rgb[0][unlit])
    away = picture(
        [white, Solid(shape="disc", centre=(3, -2.5, 4), half=(0.7, 0.05, 0.7), colour="red")], light=straight
    )
    assert np.array_equal(away.rgb[0][shown], free.rgb[0][shown])

    turn = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
    ring = Solid(shape="torus", centre=(0, 0.5, 3), half=(0.8, 0.2, 0.8), turn=turn, colour="white")
    made = picture([ring], light=straight)
    below = (made.index[0] == 0) & (made.normals[0][..., 1] < -0.3)
    y = (rays(CAMERA, *SIZE)[..., 1] * np.where(below, made.depth[0], 0))[below]
    brightness = made.rgb[0][below].mean(-1)
    assert brightness[y > 0.6].max() < brightness[y < 0.3].min()  # the inside of the lower half lies under the upper


# --- looks -----------------------------------------------------------------------------------------------


def test_textures_show_two_tones_on_every_shape(rng: np.random.Generator) -> None:
    even = Light(towards=(0, -1, 0), ambient=1.0, strength=0.0)
    for shape in SHAPES:
        state = rng.bit_generator.state
        pictures = []
        for texture in TEXTURES:
            rng.bit_generator.state = state
            solid = stand(rng, shape, x=0, z=3, size=1.2, eye=CAMERA.eye, colour="orange", texture=texture)
            made = picture([solid], light=even)
            pictures.append(made.rgb[0][made.index[0] == 0].mean(-1))
        for name, textured in zip(TEXTURES[1:], pictures[1:], strict=True):
            share = (textured < 0.7 * pictures[0]).mean()
            assert 0.12 < share < 0.75, (shape, name, share)


def test_materials_differ_in_their_highlight() -> None:
    towards = np.array([-0.3, -0.6, -0.8])
    light = Light(towards=tuple(towards / np.linalg.norm(towards)))
    brightest = {}
    for material in MATERIALS:
        solid = Solid(shape="sphere", centre=(0, 0.6, 3), half=(0.8,) * 3, colour="blue", material=material)
        made = picture([solid], light=light)
        brightest[material] = made.rgb[0][made.index[0] == 0].max(axis=0)
    assert brightest["glossy"][0] > 2 * brightest["matte"][0]  # a white highlight
    assert brightest["metal"][0] < 0.5 * brightest["metal"][2]  # a coloured one


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_keeps_its_name_in_the_light(colour: str) -> None:
    solid = Solid(shape="sphere", centre=(0, 0.6, 3), half=(0.8,) * 3, colour=colour)
    front = Light(towards=(0, -0.6, -0.8))
    made = picture([solid], light=front)
    shade = np.median(made.rgb[0][made.index[0] == 0], axis=0)
    assert min(COLOURS, key=lambda name: float(np.abs(shade - COLOURS[name]).sum())) == colour


# --- standing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_touches_the_ground(rng: np.random.Generator, shape: str) -> None:
    spread = rng.uniform(-1, 1, (40_000, 3))
    for _ in range(6):
        solid = stand(rng, shape, x=0.7, z=5.0, size=0.9, eye=1.4, colour="red")
        around = spread + np.array([0.7, 1.4 - 0.5, 5.0])
        inside = around[distance(solid, around) < 0]
        assert 1.34 < inside[:, 1].max() < 1.4
        assert 2 * max(solid.half) == pytest.approx(0.9)
        assert np.allclose(np.array(solid.turn) @ np.array(solid.turn).T, np.eye(3))
        assert np.linalg.det(np.array(solid.turn)) == pytest.approx(1)


# --- backends, batches -----------------------------------------------------------------------------------


def batch_of_scenes(rng: np.random.Generator) -> tuple[list[list[Solid]], list[Camera], list[Light], np.ndarray]:
    counts = (4, 0, 3, 6, 1, 4, 2, 8)
    cameras = [any_camera(rng) for _ in counts]
    scenes = [[any_solid(rng, str(rng.choice(SHAPES))) for _ in range(n)] for n in counts]
    lights = [Light(towards=(0.6, -0.8, 0.0), ambient=0.2 + 0.05 * k) for k in range(len(counts))]
    return scenes, cameras, lights, np.stack([floor(camera, *SIZE) for camera in cameras])


def fields(made: Rendered) -> dict[str, np.ndarray]:
    return {name: np.asarray(getattr(made, name)) for name in ("rgb", "depth", "index", "normals", "shadow")}


def test_numpy_is_deterministic_and_a_batch_equals_its_scenes(rng: np.random.Generator) -> None:
    scenes, cameras, lights, behind = batch_of_scenes(rng)
    batch = render(scenes, cameras, lights, behind)
    again = fields(render(scenes, cameras, lights, behind))
    for k in range(len(scenes)):
        single = render(scenes[k : k + 1], cameras[k : k + 1], lights[k : k + 1], behind[k : k + 1])
        for name, value in fields(batch).items():
            assert np.array_equal(value[k], again[name][k]), name
            assert np.array_equal(value[k], fields(single)[name][0]), name
        assert np.array_equal(batch.uncovered[k], single.uncovered[0])


def test_torch_agrees_with_numpy(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    given = batch_of_scenes(rng)
    expected, made = render(*given), render(*given, device="cpu")
    assert all(isinstance(getattr(made, name), torch.Tensor) for name in fields(expected))
    ours, theirs = fields(expected), fields(made)
    same = ours["index"] == theirs["index"]
    assert same.mean() > 0.9999
    both = same & (ours["index"] >= 0)
    assert np.abs(ours["depth"][both] - theirs["depth"][both]).max() < 1e-5
    assert (np.abs(ours["rgb"] - theirs["rgb"]).max(-1) < 0.05).mean() > 0.9999
    assert (np.abs(ours["normals"] - theirs["normals"]).max(-1) < 1e-4).mean() > 0.9999
    assert (ours["shadow"] == theirs["shadow"]).mean() > 0.9999
    assert {name: value.dtype for name, value in ours.items()} == {name: value.dtype for name, value in theirs.items()}
    assert [counts.tolist() for counts in made.uncovered] == [counts.tolist() for counts in expected.uncovered]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_empty_scenes(device: str | None) -> None:
    behind = np.full((2, *SIZE), np.inf, np.float32)
    made = fields(render([[], []], [CAMERA] * 2, [OVERHEAD] * 2, behind, device))
    assert np.isinf(made["depth"]).all()
    assert (made["index"] == -1).all()
    assert (made["shadow"] == 1).all()
    assert made["rgb"].shape == (2, *SIZE, 3)
    assert not made["normals"].any()


@pytest.mark.parametrize("field", ["shape", "colour", "material", "texture"])
def test_an_unknown_name_is_said(field: str) -> None:
    values = {"shape": "cube", "colour": "red", "material": "matte", "texture": "plain", field: "teapot"}
    with pytest.raises(GeneralistError, match=f"Solid {field} 'teapot': choose one of"):
        Solid(centre=(0, 0, 3), half=(1, 1, 1), **values)
