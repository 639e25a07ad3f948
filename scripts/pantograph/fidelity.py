"""How closely a robot's motion follows recorded joint positions, by the measures of the field.

A recording: SMPL joints with face, feet and fingers, (T, 45, 3) m, +Z up, in the order of the
`smplx` package: the 24 joints of SMPL, then nose, eyes, ears, and from 29 on big toe, small toe
and heel of the left and of the right foot.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from .contracts import Contacts, Gravity, Mesh, PersonBody, PersonContacts
from .conventions import CONTACTS, SMPL_JOINTS
from .errors import PantographError
from .retarget import Weights, retarget
from .robot import load_robot

TOES = {"left": (29, 30, 31), "right": (32, 33, 34)}
"""Big toe, small toe and heel."""
STILL = 0.3
"""A human foot slower than this, m/s, should be still on the robot too."""
LINKS = {
    "pelvis": "pelvis",
    **{
        f"{side}_{joint}": f"{side}_{link}"
        for side in ("left", "right")
        for joint, link in {
            "hip": "hip_roll_link",
            "knee": "knee_link",
            "ankle": "ankle_pitch_link",
            "foot": "ankle_roll_link",
            "shoulder": "shoulder_roll_link",
            "elbow": "elbow_link",
            "wrist": "rubber_hand",
        }.items()
    },
}
"""Human joint and the G1's body, the pairs of VideoMimic (Allshire et al., 2025)."""
OFFSETS = {"foot": (0.1, 0.0, -0.02), "sole": (0.035, 0.0, -0.03)}
"""Toes and middle of the sole in the frame of the G1's ankle_roll_link, m."""


def read_recording(path, contacts=None):
    """A person from recorded positions: PersonBody and PersonContacts.

    contacts: files of (T,) bools for the left and the right foot; without them no foot is held.
    The pelvis is turned as hips and neck lie, the feet as toes and heels.
    Raises PantographError if a file has another shape.
    """
    points = np.load(path, allow_pickle=False).astype(float)
    if points.ndim != 3 or points.shape[1:] != (45, 3):
        raise PantographError(f"{path}: expected joints (T, 45, 3), found {points.shape}")
    count = len(points)
    contact = np.zeros((count, 2), bool)
    for foot, file in enumerate(contacts or ()):
        flags = np.load(file, allow_pickle=False)
        if flags.shape != (count,):
            raise PantographError(f"{file}: expected contacts ({count},), found {flags.shape}")
        contact[:, foot] = flags
    joints = points[:, :24]
    orient = axes(joints[:, 1] - joints[:, 2], joints[:, 12] - joints[:, 0])
    pose = np.tile(np.eye(3), (count, 23, 1, 1))
    for side, (big, small, heel) in TOES.items():
        forward = (points[:, big] + points[:, small]) / 2 - points[:, heel]
        left = np.cross([0.0, 0, 1], forward)
        foot = axes(left, np.cross(forward, left))
        pose[:, SMPL_JOINTS.index(f"{side}_ankle") - 1] = np.swapaxes(orient, 1, 2) @ foot
    ones = np.ones(count, bool)
    person = PersonBody(ones, ones.astype(float), orient, pose, np.zeros(10), joints[:, 0], joints)
    return person, PersonContacts(ones, contact, contact.astype(float))


def axes(left, up):
    """SMPL's axes as columns, (T, 3, 3): x along `left`, y near `up`, both (T, 3)."""
    x = left / np.linalg.norm(left, axis=-1, keepdims=True)
    z = np.cross(x, up)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-1)


def follow(person, contact, fps, weights=Weights()):  # noqa: B008  (frozen)
    """The G1's motion after a person on ground of unknown shape: `measure`'s figures."""
    count = len(person.valid)
    frames = np.tile(np.eye(4), (count, 1, 1))
    gravity = Gravity(
        camera_model="static",
        intrinsics=frames[:, :3, :3],
        cam2world=frames,
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
        rotation=np.eye(3),
        translation=np.zeros(3),
        people={1: person},
    )
    contacts = Contacts(contact_names=list(CONTACTS), people={1: contact})
    mesh = Mesh(
        vertices=np.zeros((0, 3)),
        faces=np.zeros((0, 3), np.int32),
        boxes=np.zeros((0, 7)),
        box_names=[],
    )
    robot = load_robot("g1")
    motion = retarget(robot, gravity, contacts, mesh, fps, weights)
    return measure(robot, motion, 1, person.joints)


