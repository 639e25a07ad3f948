"""Retargeting of people whose motion is known: they stand, squat, turn round and march."""

from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mujoco")

from scipy.spatial.transform import Rotation  # noqa: E402

import retarget_trajectory  # noqa: E402
from pantograph import body, fidelity, lengths, robotscene, target  # noqa: E402
from pantograph import robot as robots  # noqa: E402
from pantograph.contracts import (  # noqa: E402
    Contacts,
    Gravity,
    Mesh,
    Motion,
    PersonBody,
    PersonContacts,
    Video,
)
from pantograph.conventions import CONTACTS, SMPL_JOINTS  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402

COUNT, FPS = 72, 30.0
MOCAP = Path(__file__).resolve().parents[2] / "shared" / "mocap"
UPRIGHT = Rotation.from_matrix([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
"""From the rest pose (y up, facing z) to the world, facing x."""
STAND, SQUAT, TURN, MARCH, STEP, BROKEN = range(6)
STEP_HEIGHT = 0.2
TIMES = np.arange(COUNT) / FPS


def person(pose, heading, contact, ground=0.0, place=(0.0, 0.0)):
    """A person whose lower foot stands at height `ground`.

    pose: SMPL joint -> rotation vectors (3,) or (T, 3); heading: (T,) rad; contact: (T, 2).
    """
    model, betas = body.load_body(), np.zeros(10)
    local = np.tile(np.eye(3), (COUNT, 24, 1, 1))
    for name, vector in pose.items():
        vector = np.array(np.broadcast_to(vector, (COUNT, 3)), float)
        local[:, SMPL_JOINTS.index(name)] = Rotation.from_rotvec(vector).as_matrix()
    orient = (Rotation.from_euler("z", heading[:, None]) * UPRIGHT).as_matrix()
    still = np.zeros((COUNT, 3))
    joints = body.joints(model, betas, orient, local[:, 1:], still)
    sole = -body.rest_vertices(model, betas)[:, 1].min() + body.rest_joints(model, betas)[7, 1]
    ankles = joints[:, [SMPL_JOINTS.index("left_ankle"), SMPL_JOINTS.index("right_ankle")]]
    shift = np.zeros((COUNT, 3))
    shift[:, :2] = place
    shift[:, 2] = ground + sole - ankles[..., 2].min(axis=1)
    return (
        PersonBody(
            valid=np.ones(COUNT, bool),
            confidence=np.ones(COUNT),
            global_orient=orient,
            body_pose=local[:, 1:],
            betas=betas,
            transl=shift,
            joints=joints + shift[:, None],
        ),
        PersonContacts(
            valid=np.ones(COUNT, bool), contact=contact, probability=contact.astype(float)
        ),
    )


def arms(lowered=1.2, bent=0.8):
    return {
        "left_shoulder": (0, 0, -lowered),
        "right_shoulder": (0, 0, lowered),
        "left_elbow": (0, -bent, 0),
        "right_elbow": (0, bent, 0),
    }


def legs(side, flexion):
    """Hip, knee and ankle bent so that the foot stays level; flexion: (T,) of the hip, rad."""
    axis = np.array([1.0, 0, 0])
    return {
        f"{side}_hip": np.outer(-flexion, axis),
        f"{side}_knee": np.outer(2 * flexion, axis),
        f"{side}_ankle": np.outer(-flexion, axis),
    }


def crowd():
    still, both = np.zeros(COUNT), np.ones((COUNT, 2), bool)
    turn = 2.5 * np.sin(np.pi * TIMES / TIMES[-1] - np.pi / 2)
    bend = 0.9 * np.sin(np.pi * TIMES / TIMES[-1]) ** 2
    wave = np.sin(2 * np.pi * 0.9 * TIMES)
    lift = {"left": np.clip(wave, 0, None), "right": np.clip(-wave, 0, None)}
    march = np.stack([lift["left"] < 0.02, lift["right"] < 0.02], axis=1)
    return {
        STAND: person(arms(), still + 0.7, both),
        SQUAT: person({**arms(), **legs("left", bend), **legs("right", bend)}, still - 1.0, both),
        TURN: person(arms(), turn, ~both),
        MARCH: person(
            {**arms(), **legs("left", 0.8 * lift["left"]), **legs("right", 0.8 * lift["right"])},
            still,
            march,
        ),
        STEP: person(arms(), still, both, ground=STEP_HEIGHT, place=(3.0, 1.0)),
        BROKEN: person(arms(), still, both),
    }


def write_products(folder, people, valid=None, boxes=()):
    bodies = {pid: pair[0] for pid, pair in people.items()}
    for pid, flags in (valid or {}).items():
        bodies[pid].valid = flags
    count = len(next(iter(bodies.values())).valid) if bodies else COUNT
    frames = np.tile(np.eye(4), (count, 1, 1))
    Gravity(
        camera_model="static",
        intrinsics=frames[:, :3, :3],
        cam2world=frames,
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
        rotation=np.eye(3),
        translation=np.zeros(3),
        people=bodies,
    ).write(folder / "gravity.h5")
    Contacts(
        contact_names=list(CONTACTS), people={pid: pair[1] for pid, pair in people.items()}
    ).write(folder / "contacts.h5")
    Mesh(
        vertices=np.zeros((0, 3)),
        faces=np.zeros((0, 3), np.int32),
        boxes=np.reshape(boxes, (-1, 7)).astype(float),
        box_names=["step"] * len(boxes),
    ).write(folder / "mesh.h5")
    Video(
        name="clip",
        path="clip.mp4",
        fps=FPS,
        width=64,
        height=64,
        source_frames=list(range(count)),
        source_times=[k / FPS for k in range(count)],
    ).write(folder / "video.json")


def run(folder, out="motion.h5", *options):
    arguments = [f"--{name}={folder / name}.h5" for name in ("gravity", "contacts", "mesh")]
    arguments += options
    out = folder / out
    retarget_trajectory.main([f"--video={folder / 'video.json'}", f"--out={out}", *arguments])
    return Motion.read(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crowd")
    broken = np.ones(COUNT, bool)
    broken[5:9] = False
    broken[50:68] = False
    step = [3.0, 1.0, STEP_HEIGHT / 2, 0.8, 0.8, STEP_HEIGHT, 0.3]
    write_products(folder, crowd(), {BROKEN: broken}, [step])
    return folder


@pytest.fixture(scope="module")
def robot():
    return robots.load_robot("g1")


@pytest.fixture(scope="module")
def motion(folder):
    return run(folder)


@pytest.fixture(scope="module")
def gravity(folder):
    return Gravity.read(folder / "gravity.h5")


def link(motion, pid, name):
    k = motion.body_names.index(name)
    person = motion.people[pid]
    rotation = Rotation.from_quat(person.link_quat[:, k][:, [1, 2, 3, 0]])
    return person.link_pos[:, k].astype(float), rotation


def soles(motion, robot, pid):
    """Corners of the soles, (T, feet, corners, 3)."""
    out = []
    for foot in robot.feet:
        place, rotation = link(motion, pid, robot.body_names[foot.body])
        out.append(place[:, None] + np.einsum("tab,pb->tpa", rotation.as_matrix(), foot.sole))
    return np.stack(out, axis=1)


def test_everyone_is_followed_closely(motion):
    assert sorted(motion.people) == [STAND, SQUAT, TURN, MARCH, STEP, BROKEN]
    for found in motion.people.values():
        assert found.error[found.valid].mean() < 0.03
        np.testing.assert_allclose(np.linalg.norm(found.root_quat, axis=-1), 1, atol=1e-5)


def test_scale_is_the_ratio_of_leg_lengths(motion, robot, gravity):
    joints = gravity.people[STAND].joints[0]
    leg = [SMPL_JOINTS.index(f"left_{name}") for name in ("hip", "knee", "ankle")]
    length = np.linalg.norm(np.diff(joints[leg], axis=0), axis=-1).sum()
    assert motion.world_scale == pytest.approx(robot.leg_length / length, rel=0.01)


def test_joints_keep_their_limits(motion, robot):
    for found in motion.people.values():
        joints = found.joints[found.valid]
        assert np.all(joints >= robot.model_limits[:, 0])
        assert np.all(joints <= robot.model_limits[:, 1])
        assert np.all(np.abs(np.diff(joints, axis=0)) * FPS <= robot.velocity_limits)


def test_standing_feet_are_on_the_floor_and_stay(motion, robot):
    for pid in (STAND, SQUAT, MARCH):
        corners, contact = soles(motion, robot, pid), motion.people[pid].contact
        assert contact.mean() > 0.3
        assert np.abs(corners[contact][..., 2]).max() < 0.01
        both = contact[1:] & contact[:-1]
        speed = np.linalg.norm(np.diff(corners[..., :2], axis=0), axis=-1)[both] * FPS
        assert speed.mean() < 0.02


def test_no_sole_goes_through_the_floor(motion, robot):
    for pid in (STAND, SQUAT, TURN, MARCH):
        assert soles(motion, robot, pid)[..., 2].min() > -0.005


def test_lifted_feet_are_lifted(motion, robot):
    heights = soles(motion, robot, MARCH)[..., 2].mean(axis=2)
    lifted = np.clip(np.sin(2 * np.pi * 0.9 * TIMES), 0, None) > 0.8
    assert heights[lifted, 0].min() > 0.08 and np.abs(heights[lifted, 1]).max() < 0.01


def test_a_person_on_a_step_stands_on_the_scaled_step(motion, robot):
    heights = soles(motion, robot, STEP)[..., 2]
    np.testing.assert_allclose(heights, STEP_HEIGHT * motion.world_scale, atol=0.01)
    root = motion.people[STEP].root_pos[:, :2] / motion.world_scale
    np.testing.assert_allclose(root, np.broadcast_to([3.0, 1.0], root.shape), atol=0.05)


def test_the_robot_faces_where_the_person_does(motion, gravity):
    for pid in (STAND, SQUAT, TURN):
        forward = gravity.people[pid].global_orient[:, :, 2]
        found = link(motion, pid, "pelvis")[1].as_matrix()[:, :, 0]
        np.testing.assert_allclose(found[:, :2], forward[:, :2], atol=0.06)


def test_left_stays_left(motion):
    for pid in motion.people:
        valid = motion.people[pid].valid
        root, turn = link(motion, pid, "pelvis")
        for name in ("rubber_hand", "ankle_roll_link", "elbow_link"):
            for side, sign in (("left", 1), ("right", -1)):
                place = turn.inv().apply(link(motion, pid, f"{side}_{name}")[0] - root)
                assert np.all(sign * place[valid, 1] > 0.03)


def test_a_squat_bends_the_knees_and_keeps_the_trunk_up(motion, gravity):
    found = motion.people[SQUAT]
    knee = found.joints[:, motion.joint_names.index("left_knee_joint")]
    human = gravity.people[SQUAT].transl[:, 2]
    drop = (human.max() - human.min()) * motion.world_scale
    assert knee[COUNT // 2] > 1.4 > 0.5 > knee[0]
    assert np.ptp(found.root_pos[:, 2]) == pytest.approx(drop, rel=0.1)
    # knees point forward and hands stay in front
    root, turn = link(motion, SQUAT, "pelvis")
    place = turn.inv().apply(link(motion, SQUAT, "left_knee_link")[0] - root)
    assert place[COUNT // 2, 0] > 0.15
    up = link(motion, SQUAT, "torso_link")[1].as_matrix()[:, 2, 2]
    assert up.min() > 0.95


def test_links_are_the_kinematics_of_the_joints(motion, robot):
    found = motion.people[MARCH]
    at = COUNT // 3
    places, _ = robots.forward(
        robot, found.root_pos[at], found.root_quat[at], found.joints[at].astype(float)
    )
    np.testing.assert_allclose(found.link_pos[at], places, atol=1e-5)


def test_short_gaps_are_bridged_and_long_ones_end_the_motion(motion):
    valid = motion.people[BROKEN].valid
    assert valid[:50].all() and not valid[50:].any()
    assert "longest stretch" in motion.dropped[f"{BROKEN}/68-71"]
    assert np.abs(np.diff(motion.people[BROKEN].joints[:50], axis=0)).max() < 0.05


def test_the_same_input_gives_the_same_bytes(folder, motion):
    run(folder, "again.h5")
    assert (folder / "again.h5").read_bytes() == (folder / "motion.h5").read_bytes()


def test_a_planned_length_changes_nothing(folder, motion):
    lengths.write(folder / "lengths.json", (8, COUNT + 7))
    other = run(folder, "planned.h5", f"--lengths={folder / 'lengths.json'}")
    assert other.parameters == motion.parameters
    for pid, person in motion.people.items():
        for name in ("root_pos", "joints", "link_pos", "error"):
            assert np.abs(getattr(other.people[pid], name) - getattr(person, name)).max() < 1e-4


def test_weights_are_multiplied_by_name():
    plain = retarget_trajectory.chosen_weights("{}")
    found = retarget_trajectory.chosen_weights('{"contact": 0.5, "acceleration": 3}', 2.0)
    assert (found.contact, found.keypoints) == (plain.contact / 2, plain.keypoints)
    assert found.acceleration == pytest.approx(6 * plain.acceleration)
    assert found.root_acceleration == pytest.approx(2 * plain.root_acceleration)


@pytest.mark.parametrize("text", ['{"contacts": 1}', '{"contact": -1}', "[1]", '{"contact": "a"}'])
def test_wrong_weights_are_one_line(text):
    with pytest.raises(PantographError, match="--weights: expected"):
        retarget_trajectory.chosen_weights(text)


def test_a_person_seen_too_briefly_is_no_motion(tmp_path):
    seen = np.zeros(COUNT, bool)
    seen[10:14] = True
    write_products(tmp_path, {STAND: crowd()[STAND]}, {STAND: seen})
    found = run(tmp_path)
    assert found.rejected and "nobody" in found.reason


def test_a_rejected_input_passes_through(tmp_path):
    write_products(tmp_path, {STAND: crowd()[STAND]})
    Gravity.rejection("no camera solution").write(tmp_path / "gravity.h5")
    assert run(tmp_path).reason == "no camera solution"


def test_uneven_ground_keeps_its_own_height():
    ankles = np.zeros((20, 2, 3))
    held = np.ones((20, 2), bool)
    held[10:, 1] = False
    heights = np.zeros((20, 2))
    heights[:, 0] = 0.05
    heights[:, 1] = -0.4
    box = np.array([[0.0, 0.0, 0.02, 1, 1, 0.1, 0.0]])
    support = target.support_heights(ankles, heights, held, box)
    np.testing.assert_allclose(support[:, 0], 0.07)
    np.testing.assert_allclose(support[:10, 1], -0.4)
    floor = target.floor_heights(support, held, heights, ankles[..., :2], box)
    np.testing.assert_allclose(floor[:, 1], -0.4)


def test_a_foot_below_the_collision_floor_is_put_on_it():
    floor = np.array([[0.0, 0.0, -0.1, 2.0, 2.0, 0.2, 0.0]])
    places = np.array([[[0.0, 0.0], [5.0, 0.0]]])
    raised = target.above_ground(places, np.array([[-0.15, -0.15]]), floor)
    np.testing.assert_allclose(raised, [[0.0, -0.15]], atol=1e-9)


def test_a_lifted_foot_passes_over_a_box():
    held = np.zeros((3, 1), bool)
    heights = np.array([[0.02], [0.2], [0.2]])
    places = np.array([[[2.0, 0]], [[0, 0]], [[2.0, 0]]])
    boxes = np.array([[0, 0, 0.05, 1, 1, 0.1, 0.0], [2, 0, 0.4, 0.5, 0.5, 0.8, 0.0]])
    floor = target.floor_heights(np.zeros((3, 1)), held, heights, places, boxes)
    np.testing.assert_allclose(floor, [[0.0], [0.1], [0.0]], atol=1e-9)


def test_a_foot_that_moves_is_not_held():
    joints = np.zeros((60, 2, 3))
    joints[30:, :, 0] = np.linspace(0, 1.5, 30)[:, None]
    held = target.standing(joints, np.ones(60, bool), FPS)
    assert held[:27].all() and not held[33:58].any()
    joints[:, 1] = 0.0
    assert target.standing(joints, np.ones(60, bool), FPS).all()


def depths(robot, motion, pid, boxes=()):
    """Least distances (T,) of the robot's shapes to each other and to floor and boxes, m."""
    scene = robotscene.RobotScene(
        robot, [pid], robotscene.scene_spec(robot, [pid], boxes, motion.world_scale)
    )
    colliders, around = scene.colliders(pid), scene.surroundings()
    names = [scene.model.body(body).name[len("p0_") :] for body in scene.model.geom_bodyid]
    watched = [
        {robot.body_names[robot.shapes[k].body] for k in pair} for pair in robot.pairs.tolist()
    ]
    pairs = [
        (a, b)
        for k, a in enumerate(colliders)
        for b in colliders[k + 1 :]
        if {names[a], names[b]} in watched and min(scene.model.geom_rbound[[a, b]]) > robots.THIN
    ]
    found, itself, outside = motion.people[pid], [], []
    for t in range(len(found.valid)):
        scene.pose(pid, found.root_pos[t], found.root_quat[t], found.joints[t])
        scene.update()
        itself.append(min(scene.distance([a], [b], 0.1) for a, b in pairs))
        outside.append(scene.distance(colliders, around, 0.1))
    return np.array(itself), np.array(outside)


def test_hands_led_through_the_body_stay_outside(tmp_path, robot):
    both, still = np.ones((COUNT, 2), bool), np.zeros(COUNT)
    swing = 0.9 * np.sin(np.pi * TIMES / TIMES[-1])
    pose = arms(lowered=1.3)
    # both hands cross in front of the body and through belly and thighs
    pose["left_elbow"] = np.outer(-1.2 - swing, [0.0, 1, 0])
    pose["right_elbow"] = np.outer(1.2 + swing, [0.0, 1, 0])
    pose["left_shoulder"] = np.stack([0 * swing, 0.3 * swing, -1.3 - swing], axis=-1)
    pose["right_shoulder"] = np.stack([0 * swing, -0.3 * swing, 1.3 + swing], axis=-1)
    write_products(tmp_path, {0: person(pose, still, both)})
    free, _ = depths(robot, run(tmp_path, "free.h5", "--no-self-collision"), 0)
    kept, _ = depths(robot, run(tmp_path), 0)
    assert free.min() < -0.03
    assert kept.min() > -0.01


def test_a_robot_keeps_out_of_boxes(tmp_path, robot):
    both, still = np.ones((COUNT, 2), bool), np.zeros(COUNT)
    bend = 0.9 * np.sin(np.pi * TIMES / TIMES[-1]) ** 2
    pose = {**arms(bent=1.2), **legs("left", bend), **legs("right", bend)}
    # the hands sink into a table
    table = [0.5, 0.0, 0.65, 0.7, 1.2, 0.1, 0.0]
    write_products(tmp_path, {0: person(pose, still, both)}, boxes=[table])
    _, free = depths(robot, run(tmp_path, "free.h5", "--no-scene-collision"), 0, [table])
    motion = run(tmp_path)
    _, kept = depths(robot, motion, 0, [table])
    assert free.min() < -0.03
    assert kept.min() > -0.01
    assert np.abs(soles(motion, robot, 0)[..., 2]).max() < 0.01


def test_a_motion_that_is_too_fast_is_slowed_to_the_limits(tmp_path, robot, folder, motion):
    settings = yaml.safe_load(robot.model_path.with_suffix(".yaml").read_text())
    settings["model"] = str(robot.model_path)
    settings["velocity_limits"] = {"*": 2.5, "*_knee_*": 2.0}
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    slow = robots.load_robot(str(tmp_path / "slow.yaml"))
    write_products(tmp_path, {MARCH: crowd()[MARCH]})
    found = run(tmp_path, "slow.h5", f"--robot={tmp_path / 'slow.yaml'}").people[MARCH]

    def rates(joints):
        return np.abs(np.diff(joints.astype(float), axis=0)) * FPS / slow.velocity_limits

    assert rates(motion.people[MARCH].joints).max() > 2.0
    assert rates(found.joints).max() <= 1.0
    knee = slow.joint_names.index("left_knee_joint")
    # the motion is still made, as fast as it may be
    assert np.mean(rates(found.joints)[:, knee] > 0.8) > 0.2


def test_a_heel_lifts_while_the_toes_stay(tmp_path, robot):
    both, still = np.ones((COUNT, 2), bool), np.zeros(COUNT)
    rise = 0.9 * np.sin(np.pi * TIMES / TIMES[-1]) ** 2
    pose = {**arms(), **{f"{s}_ankle": np.outer(rise, [1.0, 0, 0]) for s in ("left", "right")}}
    human, contact = person(pose, still, both)
    ball = human.joints[:, SMPL_JOINTS.index("left_foot"), 2]
    lift = np.outer(target.BALL_HEIGHT - ball, [0.0, 0, 1])
    human.joints, human.transl = human.joints + lift[:, None], human.transl + lift
    write_products(tmp_path, {0: (human, contact)})
    corners = soles(run(tmp_path), robot, 0)
    heel, toe = corners[:, :, :2], corners[:, :, 2:]
    assert np.abs(toe[..., 2]).max() < 0.01 and corners[..., 2].min() > -0.01
    assert heel[COUNT // 2, ..., 2].min() > 0.05 and np.abs(heel[[0, -1], ..., 2]).max() < 0.01
    speed = np.linalg.norm(np.diff(toe[..., :2], axis=0), axis=-1) * FPS
    assert speed.max() < 0.03


def test_recorded_climb_is_followed_closely_and_smoothly():
    if not MOCAP.is_dir():
        pytest.skip("the recorded climb is not beside the repository")
    contacts = [MOCAP / f"{side}_foot_contact.npy" for side in ("left", "right")]
    found = fidelity.follow(*fidelity.read_recording(MOCAP / "smpl_keypoints.npy", contacts), FPS)
    assert found["position_mm"] < 45.5
    assert found["direction_deg"] < 2.5
    assert found["acceleration_rad_s2"] < 3.5
    assert found["still_foot_m_s"] < 0.21
    assert found["limit_violations"] == 0 and found["velocity_violations"] == 0
