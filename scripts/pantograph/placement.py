"""Where people are, for methods that give their pose and shape only."""

from __future__ import annotations

import numpy as np
from scipy import stats

from . import landmarks
from .body import joint_transforms, joints
from .contracts import PersonBody

SCORE = 0.3
"""Least score of a keypoint that counts as seen."""

LEAST = 4
"""Least landmarks of a frame with a position of its own."""

TRIM = 0.2
"""Part of the frames at either end that a clip's shape leaves out, per coefficient."""


def spans(visible, max_gap):
    """Stretches (start, end), end exclusive, of frames without a gap over `max_gap` frames.

    visible: (T,) bool. A stretch begins and ends with a frame in which the person is visible.
    """
    seen = np.flatnonzero(visible)
    if len(seen) == 0:
        return []
    breaks = np.flatnonzero(np.diff(seen) > max_gap + 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(seen, breaks)]


def mean_betas(betas):
    """The trimmed mean (10,) of shapes (n, 10), each coefficient on its own; zeros if n is 0."""
    if len(betas) == 0:
        return np.zeros(10)
    return stats.trim_mean(np.asarray(betas, float), TRIM, axis=0)


def clip_betas(model, betas):
    """One shape (10,) for a clip from those of its frames (n, 10): `mean_betas`.

    model: BodyModel. The coefficients of a SMPL network say nothing about the built-in body, which
    takes its mean shape.
    """
    return np.zeros(10) if model.name == "builtin" else mean_betas(betas)


def place_person(model, betas, orient, pose, known, keypoints, names, intrinsics, max_gap=8):
    """The PersonBody of a known pose and shape, put where its landmarks meet their keypoints.

    model: BodyModel; betas (10,); orient (T, 3, 3) and pose (T, 23, 3, 3) in the camera's axes,
    which mean something in the frames `known` (T,); keypoints: PersonKeypoints with `names`;
    intrinsics: (T, 3, 3) px. A frame has a position of its own where four landmarks have a score
    over 0.3; up to `max_gap` frames between two of those get one by linear interpolation, with
    confidence 0. All other frames are invalid, with zeros and identities.
    """
    count = len(known)
    index, present = landmarks.select(names)
    seen = (known & keypoints.visible)[:, None] & present
    score = np.where(seen, keypoints.score[:, index], 0.0)
    found = np.flatnonzero((score > SCORE).sum(1) >= LEAST)
    rotations, centred = joint_transforms(model, betas, orient, pose, np.zeros((count, 3)))
    transl, distance = np.zeros((count, 3)), np.zeros(count)
    if len(found):
        transl[found], distance[found] = landmarks.fit_translation(
            landmarks.attach(centred[found], rotations[found]),
            keypoints.xy[found][:, index].astype(float),
            score[found] * landmarks.WEIGHTS2D,
            np.asarray(intrinsics, float)[found],
        )
        found = found[np.isfinite(distance[found])]
    solved = np.zeros(count, bool)
    solved[found] = True
    valid = np.zeros(count, bool)
    for start, end in spans(solved, max_gap):
        # an end of the known pose within the gap ends the stretch too
        for first, last in spans(known[start:end], 0):
            part = np.arange(start + first, start + last)
            own = part[solved[part]]
            if len(own) == 0:
                continue
            part = part[(part >= own[0]) & (part <= own[-1])]
            valid[part] = True
            transl[part] = np.stack(
                [np.interp(part, own, transl[own, axis]) for axis in range(3)], 1
            )
    eye = np.eye(3)
    orient = np.where(valid[:, None, None], orient, eye)
    pose = np.where(valid[:, None, None, None], pose, eye)
    transl = np.where(valid[:, None], transl, 0.0)
    confidence = (score * landmarks.WEIGHTS2D).sum(1) / landmarks.WEIGHTS2D.sum()
    return PersonBody(
        valid=valid,
        confidence=np.where(solved, confidence, 0.0),
        global_orient=orient,
        body_pose=pose,
        betas=betas,
        transl=transl,
        joints=np.where(valid[:, None, None], joints(model, betas, orient, pose, transl), 0.0),
        reprojection=np.where(solved, distance, 0.0),
    )
