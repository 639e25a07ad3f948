"""Forward kinematics of the SMPL skeleton in JAX."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .conventions import SMPL_PARENTS

PARENTS = np.array(SMPL_PARENTS)


def _levels():
    depth = np.zeros(len(PARENTS), int)
    for joint in range(1, len(PARENTS)):
        depth[joint] = depth[PARENTS[joint]] + 1
    return [np.flatnonzero(depth == level) for level in range(1, depth.max() + 1)]


LEVELS = _levels()
"""Joints by distance from the root; those of one level are independent of each other."""


def forward(rest, rotations, pelvis):
    """Joint positions and global rotations of one frame.

    rest: (24, 3) joints of the rest pose, m; rotations: (24, 3, 3) parent to child, the first
    being the pelvis' own; pelvis: (3,) position of joint 0.
    Returns positions (24, 3) and rotations (24, 3, 3) in the frame of `pelvis`.
    """
    offsets = rest - rest[np.maximum(PARENTS, 0)]
    positions = jnp.zeros((24, 3), rotations.dtype).at[0].set(pelvis)
    world = jnp.zeros((24, 3, 3), rotations.dtype).at[0].set(rotations[0])
    for joints in LEVELS:
        parents = PARENTS[joints]
        world = world.at[joints].set(world[parents] @ rotations[joints])
        reach = jnp.einsum("jab,jb->ja", world[parents], offsets[joints])
        positions = positions.at[joints].set(positions[parents] + reach)
    return positions, world
