"""Which way is up and where the floor is, from people, their feet, points and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from . import body as bodies
from .contracts import Gravity, PersonBody
from .conventions import SMPL_JOINTS

ANKLES = [SMPL_JOINTS.index("left_ankle"), SMPL_JOINTS.index("right_ankle")]
KNEES = [SMPL_JOINTS.index("left_knee"), SMPL_JOINTS.index("right_knee")]
HIPS = [SMPL_JOINTS.index("left_hip"), SMPL_JOINTS.index("right_hip")]
TOES = [SMPL_JOINTS.index("left_foot"), SMPL_JOINTS.index("right_foot")]
SHOULDERS = [SMPL_JOINTS.index("left_shoulder"), SMPL_JOINTS.index("right_shoulder")]
PELVIS, NECK = SMPL_JOINTS.index("pelvis"), SMPL_JOINTS.index("neck")

STANDING_SIGMA = np.radians(7.0)
"""Tilt of the axis of standing people against gravity: leaning, and the tilt of 3D landmarks."""

TRUNK_SIGMA = np.radians(14.0)
"""The same of the trunk of people who never stand."""

SIDES_SIGMA = np.radians(9.0)
"""Tilt of people's hips and shoulders against level, as far as it does not average out."""

ROLL_SIGMA = np.radians(4.0)
PITCH_SIGMA = np.radians(25.0)
"""How far people hold cameras off level."""

PLANE_SIGMA = np.radians(1.2)
"""Tilt of a reconstructed floor against the true one, and of floors against level."""

STEP_SIGMA = 0.06
"""Height error of one foot's stance, m."""

DEPTH_SIGMA = 0.15
"""Error of one foot's stance along the viewing ray, m."""


@dataclass
class Plane:
    """A plane through points: normal @ x = offset; the normal points towards the cameras."""

    normal: np.ndarray
    offset: float
    inliers: np.ndarray
    residual: float
    """Mean distance of the inliers, in the unit of the points."""


def fit_plane(points, viewers, part=0.01, fewest=30, up=None, within=0.6):
    """The plane that most of the points (N, 3) lie on: a `Plane`, or None.

    viewers: camera centres (M, 3). Points count within `part` of their median distance from the
    cameras. With `up` (3,), only planes whose normal is within `within` rad of it are tried.
    None with fewer than `fewest` inliers or when they lie on a line. RANSAC (Fischler and
    Bolles, 1981), then least squares on the inliers.
    """
    points = np.asarray(points, float).reshape(-1, 3)
    if len(points) < fewest:
        return None
    middle = np.mean(viewers, axis=0)
    reach = part * np.median(np.linalg.norm(points - middle, axis=1))
    rng = np.random.default_rng(0)
    trials = points[rng.integers(0, len(points), (1000, 3))]
    normals = np.cross(trials[:, 1] - trials[:, 0], trials[:, 2] - trials[:, 0])
    length = np.linalg.norm(normals, axis=1)
    keep = length > 1e-12
    if up is not None:
        keep &= np.abs(normals @ up) > np.cos(within) * length
    normals, origin = normals[keep] / length[keep, None], trials[keep, 0]
    if len(normals) == 0:
        return None
    distance = np.abs(points @ normals.T - np.einsum("ni,ni->n", normals, origin))
    inliers = distance[:, np.minimum(distance, reach).sum(0).argmin()] < reach
    for _ in range(3):
        if inliers.sum() < fewest:
            return None
        centre = points[inliers].mean(0)
        _, spread, axes = np.linalg.svd(points[inliers] - centre, full_matrices=False)
        if spread[1] < 0.05 * spread[0]:
            return None
        normal = axes[2]
        distance = np.abs((points - centre) @ normal)
        inliers = distance < reach
    if normal @ (middle - centre) < 0:
        normal = -normal
    return Plane(normal, float(normal @ centre), inliers, float(distance[inliers].mean()))


