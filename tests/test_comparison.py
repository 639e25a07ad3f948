"""The truth of a clip, handed to the comparison as if stages had found it."""

import dataclasses

import numpy as np
import pytest

from conftest import ROOT
from pantograph import body, comparison, truth
from pantograph.contracts import Video
from pantograph.conventions import MEDIAPIPE_LANDMARKS

FRAMES = list(range(20, 80, 2))
PERFECT = {
    "segment": {"mask_iou": 1, "recall_percent": 100, "id_switches": 0},
    "scene": {
        "camera_correct": 1,
        "ate_mm": 0,
        "rotation_deg": 0,
        "focal_percent": 0,
        "depth_percent": 0,
        "depth_within_percent": 100,
    },
    "body": {"mpjpe_mm": 0, "pa_mpjpe_mm": 0, "acceleration_m_s2": 0, "stature_percent": 0},
    "contact": {"f1": 1},
    "align": {"w_mpjpe_mm": 0, "wa_mpjpe_mm": 0, "rte_percent": 0, "scale_percent": 0},
    "ground": {"gravity_deg": 0, "floor_mm": 0},
    "mesh": {"chamfer_mm": 0},
}


@pytest.fixture(scope="module")
def clip():
    video = Video(
        name="two_people",
        fps=15.0,
        width=854,
        height=480,
        source_frames=FRAMES,
        source_times=[k / 30 for k in FRAMES],
    )
    return video, truth.read(ROOT / "resources" / "demo" / "two_people.truth", video)


@pytest.fixture(scope="module")
def travelling():
    video = Video(
        name="walk_turn",
        fps=15.0,
        width=480,
        height=854,
        source_frames=FRAMES,
        source_times=[k / 30 for k in FRAMES],
    )
    return video, truth.read(ROOT / "resources" / "demo" / "walk_turn.truth", video)


def test_truth_has_the_frames_of_the_video(clip):
    video, exact = clip
    assert exact["people"].frame_count == len(exact["scene"].cam2world) == len(FRAMES)
    np.testing.assert_allclose(exact["scene"].cam2world[0], np.eye(4), atol=1e-6)
    gravity = exact["gravity"]
    world = truth.world(gravity, exact["scene"])
    for pid, person in world.people.items():
        turned = person.joints @ gravity.rotation.T + gravity.translation
        np.testing.assert_allclose(turned, gravity.people[pid].joints, atol=1e-5)
        # the world of the first camera and the first camera's own frame are one
        np.testing.assert_allclose(person.joints[0], exact["body"].people[pid].joints[0], atol=1e-5)


@pytest.mark.parametrize("stage", PERFECT)
def test_truth_has_no_error(clip, stage):
    video, exact = clip
    products = {**truth.inputs(exact, video), "scene": exact["scene"]}
    pairs = comparison.match(products, exact)
    assert pairs == {1: 1, 2: 2}
    for values in comparison.measure(stage, products, exact, pairs, video).values():
        for name, value in PERFECT[stage].items():
            assert values[name] == pytest.approx(value, abs=0.02), name


def test_errors_go_to_the_right_person(clip):
    video, exact = clip
    products = truth.inputs(exact, video)
    world = products["world"]
    doubled = dataclasses.replace(world.people[2], joints=2 * world.people[2].joints)
    products["world"] = dataclasses.replace(world, people={7: doubled, 8: world.people[1]})
    found = comparison.measure("align", products, exact, {1: 8, 2: 7}, video)
    assert found[1]["scale_percent"] == pytest.approx(0, abs=0.01)
    assert found[2]["scale_percent"] == pytest.approx(100, abs=0.01)
    lost = comparison.measure("align", products, exact, {1: 8}, video)
    assert lost[2] == {}


def test_the_scene_that_stages_get_has_no_unit_if_the_camera_travels(clip, travelling):
    video, exact = travelling
    scene = truth.inputs(exact, video)["scene"]
    assert not scene.metric and len(scene.points)
    ratio = np.linalg.norm(scene.cam2world[-1, :3, 3]) / np.linalg.norm(
        exact["scene"].cam2world[-1, :3, 3]
    )
    assert ratio < 0.5
    values = comparison.measure("scene", {"scene": scene}, exact, {1: 1}, video)[1]
    assert values["ate_mm"] == pytest.approx(0, abs=0.01)
    assert values["depth_percent"] == pytest.approx(0, abs=0.1)
    without = dataclasses.replace(scene, depth=None)
    values = comparison.measure("scene", {"scene": without}, exact, {1: 1}, video)[1]
    assert np.isnan(values["depth_percent"])
    assert len(truth.inputs(clip[1], clip[0])["scene"].points) == 0


def test_detections_sit_on_the_skeleton(travelling):
    video, exact = travelling
    found = truth.inputs(exact, video)["keypoints"]
    person, seen = found.people[1], exact["keypoints"].people[1]
    name = "left_knee"
    there = exact["keypoints"].keypoint_names.index(name)
    np.testing.assert_allclose(
        person.xy[:, MEDIAPIPE_LANDMARKS.index(name)], seen.xy[:, there], atol=0.01
    )
    solved = exact["body"].people[1]
    left, right = (MEDIAPIPE_LANDMARKS.index(f"{side}_hip") for side in ("left", "right"))
    middle = person.landmarks3d[:, [left, right]].mean(1)
    np.testing.assert_allclose(middle, 0, atol=1e-6)
    model = body.load_body()
    shin = np.linalg.norm(np.subtract(*body.rest_joints(model, solved.betas)[[4, 7]]))
    ankle = MEDIAPIPE_LANDMARKS.index("left_ankle")
    length = np.linalg.norm(
        person.landmarks3d[:, MEDIAPIPE_LANDMARKS.index(name)] - person.landmarks3d[:, ankle],
        axis=-1,
    )
    np.testing.assert_allclose(length, shin, atol=1e-4)


def test_too_short_a_truth_is_refused(clip):
    from pantograph.errors import PantographError

    video = dataclasses.replace(clip[0], source_frames=[500], source_times=[9.0])
    with pytest.raises(PantographError, match="expected frames up to 500, found 90"):
        truth.read(ROOT / "resources" / "demo" / "two_people.truth", video)
