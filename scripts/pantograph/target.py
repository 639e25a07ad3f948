"""What a robot is asked to do: a person's motion, cleaned, scaled and set on its ground.

The whole is scaled by one number per clip, the robot's leg length over the human's. Limbs keep
the human's directions and take the robot's own lengths, one factor per limb that the two bodies'
proportions give; a robot's hips are wider than the scaled human's, and its feet stand where the
human's do rather than as far apart as its hips. Feet that stand have one place and one height
each, those of what they stand on.

Frames: gravity world, +Z up, floor at 0; after scaling, lengths are those of the robot's world.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from .conventions import SMPL_PARENTS
from .robot import SMPL_TO_ROBOT

STANCE = 0.8
"""How far feet stand where the scaled human's stand (1), not the robot's own hips apart (0)."""
BRIDGE = 0.5
"""Longest gap of unseen frames that is filled, s."""
SHORTEST = 0.3
"""Shortest stretch of motion worth retargeting, s."""
CONTACT_SPEED = 0.6
"""A foot said to stand that moves faster than this, m/s, is not held."""
SNAP = 0.12
"""A foot this near to the floor or to a support box, m, stands on it."""
ANKLE_HEIGHT = (0.05, 0.08, 0.12)
"""Height of a human ankle over the sole: least, usual, most, m."""
BALL_HEIGHT = 0.03
"""Height of the ball of a human foot over the sole, m."""
ROLLING = (0.35, 0.6)
"""Pitch of a human foot, rad, at which heel or toes begin to lift, and at which they have; less
is within the errors of estimated poses."""


class Stretch(NamedTuple):
    """One person's motion from `start` to `stop` (not included), gaps filled.

    joints: (n, 24, 3) m; rotations: (n, 24, 3, 3) in the world; confidence: (n,), low where
    filled; contact: (n, C).
    """

    start: int
    stop: int
    joints: np.ndarray
    rotations: np.ndarray
    confidence: np.ndarray
    contact: np.ndarray


class Target(NamedTuple):
    """What a robot is asked to do over n frames, in its own world, m.

    root: (n, 3, 3); keypoints: (n, K, 3); directions: (n, K, 3), unit, from each keypoint's
    parent; orientations: (n, M, 3, 3); confidence: (n,); contact: (n, F) feet held; support:
    (n, F) height they stand on; floor: (n, F) height they stay above; soles: (n, F, P, 2) where
    the corners stand; pinned: (n, F, P) how firmly each is held there, 0 to 1.
    """

    root: np.ndarray
    keypoints: np.ndarray
    directions: np.ndarray
    orientations: np.ndarray
    confidence: np.ndarray
    contact: np.ndarray
    support: np.ndarray
    floor: np.ndarray
    soles: np.ndarray
    pinned: np.ndarray


def find_stretch(person, contacts, fps):
    """The longest run of valid frames of a PersonBody, gaps of up to `BRIDGE` seconds filled.

    contacts: PersonContacts or None. Returns a Stretch, or None if it is too short, and notes on
    what was left out: a dict from "" (everything) or "/first-last" (frames) to the reason.
    """
    seen = np.flatnonzero(person.valid)
    if not len(seen):
        return None, {"": "not seen in any frame"}
    breaks = np.flatnonzero(np.diff(seen) - 1 > BRIDGE * fps)
    runs = [(run[0], run[-1] + 1) for run in np.split(seen, breaks + 1)]
    start, stop = max(runs, key=lambda run: run[1] - run[0])
    if stop - start < max(3, SHORTEST * fps):
        return None, {"": f"seen for {stop - start} frames on end, too few to retarget"}
    notes = {
        f"/{a}-{b - 1}": f"apart from the longest stretch by more than {BRIDGE} s"
        for a, b in runs
        if (a, b) != (start, stop)
    }
    keep = seen[(seen >= start) & (seen < stop)]
    frames = np.arange(start, stop)
    locals_ = np.concatenate([person.global_orient[:, None], person.body_pose], axis=1)[keep]
    world = locals_.astype(float)
    for joint in range(1, world.shape[1]):
        world[:, joint] = world[:, SMPL_PARENTS[joint]] @ world[:, joint]
    rotations = np.stack(
        [
            Slerp(keep, Rotation.from_matrix(world[:, joint]))(frames).as_matrix()
            for joint in range(world.shape[1])
        ],
        axis=1,
    )
    flat = person.joints[keep].reshape(len(keep), -1).astype(float)
    joints = np.stack([np.interp(frames, keep, column) for column in flat.T], axis=-1)
    bridged = ~np.isin(frames, keep)
    confidence = np.interp(frames, keep, np.clip(person.confidence[keep], 0.2, 1.0))
    confidence[bridged] *= 0.1
    if contacts is None:
        contact = np.zeros((len(frames), 0), bool)
    else:
        contact = contacts.contact[start:stop] & contacts.valid[start:stop, None]
        contact = contact & ~bridged[:, None]
    joints = joints.reshape(-1, 24, 3)
    return Stretch(int(start), int(stop), joints, rotations, confidence, contact), notes


def human_keypoints(robot, joints):
    """The human's place for each of the robot's keypoints, (n, K, 3) from (n, 24, 3)."""
    return np.stack([joints[:, list(k.human)].mean(axis=1) for k in robot.keypoints], axis=1)


def world_scale(robot, stretches):
    """Robot leg length over human leg length, the median over people."""
    ratios = []
    for stretch in stretches:
        points = human_keypoints(robot, stretch.joints)
        steps = [
            np.linalg.norm(np.diff(points[:, list(leg)], axis=1), axis=-1).sum(axis=-1)
            for leg in robot.legs
        ]
        ratios.append(robot.leg_length / np.median(np.mean(steps, axis=0)))
    return float(np.median(ratios))


def intervals(flags):
    """The runs of True in (n,) bools as pairs (first, last + 1)."""
    edges = np.diff(np.concatenate([[0], np.asarray(flags, int), [0]]))
    return list(zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True))


def make_target(robot, stretch, order, boxes, scale, fps):
    """Scale a person to the robot.

    order: index in the contacts for each of the robot's feet; boxes: (B, 7) as in `Mesh`.
    """
    human = human_keypoints(robot, stretch.joints)
    rest = robot.rest_keypoints
    count, feet = len(human), len(robot.feet)
    turn = stretch.rotations @ SMPL_TO_ROBOT
    zero = robot.zero_frames[1]
    orientations = np.stack([turn[:, o.human] @ zero[o.body] for o in robot.orientations], axis=1)
    root = turn[:, 0]

    directions = np.zeros_like(human)
    keypoints = np.zeros_like(human)
    keypoints[:, 0] = scale * human[:, 0]
    for k, point in enumerate(robot.keypoints[1:], start=1):
        offset = rest[k] - rest[point.parent]
        if point.rigid:
            step = root @ offset
        else:
            step = human[:, k] - human[:, point.parent]
            step = step * np.linalg.norm(offset) / np.maximum(_norm(step), 1e-6)
        directions[:, k] = step / np.maximum(_norm(step), 1e-6)
        keypoints[:, k] = keypoints[:, point.parent] + step

    ankles = [foot.ankle for foot in robot.feet]
    held = np.stack(
        [
            standing(stretch.joints[:, foot_joints(robot, foot)], stretch.contact[:, c], fps)
            if stretch.contact.shape[1]
            else np.zeros(count, bool)
            for foot, c in zip(robot.feet, order, strict=True)
        ],
        axis=1,
    )
    feet_joints = [foot_joints(robot, foot) for foot in robot.feet]
    lift = ankle_height(human[:, ankles, 2], held)
    heights = human[:, ankles, 2] - lift
    tilts, heel, toe = (np.zeros((count, feet)) for _ in range(3))
    for f, joints in enumerate(feet_joints):
        tilts[:, f], heel[:, f], toe[:, f] = rolling(turn[:, joints[0]], held[:, f])
        # over a lifted heel the ankle tells nothing of the ground
        ball = stretch.joints[:, joints[-1], 2] - BALL_HEIGHT
        heights[:, f] = np.where(heel[:, f] < 0.5, ball, heights[:, f])
    heights = above_ground(human[:, ankles, :2], heights, boxes)
    support = support_heights(human[:, ankles], heights, held, boxes)
    arms = [
        np.array([zero_corner(robot, foot, corner) for corner in foot.sole])
        - zero_point(robot, robot.keypoints[foot.ankle])
        for foot in robot.feet
    ]
    pitched = [Rotation.from_euler("y", tilt[:, None]).as_matrix() for tilt in tilts.T]
    reach = np.stack(
        [-(arm @ turns[:, 2].T).min(axis=0) for arm, turns in zip(arms, pitched, strict=True)],
        axis=1,
    )

    # the chains end beside the scaled ankles; move the whole body so that they agree
    wanted = scale * np.where(held, support, heights) + reach
    share = held + 0.02
    share = gaussian_filter1d(share.astype(float), 0.1 * fps, axis=0, mode="nearest")
    gap = wanted - keypoints[:, ankles, 2]
    shift = np.zeros((count, 3))
    shift[:, 2] = (gap * share).sum(axis=1) / share.sum(axis=1)
    shift[:, :2] = (scale * human[:, ankles, :2] - keypoints[:, ankles, :2]).mean(axis=1)
    keypoints = keypoints + shift[:, None]
    for ankle in ankles:
        gap = STANCE * (scale * human[:, ankle, :2] - keypoints[:, ankle, :2])
        keypoints[:, ankle, :2] += gap
        keypoints[:, robot.keypoints[ankle].parent, :2] += gap / 2
    places = keypoints[:, ankles, :2] / scale

    soles = np.zeros((count, feet, max(len(foot.sole) for foot in robot.feet), 2))
    pinned = np.zeros(soles.shape[:3])
    foot_turns = {o.body: i for i, o in enumerate(robot.orientations)}
    for f, foot in enumerate(robot.feet):
        slot = foot_turns.get(foot.body)
        ends = np.arange(len(foot.sole)) < len(foot.heel)
        firm = np.where(ends, heel[:, f, None], toe[:, f, None])
        pinned[:, f, : len(ends)] = firm * held[:, f, None]
        # where the ankle would be if the foot lay flat about the end that stays
        rolled = heel[:, f, None] < toe[:, f, None]
        pivots = np.where(rolled, arms[f][~ends].mean(axis=0), arms[f][ends].mean(axis=0))
        for a, b in intervals(held[:, f]):
            forward_ = root[a:b] if slot is None else orientations[a:b, slot]
            heading = (forward_[:, :2, 0] / np.maximum(_norm(forward_[:, :2, 0]), 1e-6)).mean(0)
            yaw = Rotation.from_euler("z", np.arctan2(heading[1], heading[0])).as_matrix()
            turns = yaw @ pitched[f][a:b]
            flat = np.einsum("tij,tj->ti", turns - yaw, pivots[a:b])[:, :2]
            place = np.median(keypoints[a:b, foot.ankle, :2] + flat, axis=0)
            soles[a:b, f, : len(ends)] = place + (arms[f] @ yaw.T)[:, :2]
            if slot is not None:
                orientations[a:b, slot] = turns @ zero[foot.body]
    return Target(
        root=root,
        keypoints=keypoints,
        directions=directions,
        orientations=orientations,
        confidence=stretch.confidence,
        contact=held,
        support=scale * support,
        floor=scale * floor_heights(support, held, heights, places, boxes),
        soles=soles,
        pinned=pinned,
    )


def rolling(turn, held):
    """How a foot that stands rolls over an end: its pitch (n,), toes down, rad, and how firmly
    heel (n,) and toe (n,) stay.

    turn: (n, 3, 3) of the human's foot, robot axes, in the world; held: (n,). A foot stays flat,
    pitch 0, unless the human's is clearly pitched.
    """
    pitch = np.arcsin(np.clip(-turn[:, 2, 0], -1.0, 1.0)) * held
    start, done = ROLLING
    lifted = np.clip((np.abs(pitch) - start) / (done - start), 0.0, 1.0)
    heel, toe = (1.0 - np.where(side > 0, lifted, 0.0) for side in (pitch, -pitch))
    return pitch * lifted, heel, toe


def zero_point(robot, keypoint):
    """A keypoint of the robot with all joints at 0 and the root at the origin, (3,)."""
    positions, rotations = robot.zero_frames
    return positions[keypoint.body] + rotations[keypoint.body] @ keypoint.offset


def zero_corner(robot, foot, corner):
    """A corner of a sole with all joints at 0 and the root at the origin, (3,)."""
    positions, rotations = robot.zero_frames
    return positions[foot.body] + rotations[foot.body] @ corner


def foot_joints(robot, foot):
    """SMPL joints of a robot's foot: those of its ankle, and what hangs on them."""
    joints = list(robot.keypoints[foot.ankle].human)
    return joints + [j for j, parent in enumerate(SMPL_PARENTS) if parent in joints]


