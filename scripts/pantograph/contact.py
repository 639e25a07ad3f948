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


@dataclass
class Limits:
    """When a foot counts as touching."""

    speed: float = 0.4
    """m/s at which contact is as likely as not."""
    speed_softness: float = 0.08
    height: float = 0.11
    """m above the person's lower foot at which contact is as likely as not."""
    height_softness: float = 0.02
    on: float = 0.6
    """Probability above which a contact starts."""
    off: float = 0.35
    """Probability below which it ends."""
    shortest: float = 0.1
    """Shortest contact and shortest gap, s."""
    smoothing: float = 0.05
    """Standard deviation of the low-pass filter on positions, s."""


def foot_speed(person, points, names, scene, scale, side, fps, sigma):
    """Speed of a foot over the ground, m/s, (T,).

    person: PersonBody in the camera frame; points: PersonKeypoints with `names`; scale: metres
    per unit of the scene; side: "left" or "right"; sigma: low-pass, s.

    Heel and toe keypoints are put on the viewing ray at the body's smoothed depth and carried to
    the world, which takes out the camera's motion. Depth is far noisier than the picture, so
    motion along the ray counts only as far as it exceeds 0.3 m/s. The slower of heel and toe is
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
    speeds = []
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
        speeds.append(np.hypot(across, np.maximum(np.abs(along) - 0.3, 0)))
    return np.min(speeds, axis=0)


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


def hysteresis(probability, on, off, shortest):
    """Contact flags (T,) from a probability (T,).

    A contact starts at `on` and lasts while the probability stays above `off`; gaps and contacts
    shorter than `shortest` frames are then removed, gaps first.
    """
    flags = np.zeros(len(probability), bool)
    for start, end in ground.runs(probability > off):
        flags[start:end] = (probability[start:end] >= on).any()
    for start, end in ground.runs(~flags):
        if end - start < shortest and start > 0 and end < len(flags):
            flags[start:end] = True
    for start, end in ground.runs(flags):
        if end - start < shortest:
            flags[start:end] = False
    return flags


def find_contacts(body, keypoints, scene, model, fps, limits=None):
    """{id: PersonContacts} for the people of a `Body` product, in the order of `CONTACTS`.

    model: BodyModel; fps: 1/s. The probability is the product of a logistic in the foot's speed
    and one in its height over the person's lower foot.
    """
    limits = limits or Limits()
    # without a known unit, the camera's travel is left out rather than guessed
    scale = 1.0 if scene.metric else metric_scale(body, scene, model) or 0.0
    world = in_world(body, scene, scale)
    axis = ground.body_up(world)
    up = axis[0] if axis is not None else np.array([0.0, -1.0, 0.0])
    shortest = max(2, int(round(limits.shortest * fps)))
    found = {}
    for pid, person in body.people.items():
        if pid not in keypoints.people:
            continue
        points = keypoints.people[pid]
        valid = person.valid & points.visible
        heights = foot_heights(world[pid], model, up, fps)
        probability = np.zeros((len(valid), 2))
        contact = np.zeros((len(valid), 2), bool)
        for foot, side in enumerate(("left", "right")):
            speed = foot_speed(
                *(person, points, keypoints.keypoint_names, scene, scale, side, fps),
                limits.smoothing,
            )
            slow = _logistic((limits.speed - speed) / limits.speed_softness)
            low = _logistic((limits.height - heights[:, foot]) / limits.height_softness)
            probability[:, foot] = np.where(valid, slow * low, 0.0)
            for start, end in ground.runs(valid):
                contact[start:end, foot] = hysteresis(
                    probability[start:end, foot], limits.on, limits.off, shortest
                )
        found[pid] = PersonContacts(valid=valid, contact=contact, probability=probability)
    return found


def _logistic(x):
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


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
    axis = ground.body_up(in_world(body, scene, 0.0))
    if axis is None:
        return None
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
            foot = feet[np.argmin(feet @ (axis[0] @ pose[:3, :3]))]
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
    plane = ground.fit_plane(points[near], centres, up=axis[0])
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
