import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pantograph import accuracy
from pantograph.conventions import SMPL_JOINTS

rng = np.random.default_rng(0)
ROTATION = Rotation.from_euler("xyz", [20, -35, 70], degrees=True).as_matrix()


def joints(frames=6):
    return rng.normal(size=(frames, len(SMPL_JOINTS), 3))


def test_align_recovers_a_known_similarity():
    points = rng.normal(size=(30, 3))
    moved = 1.7 * points @ ROTATION.T + [1, 2, 3]
    scale, rotation, translation = accuracy.align(points, moved)
    assert scale == pytest.approx(1.7)
    np.testing.assert_allclose(rotation, ROTATION, atol=1e-12)
    np.testing.assert_allclose(translation, [1, 2, 3], atol=1e-12)


def test_align_never_mirrors():
    points = rng.normal(size=(30, 3))
    _, rotation, _ = accuracy.align(points, points * [1, 1, -1])
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_mpjpe_ignores_translation_but_not_rotation():
    truth = joints()
    assert accuracy.mpjpe_mm(truth + [3, 2, 1], truth) == pytest.approx(0, abs=1e-9)
    assert accuracy.mpjpe_mm(truth @ ROTATION.T, truth) > 100


def test_mpjpe_of_one_displaced_joint():
    truth = joints()
    moved = truth.copy()
    moved[:, SMPL_JOINTS.index("head")] += [0, 0, 0.24]
    assert accuracy.mpjpe_mm(moved, truth) == pytest.approx(10)


def test_pa_mpjpe_ignores_a_similarity_of_each_frame():
    truth = joints()
    moved = np.stack([(1 + k / 10) * truth[k] @ ROTATION.T + k for k in range(len(truth))])
    assert accuracy.pa_mpjpe_mm(moved, truth) == pytest.approx(0, abs=1e-9)


def test_path_error_keeps_the_scale():
    line = np.linspace([0, 0, 0], [4, 0, 0], 41)
    turned = line @ ROTATION.T + 5
    assert accuracy.path_error_mm(turned, line) == pytest.approx(0, abs=1e-9)
    # a path of 4 m that is 10 % too long is off by 0.2 m at its ends, 0.1 m on average
    assert accuracy.path_error_mm(1.1 * turned, line) == pytest.approx(1e3 * 0.4 * 10.5 / 41)


def test_acceleration_error_is_that_of_joints_about_the_hips():
    fps, time = 30.0, np.arange(20)[:, None, None] / 30
    truth, valid = np.tile(joints(1), (20, 1, 1)), np.ones(20, bool)
    together = truth + 4 * time**2
    assert accuracy.acceleration_error_m_s2(together, truth, valid, fps) == pytest.approx(
        0, abs=1e-9
    )
    moved = truth.copy()
    moved[:, SMPL_JOINTS.index("head")] += (4 * time**2)[:, 0] * [1, 0, 0]
    # one joint of 24 accelerates by 8 m/s^2
    error = accuracy.acceleration_error_m_s2(moved, truth, valid, fps)
    assert error == pytest.approx(8 / 24)


def test_world_errors_ignore_a_similarity_and_see_drift():
    truth = joints(1) + np.linspace([0, 0, 0], [0, 2.49, 0], 250)[:, None]
    moved = 0.7 * truth @ ROTATION.T + 4
    assert accuracy.w_mpjpe_mm(moved, truth) == pytest.approx(0, abs=1e-9)
    assert accuracy.wa_mpjpe_mm(moved, truth) == pytest.approx(0, abs=1e-9)
    # from the third frame of each chunk of 100 on, all joints are off by 0.1 m
    stepped = truth.copy()
    stepped[np.arange(250) % 100 >= 2] += [0.1, 0, 0]
    expected = 100 * (98 + 98 + 48) / 250
    assert accuracy.w_mpjpe_mm(stepped, truth) == pytest.approx(expected)
    assert accuracy.wa_mpjpe_mm(stepped, truth) < 0.1 * expected


def test_rte_is_over_the_length_of_the_true_path():
    line = np.linspace([0, 0, 0], [4, 0, 0], 41)
    assert accuracy.rte_percent(1.1 * line @ ROTATION.T, line) == pytest.approx(10 * 10.5 / 41)
    assert np.isnan(accuracy.rte_percent(line, np.zeros((41, 3))))


def test_ate_is_a_root_mean_square_after_the_fit():
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    grown = 1.2 * square @ ROTATION.T + 3
    assert accuracy.ate_mm(grown, square, scale=True) == pytest.approx(0, abs=1e-9)
    # corners lie sqrt(0.5) m from the middle and end a fifth of that too far out
    assert accuracy.ate_mm(grown, square, scale=False) == pytest.approx(200 * np.sqrt(0.5))
    assert accuracy.ate_mm(np.zeros((4, 3)), square, True) == pytest.approx(1e3 * np.sqrt(0.5))


