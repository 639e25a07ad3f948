"""The terms of retargeting: what they look at, and how it changes with the robot's state."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from pantograph import robot as robots  # noqa: E402
from pantograph import robotcosts  # noqa: E402


@pytest.fixture(scope="module")
def g1():
    return robots.load_robot("g1")


def draw(robot, seed):
    """A random state, joints within their limits."""
    rng = np.random.default_rng(seed)
    quat = rng.normal(size=4)
    joints = rng.uniform(*robot.limits.T)
    return robotcosts.State(
        *(jnp.array(x, jnp.float32) for x in (rng.normal(size=3), quat, joints))
    )._replace(quat=jnp.array(quat / np.linalg.norm(quat), jnp.float32))


@pytest.mark.parametrize("seed", range(3))
def test_columns_are_the_changes_along_a_step(g1, seed):
    problem, state = robotcosts.make_problem(g1), draw(g1, seed)
    view, columns = jax.jit(robotcosts.look, static_argnums=0)(g1, state)
    step = jnp.array(np.random.default_rng(seed).normal(size=problem.dim) * 1e-3, jnp.float32)
    ahead, behind = (
        jax.jit(robotcosts.see, static_argnums=0)(g1, problem.retract(state, sign * step))
        for sign in (1, -1)
    )
    for value, column, a, b in zip(
        *(jax.tree.leaves(tree) for tree in (view, columns, ahead, behind)), strict=True
    ):
        assert column.shape == (problem.dim, *value.shape)
        expected = (np.asarray(a, float) - np.asarray(b, float)) / 2
        np.testing.assert_allclose(np.tensordot(step, column, 1), expected, atol=2e-6)
