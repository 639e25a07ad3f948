"""Which cells of depth maps become points."""

import numpy as np
import pytest

from pantograph import pointfilter

K = np.array([[400.0, 0, 64], [0, 400.0, 48], [0, 0, 1]])


def floor_depth(shape=(96, 128), height=1.5):
    """Depth of a floor `height` m below a camera that looks 30 deg down; 0 above the horizon."""
    rays = pointfilter.backproject(np.ones(shape), K)
    down = rays[..., 1] * np.cos(np.radians(30)) + rays[..., 2] * np.sin(np.radians(30))
    return np.where(down > 0.05, height / np.maximum(down, 0.05), 0.0)


def test_points_project_to_where_they_were_seen():
    depth = floor_depth()
    points = pointfilter.backproject(depth, K)
    x = points[..., 0] / points[..., 2] * 400 + 64
    assert np.allclose(x, np.arange(128) + 0.5)
    assert np.array_equal(points[..., 2], depth)


def test_the_slope_of_a_floor_is_its_distance_squared_over_its_depth_below():
    depth = floor_depth()
    # seen per radian along the viewing ray's plane, in the middle of the picture
    found = pointfilter.slope(depth, K)[48, 64]
    distance = depth[48, 64]
    assert found == pytest.approx(distance**2 * np.cos(np.radians(30)) / 1.5, rel=0.02)


def test_the_slope_does_not_depend_on_the_resolution_but_on_the_unit():
    fine = pointfilter.slope(floor_depth(), K)
    half = np.diag([0.5, 0.5, 1]) @ K
    rays = pointfilter.backproject(np.ones((48, 64)), half)
    down = rays[..., 1] * np.cos(np.radians(30)) + rays[..., 2] * np.sin(np.radians(30))
    coarse = pointfilter.slope(1.5 / down, half)
    assert coarse[24, 32] == pytest.approx(fine[48:50, 64:66].mean(), rel=0.05)
    assert np.allclose(pointfilter.slope(3 * floor_depth(), K), 3 * fine)


def test_edges_and_holes_are_steep():
    depth = np.full((20, 30), 3.0)
    depth[:, 15:] = 6.0
    steep = pointfilter.slope(depth, K)
    assert (steep[:, 14:16] == pytest.approx(1200)) and steep[:, :13].max() == 0
    depth[5, 5] = 0
    steep = pointfilter.slope(depth, K)
    assert np.isinf(steep[5, 5]) and np.isinf(steep[4, 5]) and np.isfinite(steep[5, 8])


def test_masks_grow_in_proportion_to_the_picture():
    mask = np.zeros((256, 256), bool)
    mask[100, 100] = True
    assert pointfilter.grow(mask, 10).sum() == 11**2
    big = np.zeros((512, 512), bool)
    big[200, 200] = True
    assert pointfilter.grow(big, 10).sum() == 21**2
    around = pointfilter.ring(big, 5, 10)
    assert around.sum() == 21**2 - 11**2 and not around[200, 200]
    assert not pointfilter.grow(np.zeros((4, 4), bool), 10).any()


def test_boxes_stay_within_four_and_eight_metres():
    joints = np.array([[0, 0, 0], [0.5, 0.4, 1.7]])
    low, high = pointfilter.person_box(joints)
    assert np.allclose(high - low, 4) and np.allclose((low + high) / 2, [0.25, 0.2, 0.85])
    low, high = pointfilter.person_box(10 * joints)
    assert np.allclose(high - low, [6, 4.8, 8])
    boxes = np.array([[[0, 0, 0], [1, 1, 1]], [[2, 2, 2], [3, 3, 3]]])
    points = np.array([[0.5, 0.5, 0.5], [1.5, 1.5, 1.5], [2.5, 2.5, 2.5]])
    assert pointfilter.inside_any(points, boxes).tolist() == [True, False, True]


def test_lone_points_go_and_close_ones_become_one():
    cluster = np.array([0.25, 0.25, 0.25]) + 0.01 * np.arange(6)[:, None]
    points = np.concatenate([cluster, [[-1.0, 2.0, 3.0]]])
    assert pointfilter.dense(points, 0.5, 5).tolist() == [True] * 6 + [False]
    merged, weights = pointfilter.merge(points, 0.5, np.arange(21.0).reshape(7, 3))
    assert sorted(merged[:, 0]) == pytest.approx([-1, 0.275])
    assert sorted(weights[:, 0]) == pytest.approx([7.5, 18])
    assert pointfilter.merge(np.zeros((0, 3)), 0.5).shape == (0, 3)


def test_points_are_bounded():
    points = np.random.default_rng(0).uniform(0, 1, (5000, 3))
    found = pointfilter.bounded(points, 300, 0.01)
    assert 150 < len(found) <= 300
    assert np.abs(found.mean(0) - 0.5).max() < 0.03
