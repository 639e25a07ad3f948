import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import export_motion
from pantograph import export
from pantograph.contracts import Motion, PersonMotion
from pantograph.errors import PantographError
from pantograph.export import tracking, unitree
from pantograph.robot import load_robot
from pantograph.robotscene import Articulation

FPS = 30.0
# the order in which Isaac Lab lists the joints of the 29-joint G1, as indices of the depth-first
# order (GR00T-WholeBodyControl, gear_sonic/envs/manager_env/robots/g1.py)
ISAAC = [0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 22, 4, 10, 16]
ISAAC += [23, 5, 11, 17, 24, 18, 25, 19, 26, 20, 27, 21, 28]
ISAAC_BODIES = [0, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 16, 23, 5, 11, 17, 24, 6, 12]
ISAAC_BODIES += [18, 25, 19, 26, 20, 27, 21, 28, 22, 29]


@pytest.fixture(scope="module")
def g1():
    return Articulation(load_robot("g1"))


@pytest.fixture(scope="module")
def motion(g1):
    """Two robots that turn and swing; the second is missing at both ends."""
    count = 61
    people = {}
    for pid in (1, 2):
        time = np.arange(count) / FPS
        turn = Rotation.from_euler("zy", np.stack([pid * time, 0.2 * np.sin(time)], -1))
        quat = turn.as_quat()[:, [3, 0, 1, 2]]
        quat[7:] *= -1
        pos = np.stack([0.5 * time, np.sin(time), 0.79 + 0.02 * np.cos(3 * time)], -1)
        low, high = g1.robot.model_limits.T
        wave = np.sin(2 * time[:, None] + np.arange(len(low)))
        joints = (low + high) / 2 + 0.4 * (high - low) / 2 * wave
        state = g1.forward(pos, quat, joints, g1.joint_names, g1.body_names)
        valid = np.ones(count, bool)
        if pid == 2:
            valid[:5] = valid[50:] = False
        people[pid] = PersonMotion(
            valid=valid,
            root_pos=pos,
            root_quat=quat,
            joints=joints,
            link_pos=state.pos,
            link_quat=state.quat,
            contact=np.zeros((count, 2), bool),
            error=np.zeros(count),
        )
    return Motion(
        robot="g1",
        fps=FPS,
        world_scale=0.75,
        joint_names=list(g1.joint_names),
        body_names=list(g1.body_names),
        contact_names=["left_foot", "right_foot"],
        people=people,
    )


