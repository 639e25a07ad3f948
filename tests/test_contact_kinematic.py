"""Foot contact on motions whose contacts are known."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import contact_kinematic
import staged
from pantograph import contact
from pantograph.body import joints as joint_positions
from pantograph.body import load_body
from pantograph.contracts import Body, Contacts, Keypoints, Scene, Video

MODEL = load_body()


def agreement(found, true):
    """Precision and recall over all people and feet."""
    hits = asked = there = 0
    for pid, person in found.items():
        ok = person.valid
        a, b = person.contact[ok], true.people[pid].contact[ok]
        hits, asked, there = hits + (a & b).sum(), asked + a.sum(), there + b.sum()
    return hits / asked, hits / there


@pytest.mark.parametrize("name", ["walk_turn", "sit_stand", "two_people", "climb_steps", "crawl"])
def test_contacts_of_the_scenarios(name):
    products = staged.truth(name)
    keypoints = staged.foot_keypoints(name, MODEL, noise_px=1.5)
    scene = products["scene"]
    if scene.camera_model == "sfm":
        scene = dataclasses.replace(scene, metric=True)
    found = contact.find_contacts(products["body"], keypoints, scene, MODEL, 30.0)
    precision, recall = agreement(found, products["contacts"])
    assert precision > 0.85 and recall > 0.95


def test_a_turning_camera_makes_no_motion():
    products = staged.truth("sit_stand")
    count = len(products["scene"].cam2world)
    angles = 0.2 * np.sin(np.arange(count) / 8)
    turned = Rotation.from_rotvec(angles[:, None] * [0, 1, 0]).as_matrix()
    person = products["body"].people[1]
    seen = dataclasses.replace(
        person,
        global_orient=np.swapaxes(turned, 1, 2) @ person.global_orient,
        transl=np.einsum("tji,tj->ti", turned, person.transl),
        joints=np.einsum("tji,tkj->tki", turned, person.joints),
    )
    body = dataclasses.replace(products["body"], people={1: seen})
    still = products["scene"]
    turning = dataclasses.replace(still, cam2world=still.cam2world.copy())
    turning.cam2world[:, :3, :3] = turned
    keypoints = staged.see_feet(turning, body, MODEL, noise_px=1.0)
    known = contact.find_contacts(body, keypoints, turning, MODEL, 30.0)[1]
    unknown = contact.find_contacts(body, keypoints, still, MODEL, 30.0)[1]
    assert known.contact.mean() > 0.98
    assert unknown.contact.mean() < 0.7


def test_the_scale_of_a_travelling_camera():
    products = staged.truth("walk_turn")
    scene = dataclasses.replace(products["scene"], metric=False)
    unit = 0.2
    scene.points = scene.points / unit
    scene.cam2world = scene.cam2world.copy()
    scene.cam2world[:, :3, 3] /= unit
    assert contact.metric_scale(products["body"], scene) == pytest.approx(unit, rel=0.02)
    assert contact.metric_scale(products["body"], staged.truth("sit_stand")["scene"]) is None


def test_standing_bridges_gaps_and_drops_blips():
    odds = np.full(40, -2.0)
    odds[3:20] = 2.0
    odds[10:12] = -2.0
    odds[17:20] = 1.0
    odds[30:32] = 2.0
    flags = contact.standing(odds, change=5.0) > 0.5
    assert np.array_equal(np.flatnonzero(flags), np.arange(3, 20))
    # without a cost of changes, every frame speaks for itself
    np.testing.assert_allclose(contact.standing(odds, 0.0), 1 / (1 + np.exp(-odds)))


def lift(products, angles):
    """The person of sit_stand with the left thigh and knee bent by angles (T,), rad, and `Body`."""
    body = products["body"]
    person = dataclasses.replace(body.people[1], body_pose=body.people[1].body_pose.copy())
    bend = Rotation.from_rotvec(-angles[:, None] * [1, 0, 0]).as_matrix()
    person.body_pose[:, 0] = bend @ person.body_pose[:, 0]
    person.body_pose[:, 3] = np.swapaxes(bend, 1, 2) @ person.body_pose[:, 3]
    joints = body_joints(person)
    return dataclasses.replace(body, people={1: dataclasses.replace(person, joints=joints)})


def body_joints(person):
    pose = (person.betas, person.global_orient, person.body_pose, person.transl)
    return joint_positions(MODEL, *pose)


@pytest.mark.parametrize("lowering", [0.1, 1.0])
def test_a_lifted_foot_that_stays_still_does_not_touch(lowering):
    products = staged.truth("sit_stand")
    scene = products["scene"]
    times = np.arange(len(scene.cam2world)) / 30
    lifted = lift(products, np.pi / 3 * np.clip((0.5 - times) / lowering + 1, 0, 1))
    keypoints = staged.see_feet(scene, lifted, MODEL)
    found = contact.find_contacts(lifted, keypoints, scene, MODEL, 30.0)[1]
    assert not found.contact[2:14, 0].any()
    assert found.contact[2:12, 1].all()
    assert found.contact[times > 0.6 + lowering, 0].all()


def test_the_script(tmp_path):
    products = staged.truth("sit_stand")
    count = len(products["scene"].cam2world)
    Video(
        name="clip",
        path="clip.mp4",
        fps=30.0,
        width=480,
        height=854,
        source_frames=list(range(count)),
        source_times=[k / 30 for k in range(count)],
    ).write(tmp_path / "video.json")
    staged.foot_keypoints("sit_stand", MODEL).write(tmp_path / "keypoints.h5")
    products["body"].write(tmp_path / "body.h5")
    products["scene"].write(tmp_path / "scene.h5")
    contacts = run(tmp_path)
    assert contacts.contact_names == ["left_foot", "right_foot"]
    assert contacts.people[1].contact.all()
    assert contacts.stats["fps_hz"] == 30.0


def test_a_rejected_input_is_passed_on(tmp_path):
    for product, name in (
        (Video, "video.json"),
        (Keypoints, "keypoints.h5"),
        (Body, "body.h5"),
        (Scene, "scene.h5"),
    ):
        product.rejection("nobody").write(tmp_path / name)
    assert run(tmp_path).reason == "nobody"


def run(folder):
    arguments = []
    for name in ("video.json", "keypoints.h5", "body.h5", "scene.h5"):
        arguments += [f"--{name.split('.')[0]}", str(folder / name)]
    contact_kinematic.main([*arguments, "--out", str(folder / "contacts.h5")])
    return Contacts.read(folder / "contacts.h5")
