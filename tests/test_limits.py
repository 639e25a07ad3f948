"""Joint ranges and speeds that hold exactly."""

import numpy as np
import pytest
from scipy.optimize import linprog

from pantograph.limits import keep

FPS = 30.0
RANGES = np.array([[-0.1, 2.8798], [-3.0892, 1 / 3]])
SPEEDS = np.array([20.0, 37.0])


def holds(joints):
    """Whether the limits hold, in single and in double precision."""
    for values in (joints, joints.astype(float)):
        speed = np.abs(np.diff(values, axis=0)) * values.dtype.type(FPS)
        if not np.all(speed <= SPEEDS):
            return False
        if not (np.all(values >= RANGES[:, 0]) and np.all(values <= RANGES[:, 1])):
            return False
    return True


def wild(seed, count=60, scale=1.5):
    return np.random.default_rng(seed).normal(size=(count, 2), scale=scale).cumsum(axis=0)


def nearest(x, low, high, step):
    """The least largest change, by linear programming."""
    count = len(x)
    eye, last = np.eye(count), np.ones((count, 1))
    rate = np.diff(eye, axis=0)
    still = np.zeros((count - 1, 1))
    system = np.block([[eye, -last], [-eye, -last], [rate, still], [-rate, still]])
    right = np.concatenate([x, -x, np.full(2 * (count - 1), step)])
    bounds = [(low, high)] * count + [(0, None)]
    return linprog(np.append(np.zeros(count), 1.0), system, right, bounds=bounds).fun


@pytest.mark.parametrize("seed", range(5))
def test_any_motion_is_brought_within_its_limits_by_the_least_change(seed):
    x = wild(seed)
    assert not holds(x.astype(np.float32))
    found, change = keep(x, RANGES, SPEEDS, FPS)
    assert found.dtype == np.float32 and holds(found)
    for j in range(2):
        inside = np.clip(x[:, j], *RANGES[j])
        least = nearest(inside, *RANGES[j], SPEEDS[j] / FPS)
        assert np.abs(found[:, j] - inside).max() == pytest.approx(least, abs=1e-5)
    assert change == pytest.approx(np.abs(found - x).max())


def test_a_motion_at_its_limits_is_changed_by_rounding_alone():
    ramp = np.clip(np.arange(40)[:, None] * SPEEDS / FPS + RANGES[:, 0], None, RANGES[:, 1])
    found, change = keep(ramp, RANGES, SPEEDS, FPS)
    assert holds(found) and change < 1e-5


def test_a_motion_within_its_limits_stays_the_same():
    x = (0.5 * np.sin(np.arange(50) / 9.0)[:, None] * [0.2, 0.5]).astype(np.float32)
    found, change = keep(x, RANGES, SPEEDS, FPS)
    np.testing.assert_array_equal(found, x)
    assert change == 0.0


def test_only_the_surroundings_of_a_jump_change():
    x = np.zeros((100, 2))
    x[50:] = 1.0, -2.0
    found, change = keep(x, RANGES, SPEEDS, FPS)
    assert holds(found) and 0 < change < 2.0
    np.testing.assert_allclose(found[:45], 0.0, atol=1e-5)
    np.testing.assert_allclose(found[55:], x[55:], atol=1e-5)