@pytest.fixture(scope="module")
def exported(motion, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    motion.write(folder / "motion_g1.h5")
    out = folder / "export"
    export_motion.main(["--motion", str(folder / "motion_g1.h5"), "--out-dir", str(out)])
    return out


def link_error(g1, trajectory, pos):
    bodies = g1.body_names
    state = g1.forward(
        trajectory.root_pos, trajectory.root_quat, trajectory.joints, trajectory.joint_names, bodies
    )
    return np.linalg.norm(state.pos - pos, axis=-1).max()


def test_breadth_first_order_is_the_published_one(g1):
    assert len(g1.joint_names) == 29
    assert list(g1.joint_names_breadth_first) == [g1.joint_names[k] for k in ISAAC]
    assert list(g1.body_names_breadth_first) == [g1.body_names[k] for k in ISAAC_BODIES]


def test_unitree_round_trip_by_forward_kinematics(g1, motion, exported):
    for pid, frames in ((1, slice(0, 61)), (2, slice(5, 50))):
        back = unitree.read(exported / f"person{pid}_unitree.csv", g1)
        assert link_error(g1, back, motion.people[pid].link_pos[frames]) < 1e-5


def test_unitree_table_looks_as_published(motion, exported):
    lines = (exported / "person1_unitree.csv").read_text().splitlines()
    assert len(lines) == 61 and all(len(line.split(",")) == 36 for line in lines)
    assert all(len(cell.split(".")[1]) == 6 for cell in lines[0].split(","))
    rows = np.loadtxt(lines, delimiter=",")
    person = motion.people[1]
    np.testing.assert_allclose(rows[:, :3], person.root_pos, atol=1e-6)
    wxyz = rows[:, [6, 3, 4, 5]]
    np.testing.assert_allclose(np.abs((wxyz * person.root_quat).sum(1)), 1, atol=1e-5)
    assert (rows[1:, 3:7] * rows[:-1, 3:7]).sum(1).min() > 0.9
    np.testing.assert_allclose(rows[:, 7:], person.joints, atol=1e-6)


def test_tracking_round_trip_by_forward_kinematics(g1, motion, exported):
    back = tracking.read(exported / "person1_tracking.npz", g1)
    assert back.fps == 50 and len(back) == 101
    # every third frame of 30 fps is every fifth of 50
    assert link_error(g1, _every(back, 5), motion.people[1].link_pos[::3].astype(np.float32)) < 1e-5


def test_tracking_bodies_are_those_of_its_joints(g1, exported):
    path = exported / "person2_tracking.npz"
    back = tracking.read(path, g1)
    with np.load(path) as archive:
        order = [g1.body_names_breadth_first.index(name) for name in g1.body_names]
        assert link_error(g1, back, archive["body_pos_w"][:, order]) < 1e-5
        assert archive["joint_pos"].dtype == np.float32
        assert archive["fps"].shape == (1,) and archive["fps"][0] == 50


def test_tracking_velocities_are_derivatives(g1, exported):
    with np.load(exported / "person1_tracking.npz") as archive:
        data = dict(archive)
    inner = slice(2, -2)
    joint_vel = np.gradient(data["joint_pos"], 1 / 50, axis=0)
    np.testing.assert_allclose(data["joint_vel"], joint_vel, atol=1e-3)
    body = list(data["body_names"]).index("left_elbow_link")
    com = g1.centre_of_mass("left_elbow_link")
    np.testing.assert_allclose(com, [0.064956, 0.004454, -0.010062], atol=1e-6)
    rotation = Rotation.from_quat(data["body_quat_w"][:, body][:, [1, 2, 3, 0]])
    centre = data["body_pos_w"][:, body] + rotation.apply(com)
    speed = np.gradient(centre, 1 / 50, axis=0)
    np.testing.assert_allclose(data["body_lin_vel_w"][inner, body], speed[inner], atol=0.03)
    turn = (rotation[2:] * rotation[:-2].inv()).as_rotvec() * 25
    np.testing.assert_allclose(data["body_ang_vel_w"][1:-1, body][1:-1], turn[1:-1], atol=0.03)


def test_manifest_describes_every_file(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["status"] == "accepted" and manifest["world_scale"] == 0.75
    files = {item["file"]: item for item in manifest["files"]}
    assert set(files) == {p.name for p in exported.iterdir()} - {"manifest.json"}
    assert files["person2_unitree.csv"]["clip_frames"] == [5, 50]
    assert files["person2_unitree.csv"]["quaternion_order"] == "xyzw"
    assert files["person1_tracking.npz"]["frames"] == 101


def test_same_motion_gives_the_same_bytes(g1, exported, tmp_path):
    motion = Motion.read(exported.parent / "motion_g1.h5")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stale.csv").write_text("left over")
    export.export_motion(motion, g1, tmp_path / "out")
    files = sorted(p.name for p in exported.iterdir())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == files
    for name in files:
        assert (tmp_path / "out" / name).read_bytes() == (exported / name).read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_rejected_motion_gives_a_manifest_with_the_reason(tmp_path):
    path = tmp_path / "motion_g1.h5"
    Motion.rejection("nobody in the video").write(path)
    export_motion.main(["--motion", str(path), "--out-dir", str(tmp_path / "out")])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["manifest.json"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["status"], manifest["reason"]) == ("rejected", "nobody in the video")


def test_a_failed_export_leaves_the_earlier_one(g1, motion, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("")
    gone = Motion(**{**vars(motion), "people": {1: PersonMotion(valid=np.zeros(61, bool))}})
    with pytest.raises(PantographError, match="person 1"):
        export.export_motion(gone, g1, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "kept").exists()


def test_readers_refuse_what_does_not_fit(g1, tmp_path):
    np.savetxt(tmp_path / "a.csv", np.ones((2, 30)), delimiter=",")
    with pytest.raises(PantographError, match="36 columns, found 30"):
        unitree.read(tmp_path / "a.csv", g1)
    np.savez(tmp_path / "a.npz", fps=[50])
    with pytest.raises(PantographError, match="joint_pos is missing"):
        tracking.read(tmp_path / "a.npz", g1)


def test_resampling_keeps_a_uniform_turn():
    turn = Rotation.from_euler("z", np.linspace(0, 3, 31)[:, None])
    pos = np.linspace([0, 0, 0], [1, 2, 3], 31)
    quat = turn.as_quat()[:, [3, 0, 1, 2]]
    whole = export.Trajectory(30.0, pos, quat, pos[:, :1], ("a",))
    fine = whole.resampled(50)
    assert len(fine) == 51
    np.testing.assert_allclose(fine.root_pos, np.linspace([0, 0, 0], [1, 2, 3], 51), atol=1e-12)
    linear, angular, joints = fine.velocities()
    np.testing.assert_allclose(linear, np.tile([1, 2, 3], (51, 1)), atol=1e-9)
    np.testing.assert_allclose(angular, np.tile([0, 0, 3], (51, 1)), atol=1e-9)
    np.testing.assert_allclose(joints, 1, atol=1e-9)


def _every(motion, step):
    values = motion.root_pos[::step], motion.root_quat[::step], motion.joints[::step]
    return export.Trajectory(motion.fps / step, *values, motion.joint_names)
