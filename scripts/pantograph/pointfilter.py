"""Which cells of depth maps are good for points: away from people, edges and guesses.

All functions are pure; sizes in pixels are those of a picture whose long side is 512 px and are
scaled to the map at hand, lengths are in metres unless they say otherwise.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

REFERENCE_SIDE = 512
"""Long side, px, of the picture that growth of masks is given for."""


def cell_intrinsics(intrinsics, video_size, shape):
    """Camera matrix (3, 3) px of a depth map (h, w) from that of the video, (width, height)."""
    scale = np.array([shape[1] / video_size[0], shape[0] / video_size[1], 1.0])
    return np.asarray(intrinsics, float) * scale[:, None]


def backproject(depth, intrinsics):
    """Points (h, w, 3) in the camera's axes of a depth map (h, w); intrinsics: px of the map."""
    height, width = depth.shape
    x = (np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(height) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    depth = np.asarray(depth, float)
    return np.stack([depth * x, depth * y[:, None], depth], -1)


def slope(depth, intrinsics):
    """Change of depth over the viewing angle, (h, w), in the depth's unit per radian.

    Independent of the map's resolution. A floor h below the camera changes by z^2 / h at
    distance z; the smeared edge between a person and the wall behind by their distance over one
    or two pixels, which is several times as much. Unknown cells (0) and their neighbours are
    infinitely steep.
    """
    depth = np.asarray(depth, float)
    if min(depth.shape) < 2:
        return np.zeros(depth.shape)
    # differences of next neighbours on either side: central ones miss a single wrong pixel
    down, right = np.abs(np.diff(depth, axis=0)), np.abs(np.diff(depth, axis=1))
    vertical = np.maximum(np.pad(down, ((1, 0), (0, 0))), np.pad(down, ((0, 1), (0, 0))))
    across = np.maximum(np.pad(right, ((0, 0), (1, 0))), np.pad(right, ((0, 0), (0, 1))))
    steep = np.hypot(vertical * intrinsics[1, 1], across * intrinsics[0, 0])
    unknown = ndimage.binary_dilation(depth <= 0, iterations=1)
    return np.where(unknown, np.inf, steep)


def grow(mask, px):
    """A mask (h, w) grown by `px` px of a picture with a long side of 512, in a square."""
    reach = int(round(px * max(mask.shape) / REFERENCE_SIDE))
    if reach == 0 or not mask.any():
        return mask
    return ndimage.maximum_filter(mask, size=2 * reach + 1)


def person_mask(people, frame, shape):
    """Where any person is, bool (h, w), in a depth map of that shape."""
    mask = np.zeros((people.mask_height, people.mask_width), bool)
    for pid, track in people.people.items():
        if track.visible[frame]:
            mask |= people.mask(pid, frame)
    rows = np.minimum((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0], mask.shape[0] - 1)
    columns = np.minimum((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1], mask.shape[1] - 1)
    return mask[np.ix_(rows.astype(int), columns.astype(int))]


def ring(mask, inner_px, outer_px):
    """The surroundings of a mask (h, w): grown by `outer_px` but not by `inner_px`."""
    return grow(mask, outer_px) & ~grow(mask, inner_px)


def person_box(joints, factor=1.2, least=4.0, most=8.0):
    """Box around people's joints (N, 3): lowest and highest corner, (2, 3) m.

    Its sides are `factor` times those of the joints, but within `least` and `most`.
    """
    low, high = joints.min(0), joints.max(0)
    half = np.clip(factor * (high - low), least, most) / 2
    return np.stack([(low + high) / 2 - half, (low + high) / 2 + half])


def inside_any(points, boxes):
    """Which points (N, 3) lie in one of the boxes (M, 2, 3)."""
    found = np.zeros(len(points), bool)
    for low, high in boxes:
        rest = np.flatnonzero(~found)
        found[rest] = ((points[rest] >= low) & (points[rest] <= high)).all(1)
    return found


def cubes(points, side):
    """The cube of side `side` that each of the points (N, 3) lies in, numbered from 0, (N,)."""
    cells = np.floor(np.asarray(points, float) / side).astype(np.int64)
    if len(cells) == 0:
        return np.zeros(0, int)
    cells -= cells.min(0)
    span = cells.max(0) + 1
    keys = (cells[:, 0] * span[1] + cells[:, 1]) * span[2] + cells[:, 2]
    return np.unique(keys, return_inverse=True)[1].reshape(-1)


def dense(points, side, fewest):
    """Which of the points (N, 3) lie in cubes of side `side` with `fewest` points or more."""
    owner = cubes(points, side)
    return np.bincount(owner)[owner] >= fewest if len(owner) else np.zeros(0, bool)


def merge(points, side, *others):
    """One mean per cube of side `side`, (M, 3), of points (N, 3) and of each of `others`."""
    owner = cubes(points, side)
    count = np.bincount(owner)
    means = []
    for values in (points, *others):
        columns = [np.bincount(owner, column) / count for column in np.asarray(values, float).T]
        means.append(np.stack(columns, -1) if len(points) else np.zeros((0, 3)))
    return means if others else means[0]


def bounded(points, most, side, *others):
    """`merge` with cubes whose side grows from `side` until there are at most `most` means."""
    found = merge(points, side, *others)
    while len(found[0] if others else found) > most:
        side *= max(1.05, np.sqrt(len(found[0] if others else found) / most))
        found = merge(points, side, *others)
    return found
