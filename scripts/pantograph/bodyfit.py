"""Costs and states that body fit and human-scene alignment share.

State of a frame: {"transl": (3,) pelvis joint, "root": (4,) wxyz, "joints": (N, 4) wxyz}, N the
`FITTED` joints; its tangent is (translation, root rotation, joint rotations), rotations perturbed
on the right. Costs are pure functions `cost(frames, shared, data)`; `data` carries everything
that varies, weights included.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
from scipy.spatial.transform import Rotation

from . import jaxcache, landmarks, skeleton
from .body import betas_array, joints, stature
from .contracts import Body, PersonBody
from .conventions import SMPL_JOINTS
from .errors import PantographError, Rejected
from .ground import runs
from .shape import given as given_shape
from .skeleton import take
from .solver import Cost, Options, Problem, Smoothness, pad, pad_length, solve

FITTED = tuple(
    joint
    for joint, name in enumerate(SMPL_JOINTS)
    if joint and not name.endswith(("_hand", "_foot"))
)
"""Joints with a free rotation; toes and fingers keep their rest rotation."""
DIM = 6 + 3 * len(FITTED)

_FITTED = np.array(FITTED)
# where each of the 24 joints stands in (root, fitted joints, identity)
_SLOTS = np.full(24, len(FITTED) + 1)
_SLOTS[0] = 0
_SLOTS[_FITTED] = np.arange(1, len(FITTED) + 1)


# ---------------------------------------------------------------------------------------------
# states


def retract(state, delta):
    """Move a state along a tangent vector (DIM,)."""
    turn = jaxlie.SO3.exp(delta[6:].reshape(-1, 3))
    return {
        "transl": state["transl"] + delta[:3],
        "root": (jaxlie.SO3(state["root"]) @ jaxlie.SO3.exp(delta[3:6])).wxyz,
        "joints": (jaxlie.SO3(state["joints"]) @ turn).wxyz,
    }


def _turn(first, second):
    """Hamilton product of quaternions (..., 4), wxyz."""
    w, v = first[..., :1], first[..., 1:]
    other_w, other_v = second[..., :1], second[..., 1:]
    return jnp.concatenate(
        [
            w * other_w - (v * other_v).sum(-1, keepdims=True),
            w * other_v + other_w * v + jnp.cross(v, other_v),
        ],
        -1,
    )


def lift(state, delta):
    """`retract` to first order in delta."""

    def turned(quaternion, half):
        return _turn(quaternion, jnp.concatenate([jnp.ones((*half.shape[:-1], 1)), half], -1))

    return {
        "transl": state["transl"] + delta[:3],
        "root": turned(state["root"], 0.5 * delta[3:6]),
        "joints": turned(state["joints"], 0.5 * delta[6:].reshape(-1, 3)),
    }


def relative(first, second):
    """Rotation from the first to the second quaternion as axis * 2 sin(angle / 2), (..., 3).

    Equal to the rotation vector for small angles, bounded for large ones, and smooth everywhere
    that neighbouring or prior rotations meet.
    """
    turn = _turn(first * jnp.array([1.0, -1.0, -1.0, -1.0]), second)
    return 2.0 * jnp.where(turn[..., :1] < 0, -1.0, 1.0) * turn[..., 1:]


def rotations(state):
    """All 24 rotation matrices of a state, (24, 3, 3)."""
    turned = jaxlie.SO3(jnp.concatenate([state["root"][None], state["joints"]])).as_matrix()
    return take(jnp.concatenate([turned, jnp.eye(3)[None]]), _SLOTS)


def pack(global_orient, body_pose, transl):
    """States (numpy) from SMPL matrices (T, 3, 3), (T, 23, 3, 3) and pelvis positions (T, 3)."""

    def wxyz(matrices):
        flat = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat()[:, [3, 0, 1, 2]]
        return flat.reshape(*matrices.shape[:-2], 4).astype(np.float32)

    return {
        "transl": np.asarray(transl, np.float32),
        "root": wxyz(global_orient),
        "joints": wxyz(body_pose[:, _FITTED - 1]),
    }


def unpack(states):
    """SMPL matrices (T, 3, 3), (T, 23, 3, 3) and pelvis positions (T, 3) from states."""
    matrices = np.asarray(jax.vmap(rotations)(states))
    return matrices[:, 0], matrices[:, 1:], np.asarray(states["transl"])


def attach(joints, world):
    """Fitted landmarks (M, 3) on joints (24, 3) with global rotations `world` (24, 3, 3)."""
    turned = jnp.einsum("mab,mb->ma", take(world, landmarks.FRAMES), landmarks.OFFSETS)
    return take(joints, landmarks.CARRIERS) + turned


def points(rest, rotation, pelvis):
    """Fitted landmarks (M, 3).

    rest: (24, 3) rest joints, m; rotation: (24, 3, 3) parent to child; pelvis: (3,) m.
    """
    return attach(*skeleton.forward(rest, rotation, pelvis))


# ---------------------------------------------------------------------------------------------
# costs


def project(intrinsics, x):
    """Pinhole projection of camera-frame points (M, 3) to px (M, 2); depth is kept above 0.1 m."""
    depth = jnp.maximum(x[:, 2:], 0.1)
    focal = jnp.stack([intrinsics[0, 0], intrinsics[1, 1]])
    return x[:, :2] / depth * focal + intrinsics[:2, 2]


def pose_prior(frames, shared, data):
    """Rotations of the fitted joints relative to data["rotation"], times data["weight"].

    data: rotation (N, 4) wxyz, weight (N, 3) 1/rad per axis of the joint's own frame.
    """
    return (relative(data["rotation"], frames[0]["joints"]) * data["weight"]).ravel()


# axis of flexion in the joint's own frame
_HINGES = {
    "left_knee": (1.0, 0.0, 0.0),
    "right_knee": (1.0, 0.0, 0.0),
    "left_elbow": (0.0, -1.0, 0.0),
    "right_elbow": (0.0, 1.0, 0.0),
}
_HINGE_ROWS = [FITTED.index(SMPL_JOINTS.index(name)) for name in _HINGES]
_HINGE_AXES = np.array(list(_HINGES.values()), np.float32)


def hinge_limits(frames, shared, data):
    """Knees and elbows do not bend backwards: one-sided rotation about the hinge, rad * weight."""
    turn = relative(jnp.array([1.0, 0.0, 0.0, 0.0]), take(frames[0]["joints"], _HINGE_ROWS))
    flexion = (turn * _HINGE_AXES).sum(-1)
    return jnp.minimum(flexion, 0.0) * data


def _acceleration(frames, data):
    before, now, after = frames
    return jnp.concatenate(
        [
            after["transl"] - 2.0 * now["transl"] + before["transl"],
            relative(now["root"], after["root"]) - relative(before["root"], now["root"]),
            (
                relative(now["joints"], after["joints"]) - relative(before["joints"], now["joints"])
            ).ravel(),
        ]
    )


def _weights(data):
    return data


SMOOTHNESS = Smoothness("smoothness", _acceleration, _weights)
"""Acceleration of the state, 1/frame^2, times data (DIM,)."""


def smoothness_weights(fps, translation=4.0, root=15.0, joints=30.0, distal=60.0):
    """Weights (DIM,) that make an acceleration of the given size one standard deviation.

    translation in m/s^2, the others in rad/s^2; `distal` is for wrists, ankles and the head.
    """
    light = ("left_wrist", "right_wrist", "left_ankle", "right_ankle", "head")
    sigma = np.array([distal if SMPL_JOINTS[j] in light else joints for j in FITTED])
    every = np.concatenate([[translation] * 3, [root] * 3, np.repeat(sigma, 3)])
    return (fps**2 / every).astype(np.float32)


def joint_weights(default, overrides):
    """Prior weights (N, 3): 1 / sigma, `overrides` maps a joint's name to three sigmas (rad)."""
    weight = np.full((len(FITTED), 3), 1.0 / default, np.float32)
    for name, sigma in overrides.items():
        weight[FITTED.index(SMPL_JOINTS.index(name))] = 1.0 / np.asarray(sigma, np.float32)
    return weight


