"""Measures of a robot that does exactly, or not quite, what the recorded person does."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")

from scipy.spatial.transform import Rotation  # noqa: E402

from pantograph import fidelity  # noqa: E402
from pantograph import robot as robots  # noqa: E402
from pantograph.contracts import Motion, PersonMotion  # noqa: E402
from pantograph.conventions import CONTACTS, SMPL_JOINTS  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402

COUNT, FPS = 40, 30.0
MOCAP = Path(__file__).resolve().parents[2] / "shared" / "mocap"


@pytest.fixture(scope="module")
def g1():
    return robots.load_robot("g1")


def perform(robot, joints, root_pos):
    """A motion of the robot, upright."""
    quat = np.tile([1.0, 0, 0, 0], (COUNT, 1))
    frames = [
        robots.forward(robot, p, q, j) for p, q, j in zip(root_pos, quat, joints, strict=True)
    ]
    turns = Rotation.from_matrix(np.array([f[1] for f in frames]).reshape(-1, 3, 3)).as_quat()
    found = PersonMotion(
        valid=np.ones(COUNT, bool),
        root_pos=root_pos,
        root_quat=quat,
        joints=joints,
        link_pos=np.array([f[0] for f in frames]),
        link_quat=turns[:, [3, 0, 1, 2]].reshape(COUNT, -1, 4),
        contact=np.zeros((COUNT, 2), bool),
        error=np.zeros(COUNT),
    )
    return Motion(
        robot="g1",
        fps=FPS,
        world_scale=1.0,
        joint_names=list(robot.joint_names),
        body_names=list(robot.body_names),
        contact_names=list(CONTACTS),
        people={1: found},
    )


def imitate(robot, motion, size):
    """Human joints (T, 24, 3) where the robot's links are, `size` times as far from each other."""
    joints = np.zeros((COUNT, 24, 3))
    found = motion.people[1]
    for name, body in fidelity.LINKS.items():
        k = robot.body_names.index(body)
        place = found.link_pos[:, k]
        if name.endswith("foot"):
            turn = Rotation.from_quat(found.link_quat[:, k][:, [1, 2, 3, 0]])
            place = place + turn.apply(fidelity.OFFSETS["foot"])
        joints[:, SMPL_JOINTS.index(name)] = size * place
    return joints


@pytest.fixture(scope="module")
def swing(g1):
    wave = np.sin(2 * np.pi * np.arange(COUNT) / FPS)
    joints = np.tile(g1.rest, (COUNT, 1))
    joints[:, g1.joint_names.index("left_elbow_joint")] += 0.3 * wave
    return perform(g1, joints, np.tile([0.0, 0, 0.8], (COUNT, 1)))


def test_a_larger_body_in_the_same_pose_is_followed_exactly(g1, swing):
    found = fidelity.measure(g1, swing, 1, imitate(g1, swing, 1.4))
    assert found["position_mm"] < 0.01
    # the human's wrist stands at the robot's hand, which the forearm does not point to exactly
    assert found["direction_deg"] < 1.0
    assert found["still_foot_m_s"] == pytest.approx(0, abs=1e-6)
    assert found["limit_violations"] == 0 and found["velocity_violations"] == 0
    wave = 0.3 * np.sin(2 * np.pi * np.arange(COUNT) / FPS)
    expected = np.abs(np.diff(wave, n=2)).mean() * FPS**2 / 23
    assert found["acceleration_rad_s2"] == pytest.approx(expected, rel=0.01)


def test_faults_are_measured(g1, swing):
    human = imitate(g1, swing, 1.0)
    knees = [SMPL_JOINTS.index(f"{side}_knee") for side in ("left", "right")]
    human[:, knees] += [0.07, 0.0, 0.0]
    base = fidelity.measure(g1, swing, 1, imitate(g1, swing, 1.0))
    found = fidelity.measure(g1, swing, 1, human)
    assert found["position_mm"] == pytest.approx(2 * 70 / 14, rel=0.2)
    assert found["direction_deg"] > base["direction_deg"] + 2

    sliding = np.outer(np.arange(COUNT) / FPS, [0.4, 0, 0]) + [0, 0, 0.8]
    joints = swing.people[1].joints.copy()
    joints[:, 0] = g1.model_limits[0, 1] + 0.1
    joints[::2, 3] = 2.0
    bad = perform(g1, joints, sliding)
    found = fidelity.measure(g1, bad, 1, imitate(g1, swing, 1.0))
    assert found["limit_violations"] == COUNT
    assert found["velocity_violations"] == COUNT - 1
    assert found["still_foot_m_s"] > 0.4


def test_recordings_are_checked_and_turned(tmp_path):
    np.save(tmp_path / "joints.npy", np.zeros((9, 24, 3)))
    with pytest.raises(PantographError, match=r"expected joints \(T, 45, 3\)"):
        fidelity.read_recording(tmp_path / "joints.npy")
    points = np.tile(np.arange(135.0).reshape(45, 3), (9, 1, 1))
    np.save(tmp_path / "points.npy", points)
    np.save(tmp_path / "short.npy", np.zeros(8, bool))
    with pytest.raises(PantographError, match=r"expected contacts \(9,\)"):
        fidelity.read_recording(tmp_path / "points.npy", [tmp_path / "short.npy"] * 2)


def test_the_recorded_climber_stands_upright():
    if not MOCAP.is_dir():
        pytest.skip("the recorded climb is not beside the repository")
    person, contact = fidelity.read_recording(MOCAP / "smpl_keypoints.npy")
    up = person.global_orient[:, :, 1]
    assert up[:, 2].min() > 0.7
    left = person.joints[:, 1] - person.joints[:, 2]
    assert np.all(np.einsum("ta,ta->t", person.global_orient[:, :, 0], left) > 0)
    assert not contact.contact.any()
