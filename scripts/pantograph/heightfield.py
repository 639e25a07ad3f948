"""The ground as heights over a level grid, and the solid below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay, QhullError, cKDTree

MOST_CELLS = 250_000


@dataclass
class Grid:
    """Nodes at low + cell * (column, row)."""

    low: np.ndarray
    """(2,), x and y of the first node, m."""
    cell: float
    """Distance between nodes, m."""
    shape: tuple
    """(rows, columns): nodes along y and x."""

    @classmethod
    def over(cls, low, high, cell):
        """The grid from corner `low` to corner `high` (2,), coarser than `cell` if it is huge."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        cell = max(cell, float(np.sqrt(np.prod(np.maximum(high - low, cell)) / MOST_CELLS)))
        columns, rows = np.ceil((high - low) / cell).astype(int) + 1
        return cls(low, cell, (int(max(rows, 2)), int(max(columns, 2))))

    @property
    def xy(self):
        """Position of every node, (rows, columns, 2)."""
        rows, columns = self.shape
        x = self.low[0] + self.cell * np.arange(columns)
        y = self.low[1] + self.cell * np.arange(rows)
        return np.stack(np.meshgrid(x, y), -1)

    def nearest(self, points):
        """Row and column of the node nearest to points (N, 2+), and which lie on the grid."""
        place = np.rint((points[:, :2] - self.low) / self.cell).astype(int)
        inside = (place >= 0).all(1) & (place[:, ::-1] < self.shape).all(1)
        return place[:, 1], place[:, 0], inside


def spread(vertices, faces, spacing):
    """Points (N, 3) on a surface, no further than `spacing` from one another on each face."""
    corners = np.asarray(vertices, float)[faces]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    parts = np.maximum(np.ceil(sides / spacing).astype(int), 1)
    found = [np.zeros((0, 3))]
    for part in np.unique(parts):
        u, v = np.meshgrid(np.arange(part + 1), np.arange(part + 1))
        inside = u + v <= part
        u, v = u[inside] / part, v[inside] / part
        weights = np.stack([1 - u - v, u, v], -1)
        found.append(np.einsum("kc,ncd->nkd", weights, corners[parts == part]).reshape(-1, 3))
    return np.concatenate(found)


def highest(points, grid, ceiling=np.inf):
    """Height of the highest point at each node, (rows, columns); NaN where there is none.

    points: (N, 3); ceiling: height above which points do not count, number or (rows, columns).
    """
    row, column, inside = grid.nearest(points)
    heights = np.full(grid.shape, -np.inf)
    limit = np.broadcast_to(ceiling, grid.shape)
    row, column, z = row[inside], column[inside], points[inside, 2]
    below = z < limit[row, column]
    np.maximum.at(heights, (row[below], column[below]), z[below])
    return np.where(np.isfinite(heights), heights, np.nan)


def hull(known):
    """The convex hull of a mask (rows, columns) without its single cells, as a mask."""
    firm = ndimage.binary_opening(known, np.ones((3, 3)))
    places = np.argwhere(firm)
    try:
        corners = places[ConvexHull(places).vertices]
    except (QhullError, ValueError):
        return firm
    cells = np.argwhere(np.ones(known.shape, bool))
    return (Delaunay(corners).find_simplex(cells) >= 0).reshape(known.shape)


def fill(heights, neighbours=64, power=1.5):
    """Heights of the unknown nodes inside the known ones' convex hull, NaN elsewhere.

    heights: (rows, columns), NaN where unknown. Inverse distance weighting (Shepard, 1968) of the
    nearest known nodes.
    """
    known = np.isfinite(heights)
    inside = hull(known)
    trusted = np.argwhere(known & inside)
    missing = np.argwhere(~known & inside)
    out = np.full(heights.shape, np.nan)
    if len(trusted) == 0 or len(missing) == 0:
        return out
    count = min(neighbours, len(trusted))
    distance, index = cKDTree(trusted).query(missing, k=np.arange(1, count + 1))
    weights = 1.0 / distance**power
    values = heights[tuple(trusted.T)][index]
    out[tuple(missing.T)] = (weights * values).sum(1) / weights.sum(1)
    return out


def solid(grid, heights, bottom):
    """The watertight solid between heights (rows, columns) and a level at `bottom` below them.

    Returns vertices (V, 3) and faces (F, 3), outward and counter-clockwise.
    """
    rows, columns = grid.shape
    top = np.concatenate([grid.xy, heights[..., None]], -1).reshape(-1, 3)
    base = top.copy()
    base[:, 2] = bottom
    count = rows * columns
    index = np.arange(count).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    above = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    below = above[:, ::-1] + count
    # once around, counter-clockwise from above
    rim = np.concatenate([index[0, :-1], index[:-1, -1], index[-1, :0:-1], index[:0:-1, 0]])
    after = np.roll(rim, -1)
    sides = [np.stack([rim + count, after + count, after], -1)]
    sides.append(np.stack([rim + count, after, rim], -1))
    return np.concatenate([top, base]), np.concatenate([above, below, *sides])