def mask_axis(people, pid, frame, size):
    """Top and bottom of the long axis of an upright person's mask, (2, 2) px of `size`; or None.

    size: (width, height) of the picture that pixels refer to. None where the person is not
    upright (box less than 2.2 times as high as wide) or is cut by the frame's edge.
    """
    track = people.people[pid]
    if not track.visible[frame]:
        return None
    mask = people.mask(pid, frame)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return None
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    cut = rows[0] < 2 or rows[-1] > mask.shape[0] - 3
    cut |= columns[0] < 2 or columns[-1] > mask.shape[1] - 3
    if height < 2.2 * width or cut:
        return None
    y, x = np.nonzero(mask)
    centre = np.array([x.mean(), y.mean()]) + 0.5
    along = np.linalg.eigh(np.cov(x, y))[1][:, 1]
    along *= -np.sign(along[1])
    ends = centre + 0.5 * height * np.array([along, -along])
    return ends * np.array(size) / np.array([people.mask_width, people.mask_height])


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _angle(a, b):
    """Angle between directions (..., 3), rad."""
    return np.arccos(np.clip((_unit(a) * _unit(b)).sum(-1), -1, 1))


def _geometric_median(vectors, weights):
    """Unit vector nearest to unit vectors (N, 3) by the weighted sum of distances (Weiszfeld)."""
    mean = _unit(weights @ vectors)
    for _ in range(30):
        pull = weights / np.maximum(np.linalg.norm(vectors - mean, axis=1), 1e-3)
        mean = _unit(pull @ vectors)
    return mean


def body_up(people):
    """Up direction by the axis of people: (direction (3,), sigma rad, frames), or None.

    people: {id: PersonBody} in one world. Frames in which someone stands (straight knees and
    hips) give the direction from between the ankles to the neck; where there are fewer than
    five, the trunk of every frame is used, with a larger sigma.
    """
    axes, upright, trunks, trust = [], [], [], []
    for person in people.values():
        joints = person.joints[person.valid].astype(float)
        legs = np.stack([joints[:, HIPS], joints[:, KNEES], joints[:, ANKLES]], 2)
        knees = _angle(legs[:, :, 0] - legs[:, :, 1], legs[:, :, 2] - legs[:, :, 1])
        # of a walker, one leg is straight and the other one not far from it
        knees = np.minimum(knees.max(1), knees.min(1) + np.radians(45))
        ankles = joints[:, ANKLES].mean(1)
        trunk = joints[:, NECK] - joints[:, PELVIS]
        bend = _angle(joints[:, PELVIS] - ankles, trunk)
        axes.append(_unit(joints[:, NECK] - ankles))
        trunks.append(_unit(trunk))
        straight = 1 / (1 + np.exp(-(np.degrees(knees) - 150) / 5))
        upright.append(straight / (1 + np.exp((np.degrees(bend) - 25) / 4)))
        trust.append(person.confidence[person.valid].astype(float))
    if not axes or sum(map(len, axes)) == 0:
        return None
    upright, trust = np.concatenate(upright), np.concatenate(trust)
    vectors, sigma, weights = np.concatenate(axes), STANDING_SIGMA, upright * trust
    if (upright > 0.5).sum() < 5:
        vectors, sigma, weights = np.concatenate(trunks), TRUNK_SIGMA, trust + 1e-6
    up = _geometric_median(vectors, weights)
    spread = np.average(_angle(vectors, up), weights=weights)
    return up, float(np.hypot(sigma, 0.5 * spread)), int((weights > 0.3).sum())


def soles(person, model):
    """Where the soles are: points (T, 2, S, 3) in the person's frame, left foot first.

    person: PersonBody; model: BodyModel. The S points are those of the shape's vertices that
    lie lowest in the rest pose, moved with the ankle or the toe joint.
    """
    vertices = bodies.rest_vertices(model, person.betas)
    rest = bodies.rest_joints(model, person.betas)
    rotations, positions = bodies.joint_transforms(
        model, person.betas, person.global_orient, person.body_pose, person.transl
    )
    feet = []
    for ankle, toe in zip(ANKLES, TOES, strict=True):
        carrier = model.weights.argmax(1)
        foot = np.flatnonzero((carrier == ankle) | (carrier == toe))
        low = foot[vertices[foot, 1] < vertices[foot, 1].min() + 0.01]
        corners = {low[np.argmax(vertices[low] @ d)] for d in _compass(16)}
        points = np.empty((len(positions), 16, 3))
        for k, vertex in enumerate(np.resize(sorted(corners), 16)):
            joint = toe if carrier[vertex] == toe else ankle
            local = vertices[vertex] - rest[joint]
            points[:, k] = positions[:, joint] + rotations[:, joint] @ local
        feet.append(points)
    return np.stack(feet, 1)


