"""The built-in body: an adult of 1.72 m made of figures, in the layout of SMPL.

Segment lengths follow the proportions of Drillis and Contini as given in Winter, "Biomechanics
and Motor Control of Human Movement" (stature fractions), with joint centres placed where SMPL
places them. Rest pose: T-pose, y up, facing +z, the left side at +x, palms down. The origin is
the pelvis joint, for every shape.
"""

from __future__ import annotations

import numpy as np

from ..conventions import SMPL_JOINTS, SMPL_PARENTS
from . import isosurface

_PELVIS_HEIGHT = 0.955

# position above the sole, m; the right side is mirrored
_JOINTS = {
    "pelvis": (0.0, _PELVIS_HEIGHT, 0.0),
    "left_hip": (0.085, 0.876, 0.004),
    "spine1": (0.0, 1.066, -0.018),
    "left_knee": (0.096, 0.478, 0.004),
    "spine2": (0.0, 1.194, -0.016),
    "left_ankle": (0.100, 0.080, -0.032),
    "spine3": (0.0, 1.254, -0.006),
    "left_foot": (0.116, 0.026, 0.098),
    "neck": (0.0, 1.462, -0.022),
    "left_collar": (0.078, 1.386, -0.012),
    "head": (0.0, 1.548, 0.014),
    "left_shoulder": (0.178, 1.404, -0.020),
    "left_elbow": (0.452, 1.404, -0.034),
    "left_wrist": (0.702, 1.404, -0.028),
    "left_hand": (0.786, 1.398, -0.024),
}