# ---------------------------------------------------------------------------------------------
# starting point


def _swing(source, target):
    """The smallest rotation of direction `source` (3,) to `target` (T, 3), (T, 3, 3)."""
    source = source / np.linalg.norm(source)
    target = target / np.maximum(np.linalg.norm(target, axis=-1, keepdims=True), 1e-9)
    axis = np.cross(source, target)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (target @ source)[:, None])
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * angle).as_matrix()


def _frame(left, up):
    """Orthonormal axes (T, 3, 3), columns x left, y up, z forward, from two directions (T, 3)."""
    y = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-9)
    x = left - (left * y).sum(-1, keepdims=True) * y
    x = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
    return np.stack([x, y, np.cross(x, y)], -1)


def initial_pose(rest, at):
    """Rotations (T, 24, 3, 3) whose bones point along observed landmarks.

    rest: (24, 3) rest joints, m; at: function from a landmark's name to its positions (T, 3) m.
    """
    index = SMPL_JOINTS.index
    count = len(at("left_hip"))
    local = np.broadcast_to(np.eye(3), (count, 24, 3, 3)).copy()
    hips = 0.5 * (at("left_hip") + at("right_hip"))
    shoulders = 0.5 * (at("left_shoulder") + at("right_shoulder"))
    pelvis = _frame(at("left_hip") - at("right_hip"), shoulders - hips)
    chest = _frame(at("left_shoulder") - at("right_shoulder"), shoulders - hips)
    local[:, 0] = pelvis
    bend = Rotation.from_matrix(np.einsum("tba,tbc->tac", pelvis, chest)).as_rotvec()
    third = Rotation.from_rotvec(bend / 3).as_matrix()
    for name in ("spine1", "spine2", "spine3"):
        local[:, index(name)] = third
    for side in ("left", "right"):
        chains = (
            (pelvis, (("hip", "knee"), ("knee", "ankle"))),
            (chest, (("shoulder", "elbow"), ("elbow", "wrist"))),
        )
        for base, bones in chains:
            world = base
            for start, end in bones:
                bone = rest[index(f"{side}_{end}")] - rest[index(f"{side}_{start}")]
                seen = np.einsum("tba,tb->ta", world, at(f"{side}_{end}") - at(f"{side}_{start}"))
                turn = _swing(bone, seen)
                local[:, index(f"{side}_{start}")] = turn
                world = world @ turn
    return local


