"""When feet touch the ground, and the unit of a scene, from the motion of people's feet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter1d

from . import camera, ground
from .body import load_body
from .contracts import PersonContacts

SOLE_PARTS = ("heel", "foot_index", "big_toe", "small_toe", "foot")
"""Keypoints of a foot that rest on the ground, by the names that detectors use."""

ALONG = 0.55
"""Speed along the viewing ray, m/s, up to which a standing foot seems to move: the depth of a
foot follows that of its body."""


@dataclass
class Limits:
    """When a foot counts as touching."""

    speed: float = 0.45
    """m/s at which a foot stands as likely as not."""
    softness: float = 0.08
    """m/s by which the log-odds of standing change by one."""
    trust: float = 2.0
    """Largest log-odds that 1/30 s gives."""
    change: float = 5.0
    """Log-odds against starting or ending to stand at a frame."""
    height: float = 0.11
    """m above the person's lower foot below which a still foot bears the person."""
    reach: float = 0.12
    """m that a foot may be from where it bears the person and still be the same stand."""
    smoothing: float = 0.06
    """Standard deviation of the low-pass filter on positions, s."""


@dataclass
class FootPath:
    """Where a foot's K keypoints are in the world: places (K, T, 3) m; how fast the slowest is,
    speed (T,) m/s; views (K, T, 3): unit viewing rays."""

    places: np.ndarray
    speed: np.ndarray
    views: np.ndarray

    def distance(self, place):
        """Distance (T,) across the view from the nearest keypoint to its place (K, 3), m."""
        away = self.places - place[:, None]
        away -= (away * self.views).sum(-1, keepdims=True) * self.views
        return np.linalg.norm(away, axis=-1).min(0)


def foot_path(person, points, names, scene, scale, side, fps, sigma):
    """The `FootPath` of one foot.

    person: PersonBody in the camera frame; points: PersonKeypoints with `names`; scale: metres
    per unit of the scene; side: "left" or "right"; sigma: low-pass, s.

    Heel and toe keypoints are put on the viewing ray at the body's smoothed depth and carried to
    the world, which takes out the camera's motion. Depth is far noisier than the picture, so
    motion along the ray counts only as far as it exceeds `ALONG`. The slower of heel and toe is
    the foot: a heel that rises does not end the contact.
    """
    joints = [ground.ANKLES, ground.TOES]
    foot = 0 if side == "left" else 1
    valid = person.valid & points.visible
    depth = person.joints[:, [j[foot] for j in joints], 2].mean(1).astype(float)
    depth = ground.smooth(depth, valid * (0.05 + person.confidence), 0.15 * fps)
    present = [f"{side}_{part}" for part in SOLE_PARTS if f"{side}_{part}" in names]
    present = present or [f"{side}_ankle"]
    turned = scene.cam2world[:, :3, :3].astype(float)
    centres = scale * scene.cam2world[:, :3, 3].astype(float)
    places, speeds, views = [], [], []
    for name in present:
        k = names.index(name)
        rays = camera.rays(points.xy[:, k], scene.intrinsics)
        local = rays * (depth / rays[:, 2])[:, None]
        place = np.einsum("tij,tj->ti", turned, local) + centres
        place = ground.smooth(place, valid * (0.02 + points.score[:, k]), sigma * fps)
        velocity = ground.velocity(place, valid, fps)
        view = np.einsum("tij,tj->ti", turned, rays)
        along = (velocity * view).sum(1)
        across = np.linalg.norm(velocity - along[:, None] * view, axis=1)
        places.append(place)
        views.append(view)
        speeds.append(np.hypot(across, np.maximum(np.abs(along) - ALONG, 0)))
    return FootPath(np.stack(places), np.min(speeds, axis=0), np.stack(views))


def in_world(body, scene, scale):
    """{id: PersonBody} of a `Body` product in the scene's axes, metres; scale: m per unit."""
    people = {}
    rotation = scene.cam2world[:, :3, :3].astype(float)
    centre = scale * scene.cam2world[:, :3, 3].astype(float)
    for pid, person in body.people.items():
        people[pid] = type(person)(
            valid=person.valid,
            confidence=person.confidence,
            global_orient=rotation @ person.global_orient,
            body_pose=person.body_pose,
            betas=person.betas,
            transl=np.einsum("tij,tj->ti", rotation, person.transl) + centre,
            joints=np.einsum("tij,tkj->tki", rotation, person.joints) + centre[:, None],
        )
    return people


def foot_heights(person, model, up, fps):
    """Height of each sole over the person's lower sole, m, (T, 2).

    person: PersonBody in a world whose up direction is `up` (3,). The lower one is that of the
    0.2 s around the frame.
    """
    low = (ground.soles(person, model) @ up).min(2)
    sigma = 0.05 * fps
    low = np.stack([ground.smooth(low[:, k], person.valid, sigma) for k in range(2)], 1)
    lower = np.where(person.valid, low.min(1), np.inf)
    lower = minimum_filter1d(lower, 2 * int(round(0.1 * fps)) + 1, mode="nearest")
    return np.where(person.valid[:, None], low - lower[:, None], 0.0)