def standing(joints, contact, fps):
    """Frames (n,) in which a foot in contact really stays: one of its joints (n, J, 3) is slow,
    and for three frames or more. While the heel lifts, the ankle moves and the ball stays."""
    smooth = gaussian_filter1d(joints, 0.05 * fps, axis=0, mode="nearest")
    speed = np.linalg.norm(np.gradient(smooth, axis=0), axis=-1).min(axis=1) * fps
    held = contact & (speed < CONTACT_SPEED)
    for a, b in intervals(held):
        if b - a < 3:
            held[a:b] = False
    return held


def ankle_height(ankles, held):
    """Height of this person's ankles over their soles, from feet that stand near the floor, m."""
    low, usual, high = ANKLE_HEIGHT
    near = ankles[held & (np.abs(ankles - usual) < SNAP)]
    return float(np.clip(np.median(near), low, high)) if len(near) >= 5 else usual


def support_heights(ankles, heights, held, boxes):
    """Height under each foot, (n, F), m: the floor, the top of a box, or the foot's own height.

    ankles: (n, F, 3); heights: (n, F) of the soles; held: (n, F). Constant over a contact; in
    between, the lower of the neighbouring contacts'.
    """
    support = np.zeros(held.shape)
    for f in range(held.shape[1]):
        for a, b in intervals(held[:, f]):
            own = np.median(heights[a:b, f])
            levels = [0.0] + tops_under(np.median(ankles[a:b, f, :2], axis=0), boxes)
            nearest = min(levels, key=lambda level: abs(level - own))
            support[a:b, f] = nearest if abs(nearest - own) < SNAP else own
    return support


