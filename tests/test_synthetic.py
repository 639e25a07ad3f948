"""Rendered clips: motions, pictures and truth."""

import functools
from pathlib import Path

import numpy as np
import pytest

from pantograph import body, contracts
from pantograph.conventions import SMPL_JOINTS
from pantograph.errors import PantographError
from pantograph.synthetic import camera, clip, motion, recorded, render, scenery, steps
from pantograph.synthetic.outfit import Outfit
from pantograph.synthetic.scenario import DEMO_CLIPS, SCENARIOS, Actor, Scenario, vary

DEMO = Path(__file__).resolve().parents[1] / "resources" / "demo"
TIMES = np.arange(90) / 30
FEET = [SMPL_JOINTS.index(f"{side}_foot") for side in ("left", "right")]


@pytest.fixture(scope="module")
def model():
    return body.load_body()


def turning_walk():
    return motion.Walk(
        start=(0.0, 0.0),
        heading=lambda t: 0.5 + np.pi * motion.smooth_step((t - 0.8) / 1.6),
        speed=lambda t: 1.0 - 0.6 * np.exp(-(((t - 1.6) / 0.6) ** 2)),
    )


def moves(model):
    tall = body.betas_for_height(model, 1.9)
    small = body.betas_for_height(model, 1.55, [0, 1.0])
    seat = motion.Sit((0.2, 0.1), 0.7, 0.44, down=(0.2, 1.1), up=(1.8, 2.7))
    return {
        "tall walk": motion.walk(model, tall, TIMES, turning_walk()),
        "small walk": motion.walk(model, small, TIMES, turning_walk()),
        "tall sit": motion.sit(model, tall, TIMES, seat),
        "small sit": motion.sit(model, small, TIMES, seat),
    }


@pytest.fixture(scope="module")
def performed(model):
    out = {}
    for name, move in moves(model).items():
        pose = (move.betas, move.global_orient, move.body_pose, move.transl)
        out[name] = move, body.joints(model, *pose), body.vertices(model, *pose)
    return out


def test_standing_feet_do_not_move(performed):
    for name, (move, joints, _) in performed.items():
        for side, foot in enumerate(FEET):
            both = move.contact[1:, side] & move.contact[:-1, side]
            step = np.linalg.norm(np.diff(joints[:, foot], axis=0), axis=1)
            assert both.sum() > 20, name
            assert step[both].max() < 0.002, name


def test_feet_touch_the_floor_and_stay_above_it(performed, model):
    for name, (move, _, surface) in performed.items():
        assert surface[:, :, 2].min() > -0.006, name
        for foot, joint in enumerate(FEET):
            own = model.weights[:, joint] > 0.5
            low = surface[:, own, 2].min(1)
            assert np.abs(low[move.contact[:, foot]]).max() < 0.006, name


def test_a_walk_always_stands_and_lifts_each_foot(performed):
    move, joints, _ = performed["tall walk"]
    assert move.contact.any(1).all() and not move.contact.all(0).any()
    for side, foot in enumerate(FEET):
        assert joints[~move.contact[:, side], foot, 2].max() > joints[:, foot, 2].min() + 0.03
    facing = move.global_orient[:, :2, 2]
    assert facing[0] @ facing[-1] < -0.8 * np.linalg.norm(facing[0]) * np.linalg.norm(facing[-1])


def test_motions_are_smooth(performed):
    for name, (_, joints, _) in performed.items():
        trunk = joints[:, :1]
        acceleration = np.linalg.norm(np.diff(trunk, 2, axis=0), axis=-1) * 30**2
        assert acceleration.max() < 16, name
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * 30
        assert speed.max() < 6, name


def test_sitting_meets_the_seat(performed, model):
    for name in ("tall sit", "small sit"):
        move, joints, surface = performed[name]
        seated = np.argmin(joints[:, 0, 2])
        near = np.linalg.norm((surface - joints[:, :1])[seated, :, :2], axis=1) < 0.15
        behind = surface[seated, near & (model.weights[:, :3].sum(1) > 0.9)]
        assert abs(behind[:, 2].min() - 0.44) < 0.03, name
        assert joints[0, 0, 2] > joints[seated, 0, 2] + 0.25
        np.testing.assert_allclose(joints[0, 0], joints[-1, 0], atol=0.03)


