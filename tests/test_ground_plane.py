"""Up and the floor, on worlds whose gravity is known."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import ground_plane
import staged
from pantograph import ground
from pantograph.body import load_body
from pantograph.contracts import Contacts, Gravity, Keypoints, World

MODEL = load_body()


def solve(name, **change):
    world = staged.world(name, noise=0.01)
    world = dataclasses.replace(world, **change)
    keypoints = staged.foot_keypoints(name, MODEL)
    return ground.to_gravity(world, staged.truth(name)["contacts"], keypoints, MODEL)


def tilt_deg(gravity, truth):
    return np.degrees(np.arccos(np.clip(gravity.rotation[2] @ truth.rotation[2], -1, 1)))


@pytest.mark.parametrize(
    "name, limit", [("walk_turn", 1.0), ("two_people", 1.5), ("sit_stand", 4), ("crawl", 3)]
)
def test_up_and_floor_of_the_scenarios(name, limit):
    truth, found = staged.truth(name)["gravity"], solve(name)
    found.validate("gravity")
    assert tilt_deg(found, truth) < limit
    for pid, person in found.people.items():
        rise = person.joints[..., 2] - truth.people[pid].joints[..., 2]
        assert abs(rise[person.valid].mean()) < 0.02
        lowest = ground.soles(person, MODEL)[person.valid][..., 2].min((1, 2))
        assert abs(np.median(lowest)) < 0.02


def test_without_points_people_and_feet_suffice():
    found = solve(
        "walk_turn",
        camera_model="rotation",
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
    )
    assert tilt_deg(found, staged.truth("walk_turn")["gravity"]) < 1.5
    assert "points_to_up_deg" not in found.stats


def test_everything_moves_together():
    world, found = staged.world("walk_turn"), solve("walk_turn")
    rotation, shift = found.rotation.astype(float), found.translation.astype(float)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert np.allclose(found.points, world.points @ rotation.T + shift, atol=1e-5)
    centres = world.cam2world[:, :3, 3] @ rotation.T + shift
    assert np.allclose(found.cam2world[:, :3, 3], centres, atol=1e-5)
    person = found.people[1]
    assert np.allclose(person.joints[person.valid, 0], person.transl[person.valid], atol=1e-4)
    # joints seen by the moved cameras are where they were
    local = np.einsum(
        "tji,tkj->tki",
        found.cam2world[:, :3, :3],
        person.joints - found.cam2world[:, None, :3, 3],
    )
    seen = np.einsum(
        "tji,tkj->tki",
        world.cam2world[:, :3, :3],
        staged.world("walk_turn", noise=0.01).people[1].joints - world.cam2world[:, None, :3, 3],
    )
    assert np.allclose(local, seen, atol=1e-4)


def test_the_first_camera_looks_along_y_from_above_the_origin():
    found = solve("two_people")
    camera = found.cam2world[0]
    assert np.allclose(camera[:2, 3], 0, atol=1e-5)
    assert abs(camera[0, 2]) < 1e-5 and camera[1, 2] > 0.9
    assert 1.2 < camera[2, 3] < 1.6


def test_steps_do_not_tilt_the_world():
    name = "walk_turn"
    world = staged.world(name)
    truth = staged.truth(name)
    up = truth["gravity"].rotation[2].astype(float)
    ahead = truth["gravity"].rotation[1].astype(float)
    person = world.people[1]
    rise = 0.5 * ((person.transl - person.transl[0]) @ ahead)[:, None] * up
    climbing = dataclasses.replace(
        person, transl=person.transl + rise, joints=person.joints + rise[:, None]
    )
    world = dataclasses.replace(
        world,
        people={1: climbing},
        camera_model="rotation",
        points=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
    )
    found = ground.to_gravity(world, truth["contacts"], staged.foot_keypoints(name, MODEL), MODEL)
    assert found.stats["feet_tilt_deg"] > 15
    assert tilt_deg(found, truth["gravity"]) < 5
    assert found.stats["floor_spread_cm"] > 10


def test_the_floor_is_where_feet_rest_most():
    rng = np.random.default_rng(0)
    heights = np.concatenate([rng.normal(0.3, 0.01, 40), rng.normal(0.0, 0.01, 60), [5.0] * 20])
    assert ground.floor_level(heights, np.ones(len(heights))) == pytest.approx(0, abs=0.01)


def test_level_hips_and_shoulders_tell_the_tilt_that_a_level_trunk_leaves_open():
    world = staged.world("crawl", noise=0.01)
    truth = staged.truth("crawl")["gravity"].rotation[2].astype(float)
    assert np.degrees(np.arccos(ground.body_up(world.people)[0] @ truth)) > 50
    up, cues, _ = ground.up_of_people(world.people, world.cam2world)
    assert [cue.name for cue in cues] == ["camera", "body", "sides"]
    assert np.degrees(np.arccos(up @ truth)) < 3
    without = ground.solve_up(cues[:2], cues[0].direction)
    assert np.degrees(np.arccos(without @ truth)) > 8


def test_cues_that_contradict_fade():
    up = np.array([0.0, 0.0, 1.0])
    turned = Rotation.from_euler("x", 40, degrees=True).apply(up)
    cues = [
        ground._direction_cue("a", up, np.radians(3)),
        ground._direction_cue("b", Rotation.from_euler("y", 2, degrees=True).apply(up), 0.05),
        ground._direction_cue("c", turned, np.radians(3)),
    ]
    found = ground.solve_up(cues, up)
    assert np.degrees(np.arccos(found @ up)) < 3


def test_a_plane_among_clutter():
    rng = np.random.default_rng(3)
    floor = np.stack(
        [rng.uniform(-2, 2, 300), rng.uniform(-2, 2, 300), 0.005 * rng.normal(size=300)], -1
    )
    front = np.stack([rng.uniform(-2, 2, 400), np.full(400, 1.0), rng.uniform(0, 2, 400)], -1)
    points = np.concatenate([floor, front])
    viewers = np.array([[0, -4, 1.5]])
    assert abs(ground.fit_plane(points, viewers).normal[1]) > 0.99
    plane = ground.fit_plane(points, viewers, up=np.array([0, 0, 1.0]))
    assert plane.normal[2] > 0.999 and abs(plane.offset) < 0.01
    assert ground.fit_plane(points[:20], viewers) is None
    line = np.outer(np.linspace(0, 1, 100), [1, 1, 0])
    assert ground.fit_plane(line, viewers) is None


def test_the_script(tmp_path):
    name = "two_people"
    staged.world(name).write(tmp_path / "world.h5")
    staged.truth(name)["contacts"].write(tmp_path / "contacts.h5")
    staged.foot_keypoints(name, MODEL).write(tmp_path / "keypoints.h5")
    gravity = run(tmp_path)
    assert gravity.people.keys() == {1, 2}
    assert gravity.stats["up_sigma_deg"] < 8
    before = (tmp_path / "gravity.h5").read_bytes()
    run(tmp_path)
    assert before == (tmp_path / "gravity.h5").read_bytes()


def test_a_rejected_input_is_passed_on(tmp_path):
    for product, name in ((World, "world"), (Contacts, "contacts"), (Keypoints, "keypoints")):
        product.rejection("nobody").write(tmp_path / f"{name}.h5")
    assert run(tmp_path).reason == "nobody"


def run(folder):
    arguments = []
    for name in ("world", "contacts", "keypoints"):
        arguments += [f"--{name}", str(folder / f"{name}.h5")]
    ground_plane.main([*arguments, "--out", str(folder / "gravity.h5")])
    return Gravity.read(folder / "gravity.h5")
