"""Errors of a reconstruction against the truth, and signs of trouble that need no truth.

Pure numpy. Positions are in metres with shape (T, J, 3) for joints and (T, 3) for paths, results
in the unit that the name ends with. The definitions of MPJPE, PA-MPJPE, RTE and jitter are those
of the evaluation code of WHAM and GVHMR (`hmr4d/utils/eval/eval_utils.py`); means over an empty
set are NaN.
"""

from __future__ import annotations

import numpy as np

from .conventions import SMPL_JOINTS

_HIPS = (SMPL_JOINTS.index("left_hip"), SMPL_JOINTS.index("right_hip"))
_SHOULDERS = (SMPL_JOINTS.index("left_shoulder"), SMPL_JOINTS.index("right_shoulder"))


# ---------------------------------------------------------------------------------------------
# alignment


def align(source, target, scale=True):
    """Rotation, translation and scale that bring points nearest to others, least squares.

    source, target: (N, 3). Returns (s, R, t) with target ~ s R source + t; s = 1 unless `scale`.
    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    mean_source, mean_target = source.mean(0), target.mean(0)
    a, b = source - mean_source, target - mean_target
    u, d, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    spread = (a**2).sum()
    factor = float((d * sign).sum() / spread) if scale and spread > 0 else 1.0
    return factor, rotation, mean_target - factor * rotation @ mean_source


def apply_alignment(alignment, points):
    """`s R x + t` for points of shape (..., 3)."""
    s, rotation, t = alignment
    return s * np.asarray(points, float) @ rotation.T + t


# ---------------------------------------------------------------------------------------------
# against the truth


def mpjpe_mm(joints, truth, root=_HIPS):
    """Mean distance of joints after the mean of the `root` joints was put onto the truth's, mm.

    joints, truth: (T, J, 3) in the same axes.
    """
    joints, truth = np.asarray(joints, float), np.asarray(truth, float)
    a = joints - joints[:, list(root)].mean(1, keepdims=True)
    b = truth - truth[:, list(root)].mean(1, keepdims=True)
    return 1e3 * _mean(np.linalg.norm(a - b, axis=-1))


def pa_mpjpe_mm(joints, truth):
    """Mean distance of joints after a similarity fit of each frame, mm. (T, J, 3) both."""
    errors = [
        np.linalg.norm(apply_alignment(align(a, b), a) - b, axis=-1)
        for a, b in zip(np.asarray(joints, float), np.asarray(truth, float), strict=True)
    ]
    return 1e3 * _mean(errors)


def path_error_mm(path, truth):
    """Mean distance of two paths after one rigid fit (no scale) of the whole path, mm. (T, 3)."""
    aligned = apply_alignment(align(path, truth, scale=False), path)
    return 1e3 * _mean(np.linalg.norm(aligned - truth, axis=-1))


def scale_error_percent(joints, truth):
    """Size of the reconstruction over the true size, less one, in percent.

    The size ratio is the inverse of the scale of one similarity fit of all joints of all frames,
    (T, J, 3), so the body and the path it travels weigh in by their extents.
    """
    joints, truth = np.asarray(joints, float), np.asarray(truth, float)
    factor, _, _ = align(joints.reshape(-1, 3), truth.reshape(-1, 3))
    return 100 * (1 / factor - 1) if factor > 0 else float("nan")


def gravity_error_deg(cam2world, truth):
    """Mean angle of the two up directions seen from the camera, degrees.

    cam2world, truth: (T, 4, 4) poses of the same camera in two worlds whose +Z is up.
    """
    up = np.asarray(cam2world, float)[:, 2, :3]
    true_up = np.asarray(truth, float)[:, 2, :3]
    return float(np.degrees(_mean(_angle(up, true_up))))


def f1(predicted, truth):
    """F1 score of two bool arrays of one shape; NaN if neither holds a True."""
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    hits = np.count_nonzero(predicted & truth)
    total = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2 * hits / total if total else float("nan")


def keypoint_error_px(xy, truth, weights):
    """Mean distance of keypoints where `weights` (T, J) are positive, px. (T, J, 2) both."""
    distance = np.linalg.norm(np.asarray(xy, float) - np.asarray(truth, float), axis=-1)
    return _mean(distance[np.asarray(weights) > 0])


def match_people(people, truth, minimum=0.1):
    """Pairs of person ids by the overlap of their boxes: {id: true id}.

    people, truth: {id: boxes (T, 4)}, x0 y0 x1 y1 in px, NaN rows where the person is not seen.
    Pairs maximise the summed mean intersection over union (over frames in which either is seen);
    a pair below `minimum` is not made.
    """
    from scipy.optimize import linear_sum_assignment

    ids, true_ids = sorted(people), sorted(truth)
    overlap = np.array([[_mean_iou(people[i], truth[k]) for k in true_ids] for i in ids])
    if overlap.size == 0:
        return {}
    rows, columns = linear_sum_assignment(-overlap)
    pairs = zip(rows, columns, strict=True)
    return {ids[i]: true_ids[k] for i, k in pairs if overlap[i, k] >= minimum}


# ---------------------------------------------------------------------------------------------
# without the truth


def project(points, intrinsics, cam2world):
    """Pixels and depths of world points (T, J, 3) seen by cameras (T, 3, 3) and (T, 4, 4)."""
    cam2world = np.asarray(cam2world, float)
    offset = np.asarray(points, float) - cam2world[:, None, :3, 3]
    local = np.einsum("tji,tkj->tki", cam2world[:, :3, :3], offset)
    pixel = np.einsum("tij,tkj->tki", np.asarray(intrinsics, float), local)
    depth = local[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return pixel[..., :2] / pixel[..., 2:], depth


def to_camera(points, cam2world):
    """World points (T, J, 3) in the axes of cameras (T, 4, 4)."""
    cam2world = np.asarray(cam2world, float)
    offset = np.asarray(points, float) - cam2world[:, None, :3, 3]
    return np.einsum("tji,tkj->tki", cam2world[:, :3, :3], offset)


def bone_spread_percent(points, bones, usable):
    """Median over bones of the standard deviation over the mean of a bone's length, percent.

    points: (T, J, 3); bones: pairs of indices; usable: bool (T, J). A bone needs two frames with
    both ends usable.
    """
    points, usable = np.asarray(points, float), np.asarray(usable, bool)
    spreads = []
    for a, b in bones:
        seen = usable[:, a] & usable[:, b]
        length = np.linalg.norm(points[seen, a] - points[seen, b], axis=-1)
        if len(length) >= 2 and length.mean() > 0:
            spreads.append(100 * length.std() / length.mean())
    return float(np.median(spreads)) if spreads else float("nan")


def speeds(path, valid, fps):
    """Speed between successive valid frames of a path (T, ..., 3), m/s, NaN where undefined.

    Entry t, of shape (T - 1, ...), is the speed from frame t to t + 1.
    """
    return _difference(path, valid, 1) * fps


def accelerations(path, valid, fps):
    """Size of the second difference times fps^2, m/s^2, (T - 2, ...), NaN where undefined."""
    return _difference(path, valid, 2) * fps**2


def jitter(path, valid, fps):
    """Mean size of the third difference times fps^3 over ten: the "jitter" of WHAM, 10 m/s^3."""
    return _mean(_difference(path, valid, 3)) * fps**3 / 10


def flips(joints, valid, limit_deg=60.0):
    """Steps between valid frames in which the hip or the shoulder line turns by over `limit_deg`.

    joints: (T, 24, 3) SMPL joints. Returns bool (T - 1,).
    """
    joints, valid = np.asarray(joints, float), np.asarray(valid, bool)
    turned = np.zeros(max(len(joints) - 1, 0), bool)
    for left, right in (_HIPS, _SHOULDERS):
        line = joints[:, left] - joints[:, right]
        turned |= np.degrees(_angle(line[1:], line[:-1])) > limit_deg
    return turned & valid[1:] & valid[:-1]


def slide_cm_s(points, contact, fps):
    """Mean horizontal speed of the stillest of a foot's points while it is in contact, cm/s.

    points: (T, C, P, 3), P points of each of C feet; contact: bool (T, C). A step counts when the
    foot is in contact at both of its ends. The stillest point is taken because a foot that rolls
    over its heel or toe moves all others without sliding.
    """
    points, contact = np.asarray(points, float), np.asarray(contact, bool)
    step = np.linalg.norm(np.diff(points[..., :2], axis=0), axis=-1).min(-1)
    return 100 * fps * _mean(step[contact[1:] & contact[:-1]])


# ---------------------------------------------------------------------------------------------


def _mean(values):
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def _angle(a, b):
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.arctan2(cross, (a * b).sum(-1))


def _difference(path, valid, order):
    path, valid = np.asarray(path, float), np.asarray(valid, bool)
    if len(path) <= order:
        return np.zeros((0,) + path.shape[1:-1])
    size = np.linalg.norm(np.diff(path, order, axis=0), axis=-1)
    count = len(path) - order
    size[~np.all([valid[k : k + count] for k in range(order + 1)], axis=0)] = np.nan
    return size


def _mean_iou(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    seen_a, seen_b = np.isfinite(a).all(-1), np.isfinite(b).all(-1)
    if not (seen_a | seen_b).any():
        return 0.0
    both = seen_a & seen_b
    low, high = np.maximum(a[both, :2], b[both, :2]), np.minimum(a[both, 2:], b[both, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas = (a[both, 2:] - a[both, :2]).prod(-1) + (b[both, 2:] - b[both, :2]).prod(-1)
    iou = common / np.maximum(areas - common, 1e-9)
    return float(iou.sum() / np.count_nonzero(seen_a | seen_b))
