"""What stands still: a room of textured rectangles, and boxes to sit on or walk around."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Quad:
    """A textured rectangle: corner (3,), edges u and v (3,), m; texture (h, w, 3) uint8.

    The texture's x runs along u and its y along v; `texel` is its size in m. The normal u x v
    points to the side that is seen.
    """

    corner: np.ndarray
    u: np.ndarray
    v: np.ndarray
    texture: np.ndarray
    texel: float
    pyramid: list = field(default_factory=list)

    def __post_init__(self):
        self.corner, self.u, self.v = (np.asarray(a, float) for a in (self.corner, self.u, self.v))
        self.normal = np.cross(self.u, self.v)
        self.normal /= np.linalg.norm(self.normal)
        level = self.texture
        while True:
            self.pyramid.append(level)
            h, w = (s // 2 * 2 for s in level.shape[:2])
            if min(h, w) < 8:
                break
            mean = level[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).astype(np.uint16).sum((1, 3))
            level = ((mean + 2) // 4).astype(np.uint8)


@dataclass
class Box:
    """An upright box: centre of its foot (x, y), full sizes (x, y, z), m, yaw in rad."""

    place: tuple
    size: tuple
    yaw: float
    color: tuple
    name: str = "box"

    def corners(self):
        """(8, 3): the bottom four counter-clockwise seen from above, then the top four."""
        x, y, z = self.size
        flat = np.array([[-x, -y], [x, -y], [x, y], [-x, y]]) / 2
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        flat = flat @ np.array([[c, s], [-s, c]]) + self.place
        return np.concatenate(
            [np.column_stack([flat, np.zeros(4)]), np.column_stack([flat, np.full(4, z)])]
        )


BOX_FACES = np.array(
    [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7]]
    + [
        f
        for k in range(4)
        for f in ([k, (k + 1) % 4, 4 + (k + 1) % 4], [k, 4 + (k + 1) % 4, 4 + k])
    ],
    np.int32,
)
"""Triangles of `Box.corners`, outward."""


@dataclass
class Room:
    """A floor at z = 0, walls and boxes. light: direction towards the light, unit length."""

    quads: list
    boxes: list
    light: np.ndarray
    floor: tuple
    """Extent of the floor: x0, y0, x1, y1, m."""

    def mesh(self, depth=0.1):
        """Collision mesh: vertices (V, 3), faces (F, 3) of the floor slab and the boxes; m."""
        x0, y0, x1, y1 = self.floor
        slab = Box(((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0, depth), 0.0, ())
        solids = [slab.corners() - (0, 0, depth)] + [box.corners() for box in self.boxes]
        vertices = np.concatenate(solids)
        faces = np.concatenate([BOX_FACES + 8 * k for k in range(len(solids))])
        return vertices, faces

    def sample(self, count, rng):
        """Points (count, 3) on the visible surfaces, evenly by area, and colours (count, 3)."""
        area = np.array([np.linalg.norm(np.cross(q.u, q.v)) for q in self.quads])
        which = np.sort(rng.choice(len(area), count, p=area / area.sum()))
        share = rng.random((count, 2))
        points, colors = np.empty((count, 3)), np.empty((count, 3), np.uint8)
        for i, k in enumerate(which):
            quad = self.quads[k]
            points[i] = quad.corner + share[i, 0] * quad.u + share[i, 1] * quad.v
            lengths = np.linalg.norm(quad.u), np.linalg.norm(quad.v)
            x, y = (int(s * n / quad.texel) for s, n in zip(share[i], lengths, strict=True))
            h, w = quad.texture.shape[:2]
            colors[i] = quad.texture[y % h, x % w]
        return points, colors


def room(seed, boxes, extent=(-3.5, -3.5, 3.5, 3.5), height=4.6):
    """A room with a tiled floor and four walls with pictures, and the given boxes."""
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = extent
    quads = [
        _quad((x0, y0, 0), (x1 - x0, 0, 0), (0, y1 - y0, 0), lambda h, w: _floor(rng, h, w), 0.005)
    ]
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    for k in range(4):
        a, b = np.array(corners[k]), np.array(corners[(k + 1) % 4])
        tint = np.array([0.72, 0.69, 0.62]) + rng.uniform(-0.04, 0.04, 3)
        # seen from inside: u runs clockwise, v up
        quads.append(
            _quad(
                (*b, 0),
                (*(a - b), 0),
                (0, 0, height),
                lambda h, w, t=tint: _wall(rng, h, w, t),
                0.006,
            )
        )
    for box in boxes:
        c = box.corners()
        sides = [(c[k], c[(k + 1) % 4] - c[k], c[4] - c[0]) for k in range(4)]
        for corner, u, v in [*sides, (c[4], c[5] - c[4], c[7] - c[4])]:
            quads.append(
                _quad(corner, u, v, lambda h, w, t=box.color: _crate(rng, h, w, np.array(t)), 0.004)
            )
    light = np.array([-0.35, -0.55, 1.1])
    return Room(quads, list(boxes), light / np.linalg.norm(light), tuple(extent))


def _quad(corner, u, v, paint, texel):
    w, h = (max(16, int(round(np.linalg.norm(e) / texel))) for e in (u, v))
    picture = np.clip(255 * paint(h, w), 0, 255).astype(np.uint8)
    return Quad(corner, u, v, picture, texel)


def _noise(rng, h, w, sizes):
    """A picture (h, w) around 0 with blots of the given sizes, px."""
    import cv2

    out = np.zeros((h, w), np.float32)
    for size in sizes:
        coarse = rng.random((h // size + 3, w // size + 3)).astype(np.float32) - 0.5
        out += cv2.resize(coarse, None, fx=size, fy=size, interpolation=cv2.INTER_CUBIC)[:h, :w]
    return out[..., None] / len(sizes)


def _floor(rng, h, w):
    import cv2

    tile = 100  # half a metre
    rows, columns = h // tile + 1, w // tile + 1
    tone = 0.42 + rng.uniform(-0.09, 0.09, (rows, columns, 1))
    tint = tone * (np.array([1.0, 0.93, 0.84]) + rng.uniform(-0.05, 0.05, (rows, columns, 3)))
    picture = np.kron(tint, np.ones((tile, tile, 1)))[:h, :w].astype(np.float32)
    picture *= 1 + 0.7 * _noise(rng, h, w, (5, 11, 37))
    for k in range(0, max(h, w), tile):
        picture[k : k + 2] *= 0.5
        picture[:, k : k + 2] *= 0.5
    for _ in range(h * w // 2200):  # chips and stains
        center = tuple(int(rng.integers(n)) for n in (w, h))
        axes = tuple(int(a) for a in rng.integers(2, 9, 2))
        shade = np.array([1.0, 0.95, 0.9]) * rng.uniform(0.12, 0.75)
        cv2.ellipse(picture, center, axes, int(rng.integers(180)), 0, 360, shade.tolist(), -1)
    return picture


def _wall(rng, h, w, tint):
    import cv2

    picture = tint * (1 + 0.35 * _noise(rng, h, w, (6, 17, 90)))
    picture = np.ascontiguousarray(picture, np.float32)
    for _ in range(h * w // 21000):  # posters with figures on them
        pw, ph = (int(n) for n in rng.integers(30, 110, 2))
        x, y = int(rng.integers(-20, w)), int(rng.integers(0, h - 40))
        paper = rng.uniform(0.25, 0.9, 3).tolist()
        cv2.rectangle(picture, (x, y), (x + pw, y + ph), paper, -1)
        for _ in range(7):
            ink = rng.uniform(0.05, 0.95, 3).tolist()
            at = (x + int(rng.integers(6, pw)), y + int(rng.integers(6, ph)))
            if rng.random() < 0.5:
                cv2.circle(picture, at, int(rng.integers(2, 9)), ink, -1)
            else:
                cv2.rectangle(picture, at, (at[0] + int(rng.integers(3, 18)), at[1] + 5), ink, -1)
    picture[:16] *= 0.55  # skirting board
    return picture


def _crate(rng, h, w, tint):
    picture = tint * (1 + 0.5 * _noise(rng, h, w, (4, 9, 23)))
    for k in range(0, w, 24):
        picture[:, k : k + 2] *= 0.55
    for edge in (slice(0, 5), slice(-5, None)):
        picture[edge] *= 0.6
        picture[:, edge] *= 0.6
    for _ in range(max(3, h * w // 700)):
        y, x = rng.integers(h), rng.integers(w)
        picture[y : y + rng.integers(2, 7), x : x + rng.integers(2, 9)] *= rng.uniform(0.4, 1.7)
    return picture
