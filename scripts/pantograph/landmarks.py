"""Named landmarks on the SMPL skeleton, and the repair of raw 3D landmarks."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from .conventions import SMPL_JOINTS, mirrored

# Where each landmark sits: the joint that carries it, its offset from that joint in the rest pose
# of a body of mean stature (x of the left side; m), and how much its 2D and 3D positions count.
# Hips: annotators click the skin over the trochanter, outside and above the joint's centre.
_LEFT = {
    "ear": ("head", (0.079, 0.052, -0.014), 0.6, 0.4),
    "shoulder": ("left_shoulder", (0.0, 0.0, 0.0), 1.0, 1.0),
    "elbow": ("left_elbow", (0.0, 0.0, 0.0), 1.0, 1.0),
    "wrist": ("left_wrist", (0.0, 0.0, 0.0), 1.0, 0.8),
    "index": ("left_wrist", (0.10, -0.005, 0.02), 0.3, 0.2),
    "pinky": ("left_wrist", (0.09, -0.005, -0.03), 0.3, 0.2),
    "hip": ("pelvis", None, 1.0, 1.0),
    "knee": ("left_knee", (0.0, 0.0, 0.0), 1.0, 1.0),
    "ankle": ("left_ankle", (0.0, 0.0, 0.0), 1.0, 1.0),
    "heel": ("left_ankle", (0.0, -0.05, -0.05), 0.6, 0.5),
    "foot_index": ("left_foot", (-0.005, -0.008, 0.058), 0.7, 0.5),
}
_HIP = (0.02, 0.02, 0.0)


def _table():
    rows = [("nose", "head", (0.0, 0.042, 0.108), 0.6, 0.4)]
    for name, (joint, offset, weight2d, weight3d) in _LEFT.items():
        for side, sign in (("left", 1.0), ("right", -1.0)):
            if offset is None:
                carrier, place = f"{side}_hip", _HIP
            else:
                carrier, place = joint.replace("left", side), offset
            rows.append(
                (f"{side}_{name}", carrier, (sign * place[0], *place[1:]), weight2d, weight3d)
            )
    return rows


_ROWS = _table()
NAMES = tuple(row[0] for row in _ROWS)
"""Landmarks that are fitted, M of them."""
CARRIERS = np.array([SMPL_JOINTS.index(row[1]) for row in _ROWS])
"""Joint that carries each landmark, (M,)."""
# a hip landmark moves with the pelvis, not with the thigh
FRAMES = np.where([row[1].endswith("_hip") for row in _ROWS], 0, CARRIERS)
"""Joint whose rotation turns each landmark's offset, (M,)."""
OFFSETS = np.array([row[2] for row in _ROWS], np.float32)
"""Offsets from the carrier in the rest pose, (M, 3) m."""
WEIGHTS2D = np.array([row[3] for row in _ROWS], np.float32)
WEIGHTS3D = np.array([row[4] for row in _ROWS], np.float32)


OTHER_NAMES = {"index": "forefinger1", "pinky": "pinky_finger1", "foot_index": "big_toe"}
"""What COCO-WholeBody calls a landmark: the knuckles of two fingers, and the tip of the foot."""


def find(names, name):
    """Index of a landmark in the keypoint `names` of any detector, None where it has none."""
    side, _, part = name.partition("_")
    for known in (name, f"{side}_{OTHER_NAMES.get(part)}"):
        if known in names:
            return names.index(known)
    return None


def select(names):
    """Index of each fitted landmark in `names`, and whether it is there, both (M,)."""
    found = [find(list(names), name) for name in NAMES]
    return np.array([i or 0 for i in found]), np.array([i is not None for i in found])


STEADY = 15
"""Frames over which `steady` takes the median."""


def steady(xy, visible):
    """Landmarks (T, J, 2) without stray ones: medians over STEADY of the visible frames (T,)."""
    out = np.array(xy, float)
    if visible.any():
        out[visible] = median_filter(out[visible], (STEADY, 1, 1), mode="nearest")
    return out


