"""Where rays meet solids, in closed form.

Everything happens in a solid's own axes, shrunk so that its shape is a fixed one:

- sphere and ellipsoid: the unit sphere; cube: [-1, 1]^3
- cylinder and disc: radius 1 around the y axis, y in [-1, 1]
- cone and pyramid: the apex at y = -1 (y points down), a base of radius / half side 1 at y = 1
- capsule: radius 1 around the y axis from y = -ratio to ratio, with round ends
- torus: a ring of radius 1 in the plane y = 0, a tube of radius ``ratio``

Rays are ``o + t d`` with ``d`` of any length, so ``t`` is the same number as before the change of axes.
Shape legend: P rays; ``o`` and ``d`` float64 [3, P]; ``ratio``, ``t`` float64 [P]. Arrays are numpy's or torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from array_api_compat import array_namespace

Array: TypeAlias = Any
Interval: TypeAlias = tuple[Array, Array]
"""(near, far): the part of a ray inside a convex shape; near > far where it misses."""

TINY = 1e-12
SEARCH_STEPS = 16
"""Of the torus root search. Most rays need 6; with 16 the worst of 60,000, many of them grazing, came within 1e-13."""


def _nonzero(x: Array) -> Array:
    """Keeps divisions finite; a ray this parallel to a face never reaches it."""
    return array_namespace(x).where(abs(x) < TINY, TINY, x)


def _quadratic(a: Array, b: Array, c: Array) -> Interval:
    """Where a t^2 + 2 b t + c <= 0 for a > 0."""
    xp = array_namespace(a)
    a = xp.where(a < TINY, TINY, a)
    discriminant = b * b - a * c
    root = xp.sqrt(xp.where(discriminant < 0, 0.0, discriminant))
    miss = discriminant < 0
    return xp.where(miss, xp.inf, (-b - root) / a), xp.where(miss, -xp.inf, (root - b) / a)


def _slab(o: Array, d: Array, half: Array | float) -> Interval:
    """Where |o + t d| <= half, for one axis."""
    xp = array_namespace(o)
    d = _nonzero(d)
    first, second = (-half - o) / d, (half - o) / d
    return xp.minimum(first, second), xp.maximum(first, second)


def _both(a: Interval, b: Interval) -> Interval:
    xp = array_namespace(a[0])
    return xp.maximum(a[0], b[0]), xp.minimum(a[1], b[1])


def _sphere(o: Array, d: Array, ratio: Array) -> Interval:
    return _ball(o[0], o[1], o[2], d)


def _ball(x: Array, y: Array, z: Array, d: Array) -> Interval:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    return _quadratic(a, x * d[0] + y * d[1] + z * d[2], x * x + y * y + z * z - 1)


def _tube(o: Array, d: Array, radius: Array | float) -> Interval:
    """The infinite cylinder around y."""
    a, b = d[0] * d[0] + d[2] * d[2], o[0] * d[0] + o[2] * d[2]
    return _quadratic(a, b, o[0] * o[0] + o[2] * o[2] - radius * radius)


def _cube(o: Array, d: Array, ratio: Array) -> Interval:
    return _both(_both(_slab(o[0], d[0], 1.0), _slab(o[1], d[1], 1.0)), _slab(o[2], d[2], 1.0))


def _cylinder(o: Array, d: Array, ratio: Array) -> Interval:
    return _both(_tube(o, d, 1.0), _slab(o[1], d[1], 1.0))


def _cone(o: Array, d: Array, ratio: Array) -> Interval:
    """Inside x^2 + z^2 <= (y + 1)^2 / 4: of the two nappes, the slab leaves the lower one."""
    xp = array_namespace(o)
    y = o[1] + 1
    a = _nonzero(d[0] * d[0] + d[2] * d[2] - d[1] * d[1] / 4)
    b = o[0] * d[0] + o[2] * d[2] - y * d[1] / 4
    c = o[0] * o[0] + o[2] * o[2] - y * y / 4
    discriminant = b * b - a * c
    root = xp.sqrt(xp.where(discriminant < 0, 0.0, discriminant))
    sum_ = -(b + xp.where(b < 0, -root, root))  # the form that does not cancel where a is small
    first, second = sum_ / a, c / _nonzero(sum_)
    low, high = xp.minimum(first, second), xp.maximum(first, second)
    # a ray steeper than the side is inside the lower nappe from one crossing onwards, or up to one
    steep, down = a < 0, d[1] > 0
    miss = (discriminant < 0) & ~steep
    near = xp.where(steep, xp.where(down, high, -xp.inf), xp.where(miss, xp.inf, low))
    far = xp.where(steep, xp.where(down, xp.inf, low), xp.where(miss, -xp.inf, high))
    return _both((near, far), _slab(o[1], d[1], 1.0))


def _pyramid(o: Array, d: Array, ratio: Array) -> Interval:
    """Inside the slab and the four half-spaces +-x <= (y + 1) / 2 and +-z <= (y + 1) / 2."""
    xp = array_namespace(o)
    near, far = _slab(o[1], d[1], 1.0)
    for axis in (0, 2):
        for sign in (-1.0, 1.0):
            across = _nonzero(sign * d[axis] - d[1] / 2)
            t = ((o[1] + 1) / 2 - sign * o[axis]) / across
            near = xp.maximum(near, xp.where(across < 0, t, -xp.inf))
            far = xp.minimum(far, xp.where(across > 0, t, xp.inf))
    return near, far


def _capsule(o: Array, d: Array, ratio: Array) -> Interval:
    """The hull of two balls: it starts where the first of its three parts does and ends where the last does."""
    xp = array_namespace(o)
    near, far = _both(_tube(o, d, 1.0), _slab(o[1], d[1], ratio))
    far = xp.where(near > far, -xp.inf, far)
    near = xp.where(near > far, xp.inf, near)
    for end in (-ratio, ratio):
        enter, leave = _ball(o[0], o[1] - end, o[2], d)
        near, far = xp.minimum(near, enter), xp.maximum(far, leave)
    return near, far


CONVEX: dict[str, Callable[[Array, Array, Array], Interval]] = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "pyramid": _pyramid,
    "capsule": _capsule,
    "disc": _cylinder,
    "ellipsoid": _sphere,
}
"""Every shape but the torus."""


def enter(shape: str, o: Array, d: Array, ratio: Array) -> Array:
    """``t`` where a ray from outside enters the shape; inf where it misses or the shape lies behind ``o``."""
    xp = array_namespace(o)
    if shape == "torus":
        return _enter_torus(o, d, ratio)
    near, far = CONVEX[shape](o, d, ratio)
    return xp.where((near < far) & (near > 0), near, xp.inf)


def blocks(shape: str, o: Array, d: Array, ratio: Array) -> Array:
    """Whether the shape lies on the ray from ``o``, bool [P]; a point on a torus is not blocked by where it is."""
    if shape == "torus":
        t, o, d, ratio = _towards(o, d, ratio)
        line = _TorusLine(o, d, ratio)
        first, _, last = line.turns()
        start = -t + 1e-6
        return ((first > start) & (line.value(first) < 0)) | ((last > start) & (line.value(last) < 0))
    near, far = CONVEX[shape](o, d, ratio)
    return (near < far) & (far > 0)


# --- torus -------------------------------------------------------------------------------------------


def _towards(o: Array, d: Array, ratio: Array) -> tuple[Array, Array, Array, Array]:
    """(distance travelled, ``o`` moved to where the ray is nearest the centre, unit ``d``, ratio)."""
    xp = array_namespace(o)
    d = d / xp.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    travelled = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2])
    return travelled, o + travelled * d, d, ratio


class _TorusLine:
    """(|p|^2 + 1 - ratio^2)^2 - 4 (x^2 + z^2) along a ray: t^4 + square t^2 + linear t + constant, < 0 inside.

    There is no cubic term because ``o`` is the point of the ray that is nearest the centre.
    """

    def __init__(self, o: Array, d: Array, ratio: Array):
        self.distance2 = o[0] * o[0] + o[1] * o[1] + o[2] * o[2]
        k = self.distance2 + 1 - ratio * ratio
        self.square = 2 * k - 4 + 4 * d[1] * d[1]
        self.linear = 8 * o[1] * d[1]
        self.constant = k * k - 4 * self.distance2 + 4 * o[1] * o[1]

    def value(self, t: Array) -> Array:
        return ((t * t + self.square) * t + self.linear) * t + self.constant

    def slope(self, t: Array) -> Array:
        return (4 * t * t + 2 * self.square) * t + self.linear

    def turns(self) -> tuple[Array, Array, Array]:
        """Where the quartic turns: (first minimum, maximum, last minimum), or its only minimum three times."""
        xp = array_namespace(self.square)
        p, q = self.square / 2, self.linear / 4  # t^3 + p t + q = 0
        discriminant = q * q / 4 + p * p * p / 27
        three = discriminant < 0
        span = xp.sqrt(xp.where(three, -p, 3.0) / 3)
        cosine = xp.where(three, -q / (2 * span * span * span), 0.0)
        angle = xp.acos(xp.clip(cosine, -1.0, 1.0)) / 3
        last = 2 * span * xp.cos(angle)
        first = 2 * span * xp.cos(angle + 2 * xp.pi / 3)
        size = (abs(q) / 2 + xp.sqrt(xp.where(three, 0.0, discriminant))) ** (1 / 3)
        cube_root = xp.where(q > 0, -size, size)
        only = cube_root - p / (3 * _nonzero(cube_root))
        return xp.where(three, first, only), xp.where(three, -first - last, only), xp.where(three, last, only)


def _enter_torus(o: Array, d: Array, ratio: Array) -> Array:
    """The quartic is bracketed between its turning points, which are known exactly, so no crossing is missed.

    Within the bracket it falls from >= 0 to < 0, and the search ends far within 1e-6 of the ring's radius.
    """
    xp = array_namespace(o)
    near, far = _both(_tube(o, d, 1 + ratio), _slab(o[1], d[1], ratio))
    (chosen,) = xp.nonzero((near < far) & (near > 0))
    length = xp.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])[chosen]
    travelled, o, d, ratio = _towards(o[:, chosen], d[:, chosen], ratio[chosen])
    line = _TorusLine(o, d, ratio)
    first, between, last = line.turns()
    early = line.value(first) < 0
    high = xp.where(early, first, last)
    low = xp.where(early, -xp.sqrt(xp.clip((1 + ratio) ** 2 - line.distance2, 0.0, xp.inf)), between)
    low = xp.minimum(low, high)
    depth = line.value(high)
    t = (_search(line, low, high, depth) + travelled) / length
    out = xp.full_like(near, xp.inf)
    out[chosen] = xp.where(depth < 0, t, xp.inf)
    return out


def _search(line: _TorusLine, low: Array, high: Array, depth: Array) -> Array:
    """The root between ``low`` and the minimum at ``high``, whose value is ``depth``."""
    xp = array_namespace(low)
    # a grazing ray has a double root, where Newton's steps are slow; the parabola at the minimum finds it at once
    curve = 12 * high * high + 2 * line.square
    t = high - xp.sqrt(xp.clip(-2 * depth / xp.where(curve < TINY, TINY, curve), 0.0, xp.inf))
    t = xp.where(t < low, (low + high) / 2, t)
    for _ in range(SEARCH_STEPS):
        value = line.value(t)
        low, high = xp.where(value < 0, low, t), xp.where(value < 0, t, high)
        step = t - value / _nonzero(line.slope(t))
        t = xp.where((step < low) | (step > high), (low + high) / 2, step)
    return t


# --- normals -----------------------------------------------------------------------------------------


def outward(shape: str, p: Array, ratio: Array) -> Array:
    """The gradient of the shape at a point of its surface, outwards, any length: float64 [3, P] -> [3, P]."""
    xp = array_namespace(p)
    if shape in ("sphere", "ellipsoid"):
        return p
    x, y, z = p[0], p[1], p[2]
    if shape == "capsule":
        return xp.stack([x, y - xp.clip(y, -ratio, ratio), z])
    nothing = xp.zeros_like(y)
    if shape == "cube":
        size = abs(p)
        most = xp.maximum(xp.maximum(size[0], size[1]), size[2])
        return xp.where(size == most, p, 0.0)
    if shape == "pyramid":
        by_x = abs(x) > abs(z)
        side = xp.where(by_x, abs(x), abs(z)) - (y + 1) / 2
        down, half = y - 1 > side, xp.full_like(y, -0.5)
        slope = xp.stack([xp.where(by_x, xp.sign(x), 0.0), half, xp.where(by_x, 0.0, xp.sign(z))])
        return xp.where(down, xp.stack([nothing, nothing + 1, nothing]), slope)
    radius = _nonzero(xp.sqrt(x * x + z * z))
    if shape == "torus":
        return xp.stack([x - x / radius, y, z - z / radius])
    if shape == "cone":
        down = y - 1 > radius - (y + 1) / 2
        slope = xp.stack([x / radius, nothing - 0.5, z / radius])
        return xp.where(down, xp.stack([nothing, nothing + 1, nothing]), slope)
    assert shape in ("cylinder", "disc"), shape
    flat = abs(y) > radius
    return xp.stack([xp.where(flat, 0.0, x), xp.where(flat, y, 0.0), xp.where(flat, 0.0, z)])
