"""The table in which Unitree publishes LAFAN1 motions retargeted to its robots.

No header, commas, six decimals; a row holds the root position (m), the root quaternion (x, y, z,
w) and the joints (rad) in the model's depth-first order: 36 columns for the G1. The rate is not
stored: readers take it to be 30 frames a second.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..errors import PantographError
from .trajectory import Trajectory, continuous

FPS = 30.0


def write(path, trajectory, robot):
    """Write a trajectory at its own rate; `robot` is the robotscene.Articulation that it moves."""
    motion = trajectory.reordered(robot.joint_names)
    quat = continuous(motion.root_quat)[:, [1, 2, 3, 0]]
    rows = np.concatenate([motion.root_pos, quat, motion.joints], axis=1)
    text = io.StringIO()
    np.savetxt(text, rows, fmt="%.6f", delimiter=",")
    Path(path).write_text(text.getvalue())


def read(path, robot, fps=FPS):
    """Read a table as a Trajectory.

    Raises PantographError if its columns do not fit the robot or its quaternions are not unit.
    """
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise PantographError(f"{path}: expected numbers without a header ({error})") from error
    columns = 7 + len(robot.joint_names)
    if rows.shape[1] != columns:
        raise PantographError(f"{path}: expected {columns} columns, found {rows.shape[1]}")
    norm = np.linalg.norm(rows[:, 3:7], axis=1, keepdims=True)
    if np.abs(norm - 1).max() > 1e-3:
        raise PantographError(f"{path}: expected unit quaternions in columns 4 to 7")
    quat = (rows[:, 3:7] / norm)[:, [3, 0, 1, 2]]
    return Trajectory(float(fps), rows[:, :3], quat, rows[:, 7:], robot.joint_names)


def describe(robot):
    """What a reader of the table has to know."""
    return {
        "columns": ["root x", "root y", "root z", "qx", "qy", "qz", "qw", *robot.joint_names],
        "quaternion_order": "xyzw",
        "joint_order": "depth first",
    }