# ---------------------------------------------------------------------------------------------
# the fit of one person

# Standard deviations of single joints, rad: hinges hardly turn about their other axes, the
# spine and the collars hardly at all.
POSE_SIGMAS = {
    "left_knee": (1.5, 0.1, 0.1),
    "right_knee": (1.5, 0.1, 0.1),
    "left_elbow": (0.5, 1.5, 0.15),
    "right_elbow": (0.5, 1.5, 0.15),
    "left_ankle": (0.4, 0.25, 0.2),
    "right_ankle": (0.4, 0.25, 0.2),
    "left_wrist": (0.3, 0.3, 0.3),
    "right_wrist": (0.3, 0.3, 0.3),
    "left_hip": (1.2, 0.6, 0.5),
    "right_hip": (1.2, 0.6, 0.5),
    "left_shoulder": (1.5, 1.5, 1.5),
    "right_shoulder": (1.5, 1.5, 1.5),
    "left_collar": (0.15, 0.15, 0.15),
    "right_collar": (0.15, 0.15, 0.15),
    "spine1": (0.25, 0.15, 0.12),
    "spine2": (0.25, 0.15, 0.12),
    "spine3": (0.25, 0.15, 0.12),
    "neck": (0.3, 0.3, 0.2),
    "head": (0.3, 0.4, 0.2),
}
SIGMA_3D = np.array([0.08, 0.08, 0.12], np.float32)
"""Error of a 3D landmark along the camera's axes, m. More than their scatter from frame to frame,
since most of the error repeats: the picture and bones of constant length place limbs better, and
need 3D landmarks mainly for the sign of depth."""
SIGMA_2D = 0.011
"""Noise of a 2D landmark over the person's height in the picture."""
SHAPE_PRIOR = np.array([0.1, 0.3] + [0.6] * 8)
"""1 / sigma of the shape coefficients, for each root of a frame: errors of landmarks repeat from
frame to frame, so that long clips know proportions no better than short ones."""
KNOWN_SHAPE = 1000.0
"""1 / sigma of shape coefficients that are known."""
TILT_SIGMA = np.radians(20.0)
"""Turn of all 3D landmarks of a clip about the camera's sideways axis, for each root of a frame.
Landmark models see people from a level camera more often than from above, and turn those towards
it; the picture tells how much, by perspective and by bones that keep their lengths."""
MIN_LANDMARKS = 6
"""A frame counts as seen with at least this many landmarks of a score over 0.3."""
LONGEST_BRIDGE = 0.5
"""Gaps up to this long are filled unless the caller says otherwise, s."""


