import dataclasses
import json

import numpy as np
import pytest

import quality as script
import toyclip
from pantograph import quality
from pantograph.contracts import Contacts, Gravity, Keypoints, Motion, Video
from pantograph.errors import PantographError
from pantograph.robot import load_robot

STAGES = ("video", "keypoints", "scene", "gravity", "contacts", "mesh", "motion")


def judge(folder, *words):
    out = folder / "quality.json"
    script.main([*toyclip.options(folder, *STAGES), "--out", str(out), *words])
    return quality.Quality.read(out)


def value(result, name, pid="1", part="metrics"):
    return result.people[pid][part][name]["value"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    toyclip.make(folder)
    return folder


def test_a_flawless_clip_is_accepted(toy):
    result = judge(toy)
    assert result.status == "accepted" and not result.reason
    assert set(result.people) == {"1", "2"}
    for person in result.people.values():
        assert person["verdict"] == "accepted" and person["reasons"] == []
        assert set(person["metrics"]) == {metric.name for metric in quality.METRICS}
        assert {m["verdict"] for m in person["metrics"].values()} == {"pass", "info"}
    for name in ("reprojection_px", "bone_spread_percent", "robot_float_cm"):
        assert value(result, name) == pytest.approx(0, abs=1e-4)
    # the soles of the built-in body are level to half a millimetre
    assert value(result, "human_float_cm") == pytest.approx(0, abs=0.05)
    assert value(result, "retarget_error_mm") == pytest.approx(40)
    assert result.video["frame_count"] == 12 and result.camera_model == "static"


def test_every_metric_explains_itself(toy):
    content = json.loads((toy / "quality.json").read_text()) if judge(toy) else {}
    for metric in content["people"]["1"]["metrics"].values():
        assert set(metric) == {"value", "threshold", "unit", "verdict", "meaning"}
        assert metric["unit"] and metric["meaning"]


def test_same_clip_gives_the_same_bytes(toy):
    judge(toy)
    first = (toy / "quality.json").read_bytes()
    judge(toy)
    assert (toy / "quality.json").read_bytes() == first


def test_motion_faults_have_their_size(tmp_path):
    """The robot 6 cm up and both sliding by 2 cm per frame, people by 2 / 0.75 cm."""
    toyclip.make(tmp_path, robot_shift=(0, 0, 0.06), step=(0.02 / 0.75, 0, 0))
    result = judge(tmp_path)
    assert value(result, "robot_float_cm") == pytest.approx(6, abs=1e-3)
    assert value(result, "robot_slide_cm_s") == pytest.approx(2 * 30, rel=1e-3)
    assert value(result, "human_slide_cm_s") == pytest.approx(2 / 0.75 * 30, rel=1e-3)
    assert value(result, "root_speed_m_s") == pytest.approx(0.8, rel=1e-3)
    assert result.people["1"]["metrics"]["robot_slide_cm_s"]["verdict"] == "warn"
    assert result.status == "accepted"


def test_a_sunken_robot_is_rejected(tmp_path):
    toyclip.make(tmp_path, people=(4,), robot_shift=(0, 0, -0.07))
    result = judge(tmp_path)
    assert value(result, "robot_penetration_cm", "4") == pytest.approx(7, abs=0.01)
    assert value(result, "robot_penetration_percent", "4") == 100
    assert result.status == "rejected"
    assert result.reason == "person 4: robot_penetration_cm 7 cm (max 5)"


def test_a_robot_in_a_box_penetrates(tmp_path):
    """The seat is at (1.4, 0.8) in the human's world, so at 0.75 of that in the robot's."""
    toyclip.make(tmp_path, people=(1,), robot_shift=(1.05, 0.6, 0))
    result = judge(tmp_path)
    assert value(result, "robot_penetration_percent") == 100


def test_joint_limits_and_speeds(toy, tmp_path):
    products = toyclip.make(tmp_path, people=(1,))
    motion = products["motion"]
    joints = np.array(motion.people[1].joints)
    knee = motion.joint_names.index("left_knee_joint")
    robot = load_robot("g1")
    joints[6, knee] = robot.model_limits[knee, 1] + 0.02
    motion.people[1].joints = joints
    motion.write(toyclip.path_of(tmp_path, "motion"))
    result = judge(tmp_path)
    assert value(result, "joint_limit_percent") == pytest.approx(100 / 12, rel=1e-4)
    assert value(result, "joint_margin_deg") == pytest.approx(-np.degrees(0.02), rel=1e-3)
    assert value(result, "joint_speed_percent") == pytest.approx(200 / 11, rel=1e-4)
    assert result.people["1"]["verdict"] == "rejected"


def test_reprojection_is_measured_in_pixels_and_statures(toy, tmp_path):
    products = toyclip.make(tmp_path, people=(1,))
    keypoints = products["keypoints"]
    keypoints.people[1].xy = keypoints.people[1].xy + [3, 4]
    keypoints.write(toyclip.path_of(tmp_path, "keypoints"))
    result = judge(tmp_path)
    assert value(result, "reprojection_px") == pytest.approx(5, rel=1e-4)
    # the body stands 4 m away from a camera of 260 px focal length
    from pantograph import body

    stature = body.stature(body.load_body(), np.zeros(10)) * 260 / 4
    assert value(result, "reprojection_percent") == pytest.approx(500 / stature, rel=1e-3)


def test_thresholds_can_be_changed(toy, tmp_path):
    result = judge(toy, "--thresholds", '{"retarget_error_mm": 30, "flip_percent": null}')
    assert result.status == "rejected" and "retarget_error_mm 40 mm (max 30)" in result.reason
    assert result.people["1"]["metrics"]["flip_percent"]["verdict"] == "info"
    (tmp_path / "gates.json").write_text('{"visible_fraction": 0.1}')
    result = judge(toy, "--thresholds", str(tmp_path / "gates.json"))
    assert result.people["1"]["metrics"]["visible_fraction"]["threshold"] == 0.1
    for bad in ('{"speed": 1}', '{"flip_percent": "low"}', '{"reprojection_px": 3}', "[1]", "{"):
        with pytest.raises(PantographError):
            judge(toy, "--thresholds", bad)


def test_rejected_products_pass_on_their_reason(toy, tmp_path):
    toyclip.make(tmp_path)
    for name, cls in (("gravity", Gravity), ("motion", Motion)):
        cls.rejection("no camera solution", dropped={"7": "seen in 2 frames"}).write(
            toyclip.path_of(tmp_path, name)
        )
    result = judge(tmp_path)
    assert (result.status, result.reason) == ("rejected", "no camera solution")
    assert result.people == {} and result.dropped == {"7": "seen in 2 frames"}
    assert result.video["name"] == "toy"


def test_a_rejected_video_is_a_result(tmp_path):
    toyclip.make(tmp_path)
    Video.rejection("not a video", name="toy").write(toyclip.path_of(tmp_path, "video"))
    result = judge(tmp_path)
    assert (result.status, result.reason) == ("rejected", "not a video")


def test_people_without_a_motion_are_listed(tmp_path):
    products = toyclip.make(tmp_path)
    motion = products["motion"]
    del motion.people[2]
    motion.dropped = {"2": "too few frames"}
    motion.write(toyclip.path_of(tmp_path, "motion"))
    result = judge(tmp_path)
    assert result.status == "accepted"
    assert result.people["2"]["verdict"] == "rejected"
    assert result.people["2"]["reasons"] == ["too few frames"]


def test_a_clip_against_itself_has_no_error(toy):
    result = judge(toy, "--truth", str(toy))
    assert result.stats == {"true_people": 2, "missed_people": 0}
    for pid in ("1", "2"):
        assert result.people[pid]["truth_id"] == int(pid)
        assert value(result, "contact_f1", pid, "truth") == 1
        for name in set(result.people[pid]["truth"]) - {"contact_f1"}:
            assert value(result, name, pid, "truth") == pytest.approx(0, abs=1e-3)


def test_errors_against_the_truth(toy, tmp_path):
    """The clip is the second half of the truth, 10 % too large, with 8 px to the right."""
    products = toyclip.make(tmp_path, people=(5,), step=(0.05, 0, 0))
    truth = tmp_path / "truth"
    truth.mkdir()
    toyclip.make(truth, people=(1, 2, 3), step=(0.05, 0, 0), count=24)
    video = dataclasses.replace(products["video"], source_frames=list(range(0, 24, 2)))
    video.write(toyclip.path_of(tmp_path, "video"))
    gravity, keypoints = products["gravity"], products["keypoints"]
    source = Gravity.read(toyclip.path_of(truth, "gravity")).people[2]
    person = gravity.people[5]
    person.joints = 1.1 * source.joints[::2] + [0.3, 0.2, 0]
    person.transl = person.joints[:, 0]
    gravity.write(toyclip.path_of(tmp_path, "gravity"))
    true_keypoints = Keypoints.read(toyclip.path_of(truth, "keypoints"))
    keypoints.people[5].xy = true_keypoints.people[2].xy[::2] + [8, 0]
    keypoints.write(toyclip.path_of(tmp_path, "keypoints"))
    contacts = Contacts.read(toyclip.path_of(truth, "contacts"))
    contacts.people[2].contact[12:] = False
    contacts.write(toyclip.path_of(truth, "contacts"))

    result = judge(tmp_path, "--truth", str(truth))
    person = result.people["5"]
    assert person["truth_id"] == 2 and result.stats["missed_people"] == 2
    assert value(result, "keypoint_error_px", "5", "truth") == pytest.approx(8, rel=1e-4)
    assert value(result, "scale_error_percent", "5", "truth") == pytest.approx(10, rel=1e-3)
    assert value(result, "pa_mpjpe_mm", "5", "truth") == pytest.approx(0, abs=0.01)
    # steps of 0.1 m; each is 1 cm too long, counted from the middle of 12
    assert value(result, "root_error_mm", "5", "truth") == pytest.approx(30, rel=1e-3)
    assert value(result, "mpjpe_mm", "5", "truth") > 10
    assert value(result, "contact_f1", "5", "truth") == pytest.approx(2 / 3)
    assert value(result, "gravity_error_deg", "5", "truth") == pytest.approx(0, abs=1e-4)


def test_truth_that_is_too_short_is_an_error(toy, tmp_path):
    toyclip.make(tmp_path, count=20)
    with pytest.raises(PantographError, match="expected frames up to 19, found 12"):
        judge(tmp_path, "--truth", str(toy))