def test_leg_lengths_survive_the_inverse_kinematics(performed, model):
    for move, joints, _ in performed.values():
        rest = body.rest_joints(model, move.betas)
        for a, b in ((1, 4), (4, 7), (7, 10), (2, 5), (5, 8), (8, 11)):
            length = np.linalg.norm(joints[:, b] - joints[:, a], axis=1)
            np.testing.assert_allclose(length, np.linalg.norm(rest[b] - rest[a]), atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(move.body_pose), 1, atol=1e-9)


# -- the scenarios

VARIATIONS = [(name, {}) for name in SCENARIOS] + [
    (name, {"stature": stature, "fps": 24})
    for name in ("climb_steps", "squat", "crawl", "walk_straight")
    for stature in (1.5, 1.95)
]


@functools.cache
def stage(name, **changes):
    return clip.stage(vary(SCENARIOS[name](), **changes))


def check_laws(staged, every=5):
    """Feet stay where they stand, on something; no part of a body is inside a solid."""
    boxes, model = staged.scenario.room.boxes, staged.model
    for move, joints in zip(staged.motions, staged.joints, strict=True):
        for side, foot in enumerate(FEET):
            edges = np.flatnonzero(np.diff(np.r_[0, move.contact[:, side], 0]))
            assert len(edges) >= 2
            for first, last in zip(edges[::2], edges[1::2], strict=True):
                assert np.ptp(joints[first:last, foot], axis=0).max() < 1e-3
        some = slice(None, None, every)
        pose = (move.global_orient[some], move.body_pose[some], move.transl[some])
        surface = body.vertices(model, move.betas, *pose)
        assert surface[..., 2].min() > -0.006
        for box in boxes:
            c, s = np.cos(box.yaw), np.sin(box.yaw)
            local = (surface[..., :2] - box.place) @ np.array([[c, -s], [s, c]])
            inside = (np.asarray(box.size[:2]) / 2 - np.abs(local)).min(-1)
            # the seat presses into the flesh
            soft = 0.045 if box.name == "seat" else 0.008
            assert np.minimum(inside, box.size[2] - surface[..., 2]).max() < soft
        for side, foot in enumerate(FEET):
            own = surface[:, model.weights[:, foot] > 0.5]
            gap = own[..., 2] - steps.support_height(boxes, own[..., :2])
            assert np.abs(gap.min(1)[move.contact[some, side]]).max() < 0.006
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * staged.scenario.fps
        assert speed.max() < 7


@pytest.mark.parametrize(("name", "changes"), VARIATIONS)
def test_scenarios_obey_the_laws_of_contact(name, changes):
    check_laws(stage(name, **changes))


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - set(DEMO_CLIPS)))
def test_truth_of_scenarios_is_consistent(name, tmp_path):
    staged = stage(name)
    made = staged.scenario
    person = np.full((len(staged.cam2world), made.height, made.width), -1, np.int8)
    for k, joints in enumerate(staged.joints):
        xy, _ = clip.project(joints, staged.cam2world, made.intrinsics)
        corners = np.stack([xy.min(1), xy.max(1)], 1).astype(int)
        for picture, ((x0, y0), (x1, y1)) in zip(person, np.maximum(corners, 0), strict=True):
            picture[y0 : y1 + 1, x0 : x1 + 1] = k
    for product, value in clip.truth(staged, person).items():
        value.write(tmp_path / f"{product}.h5")
    check_truth(tmp_path, len(person))
    mesh = contracts.Mesh.read(tmp_path / "mesh.h5")
    assert len(mesh.boxes) == 1 + len(made.room.boxes)
    seen = contracts.People.read(tmp_path / "people.h5").people[1].visible
    assert seen[0] and seen[-1]
    assert seen.all() == (name != "leave_and_enter")


