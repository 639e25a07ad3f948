"""Errors of a reconstruction against the truth, and signs of trouble that need no truth.

Pure numpy. Positions are in metres with shape (T, J, 3) for joints and (T, 3) for paths, results
in the unit that the name ends with. The definitions of MPJPE, PA-MPJPE, acceleration error, W- and
WA-MPJPE, RTE and jitter are those of the evaluation code of WHAM and GVHMR
(`hmr4d/utils/eval/eval_utils.py`); means over an empty set are NaN.
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


def acceleration_error_m_s2(joints, truth, valid, fps, root=_HIPS):
    """Mean size of the difference of second differences times fps^2, m/s^2 ("accel").

    joints, truth: (T, J, 3) in the same axes, put together at the mean of the `root` joints first,
    as for MPJPE; valid: bool (T,), a frame counts with both its neighbours.
    """
    joints, truth = np.asarray(joints, float), np.asarray(truth, float)
    a = joints - joints[:, list(root)].mean(1, keepdims=True)
    b = truth - truth[:, list(root)].mean(1, keepdims=True)
    return _mean(accelerations(a - b, valid, fps))


def w_mpjpe_mm(joints, truth, chunk=100):
    """Mean distance of joints, mm, in chunks of `chunk` frames, each fitted by its first two.

    joints, truth: (T, J, 3). One similarity, scale included, fits the joints of the first two
    frames of a chunk ("W-MPJPE"): drift shows, a wrong scale does not.
    """
    return _chunk_error_mm(joints, truth, chunk, 2)


def wa_mpjpe_mm(joints, truth, chunk=100):
    """As `w_mpjpe_mm`, with the similarity fitted to all frames of each chunk ("WA-MPJPE")."""
    return _chunk_error_mm(joints, truth, chunk, None)


def rte_percent(path, truth):
    """`path_error_mm` over the length of the true path, percent ("RTE"). (T, 3) both."""
    length = np.linalg.norm(np.diff(np.asarray(truth, float), axis=0), axis=-1).sum()
    return 0.1 * path_error_mm(path, truth) / length if length > 0 else float("nan")


def ate_mm(centres, truth, scale):
    """Root mean square distance of camera centres after one fit of the whole path, mm ("ATE").

    centres, truth: (T, 3); the fit is a similarity if `scale`, else rigid. Sturm et al., "A
    benchmark for the evaluation of RGB-D SLAM systems", IROS 2012.
    """
    aligned = apply_alignment(align(centres, truth, scale), centres)
    return 1e3 * float(np.sqrt(_mean(((aligned - truth) ** 2).sum(-1))))


def rotation_error_deg(rotations, truth):
    """Mean angle between rotations (T, 3, 3) after one turn of the world, degrees.

    The turn is the chordal mean of truth R^T. Hartley et al., "Rotation averaging", IJCV 2013.
    """
    rotations, truth = np.asarray(rotations, float), np.asarray(truth, float)
    u, _, vt = np.linalg.svd(np.einsum("tij,tkj->ik", truth, rotations))
    turn = (u * [1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    left = np.einsum("ij,tjk,tlk->til", turn, rotations, truth)
    # the angle by its half's sine: exact near zero, where the trace is flat
    sine = np.linalg.norm(left - np.eye(3), axis=(1, 2)) / np.sqrt(8)
    return float(np.degrees(_mean(2 * np.arcsin(np.minimum(sine, 1)))))


def focal_error_percent(intrinsics, truth):
    """Median over frames of focal length over true focal length, less one, percent. (T, 3, 3)."""
    ratio = np.asarray(intrinsics, float)[:, 0, 0] / np.asarray(truth, float)[:, 0, 0]
    return float(100 * (np.median(ratio) - 1))


def depth_errors_percent(depth, truth, factor=1.25):
    """Errors of depth maps after one scale for all of them: (AbsRel, share within `factor`), %.

    depth (T, h, w) and truth (T, H, W) of the same pictures, 0 where unknown. A cell of the truth
    is compared with the one of `depth` under its centre. The scale is the median of truth over
    depth. Both figures are means over the frames of a frame's mean: |d - d*| / d*, and the share
    of cells in which max(d / d*, d* / d) is below `factor` ("delta < 1.25").
    Eigen et al., "Depth map prediction from a single image using a multi-scale deep network",
    NeurIPS 2014. NaN where nothing can be compared.
    """
    ratios = []
    for t in range(len(truth)):
        exact = np.asarray(truth[t], float)
        found = resized(np.asarray(depth[t], float), exact.shape)
        known = (exact > 0) & (found > 0)
        ratios.append(found[known] / exact[known])
    together = np.concatenate([np.zeros(0), *ratios])
    if not len(together):
        return float("nan"), float("nan")
    scale = 1 / np.median(together)
    ratios = [scale * ratio for ratio in ratios]
    relative = [_mean(np.abs(ratio - 1)) for ratio in ratios]
    within = [_mean(np.maximum(ratio, 1 / ratio) < factor) for ratio in ratios]
    return 100 * _mean(relative), 100 * _mean(within)


def resized(picture, shape):
    """A picture (h, w) at another size (H, W): what lies under the centre of each new cell."""
    if picture.shape == tuple(shape):
        return picture
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(shape, picture.shape, strict=True)
    )
    return picture[rows[:, None], columns]


def floor_height_error_mm(heights, truth, contact):
    """Mean of feet's heights over the floor less the true ones where they truly touch, mm.

    heights, truth: (T, C) of ankles in worlds whose floor is z = 0, m; contact: bool (T, C).
    Positive where the floor was found too low.
    """
    difference = np.asarray(heights, float) - np.asarray(truth, float)
    return 1e3 * _mean(difference[np.asarray(contact, bool)])


def mask_iou(masks, truth):
    """Intersection over union of bool masks (..., H, W), shape (...); NaN where both are empty."""
    masks, truth = np.asarray(masks, bool), np.asarray(truth, bool)
    common = np.count_nonzero(masks & truth, axis=(-2, -1))
    either = np.count_nonzero(masks | truth, axis=(-2, -1))
    return np.divide(common, either, out=np.full(common.shape, np.nan), where=either > 0)


def identities(iou, minimum=0.5):
    """Who stands for each true person in each frame: index (T, K), -1 for nobody.

    iou: (T, I, K), NaN where a mask is missing. Pairs of a frame maximise the summed overlap; one
    below `minimum` is no match. Bernardin and Stiefelhagen, "Evaluating multiple object tracking
    performance: the CLEAR MOT metrics", 2008.
    """
    from scipy.optimize import linear_sum_assignment

    iou = np.nan_to_num(np.asarray(iou, float))
    found = np.full((iou.shape[0], iou.shape[2]), -1)
    for t, overlap in enumerate(iou):
        rows, columns = linear_sum_assignment(-overlap)
        good = overlap[rows, columns] >= minimum
        found[t, columns[good]] = rows[good]
    return found


def id_switches(found):
    """Changes of who stands for a true person, frames with nobody skipped. found: (T,) indices."""
    found = np.asarray(found)
    return int(np.count_nonzero(np.diff(found[found >= 0])))


def pck_percent(xy, truth, sizes, weights, part=0.05):
    """Keypoints nearer to the truth than `part` of the person's size, percent ("PCK").

    xy, truth: (T, J, 2) px; sizes: (T,) px; weights: (T, J), positive where a keypoint counts.
    Yang and Ramanan, "Articulated human detection with flexible mixtures of parts", PAMI 2013.
    """
    distance = np.linalg.norm(np.asarray(xy, float) - np.asarray(truth, float), axis=-1)
    near = distance < part * np.asarray(sizes, float)[:, None]
    return 100 * _mean(near[np.asarray(weights) > 0])


def chamfer_mm(points, truth, voxel=0.02):
    """Mean of the two mean nearest distances between point clouds, mm. (N, 3), (M, 3) m.

    Both are thinned to one point, the mean, per cell of `voxel` m, as VideoMimic does (Allshire et
    al. 2025, `sloper4d_eval_script/cd_eval.py`). NaN where one is empty.
    """
    from scipy.spatial import cKDTree

    if not len(points) or not len(truth):
        return float("nan")
    a, b = _thin(points, voxel), _thin(truth, voxel)
    there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    return 1e3 * (_mean(there) + _mean(back)) / 2


def direction_error_deg(vectors, truth):
    """Mean angle between vectors (..., 3), degrees."""
    return float(np.degrees(_mean(_angle(np.asarray(vectors, float), np.asarray(truth, float)))))


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
    local = to_camera(points, cam2world)
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


def _chunk_error_mm(joints, truth, chunk, fitted):
    joints, truth = np.asarray(joints, float), np.asarray(truth, float)
    errors = []
    for start in range(0, len(joints), chunk):
        a, b = joints[start : start + chunk], truth[start : start + chunk]
        alignment = align(a[:fitted].reshape(-1, 3), b[:fitted].reshape(-1, 3))
        errors.append(np.linalg.norm(apply_alignment(alignment, a) - b, axis=-1))
    return 1e3 * _mean(np.concatenate(errors)) if errors else float("nan")


def _thin(points, voxel):
    points = np.asarray(points, float)
    cells = np.floor(points / voxel).astype(int)
    _, owner, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sums = [np.bincount(owner.ravel(), points[:, k], len(count)) for k in range(3)]
    return np.stack(sums, -1) / count[:, None]


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
