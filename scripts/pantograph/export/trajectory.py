"""One robot's motion at a constant rate: what every motion format holds in its own way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp


@dataclass(frozen=True)
class Trajectory:
    """Motion of a robot with a floating root.

    root_pos (T, 3) m and root_quat (T, 4) wxyz of the root body in a world whose +Z is up;
    joints (T, A) rad in the order of joint_names; frames per second; contact: (T, C) bool of the
    feet, None where nothing is known of them.
    """

    fps: float
    root_pos: np.ndarray
    root_quat: np.ndarray
    joints: np.ndarray
    joint_names: tuple[str, ...]
    contact: np.ndarray | None = None

    def __len__(self):
        return len(self.root_pos)

    def reordered(self, joint_names):
        """The same motion with its joints in another order."""
        index = [self.joint_names.index(name) for name in joint_names]
        return replace(self, joints=self.joints[:, index], joint_names=tuple(joint_names))

    def resampled(self, fps):
        """The same motion at another rate: the first frame stays, the last at most one step early.

        Positions and joints are interpolated linearly, rotations along the great arc; contact is
        that of the nearest frame.
        """
        if len(self) < 2 or np.isclose(fps, self.fps, rtol=1e-4):
            return replace(self, fps=float(fps))
        count = int(np.floor((len(self) - 1) * fps / self.fps + 1e-6)) + 1
        at = np.minimum(np.arange(count) * self.fps / fps, len(self) - 1)
        low = np.minimum(at.astype(int), len(self) - 2)
        part = (at - low)[:, None]
        slerp = Slerp(np.arange(len(self)), _rotation(self.root_quat))
        quat = slerp(at).as_quat()[:, [3, 0, 1, 2]]
        return replace(
            self,
            fps=float(fps),
            root_pos=(1 - part) * self.root_pos[low] + part * self.root_pos[low + 1],
            root_quat=continuous(quat),
            joints=(1 - part) * self.joints[low] + part * self.joints[low + 1],
            contact=None if self.contact is None else self.contact[np.rint(at).astype(int)],
        )

    def velocities(self):
        """Root velocity (T, 3) and angular velocity (T, 3), both in the world, and joints' (T, A).

        Linear velocities are central differences, one-sided at the ends; the angular velocity is
        log(q[t+1] q[t-1]^-1) / (2 dt) with the ends repeated, as whole_body_tracking's
        `csv_to_npz.py` computes it.
        """
        if len(self) < 2:
            return np.zeros((len(self), 3)), np.zeros((len(self), 3)), np.zeros_like(self.joints)
        step = 1 / self.fps
        linear = np.gradient(self.root_pos, step, axis=0)
        joints = np.gradient(self.joints, step, axis=0)
        rotation = _rotation(self.root_quat)
        if len(self) == 2:
            turn = (rotation[1] * rotation[0].inv()).as_rotvec() / step
            return linear, np.stack([turn, turn]), joints
        inner = (rotation[2:] * rotation[:-2].inv()).as_rotvec() / (2 * step)
        return linear, np.concatenate([inner[:1], inner, inner[-1:]]), joints


def continuous(quat):
    """The same rotations (T, 4) with signs such that successive quaternions are near each other."""
    flip = np.cumprod(np.where((quat[1:] * quat[:-1]).sum(-1) < 0, -1.0, 1.0))
    return quat * np.concatenate([[1.0], flip])[:, None]


def _rotation(wxyz):
    return Rotation.from_quat(np.asarray(wxyz)[:, [1, 2, 3, 0]])