def test_scenarios_do_what_their_names_say():
    def pelvis(name):
        return stage(name).joints[0][:, 0]

    heading = stage("walk_turn_360").motions[0].global_orient[:, :2, 2]
    turned = np.unwrap(np.arctan2(heading[:, 1], heading[:, 0]))
    assert abs(turned[-1] - turned[0] - 2 * np.pi) < 0.6
    assert np.ptp(pelvis("walk_straight")[:, 0]) > 2.5
    height = pelvis("squat")[:, 2]
    assert height.min() < 0.6 * height[0] < 0.6 * height[-1] + 0.02
    height = pelvis("climb_steps")[:, 2]
    assert height[-1] - height[0] == pytest.approx(0.34, abs=0.03)
    up = stage("arms_overhead").joints[0]
    wrists = [SMPL_JOINTS.index(f"{side}_wrist") for side in ("left", "right")]
    assert (up[len(up) // 2, wrists, 2] > up[len(up) // 2, SMPL_JOINTS.index("head"), 2]).all()
    assert (pelvis("crawl")[:, 2] < 0.6).all()


def test_variations_change_what_they_name():
    plain = SCENARIOS["squat"]()
    other = vary(plain, kind="pan", stature=1.5, focal=0.9, fps=30)
    assert other.name == "squat-pan-1.50m-0.90f-30fps"
    assert plain.name == "squat" and plain.fps == 60
    assert other.focal == pytest.approx(0.9 * 854) and other.camera_model == "rotation"
    staged = clip.stage(other)
    assert body.stature(staged.model, staged.motions[0].betas) == pytest.approx(1.5, abs=1e-4)
    assert len(staged.cam2world) == round(plain.duration * 30)
    # people keep their place and size in the picture
    near, far = (clip.stage(vary(plain, focal=f)) for f in (0.65, 1.1))
    sizes = [
        np.ptp(clip.project(s.joints[0], s.cam2world, s.scenario.intrinsics)[0][0, :, 1])
        for s in (near, far)
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.06)


@pytest.mark.parametrize("kind", camera.CAMERA_MODELS)
def test_camera_paths(kind):
    times = np.arange(60) / 30
    eye, target = np.array([0.2, -2.5, 1.4]), np.array([0.0, 0.6, 0.9])
    poses = camera.path(kind, times, eye, target, seed=5)
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1)
    way = np.linalg.norm(np.ptp(poses[:, :3, 3], axis=0))
    turn = np.ptp(np.arctan2(poses[:, 0, 2], poses[:, 1, 2]))
    lower, upper = {
        "static": (0, 0),
        "pan": (0, 0),
        "handheld": (0.005, 0.15),
        "travel": (1.0, 1.6),
    }[kind]
    assert lower <= way <= upper
    assert (turn == 0) if kind == "static" else (turn > 0.01)


@pytest.mark.parametrize("kind", camera.CAMERA_MODELS)
def test_a_frame_of_each_camera_is_drawn_alike_twice(kind):
    base = tiny((48, 80))
    first, second = (next(clip.pictures(clip.stage(vary(base, kind=kind)))) for _ in range(2))
    np.testing.assert_array_equal(first.rgb, second.rgb)
    assert (first.person >= 0).any()


def climbing_recording():
    """Joints of a climb with sliding feet, and its contacts."""
    staged = stage("climb_steps", stature=1.6, fps=24)
    joints = staged.joints[0].copy()
    joints[..., 0] += 0.02 * np.sin(np.arange(len(joints)) / 5)[:, None]
    return joints, staged.motions[0].contact


def test_a_recorded_motion_is_taken_over_with_its_ground(tmp_path):
    joints, contact = climbing_recording()
    np.save(tmp_path / "climb.npy", joints)
    for k in (0, 1):
        np.save(tmp_path / f"{k}.npy", contact[:, k])
    told = recorded.recorded_scenario(
        tmp_path / "climb.npy", [tmp_path / "0.npy", tmp_path / "1.npy"], 24.0
    )
    staged = clip.stage(told)
    check_laws(staged)
    assert told.name == "climb"
    assert staged.scenario.actors[0].stature == pytest.approx(1.6, abs=0.05)
    heights = sorted({round(box.size[2], 2) for box in told.room.boxes})
    assert heights == [pytest.approx(0.17, abs=0.02), pytest.approx(0.34, abs=0.02)]
    want = joints - joints[:, :1]
    got = staged.joints[0] - staged.joints[0][:, :1]
    # the recording is turned to walk along +x
    way = joints[-1, 0] - joints[0, 0]
    yaw = -np.arctan2(way[1], way[0])
    c, s = np.cos(yaw), np.sin(yaw)
    want = want @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    assert np.linalg.norm(got - want, axis=-1).mean() < 0.05


def test_the_shared_recording_is_rendered_over_uneven_ground():
    folder = Path(__file__).resolve().parents[2] / "shared" / "mocap"
    if not folder.is_dir():
        pytest.skip("no folder shared/mocap beside the repository")
    contacts = [folder / f"{side}_foot_contact.npy" for side in ("left", "right")]
    staged = clip.stage(recorded.recorded_scenario(folder / "smpl_keypoints.npy", contacts, 30.0))
    check_laws(staged)
    assert len(staged.scenario.room.boxes) > 4


def test_a_recording_of_another_shape_is_refused(tmp_path):
    np.save(tmp_path / "short.npy", np.zeros((40, 17, 3)))
    with pytest.raises(PantographError, match="24 or more"):
        recorded.recorded_scenario(tmp_path / "short.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(PantographError, match="not a readable"):
        recorded.recorded_scenario(tmp_path / "text.npy")


# -- drawing


def test_rasterizer_agrees_with_a_ray_through_the_triangle():
    corners = np.array([[0.0, 0.1, 2.0], [0.3, -0.2, 3.0], [-0.4, -0.1, 4.0]])
    focal, center = 100.0, 50.0
    xy = corners[:, :2] / corners[:, 2:] * focal + center
    flip = np.array([[0, 1, 2], [0, 2, 1]])
    hits = render.rasterize(xy, corners[:, 2], flip, 100, 100)
    assert len(hits.row) > 20 and len(set(hits.face)) == 1  # only one side is seen
    face = flip[hits.face[0]]
    points = hits.weight @ corners[face]
    np.testing.assert_allclose(points[:, 2], hits.depth, atol=1e-9)
    pixels = points[:, :2] / points[:, 2:] * focal + center
    np.testing.assert_allclose(pixels[:, 0], hits.column + 0.5, atol=1e-6)
    np.testing.assert_allclose(pixels[:, 1], hits.row + 0.5, atol=1e-6)


def test_rasterizer_keeps_the_nearer_triangle():
    xy = np.array([[10.0, 10], [90, 10], [10, 90]] * 2)
    depth = np.array([3.0, 3, 3, 2, 2, 2])
    faces = np.array([[0, 2, 1], [3, 5, 4]])
    hits = render.rasterize(xy, depth, faces, 100, 100)
    assert len(hits.face) == len(set(zip(hits.row, hits.column, strict=True)))
    assert set(hits.face) == {1}


def tiny(size=(96, 160)):
    """A scenario small enough for a test."""
    box = scenery.Box((0.6, 1.5), (0.4, 0.4, 0.5), 0.3, (0.5, 0.4, 0.3))
    return Scenario(
        name="tiny",
        actors=[
            Actor(1.8, lambda m, b, t: motion.walk(m, b, t, turning_walk())),
            Actor(
                1.6,
                lambda m, b, t: motion.sit(m, b, t, motion.Sit((-0.5, 0.5), -1.2, 0.4)),
                Outfit(stripes=0.05, long_hair=True),
            ),
        ],
        room=scenery.room(5, [box]),
        path=lambda t: camera.handheld(
            t, [(-0.5, -2.5, 1.4), (0.5, -2.4, 1.5)], [(0, 0.5, 0.9)] * 2, seed=1
        ),
        camera_model="sfm",
        width=size[0],
        height=size[1],
        focal=0.75 * size[1],
        duration=0.2,
        seed=4,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return clip.write(tiny(), folder), folder


def test_two_renderings_are_equal_to_the_bit():
    first, second = (list(clip.pictures(clip.stage(tiny((48, 80)))))[:2] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.person, b.person)
    assert not np.array_equal(first[0].rgb, first[1].rgb)


def test_people_are_drawn_where_their_joints_are():
    staged = clip.stage(tiny())
    picture = next(clip.pictures(staged))
    for k, joints in enumerate(staged.joints):
        xy, _ = clip.project(joints, staged.cam2world, staged.scenario.intrinsics)
        x, y = np.floor(xy[0, [0, 3, 6]]).astype(int).T
        assert (picture.person[y, x] == k).all()
        before = depth_of(joints[0, [0, 3, 6]], staged.cam2world[0]) - picture.depth[y, x]
        assert (before > 0.03).all() and (before < 0.25).all()


def depth_of(points, pose):
    return (points - pose[:3, 3]) @ pose[:3, 2]


def test_depth_is_kept_at_the_middle_of_cells():
    rows, columns = np.mgrid[:480, :854]
    thin = clip.thin_depth(np.where(rows < 240, np.inf, columns + 0.5))
    assert thin.shape == (96, 122) and thin.dtype == np.float16
    assert (thin[:48] == 0).all()
    np.testing.assert_allclose(thin[48:], np.tile((np.arange(122) + 0.5) * 7, (48, 1)))


def test_a_shadow_falls_on_the_floor(model):
    scenario = tiny()
    staged = clip.stage(scenario)
    empty = render.Renderer(scenario.room, 96, 160, scenario.intrinsics, 0, noise=0)
    bare = empty.draw(staged.cam2world[0], [])
    people = next(clip.pictures(staged)).person
    figure = render.Figure.of(model, Outfit())
    move = staged.motions[0]
    figure.vertices = body.vertices(
        model, move.betas, move.global_orient[:1], move.body_pose[:1], move.transl[:1]
    )[0]
    drawn = render.Renderer(scenario.room, 96, 160, scenario.intrinsics, 0, noise=0).draw(
        staged.cam2world[0], [figure]
    )
    darker = (bare.rgb.astype(int) - drawn.rgb).sum(-1) > 60
    assert (darker & (people < 0) & (drawn.person < 0)).sum() > 30


def test_the_clip_can_be_decoded_and_its_truth_read(made):
    import av

    path, folder = made
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == 30
    assert len(frames) == 6 and frames[0].shape == (160, 96, 3)
    check_truth(folder / "tiny.truth", 6)
    check_depth(folder / "tiny.truth")


def test_writing_again_gives_the_same_bytes(made, tmp_path):
    path, folder = made
    again = clip.write(tiny(), tmp_path)
    assert contracts.sha256(path) == contracts.sha256(again)
    for product in sorted((folder / "tiny.truth").iterdir()):
        same = tmp_path / "tiny.truth" / product.name
        assert contracts.sha256(product) == contracts.sha256(same), product.name


@pytest.mark.parametrize("name", DEMO_CLIPS)
def test_committed_demo_truth(name):
    frames = len(SCENARIOS[name]().times)
    check_truth(DEMO / f"{name}.truth", frames)
    check_depth(DEMO / f"{name}.truth")
    people = contracts.People.read(DEMO / f"{name}.truth" / "people.h5")
    for track in people.people.values():
        assert track.visible.mean() > 0.9
        height = np.median(np.diff(track.boxes[track.visible][:, 1::2], axis=1))
        assert height > 220


def check_truth(folder, frames):
    """Every product is valid, and all say the same."""
    read = {
        name: cls.read(folder / f"{name}.h5")
        for name, cls in contracts.PRODUCTS.items()
        if name not in ("video", "world", "motion")
    }
    people, gravity, scene = read["people"], read["gravity"], read["scene"]
    model = body.load_body()
    assert people.frame_count == frames == len(gravity.cam2world)
    ids = set(people.people)
    for name in ("keypoints", "body", "contacts", "gravity"):
        assert set(read[name].people) == ids == set(people.ranking)

    # the two worlds differ by the first camera's pose
    np.testing.assert_allclose(scene.cam2world[0], np.eye(4), atol=1e-6)
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = gravity.rotation, gravity.translation
    np.testing.assert_allclose(moved @ scene.cam2world, gravity.cam2world, atol=1e-5)
    np.testing.assert_allclose(
        scene.points @ gravity.rotation.T + gravity.translation, gravity.points, atol=1e-5
    )

    for pid in ids:
        human, seen = gravity.people[pid], read["body"].people[pid]
        again = body.joints(model, human.betas, human.global_orient, human.body_pose, human.transl)
        np.testing.assert_allclose(again, human.joints, atol=1e-5)
        xy, _ = clip.project(human.joints.astype(float), gravity.cam2world, gravity.intrinsics[0])
        keypoints = read["keypoints"].people[pid]
        np.testing.assert_allclose(keypoints.xy, xy, atol=0.01)
        local = np.einsum(
            "tba,tjb->tja",
            gravity.cam2world[:, :3, :3],
            human.joints - gravity.cam2world[:, None, :3, 3],
        )
        np.testing.assert_allclose(seen.joints, local, atol=1e-5)
        np.testing.assert_allclose(
            gravity.cam2world[:, :3, :3] @ seen.global_orient, human.global_orient, atol=1e-5
        )
        # masks lie in their boxes
        track = people.people[pid]
        for frame in np.flatnonzero(track.visible)[::7]:
            rows, columns = np.nonzero(people.mask(pid, frame))
            x0, y0, x1, y1 = track.boxes[frame] / 2
            assert columns.min() >= x0 - 1 and columns.max() <= x1
            assert rows.min() >= y0 - 1 and rows.max() <= y1
    assert read["mesh"].box_names[0] == "floor"
    floor = read["mesh"].boxes[0]
    assert floor[2] + floor[5] / 2 == pytest.approx(0, abs=1e-6)


def check_depth(folder):
    """Depth, put into the room as the contract says, gives the floor and nothing below it."""
    gravity = contracts.Gravity.read(folder / "gravity.h5")
    depths = contracts.Scene.read(folder / "scene.h5").depth
    width, height = 2 * gravity.intrinsics[0, :2, 2]
    for frame in (0, len(depths) - 1):
        depth = depths[frame].astype(float)
        cells = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in depth.shape[::-1])), -1)
        xy = cells * [width / depth.shape[1], height / depth.shape[0]]
        rays = np.dstack([xy, np.ones(depth.shape)]) @ np.linalg.inv(gravity.intrinsics[frame]).T
        pose = gravity.cam2world[frame].astype(float)
        up = depth[..., None] * rays @ pose[2, :3] + pose[2, 3]
        assert depth.min() > 0 and up.min() > -0.01
        assert (np.abs(up) < 0.005).mean() > 0.1


def test_room_mesh_is_closed_and_stands_on_the_floor():
    import trimesh

    place = scenery.room(1, [scenery.Box((0, 0), (1, 2, 0.5), 0.4, (0.5, 0.5, 0.5))])
    mesh = trimesh.Trimesh(*place.mesh(depth=0.1), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(1.0 + 0.1 * 49)


def test_handheld_camera_shakes_within_limits_and_travels():
    times = np.arange(120) / 30
    poses = camera.handheld(times, [(0, -3, 1.4), (0.8, -3, 1.4)], [(0, 0, 1)] * 2, seed=7)
    steady = camera.look_at(np.linspace([0, -3, 1.4], [0.8, -3, 1.4], 120), np.array([0, 0, 1.0]))
    offset = np.linalg.norm(poses[:, :3, 3] - steady[:, :3, 3], axis=1)
    assert 0.005 < np.sqrt((offset**2).mean()) < 0.05
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1)
    assert (poses[:, :3, 1] @ [0, 0, 1] < -0.9).all()  # the picture's down is down
