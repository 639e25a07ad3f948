"""The motion file of whole_body_tracking (BeyondMimic) on Isaac Lab.

A NumPy archive at 50 frames a second: `fps` [1], `joint_pos` and `joint_vel` (T, A), `body_pos_w`,
`body_lin_vel_w`, `body_ang_vel_w` (T, L, 3), `body_quat_w` (T, L, 4) wxyz. Joints and bodies are
in Isaac's breadth-first order. Poses are those of the links, linear velocities those of the
links' centres of mass, as Isaac Lab's `body_lin_vel_w` gives them. The arrays `joint_names` and
`body_names`, which the original lacks, say the order; its readers pass over them.
"""

from __future__ import annotations

import numpy as np

from ..errors import PantographError
from .trajectory import Trajectory

FPS = 50.0

_KEYS = (
    "fps",
    "joint_pos",
    "joint_vel",
    "body_pos_w",
    "body_quat_w",
    "body_lin_vel_w",
    "body_ang_vel_w",
)


def write(path, trajectory, robot):
    """Write a trajectory at its own rate; `robot` is the robotscene.Articulation that it moves."""
    motion = trajectory.reordered(robot.joint_names_breadth_first)
    linear, angular, joint_vel = motion.velocities()
    bodies = robot.body_names_breadth_first
    state = robot.forward(
        motion.root_pos,
        motion.root_quat,
        motion.joints,
        motion.joint_names,
        bodies,
        velocity=(linear, angular, joint_vel),
    )
    arrays = {
        "joint_pos": motion.joints,
        "joint_vel": joint_vel,
        "body_pos_w": state.pos,
        "body_quat_w": state.quat,
        "body_lin_vel_w": state.com_vel,
        "body_ang_vel_w": state.ang_vel,
    }
    with open(path, "wb") as stream:
        np.savez(
            stream,
            fps=np.array([round(motion.fps)]),
            **{key: value.astype(np.float32) for key, value in arrays.items()},
            joint_names=np.array(motion.joint_names),
            body_names=np.array(bodies),
        )


def read(path, robot):
    """Read an archive as a Trajectory; joints without names are taken to be in Isaac's order.

    Raises PantographError if an array is missing or does not fit the robot.
    """
    with np.load(path, allow_pickle=False) as archive:
        missing = [key for key in _KEYS if key not in archive]
        if missing:
            raise PantographError(f"{path}: expected arrays {_KEYS}, {missing[0]} is missing")
        data = {key: archive[key] for key in archive}
    names = tuple(data.get("joint_names", robot.joint_names_breadth_first))
    joints = data["joint_pos"].astype(float)
    if joints.shape[1] != len(robot.joint_names) or set(names) != set(robot.joint_names):
        raise PantographError(
            f"{path}: expected the {len(robot.joint_names)} joints of the robot, "
            f"found {joints.shape[1]}"
        )
    root_pos = data["body_pos_w"][:, 0].astype(float)
    root_quat = data["body_quat_w"][:, 0].astype(float)
    fps = float(np.ravel(data["fps"])[0])
    motion = Trajectory(fps, root_pos, root_quat, joints, tuple(map(str, names)))
    return motion.reordered(robot.joint_names)


def describe(robot):
    """What a reader of the archive has to know."""
    return {
        "joint_names": list(robot.joint_names_breadth_first),
        "body_names": list(robot.body_names_breadth_first),
        "quaternion_order": "wxyz",
        "joint_order": "breadth first (Isaac)",
        "body_lin_vel_w": "at the centre of mass of each link",
    }