def _compass(count):
    turn = np.arange(count) * 2 * np.pi / count
    return np.stack([np.cos(turn), np.zeros(count), np.sin(turn)], -1)


def runs(flags):
    """Stretches of True in a bool array (T,): list of (start, end), end exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def smooth(values, weights, sigma):
    """Gaussian low-pass along axis 0 that bridges frames of weight 0.

    values: (T, ...), weights: (T,), sigma: frames. Frames out of reach of any weight give 0.
    """
    weights = np.asarray(weights, float)
    shaped = weights.reshape((-1,) + (1,) * (values.ndim - 1))
    total = gaussian_filter1d(weights, sigma, mode="constant").reshape(shaped.shape)
    blurred = gaussian_filter1d(values * shaped, sigma, axis=0, mode="constant")
    return blurred / np.maximum(total, 1e-9)


def velocity(positions, valid, fps):
    """Velocity (T, 3), per second, within each valid stretch; zeros where it is one frame long."""
    out = np.zeros_like(positions)
    for start, end in runs(valid):
        if end - start > 1:
            out[start:end] = np.gradient(positions[start:end], axis=0) * fps
    return out


def foot_weights(keypoints, pid, count):
    """Confidence of each foot's keypoints (T, 2); ones where the product has no such person."""
    person = keypoints.people.get(pid)
    if person is None:
        return np.ones((count, 2))
    out = np.zeros((count, 2))
    for foot, side in enumerate(("left", "right")):
        parts = ("ankle", "heel", "foot_index", "big_toe", "small_toe")
        index = [
            keypoints.keypoint_names.index(f"{side}_{part}")
            for part in parts
            if f"{side}_{part}" in keypoints.keypoint_names
        ]
        if index:
            out[:, foot] = person.score[:, index].mean(1)
    return out


def stances(world, contacts, keypoints, model):
    """Where feet stand still: positions (N, 3) of soles, weights (N,) and person ids (N,).

    One row per stretch of contact of one foot of at least three frames; the weight is the
    square root of its length in frames times the keypoints' confidence.
    """
    places, weights, owners = [], [], []
    for pid, person in world.people.items():
        if pid not in contacts.people:
            continue
        touch = contacts.people[pid]
        points = soles(person, model)
        trust = foot_weights(keypoints, pid, len(points))
        for foot in range(2):
            flags = touch.contact[:, foot] & touch.valid & person.valid
            for start, end in runs(flags):
                if end - start >= 3:
                    places.append(np.median(points[start:end, foot].mean(1), axis=0))
                    weights.append(np.sqrt(end - start) * (0.05 + trust[start:end, foot].mean()))
                    owners.append(pid)
    return np.array(places).reshape(-1, 3), np.array(weights), np.array(owners)


@dataclass
class Cue:
    """One source for the up direction: rows @ up = values, each row divided by its sigma."""

    name: str
    rows: np.ndarray
    values: np.ndarray
    direction: np.ndarray
    """What the cue alone would say, or the nearest to the others' where it does not tell all."""


def _direction_cue(name, direction, sigma):
    side = _unit(np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))]))
    rows = np.stack([side, np.cross(direction, side)]) / np.sin(sigma)
    return Cue(name, rows, np.zeros(2), direction)


def solve_up(cues, start, rounds=30):
    """Unit vector (3,) that agrees best with the cues: robust least squares on the sphere.

    Each cue gets one Cauchy weight (scale 2 sigma), so that a cue that contradicts the others
    fades as a whole.
    """
    up = start
    for _ in range(rounds):
        basis = np.linalg.svd(up[None])[2][1:]
        normal, right = np.zeros((2, 2)), np.zeros(2)
        for cue in cues:
            error = cue.rows @ up - cue.values
            slope = cue.rows @ basis.T
            mean_square = (error**2).sum() / min(2, len(error))
            weight = 1 / (1 + mean_square / 4)
            normal += weight * slope.T @ slope
            right -= weight * slope.T @ error
        step = np.linalg.solve(normal + 1e-9 * np.eye(2), right)
        up = _unit(up + basis.T @ step)
        if np.abs(step).max() < 1e-9:
            break
    return up


