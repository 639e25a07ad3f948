"""Single precision is enough for retargeting."""

import numpy as np
import pytest

pytest.importorskip("mujoco")
jax = pytest.importorskip("jax")

from jax.experimental import enable_x64  # noqa: E402

import staged  # noqa: E402
from pantograph import retarget, solver  # noqa: E402
from pantograph import robot as robots  # noqa: E402


def test_cost_is_that_of_double_precision(monkeypatch):
    """A squat, all terms on."""
    products, calls, solve = staged.truth("squat"), [], solver.solve

    def record(*args, options):
        calls.append(args)
        return solve(*args, options=options)

    monkeypatch.setattr(solver, "solve", record)
    names = ("gravity", "contacts", "mesh")
    retarget.retarget(robots.load_robot("g1"), *(products[name] for name in names), fps=30.0)
    problem, *given = calls[0]
    options = solver.Options(iterations=100, tolerance=1e-6)
    single = solve(problem, *given, options=options)
    with enable_x64():
        double = jax.tree.map(
            lambda leaf: leaf if leaf.dtype == bool else np.asarray(leaf, float), given
        )
        exact = solve(problem, *double, options=options)
        assert exact.x.joints.dtype == np.float64
    assert bool(single.converged) and float(exact.cost) > 0.1
    assert float(single.cost) == pytest.approx(float(exact.cost), rel=1e-4)