@lru_cache(maxsize=2)
def _problem(model):
    template = jnp.asarray(model.J_template, jnp.float32)
    directions = jnp.asarray(model.J_shapedirs, jnp.float32)
    top, sole = model.v_template[:, 1].argmax(), model.v_template[:, 1].argmin()
    stature = float(model.v_template[top, 1] - model.v_template[sole, 1])
    stature_directions = jnp.asarray(
        model.shapedirs[top, 1] - model.shapedirs[sole, 1], jnp.float32
    )
    left_hip, right_hip = (landmarks.NAMES.index(f"{side}_hip") for side in ("left", "right"))

    def features(state):
        return {**state, "world": skeleton.forward(template, rotations(state), state["transl"])[1]}

    def place(frame, shared):
        rest = template + directions @ shared[:-1]
        joints = skeleton.positions(rest, frame["world"], frame["transl"])
        return attach(joints, frame["world"])

    def reprojection(frames, shared, data):
        seen = project(data["intrinsics"], place(frames[0], shared))
        return (seen - data["xy"]) * data["weight"][:, None]

    def landmarks3d(frames, shared, data):
        found = place(frames[0], shared)
        found = found - 0.5 * (found[left_hip] + found[right_hip])
        sine, cosine = jnp.sin(shared[-1]), jnp.cos(shared[-1])
        x, y, z = jnp.moveaxis(data["xyz"], -1, 0)
        tilted = jnp.stack([x, cosine * y - sine * z, sine * y + cosine * z], -1)
        return (found - tilted) * data["weight"]

    def shape(frames, shared, data):
        tall = stature + stature_directions @ shared[:-1] - data["stature"]
        tall = tall * data["stature_weight"]
        return jnp.concatenate([(shared - data["mean"]) * data["weight"], tall[None]])

    return Problem(
        (
            Cost("reprojection", reprojection, robust=3.0),
            Cost("landmarks3d", landmarks3d, robust=3.0),
            Cost("pose_prior", pose_prior),
            Cost("hinge_limits", hinge_limits),
            Cost("shape", shape),
            SMOOTHNESS,
        ),
        retract,
        DIM,
        shared_dim=directions.shape[-1] + 1,
        lift=lift,
        features=features,
    )


def observed_frames(visible, fps, bridge=LONGEST_BRIDGE):
    """Frames (T,) that a track covers: the visible ones and gaps of at most `bridge` s."""
    covered = visible.copy()
    frames = np.flatnonzero(visible)
    for first, second in zip(frames[:-1], frames[1:], strict=True):
        if second - first - 1 <= bridge * fps:
            covered[first:second] = True
    return covered


def missing(visible, covered, fps):
    """What a track lacks: {"first-last": reason} of frames that are not covered, and the number
    of gaps and frames that are bridged."""
    lost = {
        f"{start}-{end - 1}": f"not seen for {(end - start) / fps:.2f} s"
        for start, end in runs(~covered)
    }
    return lost, len(runs(covered & ~visible)), int((covered & ~visible).sum())


def nearest(values, known):
    """Rows of `values` (T, ...) where `known`, the nearest known row elsewhere."""
    frames = np.flatnonzero(known)
    middles = 0.5 * (frames[1:] + frames[:-1])
    return values[frames[np.searchsorted(middles, np.arange(len(known)))]]


def bridged(values, known):
    """Rows of `values` (T, ...) where `known`, straight lines between them elsewhere."""
    frames, grid = np.flatnonzero(known), np.arange(len(known))
    after = np.clip(np.searchsorted(frames, grid), 1, max(len(frames) - 1, 1))
    first, last = frames[after - 1], frames[np.minimum(after, len(frames) - 1)]
    share = np.clip((grid - first) / np.maximum(last - first, 1), 0.0, 1.0)
    share = share.reshape((-1,) + (1,) * (values.ndim - 1))
    return (1 - share) * values[first] + share * values[last]


