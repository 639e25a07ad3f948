"""The structured solver against dense linear algebra and against itself."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.experimental import enable_x64  # noqa: E402

from pantograph.solver import (  # noqa: E402
    Cost,
    Options,
    Problem,
    Smoothness,
    banded_solve,
    pad,
    pad_length,
    solve,
)


@pytest.mark.parametrize("width", [0, 1, 2])
def test_banded_solve_agrees_with_dense(width):
    rng = np.random.default_rng(width)
    count, dim, columns = 7, 3, 2
    factor = np.zeros((count * dim, count * dim))
    for t in range(count):
        for k in range(min(width, t) + 1):
            factor[t * dim : (t + 1) * dim, (t - k) * dim : (t - k + 1) * dim] = rng.normal(
                size=(dim, dim), scale=0.5
            )
    factor = np.tril(factor) + 2 * np.eye(count * dim)
    dense = factor @ factor.T
    blocks = dense.reshape(count, dim, count, dim).transpose(0, 2, 1, 3)
    bands = [
        jnp.array(
            [blocks[t + k, t] if t + k < count else np.zeros((dim, dim)) for t in range(count)]
        )
        for k in range(width + 1)
    ]
    right = rng.normal(size=(count, dim, columns))
    solution = np.asarray(banded_solve(bands, jnp.array(right))).reshape(-1, columns)
    expected = np.linalg.solve(dense, right.reshape(-1, columns))
    np.testing.assert_allclose(solution, expected, atol=2e-5)


def _retract(state, delta):
    return state + delta


def _scaled(states, shared, data):
    return (states[0] * shared[0] - data["y"]) * data["weight"]


def _prior(states, shared, data):
    return 0.1 * (shared - 2.0) * data


def _bend(states, data):
    return states[0] - 2 * states[1] + states[2]


def _bend_cost(states, shared, data):
    return _bend(states, data) * data


def _weights(data):
    return data


SCALED = Problem(
    (
        Cost("fit", _scaled),
        Smoothness("smooth", _bend, _weights),
        Cost("prior", _prior),
    ),
    _retract,
    dim=2,
    shared_dim=1,
)


def _scaled_data(length, count=40):
    rng = np.random.default_rng(3)
    y = rng.normal(size=(count, 2)).cumsum(0).astype(np.float32)
    return {
        "fit": {"y": pad(y, length), "weight": np.ones((length, 1), np.float32)},
        "smooth": np.ones((length, 2), np.float32),
        "prior": (np.arange(length) == 0).astype(np.float32),
    }, np.arange(length) < count


def test_result_does_not_depend_on_padding():
    results = []
    for length in (40, 48, 96):
        data, valid = _scaled_data(length)
        start = np.full((length, 2), 0.1, np.float32)
        results.append(solve(SCALED, start, np.ones(1), data, valid))
    for other in results[1:]:
        np.testing.assert_allclose(other.x[:40], results[0].x[:40], atol=1e-4)
        np.testing.assert_allclose(other.shared, results[0].shared, atol=1e-4)
    assert np.all(np.asarray(results[2].x[40:]) == np.float32(0.1))


def test_history_falls_and_terms_add_up():
    data, valid = _scaled_data(48)
    result = solve(SCALED, np.full((48, 2), 0.1, np.float32), np.ones(1), data, valid)
    history = np.asarray(result.history)
    history = history[np.isfinite(history)]
    assert bool(result.converged)
    assert np.all(np.diff(history) <= 0)
    np.testing.assert_allclose(sum(result.terms.values()), result.cost, rtol=1e-5)


def test_stencil_equals_the_differentiated_cost():
    data, valid = _scaled_data(48)
    generic = Problem(
        (Cost("fit", _scaled), Cost("smooth", _bend_cost, span=3), Cost("prior", _prior)),
        _retract,
        dim=2,
        shared_dim=1,
    )
    start = np.full((48, 2), 0.1, np.float32)
    first = solve(SCALED, start, np.ones(1), data, valid)
    second = solve(generic, start, np.ones(1), data, valid)
    np.testing.assert_allclose(first.x[:40], second.x[:40], atol=1e-3)


def _distance(states, shared, data):
    return (states[0] - data)[None]


def test_robust_cost_ignores_outliers():
    problem = Problem(
        (
            Cost("fit", _distance, robust=0.5),
            Smoothness("smooth", _bend, _weights),
        ),
        _retract,
        dim=2,
    )
    line = np.linspace(0, 1, 64, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    measured = line.copy()
    measured[::5] += 30.0
    data = {"fit": measured, "smooth": np.full((64, 2), 100.0, np.float32)}
    result = solve(
        problem, line * 0, np.zeros(0), data, np.ones(64, bool), options=Options(iterations=60)
    )
    assert np.abs(np.asarray(result.x) - line).max() < 0.02


def test_invalid_frames_part_two_tracks():
    problem = Problem(
        (Cost("fit", _distance), Smoothness("smooth", _bend, _weights)), _retract, dim=2
    )
    measured = np.concatenate([np.zeros((10, 2)), np.full((12, 2), 9.0)]).astype(np.float32)
    data = {"fit": measured, "smooth": np.full((22, 2), 10.0, np.float32)}
    valid = np.arange(22) != 10
    result = solve(problem, np.zeros((22, 2), np.float32), np.zeros(0), data, valid)
    np.testing.assert_allclose(result.x[:10], 0.0, atol=1e-4)
    np.testing.assert_allclose(result.x[11:], 9.0, atol=1e-3)


def test_planned_lengths_grow_by_at_most_half():
    assert [pad_length(n) for n in (1, 32, 33, 48, 49, 100, 300)] == [32, 32, 48, 48, 64, 128, 384]
    lengths = sorted({pad_length(n) for n in range(32, 5000)})
    assert all(b / a <= 1.5 for a, b in zip(lengths, lengths[1:], strict=False))


def test_planned_lengths_come_before_the_fixed_ones():
    planned = (200, 80)
    assert [pad_length(n, planned) for n in (1, 80, 81, 200, 201)] == [80, 80, 200, 200, 256]


def test_given_tangents_replace_differentiation():
    """A turntable's angle seen as a point on the circle."""

    def circle(angle):
        return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)])

    def circle_and_tangent(angle):
        return circle(angle), jnp.concatenate([-jnp.sin(angle), jnp.cos(angle)])[None]

    def gap(frames, shared, data):
        return frames[0] - data

    costs = (Cost("fit", gap), Smoothness("smooth", _bend_of_angle, _weights))
    angles = np.linspace(0.0, 2.0, 40)[:, None]
    data = {
        "fit": np.asarray(np.concatenate([np.cos(angles), np.sin(angles)], 1), np.float32),
        "smooth": np.full((40, 1), 3.0, np.float32),
    }
    start, valid = np.zeros((40, 1), np.float32), np.ones(40, bool)
    plain = Problem(costs, _retract, dim=1, features=circle)
    given = Problem(costs, _retract, dim=1, features=circle, tangents=circle_and_tangent)
    first, second = (solve(p, start, np.zeros(0), data, valid) for p in (plain, given))
    np.testing.assert_allclose(second.x, first.x, atol=1e-5)
    assert int(first.iterations) == int(second.iterations)
    np.testing.assert_allclose(second.x, angles, atol=1e-3)