def _sides_cue(people):
    """Level hips and shoulders: the lines through them have no upward part on average.

    It holds for people who bow, crouch or sit as well; of people who all face one way it tells
    the tilt to their sides only.
    """
    lines, trust = [], []
    for person in people.values():
        joints = person.joints[person.valid].astype(float)
        for left, right in (HIPS, SHOULDERS):
            lines.append(_unit(joints[:, left] - joints[:, right]))
            trust.append(person.confidence[person.valid] + 1e-6)
    lines, trust = np.concatenate(lines), np.concatenate(trust)
    strength, axes = np.linalg.eigh((lines * (trust / trust.sum())[:, None]).T @ lines)
    rows = np.sqrt(np.maximum(strength, 0))[:, None] * axes.T / np.sin(SIDES_SIGMA)
    return Cue("sides", rows, np.zeros(3), axes[:, 0])


def up_of_people(people, cam2world):
    """Up direction (3,) that people and cameras held level tell, its cues, and stats.

    people: {id: PersonBody} in a world; cam2world: (T, 4, 4).
    """
    turned = cam2world[:, :3, :3].astype(float)
    side, ahead = _unit(turned[:, :, 0].mean(0)), _unit(turned[:, :, 2].mean(0))
    level = Cue(
        "camera",
        np.stack([side / np.sin(ROLL_SIGMA), ahead / np.sin(PITCH_SIGMA)]),
        np.zeros(2),
        _unit(-turned[:, :, 1].mean(0)),
    )
    stats = {}
    cues = [level]
    start = level.direction
    axis = body_up(people)
    if axis is not None:
        direction, sigma, frames = axis
        cues.append(_direction_cue("body", direction, sigma))
        stats["body_frames"] = frames
        stats["body_sigma_deg"] = round(float(np.degrees(sigma)), 1)
        start = direction if direction @ start > 0 else start
        cues.append(_sides_cue(people))
    up = solve_up(cues, start)
    if axis is not None:
        # what lines that mostly lie along one direction leave open is left to the other cues
        strength, axes = np.linalg.eigh(cues[-1].rows.T @ cues[-1].rows)
        free = axes[:, strength < 0.2 * strength.sum()]
        cues[-1].direction = _unit(free @ (free.T @ up))
    return up, cues, stats


def find_up(world, contacts, keypoints, model):
    """Up direction (3,) in the world's axes, and stats.

    Combined by their uncertainty: the axis of people, their level hips and shoulders, level feet
    (where they stand at different places), a floor in the points, and the camera's own up. Feet
    and points are left out where they contradict people and camera by more than 15 deg: then they
    lie on a slope or on steps.
    """
    prior, cues, stats = up_of_people(world.people, world.cam2world)
    places, weights, owners = stances(world, contacts, keypoints, model)
    stats["stances"] = len(places)
    if len(places) >= 3:
        cue = _level_cue(places, weights, owners, prior, world.cam2world[:, :3, 3].mean(0))
        tilt = np.degrees(_angle(cue.direction, prior))
        stats["feet_tilt_deg"] = round(float(tilt), 1)
        if tilt < 15:
            cues.append(cue)
    if world.camera_model == "sfm" and len(places):
        plane = floor_plane(world, places, prior)
        if plane is not None:
            tilt = np.degrees(_angle(plane.normal, prior))
            stats["points_tilt_deg"] = round(float(tilt), 1)
            if tilt < 15:
                cues.append(_direction_cue("points", plane.normal, PLANE_SIGMA))
    up = solve_up(cues, prior)
    for cue in cues:
        angle = float(np.degrees(_angle(cue.direction, up)))
        stats[f"{cue.name}_to_up_deg"] = round(angle, 2)
    information = sum(cue.rows.T @ cue.rows for cue in cues)
    basis = np.linalg.svd(up[None])[2][1:]
    spread = np.linalg.eigvalsh(np.linalg.inv(basis @ information @ basis.T))
    stats["up_sigma_deg"] = round(float(np.degrees(np.sqrt(spread.max()))), 2)
    return up, places, stats