def measure(robot, motion, pid, joints):
    """The field's measures of one person's motion against joints (T, 24, 3), a dict:

    position_mm: distance of the links of `LINKS` from the human's joints, both relative to the
    pelvis, after the one scale of the human over all frames that fits best; direction_deg: angle
    between eleven vectors (four limbs of two bones, hips, shoulders, trunk) of robot and human;
    acceleration_rad_s2: second difference of the joints without the wrists, absolute;
    still_foot_m_s: speed of the soles' middles while the human's foot is slower than `STILL`;
    human_foot_m_s: that of the human's; the numbers of samples beyond joint and velocity limits.
    """
    found = motion.people[pid]
    valid, fps = found.valid, motion.fps
    place, turn = found.link_pos[valid].astype(float), found.link_quat[valid]
    human = {name: joints[valid][:, k] for k, name in enumerate(SMPL_JOINTS)}

    def at(body, offset=(0.0, 0.0, 0.0)):
        k = motion.body_names.index(body)
        return place[:, k] + Rotation.from_quat(turn[:, k][:, [1, 2, 3, 0]]).apply(offset)

    links = {
        name: at(body, OFFSETS["foot"] if name.endswith("foot") else (0, 0, 0))
        for name, body in LINKS.items()
    }
    theirs = np.stack([human[name] - human["pelvis"] for name in links], axis=1)
    ours = np.stack([links[name] - links["pelvis"] for name in links], axis=1)
    scale = (theirs * ours).sum() / (theirs**2).sum()
    gap = np.linalg.norm(ours - scale * theirs, axis=-1)[:, 1:]

    bones = [("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")]
    chains = (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
    for side in ("left", "right"):
        bones += [(f"{side}_{b}", f"{side}_{a}") for chain in chains for a, b in pairwise(chain)]
    ends = dict(links)
    ends |= {f"{side}_wrist": at(f"{side}_wrist_yaw_link") for side in ("left", "right")}

    def vectors(points):
        trunk = sum(
            points[f"{side}_shoulder"] - points[f"{side}_hip"] for side in ("left", "right")
        )
        return np.stack([points[a] - points[b] for a, b in bones] + [trunk], axis=1)

    robots, humans = vectors(ends), vectors(human)
    cross = np.linalg.norm(np.cross(robots, humans), axis=-1)
    angle = np.degrees(np.arctan2(cross, (robots * humans).sum(-1)))

    still, moved = [], []
    for side in ("left", "right"):
        own = np.linalg.norm(np.diff(human[f"{side}_foot"], axis=0), axis=-1) * fps
        sole = at(LINKS[f"{side}_foot"], OFFSETS["sole"])
        speed = np.linalg.norm(np.diff(sole, axis=0), axis=-1) * fps
        still.append(speed[own < STILL])
        moved.append(own[own < STILL])
    q = found.joints[valid].astype(float)
    body = [k for k, name in enumerate(motion.joint_names) if "wrist" not in name]
    rates = np.abs(np.diff(q, axis=0)) * fps
    over = (q < robot.model_limits[:, 0]) | (q > robot.model_limits[:, 1])
    return {
        "position_mm": 1e3 * float(gap.mean()),
        "direction_deg": float(angle.mean()),
        "acceleration_rad_s2": float((np.abs(np.diff(q[:, body], n=2, axis=0)) * fps**2).mean()),
        "still_foot_m_s": float(np.concatenate(still).mean()),
        "human_foot_m_s": float(np.concatenate(moved).mean()),
        "limit_violations": int(over.sum()),
        "velocity_violations": int((rates > robot.velocity_limits).sum()),
    }
