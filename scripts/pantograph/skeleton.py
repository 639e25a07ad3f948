"""Forward kinematics of the SMPL skeleton in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .conventions import SMPL_PARENTS

PARENTS = np.array(SMPL_PARENTS)


def _chains():
    chain = np.eye(len(PARENTS), dtype=np.float32)
    for joint in range(1, len(PARENTS)):
        chain[joint] += chain[PARENTS[joint]]
    return chain


CHAINS = _chains()
"""(24, 24): 1 where the column's joint is the row's joint or an ancestor of it."""
_ABOVE = CHAINS - np.eye(len(PARENTS), dtype=np.float32)
_HUNG = CHAINS * (np.arange(len(PARENTS)) > 0)


def take(array, rows):
    """array[rows] for constant row numbers, without the bounds logic of plain indexing."""
    return jnp.asarray(array).at[np.asarray(rows)].get(mode="promise_in_bounds")


def _jumps():
    """Each joint's ancestor 1, 2, 4, 8 places up; 24 (an identity) past the root."""
    step = np.where(PARENTS < 0, 24, PARENTS)
    jumps = []
    while (step < 24).any():
        jumps.append(step)
        step = np.append(step, 24)[step]
    return jumps


_JUMPS = _jumps()
_PARENT = np.maximum(PARENTS, 0)


def positions(rest, world, pelvis):
    """Joint positions (24, 3) for global rotations `world` (24, 3, 3); the rest as in `forward`."""
    reach = jnp.einsum("jab,jb->ja", take(world, _PARENT), rest - take(rest, _PARENT))
    return pelvis + _HUNG @ reach


@jax.custom_jvp
def forward(rest, rotations, pelvis):
    """Joint positions and global rotations of one frame.

    rest: (24, 3) joints of the rest pose, m; rotations: (24, 3, 3) parent to child, the first
    being the pelvis' own; pelvis: (3,) position of joint 0.
    Returns positions (24, 3) and rotations (24, 3, 3) in the frame of `pelvis`.

    Its derivative is the geometric Jacobian (each joint turns all that hangs on it about its own
    position), which costs a few products where differentiating the chain costs one per level.
    """
    world = rotations
    for jump in _JUMPS:
        world = take(jnp.concatenate([world, jnp.eye(3)[None]]), jump) @ world
    return positions(rest, world, pelvis), world


@forward.defjvp
def _forward_jvp(primals, tangents):
    rest, rotations, pelvis = primals
    d_rest, d_rotations, d_pelvis = tangents
    joints, world = forward(rest, rotations, pelvis)
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
    d_reach = jnp.einsum("jab,jb->ja", take(world, _PARENT), d_rest - take(d_rest, _PARENT))
    d_joints = (
        jnp.cross(_ABOVE @ spin, joints)
        - _ABOVE @ jnp.cross(spin, joints)
        + _HUNG @ d_reach
        + d_pelvis
    )
    total = CHAINS @ spin
    d_world = jnp.cross(total[:, None, :], world.transpose(0, 2, 1)).transpose(0, 2, 1)
    return (joints, world), (d_joints, d_world)