# part: owner joint, ends a and b above the sole (m), radii at a and b (m), depth over width;
# a part that starts at x > 0 has a mirror image
_PARTS = (
    ("pelvis", (-0.062, 0.925, 0.004), (0.062, 0.925, 0.004), 0.098, 0.098, 0.98),
    ("pelvis", (-0.040, 0.985, -0.002), (0.040, 0.985, -0.002), 0.104, 0.104, 0.94),
    ("pelvis", (0.066, 0.895, -0.040), (0.060, 0.955, -0.042), 0.074, 0.066, 1.0),
    ("spine1", (-0.030, 1.070, 0.000), (0.030, 1.070, 0.000), 0.102, 0.102, 0.90),
    ("spine1", (-0.030, 1.120, 0.002), (0.030, 1.120, 0.002), 0.100, 0.100, 0.88),
    ("spine2", (-0.040, 1.190, 0.002), (0.040, 1.190, 0.002), 0.098, 0.098, 0.92),
    ("spine3", (-0.055, 1.262, 0.006), (0.055, 1.262, 0.006), 0.096, 0.096, 0.98),
    ("spine3", (-0.072, 1.330, -0.004), (0.072, 1.330, -0.004), 0.080, 0.080, 1.05),
    ("spine3", (0.062, 1.278, 0.052), (0.070, 1.300, 0.046), 0.048, 0.050, 0.9),
    ("left_collar", (0.030, 1.402, -0.022), (0.150, 1.400, -0.020), 0.050, 0.050, 1.0),
    ("left_hip", (0.088, 0.860, 0.002), (0.094, 0.690, 0.006), 0.084, 0.072, 1.05),
    ("left_hip", (0.094, 0.690, 0.006), (0.096, 0.478, 0.006), 0.072, 0.053, 1.05),
    ("left_knee", (0.096, 0.478, 0.006), (0.098, 0.400, -0.008), 0.053, 0.049, 1.05),
    ("left_knee", (0.098, 0.400, -0.012), (0.098, 0.330, -0.020), 0.050, 0.052, 1.05),
    ("left_knee", (0.098, 0.330, -0.020), (0.099, 0.200, -0.026), 0.052, 0.040, 1.05),
    ("left_knee", (0.099, 0.200, -0.026), (0.100, 0.090, -0.030), 0.040, 0.029, 1.05),
    ("left_ankle", (0.100, 0.070, -0.032), (0.101, 0.034, -0.052), 0.036, 0.036, 1.0),
    ("left_ankle", (0.102, 0.060, -0.020), (0.112, 0.030, 0.075), 0.036, 0.034, 1.0),
    ("left_foot", (0.104, 0.024, 0.092), (0.106, 0.016, 0.136), 0.030, 0.024, 1.0),
    ("left_foot", (0.128, 0.022, 0.084), (0.132, 0.014, 0.116), 0.028, 0.022, 1.0),
    ("left_shoulder", (0.176, 1.404, -0.020), (0.250, 1.404, -0.024), 0.056, 0.052, 1.0),
    ("left_shoulder", (0.250, 1.404, -0.024), (0.452, 1.404, -0.034), 0.052, 0.041, 1.0),
    ("left_elbow", (0.452, 1.404, -0.034), (0.520, 1.404, -0.032), 0.041, 0.042, 1.0),
    ("left_elbow", (0.520, 1.404, -0.032), (0.690, 1.404, -0.028), 0.042, 0.023, 1.0),
    ("left_wrist", (0.690, 1.404, -0.028), (0.725, 1.402, -0.025), 0.018, 0.017, 1.3),
    ("left_wrist", (0.722, 1.402, -0.008), (0.786, 1.398, 0.008), 0.014, 0.0125, 1.0),
    ("left_wrist", (0.722, 1.402, -0.018), (0.786, 1.398, -0.013), 0.015, 0.0125, 1.0),
    ("left_wrist", (0.722, 1.402, -0.030), (0.786, 1.398, -0.034), 0.015, 0.0125, 1.0),
    ("left_wrist", (0.722, 1.402, -0.042), (0.782, 1.397, -0.053), 0.014, 0.0115, 1.0),
    ("left_wrist", (0.722, 1.398, 0.000), (0.756, 1.388, 0.032), 0.016, 0.012, 1.0),
    ("left_hand", (0.756, 1.388, 0.032), (0.796, 1.382, 0.048), 0.0115, 0.0085, 1.0),
    ("left_hand", (0.786, 1.398, 0.009), (0.868, 1.388, 0.012), 0.0105, 0.0085, 1.0),
    ("left_hand", (0.786, 1.398, -0.013), (0.880, 1.388, -0.014), 0.0105, 0.0085, 1.0),
    ("left_hand", (0.786, 1.398, -0.035), (0.870, 1.388, -0.039), 0.0105, 0.0085, 1.0),
    ("left_hand", (0.782, 1.397, -0.055), (0.844, 1.388, -0.062), 0.0095, 0.0080, 1.0),
    ("neck", (0.0, 1.420, -0.026), (0.0, 1.545, 0.002), 0.054, 0.048, 1.0),
    ("head", (0.0, 1.632, 0.012), (0.0, 1.642, -0.008), 0.074, 0.077, 1.12),
    ("head", (0.0, 1.560, 0.050), (0.0, 1.620, 0.040), 0.040, 0.058, 1.0),
    ("head", (0.0, 1.528, 0.066), (0.0, 1.545, 0.060), 0.020, 0.036, 1.0),
    ("head", (0.0, 1.612, 0.096), (0.0, 1.588, 0.110), 0.008, 0.011, 1.0),
    ("head", (0.076, 1.588, 0.004), (0.080, 1.618, -0.004), 0.010, 0.013, 1.0),
)

_BLEND = 0.016
"""Length over which parts melt into one another, m."""

_BLEND_LIMB = 0.004
"""The same for the parts of one limb."""

_LIMBS = (("hip", "knee"), ("ankle", "foot"), ("shoulder", "elbow"), ("wrist", "hand"))

# shape direction -> joint -> stretch of the segment that hangs on it along x, y, z, per unit beta
_TORSO = ("pelvis", "spine1", "spine2", "spine3")
_STRETCH = (
    {joint: (0.0436, 0.0436, 0.0436) for joint in SMPL_JOINTS},  # 0: stature, 7.5 cm
    {},  # 1: girth, see _FLESH
    {  # 2: long legs under a short trunk; the stature stays
        **{joint: (0, 0.0251, 0) for joint in ("hip", "knee")},
        **{joint: (0, -0.0394, 0) for joint in _TORSO},
    },
    {joint: (0.035, 0, 0) for joint in ("shoulder", "elbow", "wrist", "hand")},  # 3: long arms
    {joint: (0.056, 0, 0) for joint in ("spine3", "collar")},  # 4: broad shoulders
    {"pelvis": (0.08, 0, 0)},  # 5: broad hips
    {"hip": (0, 0.022, 0), "knee": (0, -0.022, 0)},  # 6: long thighs, short shanks
    {"shoulder": (0.025, 0, 0), "elbow": (-0.0274, 0, 0)},  # 7: long upper arms, short forearms
    {joint: (0, 0, 0.07) for joint in _TORSO},  # 8: deep trunk
    {"neck": (0.03, 0, 0.03), "head": (0.035, 0.035, 0.035)},  # 9: large head
)
SHAPE_NAMES = (
    "stature",
    "girth",
    "leg length over trunk length",
    "arm length",
    "shoulder width",
    "hip width",
    "thigh length over shank length",
    "upper arm length over forearm length",
    "trunk depth",
    "head size",
)
"""What each of the ten shape coefficients changes; +1 is about one standard deviation."""

