"""VideoMimic's `retarget_poses_<robot>.h5`, from which its simulator's replay loader reads.

Datasets `joints` (T, A) rad, `root_pos` (T, 3), `root_quat` (T, 4) xyzw, `link_pos` (T, L, 3),
`link_quat` (T, L, 4) xyzw and `contacts/left_foot`, `contacts/right_foot` (T,) bool, in a world
whose +Z is up, m. `joint_names`, `link_names` and `fps` are attributes of the root, each also with
a leading slash: VideoMimic writes the one spelling and its loader reads the other. Link poses are
those of the moving robot. A file of several people has the datasets in `persons/<id>` and `fps` on
that group alone: on the root, VideoMimic's viewers would take it for one more person.
"""

from __future__ import annotations

import h5py
import numpy as np

from ..contracts import atomic_write
from ..errors import PantographError
from .trajectory import Trajectory, continuous

FPS = 30.0
FEET = ("left_foot", "right_foot")


def write(path, trajectory, robot):
    """Write a trajectory at its own rate; `robot` is the robotscene.Articulation that it moves."""

    def save(temporary):
        with h5py.File(temporary, "w", track_order=True) as h5:
            _write_person(h5, trajectory, robot)
            _write_names(h5, robot)
            for key in ("fps", "/fps"):
                h5.attrs[key] = float(trajectory.fps)

    atomic_write(path, save)


def write_people(path, trajectories, robot):
    """Write the trajectories of several people, by id, to one file."""

    def save(temporary):
        with h5py.File(temporary, "w", track_order=True) as h5:
            for pid, trajectory in trajectories.items():
                group = h5.create_group(f"persons/{pid}")
                _write_person(group, trajectory, robot)
                group.attrs["fps"] = float(trajectory.fps)
            _write_names(h5, robot)
            for key in ("robot_name", "/robot_name"):
                h5.attrs[key] = robot.robot.name

    atomic_write(path, save)


def read(path, robot):
    """Read a file of one person as a Trajectory; joints that it lacks are 0.

    Raises PantographError if datasets or names are missing or do not fit the robot.
    """
    found = read_people(path, robot)
    if len(found) != 1:
        raise PantographError(f"{path}: expected one person, found {len(found)}")
    return found.popitem()[1]


def read_people(path, robot):
    """Read a file of one person or several: {id: Trajectory}, the id 0 for a file of one."""
    from ..videomimic.layout import attribute, strings

    try:
        with h5py.File(path, "r") as h5:
            names = strings(h5, "joint_names")
            if names is None:
                raise KeyError("joint_names")
            groups = {0: h5}
            if "persons" in h5:
                groups = {int(pid): h5["persons"][pid] for pid in h5["persons"]}
            found = {}
            for pid, group in sorted(groups.items()):
                fps = attribute(h5, f"persons/{pid}/fps" if pid else "fps")
                arrays = {key: group[key][()] for key in ("joints", "root_pos", "root_quat")}
                feet = [np.asarray(group["contacts"][foot]) > 0.5 for foot in FEET]
                found[pid] = arrays, np.stack(feet, 1), FPS if fps is None else float(fps)
    except (OSError, KeyError, ValueError) as error:
        raise PantographError(
            f"{path}: expected joints, root_pos, root_quat, contacts and joint_names ({error})"
        ) from error
    return {pid: _trajectory(path, names, robot, *parts) for pid, parts in found.items()}


def describe(robot):
    """What a reader of the file has to know."""
    return {
        "joint_names": list(robot.joint_names),
        "link_names": list(robot.robot.body_names),
        "quaternion_order": "xyzw",
        "joint_order": "depth first",
    }


def _write_person(group, trajectory, robot):
    motion, links = trajectory.reordered(robot.joint_names), robot.robot.body_names
    state = robot.forward(
        motion.root_pos, motion.root_quat, motion.joints, motion.joint_names, links
    )
    contact = motion.contact
    if contact is None:
        contact = np.zeros((len(motion), len(FEET)), bool)
    group["joints"] = motion.joints.astype(np.float32)
    group["root_pos"] = motion.root_pos
    group["root_quat"] = continuous(motion.root_quat)[:, [1, 2, 3, 0]]
    group["link_pos"] = state.pos
    group["link_quat"] = state.quat[..., [1, 2, 3, 0]]
    for k, foot in enumerate(FEET):
        group[f"contacts/{foot}"] = contact[:, k]


def _write_names(h5, robot):
    for key, names in (("joint_names", robot.joint_names), ("link_names", robot.robot.body_names)):
        for spelling in (key, f"/{key}"):
            h5.attrs[spelling] = list(names)


def _trajectory(path, names, robot, arrays, contact, fps):
    joints = np.asarray(arrays["joints"], float)
    unknown = [name for name in names if name not in robot.joint_names]
    if unknown or joints.shape[1:] != (len(names),):
        raise PantographError(
            f"{path}: expected joints of {robot.robot.name} in joint_names, one per column; found "
            f"{joints.shape[1:]} columns for {len(names)} names"
            + (f", {unknown[0]} among them" if unknown else "")
        )
    whole = np.zeros((len(joints), len(robot.joint_names)))
    whole[:, [robot.joint_names.index(name) for name in names]] = joints
    quat = np.asarray(arrays["root_quat"], float)[:, [3, 0, 1, 2]]
    length = np.linalg.norm(quat, axis=1, keepdims=True)
    if np.abs(length - 1).max() > 1e-2:
        raise PantographError(f"{path}: expected unit quaternions in root_quat")
    root = np.asarray(arrays["root_pos"], float)
    return Trajectory(fps, root, quat / length, whole, robot.joint_names, contact)