def fit(
    model,
    person,
    names,
    intrinsics,
    fps,
    stature=None,
    betas=None,
    bridge=LONGEST_BRIDGE,
    iterations=40,
    lengths=(),
):
    """SMPL parameters of one person from 2D and 3D landmarks, in each frame's camera.

    model: body.BodyModel; person: contracts.PersonKeypoints with landmarks3d; names: keypoint
    names; intrinsics: (T, 3, 3) px; stature: m, or None if unknown; betas: the person's shape
    (10,), or None if unknown; bridge: the longest gap that is filled, s; lengths: planned
    padded lengths, frames.
    Returns a dict with states (T leading), betas (10,), the tilt of the 3D landmarks (rad, see
    TILT_SIGMA), covered (T,), confidence (T,), swapped (T, 2), span (first, last frame) and the
    solver's result.
    """
    covered = observed_frames(person.visible, fps, bridge)
    first, last = np.flatnonzero(covered)[[0, -1]]
    part = slice(first, last + 1)
    visible = person.visible[part]
    index, present = landmarks.select(names)
    size = landmarks.picture_size(person.xy[part][visible], person.score[part][visible])
    xy, xyz, score, swapped = landmarks.repair_swaps(
        *(names, person.xy[part], person.landmarks3d[part], person.score[part], visible, size)
    )
    camera = intrinsics[part].astype(float)
    calm = landmarks.steady(xy, visible)
    turn = landmarks.viewing_rotations(calm, score, camera)
    xyz = np.einsum("tab,tjb->tja", turn, xyz)[:, index]
    xy, calm = xy[:, index], calm[:, index]
    score = score[:, index] * present * visible[:, None]
    hips = [landmarks.NAMES.index(f"{side}_hip") for side in ("left", "right")]
    xyz = xyz - xyz[:, hips].mean(1, keepdims=True)

    middle = bridged(landmarks.solve_translation(xyz, calm, score, camera), visible)
    xyz = bridged(xyz, visible)
    local = initial_pose(model.J_template, lambda name: xyz[:, landmarks.NAMES.index(name)])
    start = pack(local[:, 0], local[:, 1:], middle)

    count = last - first + 1
    length = pad_length(count, lengths)
    leading = np.zeros(length, np.float32)
    leading[0] = 1.0
    data = {
        "reprojection": {
            "intrinsics": camera,
            "xy": xy,
            "weight": score * landmarks.WEIGHTS2D / (SIGMA_2D * size),
        },
        "landmarks3d": {
            "xyz": xyz,
            "weight": (score * landmarks.WEIGHTS3D)[..., None] / SIGMA_3D,
        },
        "pose_prior": {
            "rotation": np.broadcast_to(np.array([1.0, 0, 0, 0]), (count, len(FITTED), 4)),
            "weight": np.broadcast_to(joint_weights(0.3, POSE_SIGMAS), (count, len(FITTED), 3)),
        },
        "hinge_limits": np.full(count, 1 / 0.05),
        "smoothness": np.broadcast_to(smoothness_weights(fps), (count, DIM)),
    }
    data = jax.tree.map(lambda leaf: leaf.astype(np.float32), pad(data, length))
    known = np.append(betas_array(np.zeros(10) if betas is None else betas), 0.0)
    seen = np.sqrt(covered.sum())
    strength = SHAPE_PRIOR * seen if betas is None else np.full(10, KNOWN_SHAPE)
    strength = np.append(strength, seen / TILT_SIGMA)
    data["shape"] = {
        "mean": np.broadcast_to(known, (length, len(known))).astype(np.float32),
        "weight": leading[:, None] * strength.astype(np.float32),
        "stature": np.full(length, stature or 0.0, np.float32),
        "stature_weight": leading * np.float32(1000.0 if stature else 0.0),
    }
    valid = np.concatenate([covered[part], np.zeros(length - count, bool)])
    result = solve(
        _problem(model),
        pad(start, length),
        known,
        data,
        valid,
        options=Options(iterations=iterations, tolerance=1e-4),
    )
    return {
        "states": jax.tree.map(lambda leaf: np.asarray(leaf)[:count], result.x),
        "betas": np.asarray(result.shared)[:-1],
        "tilt": float(result.shared[-1]),
        "covered": covered[part],
        "confidence": (score * landmarks.WEIGHTS2D).sum(-1) / landmarks.WEIGHTS2D.sum(),
        "swapped": swapped,
        "span": part,
        "result": result,
    }