def standing(odds, change):
    """Probability (T,) of standing from each frame's log-odds (T,), a two-state Markov chain.

    change: log-odds against going from one state to the other at a frame. A single frame that
    disagrees with its neighbours costs two changes. Forward-backward algorithm (Rabiner, "A
    tutorial on hidden Markov models", Proc. IEEE 1989).
    """
    count = len(odds)
    step = np.array([[1.0, np.exp(-change)], [np.exp(-change), 1.0]])
    seen = np.stack([np.ones(count), np.exp(odds)], 1)
    ahead, back = np.ones((count, 2)), np.ones((count, 2))
    for t in range(count):
        ahead[t] = seen[t] * (step @ ahead[t - 1] if t else 1.0)
        ahead[t] /= ahead[t].sum()
    for t in range(count - 2, -1, -1):
        back[t] = step @ (seen[t + 1] * back[t + 1])
        back[t] /= back[t].sum()
    both = ahead * back
    return both[:, 1] / both.sum(1)


def bearing(path, still, height, limits):
    """Frames (T,) in which a foot bears the person, of those in which it is still (T,).

    path: FootPath; height: of the sole over the person's lower one (T,), m. A foot bears when it
    is low, and while it stays in the place where it was: one that is set on a step is high until
    the other one follows, one that is lifted and kept still never bears.
    """
    low = still & (height < limits.height)
    bears = low.copy()
    for start, end in ground.runs(still):
        at = start + np.flatnonzero(low[start:end])
        if len(at):
            near = path.distance(np.median(path.places[:, at], axis=1)) < limits.reach
            bears[start:end] |= near[start:end]
    return bears


def find_contacts(body, keypoints, scene, model, fps, limits=None):
    """{id: PersonContacts} for the people of a `Body` product, in the order of `CONTACTS`.

    model: BodyModel; fps: 1/s. A foot touches where it stands still by its speed and bears the
    person; the probability is that of standing still, zero where the foot does not bear.
    """
    limits = limits or Limits()
    # without a known unit, the camera's travel is left out rather than guessed
    scale = 1.0 if scene.metric else metric_scale(body, scene, model) or 0.0
    world = in_world(body, scene, scale)
    up = ground.up_of_people(world, scene.cam2world)[0]
    found = {}
    for pid, person in body.people.items():
        if pid not in keypoints.people:
            continue
        points = keypoints.people[pid]
        valid = person.valid & points.visible
        heights = foot_heights(world[pid], model, up, fps)
        probability = np.zeros((len(valid), 2))
        for foot, side in enumerate(("left", "right")):
            path = foot_path(
                *(person, points, keypoints.keypoint_names, scene, scale, side, fps),
                limits.smoothing,
            )
            odds = (limits.speed - path.speed) / limits.softness
            odds = np.clip(odds, -limits.trust, limits.trust) * 30 / fps
            for start, end in ground.runs(valid):
                probability[start:end, foot] = standing(odds[start:end], limits.change)
            still = probability[:, foot] > 0.5
            probability[still & ~bearing(path, still, heights[:, foot], limits), foot] = 0.0
        found[pid] = PersonContacts(valid=valid, contact=probability > 0.5, probability=probability)
    return found


def metric_scale(body, scene, model=None):
    """Metres per unit of a scene, from the people who stand on its floor; None where unknown.

    body: `Body` (metric, camera frame); scene: `Scene`; model: BodyModel, the built-in one by
    default. The viewing ray of the lower sole meets the plane through the points below the feet
    at some depth in the scene's unit; the body says how many metres that is. The median over the
    frames of all people within 8 % of the largest values is returned, if there are ten. None for
    scenes without points.
    """
    if scene.camera_model != "sfm" or len(scene.points) == 0:
        return None
    up = ground.up_of_people(in_world(body, scene, 0.0), scene.cam2world)[0]
    model = model or load_body()
    points = scene.points.astype(float)
    near, sights = np.zeros(len(points), bool), []
    for person in body.people.values():
        frames = np.flatnonzero(person.valid)
        soles = ground.soles(person, model)
        for t in frames[:: max(1, len(frames) // 60)]:
            intrinsics, pose = scene.intrinsics[t].astype(float), scene.cam2world[t].astype(float)
            joints = camera.project(person.joints[t], intrinsics)
            feet = soles[t].reshape(-1, 3)
            foot = feet[np.argmin(feet @ (up @ pose[:3, :3]))]
            low = camera.project(foot, intrinsics)
            if not (np.isfinite(joints).all() and np.isfinite(low).all()):
                continue
            tall = np.ptp(joints[:, 1])
            seen = camera.project(camera.to_camera(pose, points), intrinsics)
            inside = (seen >= 0).all(1) & (seen < 2 * intrinsics[:2, 2]).all(1)
            inside &= np.abs(seen[:, 0] - low[0]) < tall
            near |= inside & (seen[:, 1] > low[1] - 0.1 * tall)
            sights.append((pose[:3, 3], pose[:3, :3] @ foot))
    centres = scene.cam2world[:, :3, 3].astype(float)
    plane = ground.fit_plane(points[near], centres, up=up)
    if plane is None:
        return None
    scales = []
    for centre, foot in sights:
        slope = plane.normal @ foot
        reach = (plane.offset - plane.normal @ centre) / slope if slope else 0.0
        if reach > 0:
            scales.append(1 / reach)
    if len(scales) < 10:
        return None
    # feet on steps see the floor too far behind them: those that see it nearest stand on it
    scales = np.array(scales)
    agree = np.abs(scales / np.percentile(scales, 90) - 1) < 0.08
    return float(np.median(scales[agree])) if agree.sum() >= 10 else None