def test_rotation_error_ignores_one_turn_of_the_world():
    angles = np.array([-3.0, 3.0, -3.0, 3.0])
    wobble = Rotation.from_euler("y", angles[:, None], degrees=True).as_matrix()
    truth = Rotation.from_euler("z", np.arange(4)[:, None] * 10, degrees=True).as_matrix()
    assert accuracy.rotation_error_deg(ROTATION @ truth, truth) == pytest.approx(0, abs=1e-6)
    assert accuracy.rotation_error_deg(ROTATION @ wobble @ truth, truth) == pytest.approx(3)


def test_focal_error_has_the_sign_of_too_long():
    intrinsics = np.tile(np.diag([500.0, 500, 1]), (3, 1, 1))
    assert accuracy.focal_error_percent(1.04 * intrinsics, intrinsics) == pytest.approx(4)


def test_depth_errors_are_after_one_scale_for_the_clip():
    rng = np.random.default_rng(0)
    truth = np.kron(rng.uniform(1, 5, (3, 2, 3)), np.ones((1, 3, 3)))
    depth = 3 * truth[:, 1::3, 1::3]
    assert accuracy.depth_errors_percent(depth, truth) == pytest.approx((0, 100))
    depth[2] *= 1.5
    assert accuracy.depth_errors_percent(depth, truth) == pytest.approx((50 / 3, 200 / 3))
    depth[2] = 0
    truth[0, 0, 0] = 0
    assert accuracy.depth_errors_percent(depth, truth) == pytest.approx((0, 100))
    assert np.isnan(accuracy.depth_errors_percent(0 * depth, truth)).all()


def test_floor_height_counts_planted_feet_only():
    truth = np.full((3, 2), 0.08)
    heights = truth + [0.02, 0.5]
    contact = np.tile([True, False], (3, 1))
    assert accuracy.floor_height_error_mm(heights, truth, contact) == pytest.approx(20)


def test_mask_iou():
    a, b = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    a[0, :2], b[0, 1:3] = True, True
    iou = accuracy.mask_iou(a, b)
    assert iou[0] == pytest.approx(1 / 3) and np.isnan(iou[1])


def test_an_exchange_of_two_people_is_one_switch_of_each():
    straight, crossed = np.eye(2) * 0.9, np.eye(2)[::-1] * 0.9
    iou = np.stack([straight, straight, np.full((2, 2), np.nan), crossed, 0.4 * straight, crossed])
    found = accuracy.identities(iou)
    assert found.tolist() == [[0, 1], [0, 1], [-1, -1], [1, 0], [-1, -1], [1, 0]]
    assert [accuracy.id_switches(found[:, k]) for k in range(2)] == [1, 1]


def test_pck_is_relative_to_the_person():
    truth = np.zeros((2, 2, 2))
    xy = truth + [[[4.0, 0], [6.0, 0]]]
    assert accuracy.pck_percent(xy, truth, [100, 200], np.ones((2, 2))) == pytest.approx(75)
    assert accuracy.pck_percent(xy, truth, [100, 200], [[1, 1], [0, 0]]) == pytest.approx(50)


def test_chamfer_of_two_planes_is_their_distance():
    grid = np.stack(np.meshgrid(np.arange(50), np.arange(50)), -1).reshape(-1, 2) * 0.02 + 0.01
    plane = np.concatenate([grid, np.zeros((len(grid), 1))], -1)
    assert accuracy.chamfer_mm(plane, plane) == pytest.approx(0, abs=1e-9)
    assert accuracy.chamfer_mm(plane + [0, 0, 0.005], plane) == pytest.approx(5)
    # a hole counts in one direction only, and so half
    half = plane[grid[:, 0] < 0.5]
    beyond = (grid[:, 0].max() - 0.49) / 2 / 2
    assert accuracy.chamfer_mm(half, plane) == pytest.approx(1e3 * beyond / 2, rel=0.05)
    assert np.isnan(accuracy.chamfer_mm(plane[:0], plane))


def test_direction_error_ignores_length():
    turned = 3 * np.eye(3) @ Rotation.from_euler("x", 20, degrees=True).as_matrix().T
    assert accuracy.direction_error_deg(turned[1:], np.eye(3)[1:]) == pytest.approx(20)


def test_scale_error_has_the_sign_of_too_large():
    truth = joints()
    assert accuracy.scale_error_percent(1.1 * truth @ ROTATION.T, truth) == pytest.approx(10)
    assert accuracy.scale_error_percent(0.5 * truth, truth) == pytest.approx(-50)


