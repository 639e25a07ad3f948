"""Pictures of a room with people in it, by numpy alone, so that every machine draws the same.

The room's rectangles are intersected with the pixels' rays; the people's triangles, small and
many, are drawn into a depth buffer. Shadows come from a second depth buffer seen from the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import outfit as outfits
from .scenery import BOX_FACES


@dataclass
class Figure:
    """A person's surface to be drawn: `vertices` (V, 3) change, the rest belongs to the body."""

    rest: np.ndarray
    faces: np.ndarray
    owners: np.ndarray
    outfit: outfits.Outfit
    vertices: np.ndarray | None = None

    @classmethod
    def of(cls, model, outfit):
        """The figure of a body model in an outfit."""
        return cls(model.v_template, model.faces, model.weights.argmax(1), outfit)


@dataclass
class Picture:
    """rgb (H, W, 3) uint8; person (H, W) int8, -1 for the room, else the index of the figure;
    depth (H, W) along the camera's z at the pixels' centres, m, infinite where nothing is."""

    rgb: np.ndarray
    person: np.ndarray
    depth: np.ndarray


class Renderer:
    """Draws one room at one size. intrinsics (3, 3), px."""

    def __init__(self, room, width, height, intrinsics, seed, noise=1.6, blur=0.55):
        self.room, self.width, self.height = room, width, height
        self.intrinsics, self.blur = np.asarray(intrinsics, float), blur
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        inverse = np.linalg.inv(self.intrinsics)
        self.rays = (np.stack([x, y, np.ones_like(x)], -1) @ inverse.T).astype(np.float32)
        rng = np.random.default_rng(seed)
        self.grain = (noise * rng.standard_normal((height + 64, width + 64, 3))).astype(np.float32)
        self.rng = rng
        self._background = (None, None)

    def draw(self, cam2world, figures):
        """A picture through the camera cam2world (4, 4) of the room with `figures`."""
        import cv2

        pose = np.asarray(cam2world, float)
        color, depth, points, light = self._room(pose)
        color, depth, light = color.copy(), depth.copy(), light.copy()
        person = np.full((self.height, self.width), -1, np.int8)
        shadow = _ShadowMap(self.room, figures)
        for window in shadow.windows(pose, self.intrinsics, self.width, self.height):
            light[window] *= 1 - 0.55 * shadow.at(points[window], 0.02)
        color *= light[..., None]
        if figures:
            self._people(pose, figures, shadow, color, depth, person)
        if self.blur:
            color = cv2.GaussianBlur(color, (0, 0), self.blur)
        dy, dx = self.rng.integers(0, 64, 2)
        color += self.grain[dy : dy + self.height, dx : dx + self.width]
        return Picture(np.clip(color + 0.5, 0, 255).astype(np.uint8), person, depth)

    def _room(self, pose):
        # kept while the camera stands still
        if self._background[0] is not None and np.array_equal(self._background[0], pose):
            return self._background[1]
        rays = self.rays @ pose[:3, :3].T.astype(np.float32)
        shape = (self.height, self.width)
        color = np.zeros(shape + (3,), np.float32)
        depth = np.full(shape, np.inf, np.float32)
        light = np.ones(shape, np.float32)
        for quad in self.room.quads:
            eye = pose[:3, 3] - quad.corner
            if eye @ quad.normal <= 0:
                continue
            window = _window(quad, pose, self.intrinsics, self.width, self.height)
            if window is None:
                continue
            ray = rays[window]
            slope = ray @ quad.normal.astype(np.float32)
            across, along = _share(quad.u), _share(quad.v)
            with np.errstate(divide="ignore", invalid="ignore"):
                t = np.float32(-(eye @ quad.normal)) / slope
                s = (ray @ across) * t + np.float32(eye @ across)
                r = (ray @ along) * t + np.float32(eye @ along)
                hit = (t > 0.05) & (s >= 0) & (s <= 1) & (r >= 0) & (r <= 1) & (t < depth[window])
            if not hit.any():
                continue
            t, length = t[hit], np.sqrt((ray[hit] ** 2).sum(-1))
            lean = np.clip(-slope[hit] / length, 0.05, 1)
            footprint = t * length / np.float32(self.intrinsics[0, 0]) / np.sqrt(lean)
            color[window][hit] = _lookup(quad, s[hit], r[hit], footprint)
            depth[window][hit] = t
            light[window][hit] = 0.62 + 0.45 * max(0.0, float(quad.normal @ self.room.light))
        points = (
            pose[:3, 3].astype(np.float32)
            + rays * np.where(np.isfinite(depth), depth, 0)[..., None]
        )
        result = (color, depth, points, light)
        self._background = (pose.copy(), result)
        return result

    def _people(self, pose, figures, shadow, color, depth, person):
        offset = np.cumsum([0] + [len(f.rest) for f in figures])
        world = np.concatenate([f.vertices for f in figures])
        faces = np.concatenate([f.faces + o for f, o in zip(figures, offset, strict=False)])
        local = (world - pose[:3, 3]) @ pose[:3, :3]
        safe = np.maximum(local[:, 2], 0.05)
        xy = local[:, :2] / safe[:, None] * self.intrinsics[[0, 1], [0, 1]] + self.intrinsics[:2, 2]
        usable = (local[faces, 2] > 0.1).all(1)
        hits = rasterize(xy, safe, faces[usable], self.width, self.height)
        faces = faces[usable][hits.face]
        row, column = hits.row, hits.column
        front = hits.depth < depth[row, column]
        row, column, faces, weight = row[front], column[front], faces[front], hits.weight[front]
        depth[row, column] = hits.depth[front]

        def mix(values):
            return np.einsum("nk,nka->na", weight, values[faces])

        normal = mix(
            vertex_normals(
                world, np.concatenate([f.faces + o for f, o in zip(figures, offset, strict=False)])
            )
        )
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        rest = mix(np.concatenate([f.rest for f in figures]))
        owners = np.concatenate([f.owners for f in figures])[faces[:, 0]]
        who = np.searchsorted(offset, faces[:, 0], side="right") - 1
        albedo = np.zeros((len(row), 3))
        for k, figure in enumerate(figures):
            mine = who == k
            albedo[mine] = outfits.paint(figure.outfit, rest[mine], owners[mine])
        lambert = np.clip(normal @ self.room.light, 0, 1)
        lambert *= 1 - 0.7 * shadow.at(mix(world) + 0.012 * normal, 0.03)
        view = pose[:3, 3] - mix(world)
        facing = np.clip((normal * view).sum(1) / np.linalg.norm(view, axis=1), 0, 1)
        weave = 1 + 0.05 * np.sin(190 * rest[:, 0] + 60 * rest[:, 1]) * np.sin(170 * rest[:, 1])
        shade = (0.40 + 0.10 * normal[:, 2] + 0.12 * facing + 0.55 * lambert) * weave
        color[row, column] = 255 * np.clip(albedo * shade[:, None], 0, 1) ** 0.87
        person[row, column] = who


