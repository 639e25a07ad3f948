"""Motions of the body over a floor at z = 0, with feet that stay where they stand.

A motion is made from the pelvis and the feet: the legs between them follow by inverse kinematics,
so that a planted foot does not move by more than rounding. World: +Z up, headings in rad
counter-clockwise from +X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.spatial.transform import Rotation

from .. import body
from ..conventions import SMPL_JOINTS, SMPL_PARENTS


@dataclass
class Motion:
    """SMPL parameters of one person in the world, T frames, and which feet stand.

    betas (10,), global_orient (T, 3, 3), body_pose (T, 23, 3, 3), transl (T, 3) pelvis joint,
    contact (T, 2) bool, left and right: the ball of the foot and the toes touch and stay.
    """

    betas: np.ndarray
    global_orient: np.ndarray
    body_pose: np.ndarray
    transl: np.ndarray
    contact: np.ndarray

    def __len__(self):
        return len(self.transl)


def upright(heading):
    """Rotation from the rest pose (y up, facing z) to standing with `heading`, (..., 3, 3)."""
    heading = np.asarray(heading, float)
    c, s, o = np.cos(heading), np.sin(heading), np.zeros_like(heading)
    return np.stack(
        [np.stack([-s, o, c], -1), np.stack([c, o, s], -1), np.stack([o, o + 1, o], -1)], -2
    )


def turn(axis, angle):
    """Rotations by `angle` (...,) rad about the axis "x", "y" or "z", (..., 3, 3)."""
    angle = np.asarray(angle, float)
    matrices = Rotation.from_euler(axis, angle.reshape(-1, 1)).as_matrix()
    return matrices.reshape(angle.shape + (3, 3))


def smooth_step(x):
    """0 to 1 over x in [0, 1] with two vanishing derivatives at the ends."""
    x = np.clip(x, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


# ---------------------------------------------------------------------------------------------
# feet and legs


@dataclass
class Foot:
    """One foot over time: ball (T, 3) position of the joint `left_foot` or `right_foot`, world;
    heading (T,); pitch (T,) of the foot and toes (T,) of the toes, rad, positive with the heel
    above the toes; contact (T,)."""

    ball: np.ndarray
    heading: np.ndarray
    pitch: np.ndarray
    toes: np.ndarray
    contact: np.ndarray

    def rotations(self):
        """World rotations of the ankle and of the foot joint, each (T, 3, 3)."""
        base = upright(self.heading)
        return base @ turn("x", self.pitch), base @ turn("x", self.toes)


class Skeleton:
    """Rest pose of one shape, and what a motion needs of it."""

    def __init__(self, model, betas):
        self.model = model
        self.betas = body.betas_array(betas)
        self.joints = body.rest_joints(model, self.betas)
        shape = body.rest_vertices(model, self.betas)
        self.sole = shape[:, 1].min()
        feet = [SMPL_JOINTS.index(f"{side}_foot") for side in ("left", "right")]
        ankles = [SMPL_PARENTS[j] for j in feet]
        self.ball_height = self.joints[feet[0], 1] - self.sole
        owned = [
            shape[model.weights[:, [a, f]].sum(1) > 0.5] for a, f in zip(ankles, feet, strict=True)
        ]
        self.heel = min(p[:, 2].min() for p in owned) - self.joints[feet[0], 2]
        self.toe = max(p[:, 2].max() for p in owned) - self.joints[feet[0], 2]
        self.hip_width = self.joints[1, 0] - self.joints[2, 0]
        self.reach = np.linalg.norm(self.joints[4] - self.joints[1]) + np.linalg.norm(
            self.joints[7] - self.joints[4]
        )

    def offset(self, name):
        """Rest offset of a joint from its parent, (3,)."""
        j = SMPL_JOINTS.index(name)
        return self.joints[j] - self.joints[SMPL_PARENTS[j]]

    def lift(self, pitch, toes):
        """How far the ball must rise, m, so that heel and toes stay above the floor."""
        height = self.ball_height
        heel = -self.heel * np.sin(pitch) - height * np.cos(pitch) + height
        tip = -self.toe * np.sin(toes) - height * np.cos(toes) + height
        under = height * (1 - np.cos(np.minimum(np.abs(pitch), np.abs(toes))))
        return np.maximum(0, -np.minimum(np.minimum(heel, tip), under))


def _pair(first, second):
    # orthonormal frames (..., 3, 3) whose y axis is `first` and whose x axis is near `second`
    y = first / np.linalg.norm(first, axis=-1, keepdims=True)
    x = second - (second * y).sum(-1, keepdims=True) * y
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def leg(skeleton, side, hip, pelvis, foot):
    """Local rotations of hip, knee, ankle and foot, each (T, 3, 3), that put the foot in place.

    hip (T, 3) and pelvis (T, 3, 3): position of the hip joint and rotation of the pelvis, world.
    """
    thigh, shank = skeleton.offset(f"{side}_knee"), skeleton.offset(f"{side}_ankle")
    rotation, toes = foot.rotations()
    ankle = foot.ball - rotation @ skeleton.offset(f"{side}_foot")
    a, b = np.linalg.norm(thigh), np.linalg.norm(shank)
    line = ankle - hip
    length = np.clip(np.linalg.norm(line, axis=-1, keepdims=True), abs(a - b) + 1e-6, a + b - 1e-9)
    down = line / np.linalg.norm(line, axis=-1, keepdims=True)
    # the knee opens forward: halfway between where pelvis and foot point
    lateral = pelvis[:, :, 0] + upright(foot.heading)[:, :, 0]
    forward = np.cross(lateral, -down)
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    along = (a**2 - b**2 + length**2) / (2 * length)
    knee = hip + along * down + np.sqrt(np.maximum(a**2 - along**2, 0)) * forward
    lateral = np.cross(-down, forward)
    x = np.array([1.0, 0.0, 0.0])
    upper = _pair(knee - hip, lateral) @ _pair(thigh, x).T
    lower = _pair(ankle - knee, lateral) @ _pair(shank, x).T
    parts = (pelvis, upper, lower, rotation, toes)
    return [np.swapaxes(p, -1, -2) @ q for p, q in zip(parts, parts[1:], strict=False)]


def assemble(skeleton, pelvis_position, pelvis, feet, upper):
    """A motion from the pelvis, the feet (left, right) and `upper`: name -> local (T, 3, 3)."""
    count = len(pelvis_position)
    local = np.tile(np.eye(3), (count, 24, 1, 1))
    local[:, 0] = pelvis
    for name, rotation in upper.items():
        local[:, SMPL_JOINTS.index(name)] = rotation
    for side, foot in zip(("left", "right"), feet, strict=True):
        hip = pelvis_position + pelvis @ skeleton.offset(f"{side}_hip")
        rotations = leg(skeleton, side, hip, pelvis, foot)
        for part, rotation in zip(("hip", "knee", "ankle", "foot"), rotations, strict=True):
            local[:, SMPL_JOINTS.index(f"{side}_{part}")] = rotation
    return Motion(
        betas=skeleton.betas,
        global_orient=local[:, 0],
        body_pose=local[:, 1:],
        transl=pelvis_position,
        contact=np.stack([foot.contact for foot in feet], axis=1),
    )


def arms(flexion, elbow, spread=0.0):
    """Hanging arms. flexion and elbow: (left, right) angles (T,), rad, positive to the front;
    spread (T,) or scalar: away from the trunk. Returns name -> local rotation."""
    out = {}
    for side, sign, raise_, bend in zip(("left", "right"), (1, -1), flexion, elbow, strict=True):
        shape = np.shape(raise_)
        hang = np.broadcast_to(1.28 - np.asarray(spread), shape)
        out[f"{side}_collar"] = turn("z", np.full(shape, -sign * 0.10))
        out[f"{side}_shoulder"] = turn("x", -np.asarray(raise_)) @ turn("z", -sign * hang)
        out[f"{side}_elbow"] = turn("y", -sign * np.asarray(bend))
    return out


def pelvis_height(skeleton, xy, pelvis, feet, highest, rate):
    """The pelvis as high as `highest` (T,) and both legs allow, smoothed in time, (T,) m.

    rate: frames per second. No leg is asked to reach further than 99.5 % of its length.
    """
    allowed = np.array(highest, float)
    for side, foot in zip(("left", "right"), feet, strict=True):
        rotation, _ = foot.rotations()
        ankle = foot.ball - rotation @ skeleton.offset(f"{side}_foot")
        hip = pelvis @ skeleton.offset(f"{side}_hip")
        level = np.linalg.norm(ankle[:, :2] - xy - hip[:, :2], axis=1)
        span = np.sqrt(np.maximum((0.995 * skeleton.reach) ** 2 - level**2, 0))
        allowed = np.minimum(allowed, ankle[:, 2] + span - hip[:, 2])
    width = int(round(0.06 * rate))
    lowest = minimum_filter1d(allowed, 2 * width + 1, mode="nearest")
    return gaussian_filter1d(lowest, width / 2, mode="nearest", truncate=2.0)


# ---------------------------------------------------------------------------------------------
# walking


@dataclass
class Walk:
    """A walk: where it starts (x, y), its heading and speed over time, and its gait.

    heading(t) in rad and speed(t) in m/s are functions of an array of seconds; step: seconds
    from one foot to the other; phase: part of a step already made at t = 0; swing: part of the
    stride that a foot spends in the air; toe_off and heel_strike: pitch of the foot, rad;
    clearance and set_back: how high a foot passes and how far it stands behind the middle, m;
    arm_swing in rad; crouch: how much lower than upright the pelvis travels, m; bow: how far the
    trunk leans to the front, rad.
    """

    start: tuple
    heading: object
    speed: object
    step: float = 0.54
    phase: float = 0.0
    swing: float = 0.40
    toe_off: float = 0.90
    heel_strike: float = -0.26
    clearance: float = 0.022
    set_back: float = 0.05
    arm_swing: float = 0.38
    crouch: float = 0.0
    bow: float = 0.0


def walk(model, betas, times, gait):
    """A walking motion at `times` (T,) s, evenly spaced."""
    skeleton = Skeleton(model, betas)
    rate = 1 / (times[1] - times[0])
    margin = 4 * gait.step
    fine = np.arange(times[0] - margin, times[-1] + margin, 1 / 240)
    heading = gait.heading(fine)
    velocity = gait.speed(fine)[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    path = np.cumsum(velocity, axis=0) / 240
    path += np.asarray(gait.start) - _at(times[0], fine, path)

    feet = tuple(_walking_foot(skeleton, gait, times, fine, path, heading, k) for k in (0, 1))
    cycle = np.pi * (times / gait.step + gait.phase)  # left foot in mid-stance at 0, right at pi
    slow = np.clip(gait.speed(times) / 1.1, 0.35, 1.2)
    facing = _at(times, fine, heading)
    side = np.stack([-np.sin(facing), np.cos(facing)], -1)
    xy = _at(times, fine, path) + 0.018 * np.cos(cycle)[:, None] * side
    lean = 0.04 * slow + 0.55 * gait.bow
    twist, roll = 0.08 * slow * np.sin(cycle), 0.045 * np.cos(cycle)
    pelvis = upright(facing + twist) @ turn("x", lean) @ turn("z", roll)
    top = np.full(len(times), -skeleton.sole - 0.012 - gait.crouch)
    z = pelvis_height(skeleton, xy, pelvis, feet, top, rate)

    upper = arms(
        [0.04 + gait.bow + sign * gait.arm_swing * slow * np.sin(cycle) for sign in (1, -1)],
        [0.30 + 0.18 * slow * (1 + sign * np.sin(cycle)) for sign in (1, -1)],
        spread=0.04,
    )
    for name in ("spine1", "spine2", "spine3"):
        upper[name] = turn("y", -0.75 * twist) @ turn("z", -0.33 * roll)
        if gait.bow:
            upper[name] = upper[name] @ turn("x", np.full(len(times), 0.15 * gait.bow))
    upper["neck"] = turn("y", 0.6 * twist) @ turn("x", -0.5 * lean)
    upper["head"] = turn("y", 0.6 * twist) @ turn("x", -0.3 * lean)
    return assemble(skeleton, np.column_stack([xy, z]), pelvis, feet, upper)


def _at(t, fine, values):
    if values.ndim == 1:
        return np.interp(t, fine, values)
    columns = [np.interp(t, fine, values[:, k]) for k in range(values.shape[1])]
    return np.stack(columns, axis=-1)


def _walking_foot(skeleton, gait, times, fine, path, heading, which):
    """The left (0) or right (1) foot of a walk."""
    stride = 2 * gait.step
    middle = -gait.phase * gait.step + which * gait.step
    first = int(np.ceil((fine[0] - middle) / stride)) + 1
    last = int(np.floor((fine[-1] - middle) / stride)) - 1
    stances = middle + stride * np.arange(first, last + 1)
    half = (1 - gait.swing) * stride / 2

    yaw = _at(stances, fine, heading)
    yaw = yaw + (0.08 if which == 0 else -0.08)  # toes point a little outward
    side = np.stack([-np.sin(yaw), np.cos(yaw)], -1)
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], -1)
    sign = 1 if which == 0 else -1
    ball = skeleton.offset("left_foot")[2] - gait.set_back
    # a slow step, as in a turn, is a broad one
    broad = skeleton.hip_width * np.clip(0.75 - 0.30 * gait.speed(stances), 0.42, 0.7)
    place = _at(stances, fine, path) + sign * broad[:, None] * side + ball * ahead

    k = np.clip(np.searchsorted(stances - half, times, side="right") - 1, 0, len(stances) - 2)
    since = times - stances[k] + half
    s = np.clip((since - 2 * half) / (stride - 2 * half), 0, 1)  # through the swing
    stand = np.clip(since / (2 * half), 0, 1)
    contact = since <= 2 * half

    # the heel rises late in the stance, the toes lead into the next one
    keys_t = np.array([0.0, 0.52, 0.78, 1.0, 1.22, 1.55, 1.84, 2.0])
    off, strike = gait.toe_off, gait.heel_strike
    keys = np.array([0.0, 0.0, 0.32 * off, off, 0.85 * off, 0.1 * off, strike, 0.0])
    both = np.where(contact, stand, 1 + s)
    pitch = PchipInterpolator(keys_t, keys)(both)
    toes = np.where(contact, 0.0, pitch * smooth_step(s / 0.45))

    u = smooth_step(s)
    xy = place[k] + u[:, None] * (place[k + 1] - place[k])
    rise = skeleton.lift(pitch, toes) + gait.clearance * np.sin(np.pi * s) ** 2
    z = skeleton.ball_height + np.where(contact, 0.0, rise)
    turned = yaw[k] + u * (yaw[k + 1] - yaw[k])
    return Foot(np.column_stack([xy, z]), turned, pitch, toes, contact)


# ---------------------------------------------------------------------------------------------
# sitting


@dataclass
class Sit:
    """Standing at (x, y) with a heading, sitting down on a seat behind, and standing up.

    seat: height of the seat, m; down and up: seconds (start, end) of the two movements.
    """

    place: tuple
    heading: float
    seat: float
    down: tuple = (0.3, 1.4)
    up: tuple = (2.4, 3.5)


def sit(model, betas, times, plan):
    """A motion at `times` (T,) s: stand, sit down, stay, stand up. The feet stay in place."""
    skeleton = Skeleton(model, betas)
    rate = 1 / (times[1] - times[0])
    # 0 standing, 1 seated
    seated = smooth_step((times - plan.down[0]) / (plan.down[1] - plan.down[0])) * (
        1 - smooth_step((times - plan.up[0]) / (plan.up[1] - plan.up[0]))
    )
    ahead = np.array([np.cos(plan.heading), np.sin(plan.heading)])
    side = np.array([-ahead[1], ahead[0]])
    feet = []
    for sign in (1, -1):
        level = np.asarray(plan.place) + sign * 0.62 * skeleton.hip_width * side
        level = level + (skeleton.offset("left_foot")[2] + 0.03) * ahead
        ball = np.tile([*level, skeleton.ball_height], (len(times), 1))
        still = np.zeros(len(times))
        feet.append(
            Foot(ball, still + plan.heading + sign * 0.10, still, still, np.ones(len(times), bool))
        )

    thigh = np.linalg.norm(skeleton.offset("left_knee"))
    keys = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    back = PchipInterpolator(keys, np.array([0.0, 0.26, 0.62, 0.90, 1.0]) * 0.93 * thigh)(seated)
    bow = PchipInterpolator(keys, [0.02, 0.30, 0.46, 0.34, -0.12])(seated)
    flex = PchipInterpolator(keys, [0.02, 0.14, 0.22, 0.22, 0.12])(seated)
    breath = 0.004 * np.sin(2 * np.pi * times / 3.3)
    pelvis = upright(np.full(len(times), plan.heading)) @ turn("x", bow + breath)
    xy = (
        np.asarray(plan.place)
        - back[:, None] * ahead
        + (0.003 * np.sin(1.7 * times))[:, None] * side
    )

    standing = pelvis_height(
        skeleton, xy, pelvis, feet, np.full(len(times), -skeleton.sole - 0.015), rate
    )
    low = plan.seat + _seat_to_pelvis(skeleton, bow[np.argmax(seated)])
    share = PchipInterpolator(keys, [0.0, 0.13, 0.45, 0.83, 1.0])(seated)
    z = standing[0] + share * (low - standing[0])
    z = np.minimum(z, standing)

    upper = arms(
        [0.05 + 0.38 * seated + 0.4 * np.sin(np.pi * seated)] * 2,
        [0.25 + 0.55 * seated] * 2,
        spread=0.05 - 0.03 * seated,
    )
    for name in ("spine1", "spine2", "spine3"):
        upper[name] = turn("x", 0.7 * flex + breath)
    upper["neck"] = turn("x", -0.45 * (bow + 2 * flex) * seated)
    upper["head"] = turn("x", -0.25 * (bow + 2 * flex) * seated)
    return assemble(skeleton, np.column_stack([xy, z]), pelvis, tuple(feet), upper)


def _seat_to_pelvis(skeleton, bow):
    """Height of the pelvis joint above the seat, m: thighs level, the flesh pressed by 1 cm."""
    pose = np.tile(np.eye(3), (1, 23, 1, 1))
    for joint in (1, 2):
        pose[0, joint - 1] = turn("x", -np.pi / 2 - bow)
    orient = upright(0.0)[None] @ turn("x", np.array([bow]))
    points = body.vertices(skeleton.model, skeleton.betas, orient, pose, np.zeros((1, 3)))[0]
    under = skeleton.model.weights[:, [0, 1, 2]].sum(1) > 0.9
    return -points[under & (points[:, 0] < 0.12), 2].min() - 0.01