def _level_cue(places, weights, owners, prior, viewer):
    """Feet at one level: the differences of a person's stance places have no upward part.

    People are not compared with one another: a wrong stature moves a person along the viewing
    ray, and the floor below with it. Depth errors do the same to a single foot, and would make
    the floor slope along the ray; differences in depth count only as far as they exceed twice
    that error.
    """
    trust = np.ones(len(places))
    for _ in range(20):
        offsets = np.empty_like(places)
        for owner in np.unique(owners):
            own = owners == owner
            offsets[own] = places[own] - np.average(
                places[own], axis=0, weights=(weights * trust)[own]
            )
            ray = places[own].mean(0) - viewer
            ray = _unit(ray - (ray @ prior) * prior)
            depth = offsets[own] @ ray
            known = max(0.0, 1 - (2 * DEPTH_SIGMA) ** 2 / max(np.mean(depth**2), 1e-12))
            offsets[own] -= (1 - known) * depth[:, None] * ray
        root = np.sqrt(weights * trust / weights.max())
        rows = offsets * root[:, None] / STEP_SIGMA
        basis = np.linalg.svd(prior[None])[2][1:]
        slope = rows @ basis.T
        # the prior holds the direction that feet on one line leave open
        normal = slope.T @ slope + np.eye(2) / STANDING_SIGMA**2
        up = _unit(prior + basis.T @ np.linalg.solve(normal, -slope.T @ (rows @ prior)))
        trust = 1 / (1 + (offsets @ up / (2 * STEP_SIGMA)) ** 2)
    return Cue("feet", rows, np.zeros(len(places)), up)


def floor_plane(world, places, up, reach=2.0, band=0.4):
    """The floor among the world's points: a `Plane` through those near the feet, or None.

    places: (N, 3) where feet stood; up: (3,); reach, band: how far points may be from the
    nearest of them sideways and upwards, m.
    """
    points = world.points.astype(float)
    height = points @ up
    flat = points - height[:, None] * up
    ground = places - (places @ up)[:, None] * up
    near = np.zeros(len(points), bool)
    for place, level in zip(ground, places @ up, strict=True):
        near |= (np.linalg.norm(flat - place, axis=1) < reach) & (np.abs(height - level) < band)
    return fit_plane(points[near], world.cam2world[:, :3, 3], part=0.008, up=up, within=0.3)


def floor_level(heights, weights, bandwidth=0.04, near=None):
    """Height of the floor among those of standing feet, m.

    heights (N,), weights (N,). The mode with most weight (mean shift, Gaussian); with `near`, the
    height of a floor seen otherwise, the nearest to it of those with a seventh of the weight.
    """
    modes = []
    for start in np.unique(np.round(heights, 2)):
        centre = start
        for _ in range(50):
            kernel = weights * np.exp(-0.5 * ((heights - centre) / bandwidth) ** 2)
            if kernel.sum() <= 0:
                break
            centre, before = kernel @ heights / kernel.sum(), centre
            if abs(centre - before) < 1e-6:
                break
        modes.append((kernel.sum(), float(centre)))
    strong = [mode for mode in modes if mode[0] > sum(weights) / 7]
    if near is not None and strong:
        return min(strong, key=lambda mode: abs(mode[1] - near))[1]
    return max(modes, key=lambda mode: mode[0])[1]


def sole_heights(world, contacts, keypoints, model, up):
    """Height of the lowest sole point, over contact frames: heights (N,) and weights (N,).

    Where no foot ever touches, the lowest fifth of the valid frames counts.
    """
    heights, weights, lowest = [], [], []
    for pid, person in world.people.items():
        low = (soles(person, model) @ up).min(2)
        trust = 0.05 + foot_weights(keypoints, pid, len(low))
        lowest.append(low[person.valid].min(1))
        if pid in contacts.people:
            touch = contacts.people[pid]
            flags = touch.contact & (touch.valid & person.valid)[:, None]
            heights.append(low[flags])
            weights.append(trust[flags])
    heights = np.concatenate(heights) if heights else np.zeros(0)
    if len(heights):
        return heights, np.concatenate(weights)
    lowest = np.concatenate(lowest)
    lowest = lowest[lowest <= np.percentile(lowest, 20)]
    return lowest, np.ones(len(lowest))