@dataclass
class Hits:
    """The frontmost triangle of each covered pixel: row, column, face (N,), barycentric weight
    (N, 3) in 3D, depth (N,)."""

    row: np.ndarray
    column: np.ndarray
    face: np.ndarray
    weight: np.ndarray
    depth: np.ndarray


def rasterize(xy, depth, faces, width, height, perspective=True):
    """Draw triangles that turn clockwise on the picture (y down), i.e. outward faces seen.

    xy (V, 2) px, depth (V,), faces (F, 3). perspective: 1 / depth is linear on the picture, else
    depth is. Returns Hits.
    """
    a, b, c = (xy[faces[:, k]] for k in range(3))
    area = _cross(b - a, c - a)
    low = np.minimum(np.minimum(a, b), c)
    high = np.maximum(np.maximum(a, b), c)
    x0, y0 = (
        np.clip(np.ceil(low[:, k] - 0.5), 0, n).astype(int) for k, n in ((0, width), (1, height))
    )
    x1, y1 = (
        np.clip(np.floor(high[:, k] - 0.5) + 1, 0, n).astype(int)
        for k, n in ((0, width), (1, height))
    )
    keep = np.flatnonzero((area < -1e-9) & (x1 > x0) & (y1 > y0))
    columns, rows = (x1 - x0)[keep], (y1 - y0)[keep]
    size = columns * rows
    face = np.repeat(keep, size)
    index = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    wide = np.repeat(columns, size)
    column, row = x0[face] + index % wide, y0[face] + index // wide
    point = np.column_stack([column + 0.5, row + 0.5])
    w1 = _cross(point - a[face], c[face] - a[face]) / area[face]
    w2 = _cross(b[face] - a[face], point - a[face]) / area[face]
    inside = (w1 >= 0) & (w2 >= 0) & (w1 + w2 <= 1)
    face, row, column = face[inside], row[inside], column[inside]
    weight = np.column_stack([1 - w1 - w2, w1, w2])[inside]
    corner = depth[faces[face]]
    if perspective:
        weight = weight / corner
        z = 1 / weight.sum(1)
        weight = weight * z[:, None]
    else:
        z = (weight * corner).sum(1)
    pixel = row * width + column
    order = np.lexsort((z, pixel))
    first = order[np.r_[True, np.diff(pixel[order]) > 0]] if len(order) else order
    return Hits(row[first], column[first], face[first], weight[first], z[first])


def vertex_normals(vertices, faces):
    """Unit normals (V, 3), each the area-weighted mean of its faces'."""
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    out = np.stack(
        [np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)],
        -1,
    )
    return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12)


