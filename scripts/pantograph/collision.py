"""Signed distances of a robot to itself and to support boxes, and which pairs of shapes to watch.

Every shape is a capsule: a segment and a radius. Frames: those of the points given; metres.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TINY = 1e-8
SAMPLES = 2000
"""Random poses from which pairs are chosen."""
REACH = 0.05
"""Pairs that never come this near, m, are not watched."""
ALWAYS = 0.5
"""Pairs that overlap in more than this share of poses do so by design."""


class Shape(NamedTuple):
    """A capsule fixed to a body: ends (3,) in its frame and radius, m."""

    body: int
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float


class Nearest(NamedTuple):
    """Of each pair of segments: distance (Q,), direction from the second to the first (Q, 3),
    unit, and the nearest point of the first (Q, 3)."""

    distance: jax.Array
    normal: jax.Array
    point: jax.Array


def nearest(start, end, other_start, other_end, xp=jnp):
    """The nearest points of pairs of segments, given by their ends, (..., 3) each.

    After Ericson, Real-Time Collision Detection, 2005, sec. 5.1.9, without branches: clamping one
    parameter, then the other, then the first again finds the nearest points of any two segments.
    """
    line, other = end - start, other_end - other_start
    between = start - other_start
    a, e = _dot(line, line) + TINY, _dot(other, other) + TINY
    b, c, f = _dot(line, other), _dot(line, between), _dot(other, between)
    share = xp.clip((b * f - c * e) / xp.maximum(a * e - b * b, TINY * a * e), 0.0, 1.0)
    across = xp.clip((b * share + f) / e, 0.0, 1.0)
    share = xp.clip((b * across - c) / a, 0.0, 1.0)
    point = start + share[..., None] * line
    gap = point - other_start - across[..., None] * other
    distance = xp.sqrt(_dot(gap, gap) + TINY**2)
    return Nearest(distance, gap / distance[..., None], point)


def choose_pairs(shapes, frames, apart):
    """Pairs (Q, 2) of shapes that can touch and need not.

    frames: positions (N, L, 3) and rotations (N, L, 3, 3) of the bodies in N poses, the first
    that of rest; apart(a, b): whether bodies a and b may not overlap.
    """
    positions, rotations = frames
    body = np.array([shape.body for shape in shapes], int)
    ends = [
        positions[:, body]
        + np.einsum("nsij,sj->nsi", rotations[:, body], np.array(offsets).reshape(-1, 3))
        for offsets in ([s.start for s in shapes], [s.end for s in shapes])
    ]
    radius = np.array([shape.radius for shape in shapes])
    pairs = [
        (i, j)
        for i in range(len(shapes))
        for j in range(i + 1, len(shapes))
        if apart(shapes[i].body, shapes[j].body)
    ]
    kept = []
    for i, j in pairs:
        found = nearest(ends[0][:, i], ends[1][:, i], ends[0][:, j], ends[1][:, j], xp=np)
        gap = found.distance - radius[i] - radius[j]
        if gap.min() < REACH and gap[0] > 0 and (gap < 0).mean() < ALWAYS:
            kept.append((i, j))
    return np.array(kept, int).reshape(-1, 2)


@jax.custom_jvp
def clearance(start, end, radius, boxes, floor):
    """Distances (S,) of capsules to the nearest of the boxes (B, 7) and the floor, m.

    Negative inside. Looked at are both ends and the middle of each capsule. start, end: (S, 3);
    radius: (S,); boxes as in `Mesh`, empty ones with size 0 far below; floor: height (S,).
    """
    return _clearance(start, end, radius, boxes, floor)[0]


@clearance.defjvp
def _clearance_jvp(primals, tangents):
    distance, normal, share = _clearance(*primals)
    move = (1 - share) * tangents[0] + share * tangents[1]
    return distance, jnp.sum(normal * move, axis=-1)


def _clearance(start, end, radius, boxes, floor):
    count = len(start)
    points = jnp.concatenate([start, 0.5 * (start + end), end])
    distance, normal = box_distance(points, boxes, jnp.tile(floor, 3))
    distance, normal = distance.reshape(3, count), normal.reshape(3, count, 3)
    least = jnp.min(distance, axis=0)
    # of places equally near, the first
    chosen = distance <= least
    chosen = (chosen & (jnp.cumsum(chosen, axis=0) == 1))[..., None]
    shares = np.array([0.0, 0.5, 1.0], start.dtype)[:, None, None]
    return (
        least - radius,
        jnp.sum(jnp.where(chosen, normal, 0.0), axis=0),
        jnp.sum(jnp.where(chosen, shares, 0.0), axis=0),
    )


def box_distance(points, boxes, floor):
    """Signed distance (P,) of points (P, 3) to the nearest of boxes (B, 7) and the floor (P,),
    and its gradient (P, 3)."""
    cos, sin = jnp.cos(boxes[:, 6]), jnp.sin(boxes[:, 6])
    gap = points[:, None] - boxes[None, :, :3]
    along = cos * gap[..., 0] + sin * gap[..., 1]
    across = cos * gap[..., 1] - sin * gap[..., 0]
    local = jnp.stack([along, across, gap[..., 2]], axis=-1)
    over = jnp.abs(local) - boxes[None, :, 3:6] / 2
    outside = jnp.maximum(over, 0.0)
    apart = jnp.sqrt(_dot(outside, outside))
    depth = jnp.max(over, axis=-1)
    distance = jnp.where(depth > 0, apart, depth)
    # outside towards the nearest point of the surface, inside through the nearest face
    face = (over >= depth[..., None]).astype(points.dtype)
    pull = jnp.where((depth > 0)[..., None], outside / jnp.maximum(apart, TINY)[..., None], face)
    pull = pull * jnp.where(local < 0, -1.0, 1.0)
    x, y = cos * pull[..., 0] - sin * pull[..., 1], sin * pull[..., 0] + cos * pull[..., 1]
    normal = jnp.stack([x, y, pull[..., 2]], axis=-1)
    height = points[:, 2] - floor
    least = jnp.min(distance, axis=1)
    chosen = (distance <= least[:, None])[..., None] & (least < height)[:, None, None]
    # of several boxes equally near, their mean
    chosen = chosen / jnp.maximum(chosen.sum(axis=1, keepdims=True), 1)
    direction = jnp.sum(chosen * normal, axis=1)
    up = jnp.array([0.0, 0.0, 1.0], points.dtype)
    direction = jnp.where((least < height)[:, None], direction, up)
    return jnp.minimum(least, height), direction


def _dot(a, b):
    return (a * b).sum(axis=-1)
