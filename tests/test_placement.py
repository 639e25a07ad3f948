"""Pose and shape of a network become a body in its place."""

import dataclasses

import numpy as np
import pytest

import examples
from pantograph import body, placement

COUNT = 40


@pytest.fixture(scope="module")
def scene():
    model = body.load_body()
    motion = examples.marching(COUNT)
    person = examples.observe(model, np.zeros(10), motion)
    return model, motion, person


def place(scene, known=None, keypoints=None, **options):
    model, (orient, pose, _), person = scene
    return placement.place_person(
        *(model, np.zeros(10), orient, pose, np.ones(COUNT, bool) if known is None else known),
        *(keypoints or person, list(examples.MEDIAPIPE_LANDMARKS)),
        np.tile(examples.INTRINSICS, (COUNT, 1, 1)),
        **options,
    )


def without(person, frames):
    score = person.score.copy()
    score[frames] = 0
    return dataclasses.replace(person, score=score)


def test_a_known_pose_is_put_in_its_place(scene):
    model, motion, person = scene
    found = place(scene)
    assert found.valid.all() and found.reprojection.max() < 0.1
    assert np.allclose(found.transl, motion[2], atol=1e-3)
    assert np.allclose(found.joints, body.joints(model, np.zeros(10), *motion), atol=1e-3)
    assert found.confidence.min() > 0.8


def test_short_gaps_are_bridged_and_long_ones_are_not(scene):
    _, motion, person = scene
    found = place(
        scene, keypoints=without(person, [0, 1, *range(10, 14), *range(20, 29)]), max_gap=8
    )
    expected = np.ones(COUNT, bool)
    expected[[0, 1, *range(20, 29)]] = False
    assert np.array_equal(found.valid, expected)
    assert (found.confidence[10:14] == 0).all()
    assert np.linalg.norm(found.transl[10:14] - motion[2][10:14], axis=1).max() < 0.05
    assert (found.transl[~expected] == 0).all() and (found.joints[~expected] == 0).all()


def test_nothing_is_said_where_the_pose_is_unknown(scene):
    known = np.ones(COUNT, bool)
    known[15:18] = False
    found = place(scene, known=known, max_gap=8)
    assert np.array_equal(found.valid, known)
    assert not place(scene, known=np.zeros(COUNT, bool)).valid.any()


def test_spans_end_at_long_gaps():
    visible = np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0], bool)
    assert placement.spans(visible, 2) == [(1, 6), (9, 10)]
    assert placement.spans(visible, 0) == [(1, 3), (5, 6), (9, 10)]
    assert placement.spans(visible, 3) == [(1, 10)]
    assert placement.spans(np.zeros(4, bool), 3) == []


def test_one_shape_for_a_clip():
    builtin = body.load_body()
    smpl = dataclasses.replace(builtin, name="SMPL_NEUTRAL")
    betas = np.tile(np.arange(10) / 10, (20, 1))
    betas[:4] = 9.0
    assert np.allclose(placement.clip_betas(smpl, betas), np.arange(10) / 10)
    assert np.allclose(placement.clip_betas(builtin, betas), 0)
