"""The body fit recovers a known motion from landmarks made of it."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("jax")

import body_landmarks  # noqa: E402
import examples  # noqa: E402
from pantograph import accuracy, body, bodyfit, landmarks  # noqa: E402
from pantograph.contracts import Body, Video  # noqa: E402
from pantograph.conventions import MEDIAPIPE_LANDMARKS  # noqa: E402

COUNT = 60


@pytest.fixture(scope="module")
def model():
    return body.load_body()


def _fit(model, motion, person, betas, lengths=(), **options):
    video = examples.video(len(motion[2]), **options)
    people, scene = examples.keypoints({0: person}), examples.scene(len(motion[2]))
    product = bodyfit.fit_people(model, video, people, scene, lengths=lengths)
    truth = body.joints(model, betas, *motion)
    return product, product.people[0], truth


def test_exact_landmarks_give_the_motion_back(model):
    betas = np.array([1.0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0])
    motion = examples.marching(COUNT)
    person = examples.observe(model, betas, motion)
    product, found, truth = _fit(model, motion, person, betas)
    assert found.valid.all()
    error = np.linalg.norm(found.joints - truth, axis=-1)
    assert np.median(error) < 0.015
    assert abs(body.stature(model, found.betas) / body.stature(model, betas) - 1) < 0.01


def test_noise_and_gaps_are_bridged(model):
    betas = np.zeros(10)
    motion = examples.marching(COUNT)
    person = examples.observe(model, betas, motion, noise_px=4.0, noise_m=0.03)
    person.visible[20:26] = False
    person.xy[20:26] = 0
    person.landmarks3d[20:26] = 0
    person.visible[50:] = False
    _, found, truth = _fit(model, motion, person, betas)
    assert found.valid[:50].all() and not found.valid[50:].any()
    error = np.linalg.norm(found.joints - truth, axis=-1)[:50]
    # raw landmarks are 3 cm off along each axis
    assert accuracy.pa_mpjpe_mm(found.joints[:50], truth[:50]) < 30
    assert error.mean() < 0.06
    assert error[20:26].mean() < 0.10


@pytest.mark.parametrize("degrees", [-10, 8])
def test_landmarks_that_lean_to_the_camera_are_set_upright(model, degrees):
    betas = np.zeros(10)
    motion = examples.marching(COUNT)
    person = examples.observe(model, betas, motion)
    lean = Rotation.from_euler("x", -degrees, degrees=True).as_matrix()
    leaning = dataclasses.replace(person, landmarks3d=person.landmarks3d @ lean.T)
    product, found, truth = _fit(model, motion, leaning, betas)
    assert abs(product.stats["person0"]["tilt_deg"] - degrees) < 3
    # as they are, the landmarks are off by ten degrees of half a metre
    assert accuracy.mpjpe_mm(found.joints, truth) < 35


def test_swapped_legs_are_repaired(model):
    betas = np.zeros(10)
    motion = examples.marching(COUNT)
    person = examples.observe(model, betas, motion, noise_px=1.0, noise_m=0.01)
    legs = [
        i
        for i, name in enumerate(MEDIAPIPE_LANDMARKS)
        if name.split("_", 1)[-1] in ("hip", "knee", "ankle", "heel", "foot_index")
    ]
    mirror = {i: MEDIAPIPE_LANDMARKS.index(_other(MEDIAPIPE_LANDMARKS[i])) for i in legs}
    for frame in (10, 11, 12, 33):
        for array in (person.xy, person.landmarks3d):
            array[frame, legs] = array[frame, [mirror[i] for i in legs]]
    swapped = landmarks.repair_swaps(
        *(MEDIAPIPE_LANDMARKS, person.xy, person.landmarks3d, person.score, person.visible, 400.0)
    )[3]
    assert np.flatnonzero(swapped[:, 0]).tolist() == [10, 11, 12, 33]
    assert not swapped[:, 1].any()
    _, found, truth = _fit(model, motion, person, betas)
    assert np.linalg.norm(found.joints - truth, axis=-1).max() < 0.08


def _other(name):
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


def test_known_stature_is_kept(model):
    motion = examples.marching(COUNT)
    person = examples.observe(model, np.zeros(10), motion, noise_px=2.0, noise_m=0.02)
    _, found, _ = _fit(model, motion, person, np.zeros(10), person_height=[1.85])
    assert abs(body.stature(model, found.betas) - 1.85) < 0.003


def test_short_tracks_are_dropped_with_their_reason(model, tmp_path):
    motion = examples.marching(COUNT)
    person = examples.observe(model, np.zeros(10), motion)
    person.visible[5:] = False
    examples.video(COUNT).write(tmp_path / "video.json")
    examples.keypoints({3: person}).write(tmp_path / "keypoints.h5")
    examples.scene(COUNT).write(tmp_path / "scene.h5")
    body_landmarks.main(
        [f"--{name}={tmp_path / file}" for name, file in _FILES.items()]
        + [f"--out={tmp_path / 'body.h5'}"]
    )
    product = Body.read(tmp_path / "body.h5")
    assert product.rejected and "nobody" in product.reason


def test_padding_changes_nothing(model):
    motion = examples.marching(COUNT)
    person = examples.observe(model, np.zeros(10), motion, noise_px=2.0, noise_m=0.02)
    found = []
    for length in (64, 96, 128):
        found.append(_fit(model, motion, person, np.zeros(10), lengths=[length])[1])
    for other in found[1:]:
        assert np.abs(other.joints - found[0].joints).max() < 1e-4
        assert np.abs(other.betas - found[0].betas).max() < 1e-4


def test_gross_outliers_hardly_matter(model):
    betas = np.zeros(10)
    motion = examples.marching(COUNT)
    person = examples.observe(model, betas, motion, noise_px=2.0, noise_m=0.02)
    _, clean, truth = _fit(model, motion, person, betas)
    rng = np.random.default_rng(0)
    stray = rng.uniform(size=person.score.shape) < 0.2
    anywhere = rng.uniform(size=person.xy.shape) * [examples.WIDTH, examples.HEIGHT]
    person.xy[stray] = anywhere[stray]
    size = landmarks.picture_size(person.xy, person.score)
    assert size == pytest.approx(420, rel=0.1)
    _, found, _ = _fit(model, motion, person, betas)
    errors = [np.linalg.norm(p.joints - truth, axis=-1).mean() for p in (clean, found)]
    assert errors[1] < errors[0] + 0.015


def test_gaps_are_bridged_up_to_a_length_and_reported(model):
    betas = np.zeros(10)
    motion = examples.marching(90)
    person = examples.observe(model, betas, motion, noise_px=1.0, noise_m=0.01)
    for gap in (slice(0, 3), slice(15, 20), slice(35, 60), slice(86, 90)):
        person.visible[gap] = False
        person.xy[gap], person.landmarks3d[gap], person.score[gap] = 0, 0, 0
    product, found, truth = _fit(model, motion, person, betas)
    missing = np.r_[0:3, 35:60, 86:90]
    assert not found.valid[missing].any() and found.valid.sum() == 90 - len(missing)
    assert not found.joints[missing].any()
    error = np.linalg.norm(found.joints - truth, axis=-1)[found.valid]
    assert error.mean() < 0.03 and np.linalg.norm(found.joints - truth, axis=-1)[15:20].max() < 0.2
    turns = np.einsum("tba,tbc->tac", found.global_orient, found.global_orient)
    assert np.abs(turns - np.eye(3)).max() < 1e-4
    assert product.dropped == {
        "0/0-2": "not seen for 0.10 s",
        "0/35-59": "not seen for 0.83 s",
        "0/86-89": "not seen for 0.13 s",
    }
    stats = product.stats["person0"]
    assert (stats["missing_frames"], stats["bridged_gaps"], stats["bridged_frames"]) == (32, 1, 5)
    covered = bodyfit.observed_frames(person.visible, 30.0, bridge=0.1)
    assert not covered[15:20].any()
    covered = bodyfit.observed_frames(person.visible, 30.0, bridge=1.0)
    assert covered[3:86].all() and not covered[:3].any() and not covered[86:].any()


def test_known_betas_are_kept(model):
    motion = examples.marching(COUNT)
    person = examples.observe(model, np.zeros(10), motion, noise_px=2.0, noise_m=0.02)
    known = [0.8, 0, 0.5, 0, 0, -0.4, 0, 0, 0, 0]
    _, found, _ = _fit(model, motion, person, np.zeros(10), person_betas=[known])
    assert np.abs(found.betas - known).max() < 1e-3
    _, both, _ = _fit(
        model, motion, person, np.zeros(10), person_betas=[known], person_height=[1.6]
    )
    assert body.stature(model, both.betas) == pytest.approx(1.6, abs=0.003)
    assert np.abs(both.betas[1:] - known[1:]).max() < 1e-3


def test_feet_count(model):
    motion = examples.marching(COUNT)
    plain = examples.observe(model, np.zeros(10), motion)
    moved = examples.observe(model, np.zeros(10), motion)
    for name in ("left_ankle", "left_heel", "left_foot_index"):
        moved.xy[:, MEDIAPIPE_LANDMARKS.index(name), 0] += 15.0
    shift = (
        _fit(model, motion, moved, np.zeros(10))[1].joints
        - _fit(model, motion, plain, np.zeros(10))[1].joints
    )
    left, right = np.linalg.norm(shift[:, [7, 8]], axis=-1).mean(0)
    assert left > 0.03 > right


_FILES = {"video": "video.json", "keypoints": "keypoints.h5", "scene": "scene.h5"}


def test_rejection_is_passed_on(tmp_path):
    Video.rejection("no video stream").write(tmp_path / "video.json")
    for schema, file in (("keypoints", "keypoints.h5"), ("scene", "scene.h5")):
        from pantograph.contracts import PRODUCTS

        PRODUCTS[schema].rejection("no video stream").write(tmp_path / file)
    body_landmarks.main(
        [f"--{name}={tmp_path / file}" for name, file in _FILES.items()]
        + [f"--out={tmp_path / 'body.h5'}"]
    )
    assert Body.read(tmp_path / "body.h5").reason == "no video stream"
