"""Shapes that are given, not fitted: of people whose stature or betas are known, of robots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import least_squares

from . import body
from .errors import PantographError

LIMB_SIGMA = 0.01
"""m that a limb's length may differ from the robot's."""

SHAPE_SIGMA = 3.0
"""Standard deviation of the coefficients of a shape with a robot's limbs: robots are no people."""


def read_betas(path):
    """Shapes in a JSON or YAML file: a list of lists of 10 coefficients, one by rank of person.

    The file holds one list of 10 numbers, a list of such lists, or either under the key
    `optimized_shape` or `betas`. Raises PantographError otherwise.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PantographError(f"{path}: not a readable file of betas ({reason})") from error
    if isinstance(content, dict):
        content = content.get("optimized_shape", content.get("betas"))
    try:
        betas = np.atleast_2d(np.asarray(content, float))
    except (TypeError, ValueError):
        betas = np.zeros(0)
    if betas.ndim != 2 or betas.shape[1] != 10 or not np.isfinite(betas).all():
        raise PantographError(
            f"{path}: expected 10 betas per person, as [..] or {{optimized_shape: [[..]]}}"
        )
    return betas.tolist()


def given(model, video, rank, betas, robot=None):
    """The shape (10,) that is given for a person, or None.

    The robot's where there is one; else the video's known betas, stretched to a known stature;
    else `betas` stretched to the known stature. rank: of the person, from 0.
    """
    if robot is not None:
        return robot_betas(model, robot)
    known = rank < len(video.person_betas)
    betas = body.betas_array(video.person_betas[rank]) if known else betas
    if rank < len(video.person_height):
        return body.betas_for_height(model, video.person_height[rank], betas)
    return betas if known else None


def source(video, ranks, robot=None):
    """What fixed people's sizes, as in `World.scale_source`; ranks: of the people, from 0."""
    if robot is not None:
        return "robot"
    if all(rank < len(video.person_height) for rank in ranks):
        return "height"
    if all(rank < len(video.person_betas) for rank in ranks):
        return "betas"
    return "landmarks"


def reshaped(model, person, betas):
    """A PersonBody (camera frame) with another shape that looks as large from the camera."""
    before, after = (body.rest_joints(model, b) for b in (person.betas, betas))
    before, after = before - before[0], after - after[0]
    transl = person.transl * (before * after).sum() / (before**2).sum()
    joints = body.joints(model, betas, person.global_orient, person.body_pose, transl)
    return replace(
        person,
        betas=np.asarray(betas, float),
        transl=transl,
        joints=np.where(person.valid[:, None, None], joints, 0.0),
    )


def robot_betas(model, robot):
    """The shape (10,) whose limbs are as long as the robot's, by least squares.

    Limbs lead from each of the robot's keypoints to the one it hangs on, and to the SMPL joints
    that stand for them.
    """
    rest = robot.rest_keypoints
    pairs = [(k, point.parent) for k, point in enumerate(robot.keypoints) if point.parent >= 0]
    lengths = np.array([np.linalg.norm(rest[a] - rest[b]) for a, b in pairs])
    mean = np.array([np.eye(24)[list(point.human)].mean(0) for point in robot.keypoints])
    step = np.array([mean[a] - mean[b] for a, b in pairs])

    def residuals(betas):
        limbs = np.linalg.norm(step @ body.rest_joints(model, betas), axis=1)
        return np.concatenate([(limbs - lengths) / LIMB_SIGMA, betas / SHAPE_SIGMA])

    return least_squares(residuals, np.zeros(10)).x
