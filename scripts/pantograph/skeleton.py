"""Forward kinematics of the SMPL skeleton in JAX."""

from __future__ import annotations

import jax
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
_ORDER = [np.array([0]), *LEVELS]


def _chains():
    chain = np.eye(len(PARENTS), dtype=np.float32)
    for joint in range(1, len(PARENTS)):
        chain[joint] += chain[PARENTS[joint]]
    return chain


CHAINS = _chains()
"""(24, 24): 1 where the column's joint is the row's joint or an ancestor of it."""
_ABOVE = CHAINS - np.eye(len(PARENTS), dtype=np.float32)
_HUNG = CHAINS * (np.arange(len(PARENTS)) > 0)


@jax.custom_jvp
def forward(rest, rotations, pelvis):
    """Joint positions and global rotations of one frame.

    rest: (24, 3) joints of the rest pose, m; rotations: (24, 3, 3) parent to child, the first
    being the pelvis' own; pelvis: (3,) position of joint 0.
    Returns positions (24, 3) and rotations (24, 3, 3) in the frame of `pelvis`.

    Its derivative is the geometric Jacobian (each joint turns all that hangs on it about its own
    position), which costs a few products where differentiating the chain costs one per level.
    """
    offsets = rest - rest[np.maximum(PARENTS, 0)]
    positions, world = [pelvis[None]], [rotations[:1]]
    for level, joints in enumerate(LEVELS):
        above = np.searchsorted(_ORDER[level], PARENTS[joints])
        world.append(world[-1][above] @ rotations[joints])
        reach = jnp.einsum("jab,jb->ja", world[-2][above], offsets[joints])
        positions.append(positions[-1][above] + reach)
    back = np.argsort(np.concatenate(_ORDER))
    return jnp.concatenate(positions)[back], jnp.concatenate(world)[back]


@forward.defjvp
def _forward_jvp(primals, tangents):
    rest, rotations, pelvis = primals
    d_rest, d_rotations, d_pelvis = tangents
    positions, world = forward(rest, rotations, pelvis)
    turn = jnp.einsum("jba,jbc->jac", rotations, d_rotations)
    own = 0.5 * jnp.stack(
        [
            turn[:, 2, 1] - turn[:, 1, 2],
            turn[:, 0, 2] - turn[:, 2, 0],
            turn[:, 1, 0] - turn[:, 0, 1],
        ],
        -1,
    )
    spin = jnp.einsum("jab,jb->ja", world, own)
    d_offsets = d_rest - d_rest[np.maximum(PARENTS, 0)]
    parents = jnp.einsum("jab,jb->ja", world[np.maximum(PARENTS, 0)], d_offsets)
    d_positions = (
        jnp.cross(_ABOVE @ spin, positions)
        - _ABOVE @ jnp.cross(spin, positions)
        + _HUNG @ parents
        + d_pelvis
    )
    total = CHAINS @ spin
    d_world = jnp.cross(total[:, None, :], world.transpose(0, 2, 1)).transpose(0, 2, 1)
    return (positions, world), (d_positions, d_world)
