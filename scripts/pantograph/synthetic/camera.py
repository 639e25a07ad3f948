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