_FLESH = {
    **{joint: 0.07 for joint in _TORSO},
    **{joint: 0.06 for joint in ("hip", "knee", "collar", "shoulder", "elbow")},
    "neck": 0.04,
    "wrist": 0.02,
}
"""Growth of a segment's radius per unit of the girth coefficient."""


def rest_joints():
    """The mean body's joints, (24, 3), m, pelvis at the origin."""
    joints = np.zeros((24, 3))
    for i, name in enumerate(SMPL_JOINTS):
        side = -1.0 if name.startswith("right_") else 1.0
        joints[i] = np.array(_JOINTS[name.replace("right_", "left_")]) * (side, 1, 1)
    return joints - joints[0]


def sole_height():
    """Height of the sole in the rest pose, m (negative: the origin is the pelvis)."""
    return -_PELVIS_HEIGHT


def build(spacing=0.007, vertex_count=6890, joint_vertices=160):
    """Make the body. Returns a dict of arrays in SMPL's layout.

    v_template (V, 3), f (F, 3), weights (V, 24), J_regressor (24, V), shapedirs (V, 3, 10), all
    float64 except f (int32). The joints of every shape are J_regressor @ vertices, exactly as
    the tables above define them.
    """
    joints = rest_joints()
    parts = _mirrored_parts()
    vertices, faces = _surface(parts, spacing, vertex_count)
    weights = _weights(parts, vertices, faces)
    shapedirs, joint_dirs = _shape_directions(joints, vertices, weights)
    vertices, shapedirs, weights = (_coarse(a) for a in (vertices, shapedirs, weights))
    weights[np.arange(len(weights)), weights.argmax(1)] += 1 - weights.sum(1)
    regressor = _regressor(joints, joint_dirs, vertices, shapedirs, joint_vertices)
    return {
        "v_template": vertices,
        "f": faces.astype(np.int32),
        "weights": weights,
        "J_regressor": regressor,
        "shapedirs": shapedirs,
    }


def _coarse(values):
    # multiples of 2^-16 (15 micrometres) leave zero bits, which compress to half the size
    return np.round(values * 65536) / 65536


def _mirrored_parts():
    parts = []
    for joint, a, b, ra, rb, depth in _PARTS:
        sides = (1, -1) if a[0] > 0 else (1,)
        for side in sides:
            name = joint.replace("left_", "right_") if side < 0 else joint
            ends = [np.array(p) * (side, 1, 1) - (0, _PELVIS_HEIGHT, 0) for p in (a, b)]
            parts.append((SMPL_JOINTS.index(name), *ends, ra, rb, depth))
    return parts


def _part_distances(parts, points):
    # (N, parts): distance to tapered capsules whose cross-section is an ellipse
    columns = []
    for _, a, b, ra, rb, depth in parts:
        squeeze = np.array([1.0, 1.0, 1.0 / depth])
        p, axis = (points - a) * squeeze, (b - a) * squeeze
        t = np.clip((p @ axis) / (axis @ axis), 0, 1)
        away = np.linalg.norm(p - t[:, None] * axis, axis=1) - (ra + (rb - ra) * t)
        columns.append(away * (depth + 1) / 2)
    return np.stack(columns, axis=1)


def _melt(distances, length):
    # smooth minimum along the last axis
    least = distances.min(-1, keepdims=True)
    return least[..., 0] - length * np.log(np.exp(-(distances - least) / length).sum(-1))