def frame_of(up, cam2world, level):
    """Rotation (3, 3) and translation (3,) into the gravity world.

    +Z is up, the floor at height `level` along `up` becomes z = 0, the first camera (4, 4) looks
    along +Y, and its centre is above the origin.
    """
    ahead = cam2world[:3, 2] - (cam2world[:3, 2] @ up) * up
    if np.linalg.norm(ahead) < 0.05:
        ahead = -cam2world[:3, 1] - (-cam2world[:3, 1] @ up) * up
    ahead = _unit(ahead)
    rotation = np.stack([np.cross(ahead, up), ahead, up])
    centre = rotation @ cam2world[:3, 3]
    return rotation, np.array([-centre[0], -centre[1], -level])


def to_gravity(world, contacts, keypoints, model, up=None):
    """The `Gravity` product for a `World`. model: BodyModel that the people were solved with.

    up: the up direction in the world's axes, (3,); found by `find_up` where it is not given.
    """
    if up is None:
        up, places, stats = find_up(world, contacts, keypoints, model)
    else:
        places = stances(world, contacts, keypoints, model)[0]
        stats = {"stances": len(places)}
    heights, weights = sole_heights(world, contacts, keypoints, model, up)
    plane = None
    if world.camera_model == "sfm" and len(places):
        plane = floor_plane(world, places, up)
    seen = None
    if plane is not None:
        # below the feet's middle, along up
        middle = np.median(places, axis=0)
        seen = middle @ up + (plane.offset - middle @ plane.normal) / (plane.normal @ up)
    level = floor_level(heights, weights, near=seen)
    rotation, shift = frame_of(up, world.cam2world[0].astype(float), level)
    tall = places @ up - level if len(places) else np.zeros(1)
    spread = float(np.ptp(np.percentile(tall, [10, 90]))) if len(tall) > 1 else 0.0
    if seen is not None:
        # not zero where the scale of the people differs from that of the scene
        stats["points_over_feet_cm"] = round(float(100 * (seen - level)), 1)
    stats["floor_spread_cm"] = round(100 * spread, 1)
    stats["camera_height_m"] = round(float(world.cam2world[0, :3, 3] @ up - level), 3)
    ahead = world.cam2world[0, :3, 2]
    stats["camera_pitch_deg"] = round(float(np.degrees(np.arcsin(np.clip(-ahead @ up, -1, 1)))), 1)
    return turned(world, rotation, shift, stats)


def turned(world, rotation, shift, stats):
    """The `Gravity` product of a `World` whose points x become rotation @ x + shift, m."""
    cam2world = world.cam2world.astype(float).copy()
    cam2world[:, :3, :3] = rotation @ cam2world[:, :3, :3]
    cam2world[:, :3, 3] = cam2world[:, :3, 3] @ rotation.T + shift
    people = {}
    for pid, person in world.people.items():
        valid = person.valid[:, None]
        people[pid] = PersonBody(
            valid=person.valid,
            confidence=person.confidence,
            global_orient=rotation @ person.global_orient,
            body_pose=person.body_pose,
            betas=person.betas,
            transl=np.where(valid, person.transl @ rotation.T + shift, person.transl),
            joints=np.where(valid[:, None], person.joints @ rotation.T + shift, person.joints),
            reprojection=person.reprojection,
        )
    return Gravity(
        camera_model=world.camera_model,
        scale=world.scale,
        scale_source=world.scale_source,
        body_model=world.body_model,
        intrinsics=world.intrinsics,
        cam2world=cam2world,
        points=world.points @ rotation.T + shift if len(world.points) else world.points,
        colors=world.colors,
        people=people,
        rotation=rotation,
        translation=shift,
        stats=stats,
    )