class _ShadowMap:
    """Depth of figures and boxes seen from the light, on a grid of 12 mm around the figures."""

    CELL = 0.012
    MARGIN = 0.3

    def __init__(self, room, figures):
        light = room.light
        x = np.cross(light, [0.0, 1.0, 0.0])
        x /= np.linalg.norm(x)
        self.frame = np.stack([x, np.cross(-light, x), -light])  # right, down, away from the light
        solids = [(f.vertices, f.faces) for f in figures]
        solids += [(box.corners(), BOX_FACES) for box in room.boxes]
        self.solids = [vertices for vertices, _ in solids]
        self.light = light
        self.map = None
        if not solids:
            return
        offset = np.cumsum([0] + [len(v) for v, _ in solids])
        points = np.concatenate([v for v, _ in solids]) @ self.frame.T
        faces = np.concatenate([f + o for (_, f), o in zip(solids, offset, strict=False)])
        self.origin = points.min(0) - self.MARGIN
        size = np.ceil((points.max(0) - self.origin + self.MARGIN)[:2] / self.CELL).astype(int)
        hits = rasterize(
            (points[:, :2] - self.origin[:2]) / self.CELL,
            points[:, 2],
            faces,
            *size,
            perspective=False,
        )
        self.map = np.full(size[::-1], np.inf, np.float32)
        self.map[hits.row, hits.column] = hits.depth

    def at(self, points, bias):
        """How much of the light is taken away at points (..., 3), in [0, 1]."""
        points = np.asarray(points)
        if self.map is None:
            return np.zeros(points.shape[:-1], np.float32)
        local = points @ self.frame.T.astype(points.dtype)
        h, w = self.map.shape
        cell = (local[..., :2] - self.origin[:2]) / self.CELL
        total = np.zeros(points.shape[:-1], np.float32)
        for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            x = np.clip(cell[..., 0] + 0.9 * dx, 0, w - 1).astype(int)
            y = np.clip(cell[..., 1] + 0.9 * dy, 0, h - 1).astype(int)
            total += local[..., 2] > self.map[y, x] + bias
        return total / 4

    def windows(self, pose, intrinsics, width, height):
        """The parts of the picture that shadows may reach: one window around all of them."""
        if self.map is None:
            return []
        points = np.concatenate(self.solids)
        reach = (points[:, 2:] / self.light[2]) * self.light
        points = np.concatenate([points, points - reach])
        # on a wall a shadow ends higher up than on the floor, between the two
        window = _window_of(points, pose, intrinsics, width, height, 12)
        return [] if window is None else [window]


def _cross(a, b):
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _share(edge):
    # the covector that measures a point's share of the edge
    return (edge / (edge @ edge)).astype(np.float32)


def _window_of(points, pose, intrinsics, width, height, margin, near=0.1):
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    if (local[:, 2] < near).any():
        return slice(0, height), slice(0, width)
    xy = local[:, :2] / local[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    x0, y0 = np.floor(xy.min(0)).astype(int) - margin
    x1, y1 = np.ceil(xy.max(0)).astype(int) + margin
    x0, x1 = np.clip([x0, x1], 0, width)
    y0, y1 = np.clip([y0, y1], 0, height)
    return None if x1 <= x0 or y1 <= y0 else (slice(y0, y1), slice(x0, x1))


def _window(quad, pose, intrinsics, width, height, near=0.05):
    """The part of the picture that a rectangle may fill, or None; what lies behind is cut off."""
    around = quad.corner + np.array([quad.u * 0, quad.u, quad.u + quad.v, quad.v])
    depth = (around - pose[:3, 3]) @ pose[:3, 2] - near
    kept = []
    for k in range(4):
        a, b, da, db = around[k - 1], around[k], depth[k - 1], depth[k]
        if da * db < 0:
            kept.append(a + da / (da - db) * (b - a))
        if db >= 0:
            kept.append(b)
    if not kept:
        return None
    return _window_of(np.array(kept), pose, intrinsics, width, height, 1, 0.5 * near)


def _lookup(quad, s, r, footprint):
    """Colours (N, 3) at the shares s, r (N,) of a rectangle's edges.

    footprint (N,): size of a pixel on the rectangle, m; the two levels of the texture nearest to
    it are blended.
    """
    level = np.log2(np.maximum(footprint / np.float32(quad.texel), 1))
    level = np.minimum(level, len(quad.pyramid) - 1)
    out = np.zeros(s.shape + (3,), np.float32)
    for k in range(int(level.min()), int(np.ceil(level.max())) + 1):
        share = 1 - np.abs(level - k)
        some = np.flatnonzero(share > 0)
        h, w = quad.pyramid[k].shape[:2]
        x, y = s[some] * np.float32(w) - np.float32(0.5), r[some] * np.float32(h) - np.float32(0.5)
        out[some] += share[some, None] * _bilinear(quad.pyramid[k], x, y)
    return out


def _bilinear(picture, x, y, row=4096):
    import cv2

    # OpenCV looks up pictures, not lists
    pad = -len(x) % row
    x, y = (np.pad(a, (0, pad)).reshape(-1, row) for a in (x, y))
    seen = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return seen.reshape(-1, 3)[: x.size - pad]