def _distance(parts, points):
    each = _part_distances(parts, points)
    limbs: dict = {}
    for i, part in enumerate(parts):
        side, _, name = SMPL_JOINTS[part[0]].partition("_")
        limb = next((group for group in _LIMBS if name in group), None)
        limbs.setdefault((side, limb) if limb else i, []).append(i)
    whole = np.stack([_melt(each[:, members], _BLEND_LIMB) for members in limbs.values()], axis=1)
    blended = _melt(whole, _BLEND)
    # the soles are flat
    floor = sole_height() - points[:, 1]
    h = np.clip(0.5 + 0.5 * (blended - floor) / 0.008, 0, 1)
    return h * blended + (1 - h) * floor + 0.008 * h * (1 - h)


def _surface(parts, spacing, vertex_count):
    lower = np.array([-0.94, sole_height() - 3 * spacing, -0.20])
    upper = np.array([0.94, 0.82, 0.24])
    shape = np.ceil((upper - lower) / spacing).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    points = lower + spacing * grid.reshape(-1, 3)
    chunks = np.array_split(points, max(1, len(points) // 100_000))
    values = np.concatenate([_distance(parts, chunk) for chunk in chunks]).reshape(shape)
    vertices, faces = isosurface.marching_tetrahedra(values, lower, spacing)
    # a closed surface without handles has two faces per vertex, less four
    vertices, faces = isosurface.decimate(vertices, faces, 2 * (vertex_count - 2))
    vertices = isosurface.relax(vertices, faces, lambda p: _distance(parts, p), 6)
    return vertices, faces


def _weights(parts, vertices, faces, softness=0.016, smoothing=6):
    distances = _part_distances(parts, vertices)
    weights = np.zeros((len(vertices), 24))
    for i, part in enumerate(parts):
        near = np.exp(-(distances[:, i] - distances.min(1)) / softness)
        weights[:, part[0]] = np.maximum(weights[:, part[0]], near)
    weights /= weights.sum(1, keepdims=True)
    matrix = isosurface.adjacency(faces, len(vertices))
    for _ in range(smoothing):
        weights = 0.5 * weights + 0.5 * (matrix @ weights)
    weights[weights < 0.02] = 0
    return weights / weights.sum(1, keepdims=True)


def _table(table):
    out = np.zeros((24,) + np.shape(next(iter(table.values()), 0.0)))
    for i, name in enumerate(SMPL_JOINTS):
        bare = name.replace("left_", "").replace("right_", "")
        out[i] = table.get(name, table.get(bare, 0.0))
    return out


def _shape_directions(joints, vertices, weights):
    # a segment is stretched about its own joint and carries its children along
    directions, joint_directions = [], []
    for table in _STRETCH:
        stretch = _table(table) if table else np.zeros((24, 3))
        moved = np.zeros((24, 3))
        for j in range(1, 24):
            parent = SMPL_PARENTS[j]
            moved[j] = moved[parent] + stretch[parent] * (joints[j] - joints[parent])
        local = moved[None] + stretch[None] * (vertices[:, None] - joints[None])
        directions.append(np.einsum("vj,vja->va", weights, local))
        joint_directions.append(moved)
    radial = _radial(joints, vertices)
    directions[1] = np.einsum("vj,j,vja->va", weights, _table(_FLESH), radial)
    return np.stack(directions, -1), np.stack(joint_directions, -1)


def _radial(joints, vertices):
    # (V, 24, 3): from the axis of each segment to the vertex
    child = {p: j for j, p in reversed(list(enumerate(SMPL_PARENTS)))}
    child.update({0: 3, 9: 12})
    out = np.zeros((len(vertices), 24, 3))
    for j in range(24):
        away = vertices - joints[j]
        if j in child:
            axis = joints[child[j]] - joints[j]
            axis = axis / np.linalg.norm(axis)
            away = away - (away @ axis)[:, None] * axis
        out[:, j] = away
    return out


def _regressor(joints, joint_dirs, vertices, shapedirs, count):
    # the smallest weights on nearby vertices that sum to 1 and give the joint of every shape
    regressor = np.zeros((24, len(vertices)))
    for j in range(24):
        away = np.linalg.norm(vertices - joints[j], axis=1)
        near = np.argsort(away, kind="stable")[:count]
        rows = [np.ones((1, count)), vertices[near].T, shapedirs[near].reshape(count, 30).T]
        target = np.concatenate([[1.0], joints[j], joint_dirs[j].ravel()])
        regressor[j, near] = np.linalg.lstsq(np.concatenate(rows), target, rcond=1e-9)[0]
    return regressor
