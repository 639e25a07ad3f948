"""Camera paths: cam2world matrices (T, 4, 4) of OpenCV cameras in a world with +Z up."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def look_at(eye, target):
    """Cameras at `eye` (T, 3) that look at `target` (T, 3) with a level horizon."""
    eye, target = np.broadcast_arrays(np.asarray(eye, float), np.asarray(target, float))
    forward = target - eye
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right, axis=-1, keepdims=True)
    poses = np.tile(np.eye(4), eye.shape[:-1] + (1, 1))
    poses[..., :3, 0] = right
    poses[..., :3, 1] = np.cross(forward, right)
    poses[..., :3, 2] = forward
    poses[..., :3, 3] = eye
    return poses


def static(times, eye, target):
    """A camera on a tripod."""
    return np.repeat(look_at(eye, target)[None], len(times), axis=0)


def pan(times, eye, targets):
    """A camera on a tripod that turns from the first target to the last at an even speed."""
    share = (times - times[0]) / (times[-1] - times[0])
    targets = np.asarray(targets, float)
    path = np.stack([np.interp(share, np.linspace(0, 1, len(targets)), c) for c in targets.T], -1)
    return look_at(np.tile(np.asarray(eye, float), (len(times), 1)), path)


def handheld(times, eyes, targets, seed, sway=0.012, shake=0.006):
    """A camera carried through `eyes` (K, 3) and pointed at `targets` (K, 3), evenly in time.

    sway (m) and shake (rad) are the rms of the hand's movement, below 2.5 Hz.
    """
    rng = np.random.default_rng(seed)
    share = np.linspace(0, 1, len(eyes))
    smooth = (times - times[0]) / (times[-1] - times[0])

    def along(points):
        return np.stack([np.interp(smooth, share, c) for c in np.asarray(points, float).T], -1)

    poses = look_at(along(eyes) + sway * _wander(rng, times), along(targets))
    poses[:, :3, :3] = (
        poses[:, :3, :3] @ Rotation.from_rotvec(shake * _wander(rng, times)).as_matrix()
    )
    return poses


CAMERA_MODELS = {"static": "static", "handheld": "rotation", "pan": "rotation", "travel": "sfm"}
"""Kind of camera path -> what `contracts.Scene` calls it."""


def path(kind, times, eye, target, seed=0, travel=1.2, sweep=0.6):
    """A camera at `eye` (3,) that looks at `target` (3,), of a kind in `CAMERA_MODELS`.

    static: on a tripod. handheld: the hand trembles and turns, and stays. pan: on a tripod, the
    aim moves `sweep` m to the right at the target's distance. travel: hand-held, carried `travel`
    m to the right along a shallow arc. Each has the given view halfway.
    """
    eye, target = np.asarray(eye, float), np.asarray(target, float)
    view = look_at(eye, target)
    right, ahead = view[:3, 0], view[:3, 2] * (1, 1, 0)
    if kind == "static":
        return static(times, eye, target)
    if kind == "pan":
        return pan(times, eye, [target - sweep / 2 * right, target + sweep / 2 * right])
    if kind == "handheld":
        return handheld(times, [eye, eye], [target, target], seed, sway=0.008, shake=0.012)
    if kind == "travel":
        share = np.linspace(-0.5, 0.5, 9)[:, None]
        eyes = eye + travel * share * right + 0.4 * travel * (0.25 - share**2) * ahead
        targets = target + 0.25 * travel * share * right
        return handheld(times, eyes, targets, seed)
    raise ValueError(f"camera {kind!r}: expected one of {', '.join(CAMERA_MODELS)}")


def _wander(rng, times, waves=6):
    # three sums of slow sines with an rms of 1
    frequency = rng.uniform(0.3, 2.5, (waves, 3))
    phase = rng.uniform(0, 2 * np.pi, (waves, 3))
    weight = 1 / frequency
    weight /= np.sqrt((weight**2).sum(0) / 2)
    return (weight * np.sin(2 * np.pi * frequency * times[:, None, None] + phase)).sum(1)


def intrinsics(width, height, focal):
    """Camera matrix (3, 3) with the principal point in the middle, px."""
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