def above_ground(places, heights, boxes):
    """Heights of soles (n, F) raised to the lowest top under their places (n, F, 2), if any.

    A foot seen inside the collision mesh (below a floor that slopes in truth, say) is put on it:
    no simulator lets it be anywhere else.
    """
    out = np.array(heights, float)
    for index in np.ndindex(out.shape):
        tops = tops_under(places[index], boxes, margin=0.0)
        if tops:
            out[index] = max(out[index], min(tops))
    return out


def tops_under(place, boxes, margin=0.05):
    """Tops of the boxes (B, 7) whose footprint, widened by `margin` m, holds a place (2,)."""
    tops = []
    for x, y, z, size_x, size_y, size_z, yaw in np.asarray(boxes, float).reshape(-1, 7):
        dx, dy = place[0] - x, place[1] - y
        along = np.cos(yaw) * dx + np.sin(yaw) * dy
        across = np.cos(yaw) * dy - np.sin(yaw) * dx
        if abs(along) <= size_x / 2 + margin and abs(across) <= size_y / 2 + margin:
            tops.append(z + size_z / 2)
    return tops


def floor_heights(support, held, heights, places, boxes):
    """Height that soles stay above, (n, F), m.

    That of the support for a held foot. For a lifted one the floor, or what the foot shows to lie
    below it (a neighbouring support or its own way), or the top of a box that it passes over.
    places: (n, F, 2) of the feet; the rest as in `support_heights`.
    """
    floor = np.array(support, float)
    for f in range(held.shape[1]):
        frames = np.flatnonzero(held[:, f])
        for a, b in intervals(~held[:, f]):
            before, after = frames[frames < a], frames[frames >= b]
            near = [support[before[-1], f]] if len(before) else []
            near += [support[after[0], f]] if len(after) else []
            level = min([0.0] + near)
            floor[a:b, f] = np.where(heights[a:b, f] < level - SNAP, heights[a:b, f] - SNAP, level)
            for t in range(a, b):
                passed = [
                    top
                    for top in tops_under(places[t, f], boxes, margin=0.15)
                    if top < heights[t, f] + SNAP / 2
                ]
                floor[t, f] = max([floor[t, f]] + passed)
    return floor


def _norm(vectors):
    return np.linalg.norm(vectors, axis=-1, keepdims=True)