def _bend_of_angle(frames, data):
    angle = [jnp.arctan2(frame[1:], frame[:1]) for frame in frames]
    return angle[0] - 2 * angle[1] + angle[2]


def test_several_clips_at_once_equal_one_after_the_other():
    clips = []
    for seed in range(3):
        data, valid = _scaled_data(48, count=40 - 5 * seed)
        data["fit"]["y"] = np.float32(1 + seed) * data["fit"]["y"]
        clips.append((np.full((48, 2), 0.1, np.float32), np.ones(1, np.float32), data, valid))
    together = jax.vmap(partial(solve, SCALED))(*jax.tree.map(lambda *x: np.stack(x), *clips))
    for k, clip in enumerate(clips):
        alone = solve(SCALED, *clip)
        np.testing.assert_allclose(together.x[k], alone.x, atol=1e-4)
        np.testing.assert_allclose(together.shared[k], alone.shared, atol=1e-4)
        np.testing.assert_allclose(together.cost[k], alone.cost, rtol=1e-4)
        assert int(together.iterations[k]) == int(alone.iterations)


def _valley(states, shared, data):
    """Rosenbrock's function, whose valley bends: full steps from afar go uphill."""
    x, y = states[0]
    return jnp.stack([1.0 - x, 10.0 * (y - x**2)]) * data


def test_refused_steps_are_repeated_with_more_damping():
    problem = Problem(
        (Cost("valley", _valley), Smoothness("smooth", _bend, _weights)), _retract, dim=2
    )
    start = np.tile(np.array([-1.2, 1.0], np.float32), (32, 1))
    data = {"valley": np.ones(32, np.float32), "smooth": np.ones((32, 2), np.float32)}
    options = Options(iterations=100, tolerance=1e-6, damping=1e-6)
    result = solve(problem, start, np.zeros(0), data, np.ones(32, bool), options=options)
    history = np.asarray(result.history)
    history = history[np.isfinite(history)]
    assert np.any(np.diff(history) == 0), "no step was refused"
    assert np.all(np.diff(history) <= 1e-5 * history[:-1])
    np.testing.assert_allclose(result.x, 1.0, atol=1e-2)


def test_single_precision_finds_the_cost_of_double_precision():
    data, valid = _scaled_data(48)
    start = np.full((48, 2), 0.1, np.float32)
    single = solve(SCALED, start, np.ones(1, np.float32), data, valid)
    with enable_x64():
        double = solve(
            SCALED,
            *jax.tree.map(lambda leaf: np.asarray(leaf, float), (start, np.ones(1), data)),
            valid,
        )
        assert double.x.dtype == np.float64
        assert float(double.cost) > 1e-3
    assert float(single.cost) == pytest.approx(float(double.cost), rel=1e-4)
