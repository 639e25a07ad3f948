"""MuJoCo models of one robot alone, and of several robots in the scene that they move in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from .errors import PantographError
from .robot import Robot, compile_model


@dataclass(frozen=True)
class State:
    """Bodies over time, world: poses, and velocities where these were asked for."""

    pos: np.ndarray
    """(T, L, 3) link origins, m."""
    quat: np.ndarray
    """(T, L, 4) wxyz."""
    com_vel: np.ndarray | None = None
    """(T, L, 3) of the centres of mass, those of fixed bodies merged into their parents, m/s."""
    ang_vel: np.ndarray | None = None
    """(T, L, 3) rad/s."""


class Articulation:
    """A robot's MuJoCo model: a floating root and joints of one degree of freedom."""

    def __init__(self, robot: Robot):
        self.robot = robot
        self.model = compile_model(robot.model_path, robot.body_names[0])
        free = np.flatnonzero(self.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        if len(free) != 1:
            raise PantographError(
                f"{robot.model_path}: expected one free joint at the root, found {len(free)}"
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
                    model, data, mujoco.mjtObj.mjOBJ_XBODY, body, spatial[t, k], 0
                )
        if spatial is None:
            return State(pos, quat)
        ang_vel, origin_vel = spatial[..., :3], spatial[..., 3:]
        turn = Rotation.from_quat(quat[..., [1, 2, 3, 0]].reshape(-1, 4)).as_matrix()
        centres = np.stack([self.centre_of_mass(name) for name in body_names])
        lever = np.einsum("tlij,lj->tli", turn.reshape(shape + (3, 3)), centres)
        return State(pos, quat, com_vel=origin_vel + np.cross(ang_vel, lever), ang_vel=ang_vel)

    def centre_of_mass(self, body_name):
        """Centre of mass of a body with all that is fixed to it, in its frame, m, (3,)."""
        model, data = self.model, mujoco.MjData(self.model)
        data.qpos[:] = model.qpos0
        mujoco.mj_kinematics(model, data)
        body = model.body(body_name).id
        members = [body]
        for k in range(body + 1, model.nbody):
            if model.body_parentid[k] in members and model.body_jntnum[k] == 0:
                members.append(k)
        mass = model.body_mass[members]
        centre = mass @ data.xipos[members] / mass.sum() if mass.sum() > 0 else data.xpos[body]
        return data.xmat[body].reshape(3, 3).T @ (centre - data.xpos[body])


def scene_spec(robot, people, boxes=(), scale=1.0, dress=None):
    """A MuJoCo spec of one robot per person on the floor z = 0, among support boxes.

    people: ids; their robot's names get the prefix `prefix(id)`. boxes: (B, 7) as in
    contracts.Mesh, `scale` times as large and far from the origin. `dress(id, spec)` may change
    the looks of a robot's spec before it joins the scene.
    """
    spec = mujoco.MjSpec()
    size = [0, 0, 0.05]
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=size)
    for k, box in enumerate(np.asarray(boxes, float).reshape(-1, 7)):
        spec.worldbody.add_geom(
            name=f"box{k}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=scale * box[:3],
            size=np.maximum(scale * box[3:6] / 2, 1e-4),
            quat=[np.cos(box[6] / 2), 0, 0, np.sin(box[6] / 2)],
        )
    for pid in people:
        child = mujoco.MjSpec.from_file(str(robot.model_path))
        for key in list(child.keys):
            child.delete(key)
        root = child.body(robot.body_names[0])
        if not list(root.joints):
            root.add_freejoint()
        if dress is not None:
            dress(pid, child)
        spec.attach(child, prefix=prefix(pid), frame=spec.worldbody.add_frame())
    return spec


def prefix(pid):
    """What the names of a person's robot start with in a scene."""
    return f"p{pid}_"


class RobotScene:
    """A compiled `scene_spec` that can be put into poses."""

    def __init__(self, robot, people, spec):
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._addresses = {}
        for pid in people:
            root = self.model.body(prefix(pid) + robot.body_names[0])
            joints = [self.model.joint(prefix(pid) + name) for name in robot.joint_names]
            self._addresses[pid] = (
                int(self.model.jnt_qposadr[root.jntadr[0]]),
                [int(joint.qposadr[0]) for joint in joints],
            )

    def pose(self, pid, root_pos, root_quat, joints):
        """Move a person's robot: (3,) m, (4,) wxyz, (A,) rad in the robot's joint order."""
        root, addresses = self._addresses[pid]
        self.data.qpos[root : root + 3] = root_pos
        self.data.qpos[root + 3 : root + 7] = root_quat
        self.data.qpos[addresses] = joints

    def update(self):
        """Compute where everything is after `pose`."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def colliders(self, pid):
        """Collision geoms of a person's robot."""
        model = self.model
        names = [model.body(int(body)).name for body in model.geom_bodyid]
        return [
            geom
            for geom in range(model.ngeom)
            if names[geom].startswith(prefix(pid))
            and (model.geom_contype[geom] or model.geom_conaffinity[geom])
        ]

    def surroundings(self):
        """Geoms of the floor and the support boxes."""
        return np.flatnonzero(self.model.geom_bodyid == 0).tolist()

    def distance(self, geoms, others, limit=1.0):
        """Least distance of any of `geoms` to any of `others`, m; negative in penetration.

        `limit` where it is at least that. Call `update` first.
        """
        return min(
            (
                mujoco.mj_geomDistance(self.model, self.data, a, b, limit, None)
                for a in geoms
                for b in others
            ),
            default=limit,
        )
