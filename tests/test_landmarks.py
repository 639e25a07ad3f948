"""Placing a body by its keypoints in the picture."""

import numpy as np
import pytest

import examples
from pantograph import body, bodyfit, landmarks

COUNT = 30


@pytest.fixture(scope="module")
def seen():
    """Landmarks with the pelvis at the origin, their pixels, and the true pelvis positions."""
    model = body.load_body()
    betas = np.array([0.5, -0.5, *np.zeros(8)])
    orient, pose, pelvis = examples.marching(COUNT)
    rotations, joints = body.joint_transforms(model, betas, orient, pose, np.zeros((COUNT, 3)))
    xyz = landmarks.attach(joints, rotations)
    points = xyz + pelvis[:, None]
    xy = points[..., :2] / points[..., 2:] * examples.FOCAL + examples.INTRINSICS[:2, 2]
    return xyz, xy, pelvis, np.tile(examples.INTRINSICS, (COUNT, 1, 1))


def test_landmarks_attach_as_in_the_solver():
    model = body.load_body()
    orient, pose, pelvis = examples.marching(3)
    rotations, joints = body.joint_transforms(model, np.zeros(10), orient, pose, pelvis)
    found = landmarks.attach(joints, rotations)
    for k in range(3):
        each = bodyfit.attach(joints[k].astype(np.float32), rotations[k].astype(np.float32))
        assert np.allclose(found[k], each, atol=1e-5)


@pytest.mark.parametrize("solve", [landmarks.solve_translation, landmarks.fit_translation])
def test_exact_keypoints_give_the_exact_place(seen, solve):
    xyz, xy, pelvis, intrinsics = seen
    weight = np.ones(xy.shape[:2])
    weight[:, ::3] = 0.0
    xy = np.where(weight[..., None] > 0, xy, 0.0)
    found = solve(xyz, xy, weight, intrinsics)
    found, distance = found if isinstance(found, tuple) else (found, np.zeros(1))
    assert np.allclose(found, pelvis, atol=1e-4)
    assert np.abs(distance).max() < 0.05


def test_another_camera_in_every_frame(seen):
    xyz, _, pelvis, intrinsics = seen
    intrinsics = intrinsics * np.ones((COUNT, 3, 3))
    intrinsics[:, 0, 0] *= np.linspace(0.8, 1.5, COUNT)
    intrinsics[:, 1, 2] += np.linspace(-50, 50, COUNT)
    points = xyz + pelvis[:, None]
    focal = intrinsics[:, [0, 1], [0, 1]]
    xy = points[..., :2] / points[..., 2:] * focal[:, None] + intrinsics[:, None, :2, 2]
    found, _ = landmarks.fit_translation(xyz, xy, np.ones(xy.shape[:2]), intrinsics)
    assert np.allclose(found, pelvis, atol=1e-6)


def test_wrong_keypoints_do_not_count(seen):
    xyz, xy, pelvis, intrinsics = seen
    xy = xy.copy()
    xy[:, [2, 7, 11]] += [250.0, -180.0]
    weight = np.full(xy.shape[:2], 0.9)
    plain = np.linalg.norm(
        landmarks.solve_translation(xyz, xy, weight, intrinsics) - pelvis, axis=1
    )
    found, _ = landmarks.fit_translation(xyz, xy, weight, intrinsics)
    robust = np.linalg.norm(found - pelvis, axis=1)
    assert plain.min() > 0.05
    assert robust.max() < 0.01


def test_a_body_behind_the_camera_is_told(seen):
    xyz, xy, _, intrinsics = seen
    mirrored = 2 * intrinsics[:, None, :2, 2] - xy
    _, distance = landmarks.fit_translation(xyz, mirrored, np.ones(xy.shape[:2]), intrinsics)
    assert np.isinf(distance).all()