def rounded(terms):
    """Costs per term as plain numbers."""
    return {name: round(float(value), 3) for name, value in terms.items()}


def rejected_steps(result):
    """How many of a solver's iterations did not lower the cost."""
    history = np.asarray(result.history)[: int(result.iterations)]
    return int((np.diff(history) >= 0).sum())


def fit_people(
    model,
    video,
    keypoints,
    scene,
    min_seconds=0.5,
    bridge=LONGEST_BRIDGE,
    iterations=40,
    lengths=(),
):
    """Fit everyone in a `Keypoints` product; returns a `Body` in the cameras' frames.

    model: body.BodyModel; video, keypoints, scene: contracts. Statures and shapes known from the
    video go to the people in the order of their ids. bridge: the longest gap that is filled, s;
    longer ones are listed in `dropped`. lengths: planned padded lengths, frames. Raises Rejected
    if nobody is left and PantographError if the keypoints have no landmarks3d.
    """
    jaxcache.enable()
    people, dropped, stats = {}, {}, {}
    for rank, (pid, person) in enumerate(sorted(keypoints.people.items())):
        if person.landmarks3d is None:
            raise PantographError(
                "this fit needs keypoints with landmarks3d; choose a pose2d method that gives "
                "them, or another body method"
            )
        count = int((person.visible & ((person.score > 0.3).sum(-1) >= MIN_LANDMARKS)).sum())
        if count < max(3, min_seconds * video.fps):
            dropped[str(pid)] = f"keypoints in {count} frames only"
            continue
        fixed = rank < len(video.person_betas)
        fitted = fit(
            model,
            person,
            keypoints.keypoint_names,
            scene.intrinsics,
            video.fps,
            stature=video.person_height[rank] if rank < len(video.person_height) else None,
            betas=given_shape(model, video, rank, np.zeros(10)) if fixed else None,
            bridge=bridge,
            iterations=iterations,
            lengths=lengths,
        )
        people[pid] = place(
            model,
            fitted["betas"],
            fitted["states"],
            fitted["span"],
            fitted["covered"],
            fitted["confidence"],
            len(person.visible),
        )
        lost, gaps, frames = missing(person.visible, people[pid].valid, video.fps)
        dropped.update({f"{pid}/{span}": reason for span, reason in lost.items()})
        stats[f"person{pid}"] = {
            "missing_frames": int((~people[pid].valid).sum()),
            "bridged_gaps": gaps,
            "bridged_frames": frames,
            "stature_m": round(stature(model, fitted["betas"]), 4),
            "tilt_deg": round(float(np.degrees(fitted["tilt"])), 2),
            "swapped_frames": int(fitted["swapped"].any(-1).sum()),
            "iterations": int(fitted["result"].iterations),
            "converged": bool(fitted["result"].converged),
            "rejected_steps": rejected_steps(fitted["result"]),
            "cost_start": rounded(fitted["result"].start_terms),
            "cost": rounded(fitted["result"].terms),
        }
    if not people:
        raise Rejected("nobody is seen long enough to fit a body")
    return Body(
        people=people,
        body_model=model.name,
        intrinsics=scene.intrinsics[0],
        dropped=dropped,
        stats=stats,
    )


def place(model, betas, states, part, valid, confidence, count):
    """A PersonBody of `count` frames from states over the frames `part` (a slice).

    valid, confidence: (n,) for those frames; all other frames are invalid, with zeros and
    identities.
    """
    orient, pose, transl = unpack(states)
    eye = np.eye(3)
    person = PersonBody(
        valid=np.zeros(count, bool),
        confidence=np.zeros(count, np.float32),
        global_orient=np.tile(eye, (count, 1, 1)),
        body_pose=np.tile(eye, (count, 23, 1, 1)),
        betas=betas,
        transl=np.zeros((count, 3)),
        joints=np.zeros((count, 24, 3)),
    )
    frames = np.arange(part.start, part.stop)[valid]
    orient, pose, transl = orient[valid], pose[valid], transl[valid]
    person.valid[frames], person.confidence[frames] = True, confidence[valid]
    person.global_orient[frames], person.body_pose[frames] = orient, pose
    person.transl[frames] = transl
    person.joints[frames] = joints(model, betas, orient, pose, transl)
    return person
