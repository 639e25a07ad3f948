"""MuJoCo models of one robot alone, and of several robots in the scene that they move in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np

from .errors import PantographError

ROBOTS = Path(__file__).resolve().parents[2] / "resources" / "robots"
"""Where robots live, one folder each with a model file of the robot's name."""


def model_file(robot):
    """The MJCF file of a robot by name. Raises PantographError if there is no such robot."""
    path = ROBOTS / robot / f"{robot}.xml"
    if not path.is_file():
        known = sorted(p.parent.name for p in ROBOTS.glob("*/*.xml") if p.stem == p.parent.name)
        raise PantographError(f"no robot {robot!r}; expected one of {', '.join(known)}")
    return path


@dataclass(frozen=True)
class State:
    """Bodies over time, world: poses, and velocities where these were asked for."""

    pos: np.ndarray
    """(T, L, 3) link origins, m."""
    quat: np.ndarray
    """(T, L, 4) wxyz."""
    com_vel: np.ndarray | None = None
    """(T, L, 3) of the centres of mass, m/s."""
    ang_vel: np.ndarray | None = None
    """(T, L, 3) rad/s."""


class Articulation:
    """A robot with a floating root and joints of one degree of freedom, from its MJCF file."""

    def __init__(self, model_file):
        try:
            self.model = mujoco.MjModel.from_xml_path(str(model_file))
        except ValueError as error:
            raise PantographError(f"{model_file}: not a readable robot model ({error})") from error
        free = np.flatnonzero(self.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        if len(free) != 1:
            raise PantographError(
                f"{model_file}: expected one free joint at the root, found {len(free)}"
            )
        self._root_joint = int(free[0])
        self.root_body = int(self.model.jnt_bodyid[self._root_joint])

    @cached_property
    def joint_names(self):
        """Actuated joints in the order of the file, which is depth first."""
        return tuple(
            self.model.joint(k).name for k in range(self.model.njnt) if k != self._root_joint
        )

    @cached_property
    def body_names(self):
        """Bodies that a joint moves, the root first, in the order of the file."""
        moved = np.flatnonzero(self.model.body_jntnum > 0)
        return tuple(self.model.body(k).name for k in moved)

    @cached_property
    def body_names_breadth_first(self):
        """The same bodies level by level, siblings in the order of the file.

        A body without a joint belongs to its parent, as simulators merge fixed links.
        """
        model = self.model
        children = {body: [] for body in range(model.nbody)}
        for body in range(self.root_body + 1, model.nbody):
            parent = int(model.body_parentid[body])
            while parent > self.root_body and model.body_jntnum[parent] == 0:
                parent = int(model.body_parentid[parent])
            if model.body_jntnum[body] > 0:
                children[parent].append(body)
        order = [self.root_body]
        for body in order:
            order += children[body]
        return tuple(model.body(body).name for body in order)

    @cached_property
    def joint_names_breadth_first(self):
        """Joints in the order of `body_names_breadth_first`."""
        names = []
        for name in self.body_names_breadth_first:
            body = self.model.body(name)
            joints = range(body.jntadr[0], body.jntadr[0] + body.jntnum[0])
            names += [self.model.joint(k).name for k in joints if k != self._root_joint]
        return tuple(names)

    def joint_range(self, joint_names):
        """Limits (A, 2), rad; infinite where a joint has none."""
        joints = [self.model.joint(name) for name in joint_names]
        return np.array([j.range if j.limited[0] else (-np.inf, np.inf) for j in joints])

    def qpos(self, root_pos, root_quat, joints, joint_names):
        """MuJoCo positions (T, nq) of a motion."""
        qpos = np.tile(self.model.qpos0, (len(root_pos), 1))
        root = int(self.model.jnt_qposadr[self._root_joint])
        qpos[:, root : root + 3] = root_pos
        qpos[:, root + 3 : root + 7] = root_quat
        qpos[:, [self.model.joint(n).qposadr[0] for n in joint_names]] = joints
        return qpos

    def forward(self, root_pos, root_quat, joints, joint_names, body_names, velocity=None):
        """Forward kinematics of a motion: a State of the named bodies.

        root_pos (T, 3), root_quat (T, 4) wxyz, joints (T, A) in the order of joint_names;
        velocity: linear (T, 3) and angular (T, 3) of the root in the world, joints' (T, A).
        """
        model, data = self.model, mujoco.MjData(self.model)
        qpos = self.qpos(root_pos, root_quat, joints, joint_names)
        bodies = [model.body(name).id for name in body_names]
        shape = (len(qpos), len(bodies))
        pos, quat = np.zeros(shape + (3,)), np.zeros(shape + (4,))
        spatial = None
        if velocity is not None:
            spatial = np.zeros(shape + (6,))
            root = int(model.jnt_dofadr[self._root_joint])
            dofs = [model.joint(name).dofadr[0] for name in joint_names]
        for t in range(len(qpos)):
            data.qpos[:] = qpos[t]
            mujoco.mj_kinematics(model, data)
            pos[t], quat[t] = data.xpos[bodies], data.xquat[bodies]
            if velocity is None:
                continue
            linear, angular, rates = (part[t] for part in velocity)
            data.qvel[root : root + 3] = linear
            # the angular velocity of a free joint is in the axes of its body
            data.qvel[root + 3 : root + 6] = data.xmat[self.root_body].reshape(3, 3).T @ angular
            data.qvel[dofs] = rates
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
            for k, body in enumerate(bodies):
                mujoco.mj_objectVelocity(
                    model, data, mujoco.mjtObj.mjOBJ_BODY, body, spatial[t, k], 0
                )
        if spatial is None:
            return State(pos, quat)
        return State(pos, quat, com_vel=spatial[..., 3:], ang_vel=spatial[..., :3])