def picture_size(xy, score):
    """The person's size in the picture, px: the median over frames of the longer side of the
    box around landmarks with a score over 0.3, stray ones aside. xy: (T, J, 2) px; score: (T, J).

    NaN if no frame has two such landmarks.
    """
    good = score > 0.3
    frames = good.sum(1) > 1
    if not frames.any():
        return float("nan")
    points, good = steady(xy, frames)[frames], good[frames, :, None]
    high = np.where(good, points, -np.inf).max(1)
    low = np.where(good, points, np.inf).min(1)
    return float(np.median((high - low).max(1)))


def attach(joints, rotations):
    """Fitted landmarks (T, M, 3) on joints (T, 24, 3) that are turned by `rotations`
    (T, 24, 3, 3), the global ones."""
    turned = np.einsum("tmab,mb->tma", rotations[:, FRAMES], OFFSETS)
    return joints[:, CARRIERS] + turned


def solve_translation(xyz, xy, weight, intrinsics):
    """Translations (T, 3) that bring 3D landmarks onto their 2D ones, by linear least squares.

    A point X at translation t is seen at pixel u when (X + t)_x = r_x (X + t)_z and likewise for
    y, r = K^-1 u: two equations per landmark, linear in t.

    xyz: (T, M, 3) m in camera axes; xy: (T, M, 2) px; weight: (T, M); intrinsics: (T, 3, 3).
    """
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)[:, None]
    ray = (xy - intrinsics[:, None, :2, 2]) / focal
    zero, one = np.zeros(ray.shape[:2]), np.ones(ray.shape[:2])
    rows = np.stack(
        [np.stack([one, zero, -ray[..., 0]], -1), np.stack([zero, one, -ray[..., 1]], -1)], 2
    )
    right = ray * xyz[..., 2:] - xyz[..., :2]
    scale = np.maximum(weight, 1e-4)[..., None]
    rows = (rows * scale[..., None]).reshape(len(xyz), -1, 3)
    right = (right * scale).reshape(len(xyz), -1)
    normal = np.einsum("trk,trl->tkl", rows, rows)
    return np.linalg.solve(normal, np.einsum("trk,tr->tk", rows, right)[..., None])[..., 0]


def fit_translation(xyz, xy, weight, intrinsics, rounds=10):
    """`solve_translation` in the picture and without landmarks that lie off.

    The linear equations weigh an error by the landmark's depth; dividing the weights by the
    depth found makes it an error in pixels. Weights also fall with the distance d to the keypoint
    as 1 / (1 + (d / s)^2), s twice the frame's weighted median of d (Cauchy's loss), so that a few
    wrong keypoints do not count. Shapes as there; weight 0 leaves a landmark out.

    Returns translations (T, 3) and the weighted mean distance (T,) px; where a solution puts a
    landmark behind the camera, the distance is infinite.
    """
    weight = np.asarray(weight, float)
    focal = np.sqrt(intrinsics[:, 0, 0] * intrinsics[:, 1, 1])[:, None]
    trust = weight
    for _ in range(rounds):
        transl = solve_translation(xyz, xy, trust, intrinsics)
        distance, depth = _distances(xyz + transl[:, None], xy, intrinsics)
        sigma = np.maximum(2 * _weighted_median(distance, weight), 1e-3 * focal[:, 0])[:, None]
        robust = 1 / np.sqrt(1 + (distance / sigma) ** 2)
        trust = weight * robust * np.median(depth, 1)[:, None] / depth
    mean = (weight * distance).sum(1) / np.maximum(weight.sum(1), 1e-9)
    return transl, np.where((depth > NEAREST).all(1), mean, np.inf)


NEAREST = 0.1
"""Least depth of a landmark, m."""


def _distances(points, xy, intrinsics):
    depth = np.maximum(points[..., 2], NEAREST)
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)[:, None]
    seen = points[..., :2] / depth[..., None] * focal + intrinsics[:, None, :2, 2]
    return np.linalg.norm(seen - xy, axis=-1), depth


def _weighted_median(values, weight):
    order = np.argsort(values, 1)
    total = np.cumsum(np.take_along_axis(weight, order, 1), 1)
    middle = (total < 0.5 * total[:, -1:]).sum(1, keepdims=True)
    middle = np.minimum(middle, values.shape[1] - 1)
    return np.take_along_axis(np.take_along_axis(values, order, 1), middle, 1)[:, 0]