def test_gravity_error_ignores_the_heading():
    pose = np.tile(np.eye(4), (3, 1, 1))
    turned, tilted = pose.copy(), pose.copy()
    turned[:, :3, :3] = Rotation.from_euler("z", 50, degrees=True).as_matrix()
    tilted[:, :3, :3] = Rotation.from_euler("zx", [50, 7], degrees=True).as_matrix()
    assert accuracy.gravity_error_deg(turned, pose) == pytest.approx(0, abs=1e-6)
    assert accuracy.gravity_error_deg(tilted, pose) == pytest.approx(7)


def test_f1():
    assert accuracy.f1([1, 1, 0, 0], [1, 0, 1, 0]) == pytest.approx(0.5)
    assert accuracy.f1([1, 0], [1, 0]) == 1
    assert np.isnan(accuracy.f1([0, 0], [0, 0]))


def test_keypoint_error_counts_weighted_points_only():
    xy = np.zeros((1, 2, 2))
    truth = np.array([[[3.0, 4.0], [100.0, 100.0]]])
    assert accuracy.keypoint_error_px(xy, truth, [[1, 0]]) == pytest.approx(5)


def test_people_are_matched_by_overlap():
    left = np.tile([0.0, 0, 10, 20], (5, 1))
    right = left + [50, 0, 50, 0]
    gone = left.copy()
    gone[2:] = np.nan
    people = {1: right + 1, 2: gone, 3: left + 500}
    assert accuracy.match_people(people, {7: left, 8: right}) == {1: 8, 2: 7}
    assert accuracy.match_people({}, {7: left}) == {}


def test_projection_follows_the_opencv_camera():
    intrinsics = np.array([[[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]])
    pose = np.eye(4)[None].copy()
    pose[0, :3, 3] = [0, 0, -2]
    pixel, depth = accuracy.project([[[0.2, -0.1, 0]]], intrinsics, pose)
    np.testing.assert_allclose(pixel[0, 0], [320 + 50, 240 - 25])
    assert depth[0, 0] == pytest.approx(2)


def test_bone_spread_is_std_over_mean():
    points = np.zeros((2, 2, 3))
    points[:, 1, 0] = [0.9, 1.1]
    usable = np.ones((2, 2), bool)
    assert accuracy.bone_spread_percent(points, [(0, 1)], usable) == pytest.approx(10)
    usable[1, 0] = False
    assert np.isnan(accuracy.bone_spread_percent(points, [(0, 1)], usable))


def test_speed_acceleration_and_jitter_of_a_cubic():
    fps, time = 30.0, np.arange(20) / 30
    valid = np.ones(20, bool)
    line = np.stack([2 * time, 0 * time, 0 * time], -1)
    np.testing.assert_allclose(accuracy.speeds(line, valid, fps), 2)
    square = np.stack([0 * time, 3 * time**2, 0 * time], -1)
    np.testing.assert_allclose(accuracy.accelerations(square, valid, fps), 6)
    cubic = np.stack([0 * time, 0 * time, 5 * time**3], -1)
    assert accuracy.jitter(cubic, valid, fps) == pytest.approx(3)


def test_differences_do_not_reach_over_gaps():
    path = np.zeros((5, 3))
    path[2] = 9
    valid = np.array([1, 1, 0, 1, 1], bool)
    speed = accuracy.speeds(path, valid, 30)
    assert np.nanmax(speed) == 0 and np.isnan(speed).tolist() == [False, True, True, False]


def test_flip_is_a_fast_turn_of_hips_or_shoulders():
    still = np.tile(joints(1), (4, 1, 1))
    flipped = still.copy()
    left, right = (SMPL_JOINTS.index(name) for name in ("left_hip", "right_hip"))
    flipped[2, [left, right]] = still[2, [right, left]]
    valid = np.ones(4, bool)
    assert not accuracy.flips(still, valid).any()
    assert accuracy.flips(flipped, valid).tolist() == [False, True, True]


def test_slide_is_that_of_the_stillest_point_in_contact():
    fps = 30
    heel = np.zeros((4, 3))
    toe = np.stack([np.arange(4) * 0.1, np.zeros(4), np.zeros(4)], -1)
    rolling = np.stack([heel, toe], 1)[:, None]
    contact = np.ones((4, 1), bool)
    assert accuracy.slide_cm_s(rolling, contact, fps) == 0
    sliding = np.stack([toe, toe], 1)[:, None]
    assert accuracy.slide_cm_s(sliding, contact, fps) == pytest.approx(300)
    contact[1:3] = False
    assert np.isnan(accuracy.slide_cm_s(sliding, contact, fps))