def viewing_rotations(xy, score, intrinsics):
    """Rotations (T, 3, 3) that turn a crop's axes into the camera's.

    A landmark model sees a crop as if the camera looked straight at it; the viewing ray through
    the crop's centre says how far the camera looked past it.
    xy: (T, J, 2) px; score: (T, J); intrinsics: (T, 3, 3).
    """
    weight = np.maximum(score, 1e-3)[..., None]
    centre = (xy * weight).sum(1) / weight.sum(1)
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)
    ray = np.concatenate([(centre - intrinsics[:, :2, 2]) / focal, np.ones((len(xy), 1))], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    axis = np.cross(np.array([0.0, 0.0, 1.0]), ray)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, ray[:, 2:])
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * angle).as_matrix()


_GROUPS = (
    ("hip", "knee", "ankle", "heel", "foot_index", "big_toe", "small_toe"),
    ("shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hand_root")
    + ("forefinger", "middle_finger", "ring_finger", "pinky_finger"),
)


def _exchange_costs(xy, landmarks, score, frames, orders, size):
    """Movement from each of `frames` to the next, for orders (rows) and orders (columns) of the
    landmarks in them, (len(frames) - 1, 4, 4)."""
    before, after = frames[:-1], frames[1:]
    cost = np.empty((len(before), len(orders), len(orders)))
    for a, first in enumerate(orders):
        for b, second in enumerate(orders):
            start, end = (before[:, None], first[None]), (after[:, None], second[None])
            move = np.linalg.norm(landmarks[end] - landmarks[start], axis=-1)
            shift = np.linalg.norm(xy[end] - xy[start], axis=-1)
            weight = np.minimum(score[end], score[start])
            # a landmark cannot say more than "it moved far"
            cost[:, a, b] = (weight * np.minimum(move + 2.0 * shift / size, 0.8)).sum(-1)
    return cost / np.minimum(after - before, 30)[:, None, None]


def repair_swaps(names, xy, landmarks, score, visible, size):
    """Undo exchanges of left and right, of the legs and of the arms separately.

    A Viterbi pass over the four states (legs, arms swapped or not) takes the sequence whose
    landmarks move least from frame to frame; staying swapped costs a little, so that the
    detector's own labels win where motion does not tell.

    names: of the J keypoints; xy: (T, J, 2) px; landmarks: (T, J, 3) m; score: (T, J); visible:
    (T,) bool; size: the person's height in px. Returns repaired copies of these three and the
    swap mask (T, 2).
    """
    mirror = np.array(mirrored(names))
    parts = [name.split("_", 1)[-1].rstrip("0123456789") for name in names]
    members = [np.array([i for i, p in enumerate(parts) if p in group]) for group in _GROUPS]
    frames = np.flatnonzero(visible)
    swapped = np.zeros((len(visible), 2), bool)
    states = [(False, False), (True, False), (False, True), (True, True)]
    if len(frames) == 0:
        return xy, landmarks, score, swapped
    orders = []
    for state in states:
        order = np.arange(len(mirror))
        for flag, group in zip(state, members, strict=True):
            if flag:
                order[group] = mirror[group]
        orders.append(order)
    held = np.unique(np.concatenate(members))
    penalty = np.array([0.02 * len(held) * sum(state) / 2 for state in states])
    best = penalty.copy()
    back = []
    for cost in _exchange_costs(xy, landmarks, score, frames, [o[held] for o in orders], size):
        total = best[:, None] + cost
        back.append(total.argmin(0))
        best = total.min(0) + penalty
    state = int(best.argmin())
    for k in range(len(frames) - 1, -1, -1):
        swapped[frames[k]] = states[state]
        if k:
            state = int(back[k - 1][state])
    xy, landmarks, score = xy.copy(), landmarks.copy(), score.copy()
    for frame in frames[swapped[frames].any(-1)]:
        order = orders[states.index(tuple(swapped[frame]))]
        xy[frame], landmarks[frame] = xy[frame][order], landmarks[frame][order]
        score[frame] = score[frame][order]
    return xy, landmarks, score, swapped
