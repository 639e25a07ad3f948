"""What the camera does, on a room whose camera is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import room
import scene_sfm
from pantograph import camera, ground, scenes, sfm
from pantograph.contracts import People, Scene, Video

GOOD = {
    "sfm_registered_fraction": 1.0,
    "sfm_points": 2000,
    "sfm_triangulation_angle_deg": 8.0,
    "sfm_reprojection_px": 0.3,
    "ground_roll_deg": 3.0,
    "ground_tilt_deg": 8.0,
}


def turn_error_deg(scene, truth):
    """Largest angle between the scene's rotations and the true ones."""
    left = np.swapaxes(truth[:, :3, :3], 1, 2) @ scene.cam2world[:, :3, :3]
    return np.degrees(Rotation.from_matrix(left).magnitude()).max()


def test_a_still_camera_is_static(tmp_path):
    scene = scenes.find_scene(*room.clip(tmp_path, room.path("static", 12)), sfm.Gate())
    assert scene.camera_model == "static"
    assert np.array_equal(scene.cam2world, np.tile(np.eye(4), (12, 1, 1)))
    assert len(scene.points) == 0


def test_a_turning_camera_is_followed(tmp_path):
    truth = room.path("turn", 24)
    scene = scenes.find_scene(*room.clip(tmp_path, truth), sfm.Gate())
    scene.validate("scene")
    assert scene.camera_model == "rotation"
    assert turn_error_deg(scene, truth) < 0.05
    assert not scene.cam2world[:, :3, 3].any()


def test_a_cut_is_not_taken_for_a_turn(tmp_path):
    truth = room.path("static", 12)
    truth[6:] = room.path("turn", 12)[8]
    truth[6:, :3, 3] = [1.0, 0, 2.0]
    scene = scenes.find_scene(*room.clip(tmp_path, truth), sfm.Gate())
    assert scene.stats["lost_frames"] == 1
    assert scene.camera_model == "static"


def test_a_clip_without_texture_is_static(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "render", lambda *_, **__: np.full((270, 480, 3), 120, np.uint8))
    scene = scenes.find_scene(*room.clip(tmp_path, room.path("turn", 5)), sfm.Gate())
    assert scene.camera_model == "static"
    assert scene.stats["tracks"] == 0


@pytest.fixture(scope="module")
def travelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("travel")
    truth = room.path("travel", 24)
    video, people = room.clip(folder, truth)
    video.write(folder / "video.json")
    people.write(folder / "people.h5")
    return folder, truth, run(folder, "scene.h5")


def run(folder, name, *options):
    arguments = ["--video", folder / "video.json", "--people", folder / "people.h5"]
    arguments += ["--out", folder / name, *options]
    scene_sfm.main([str(a) for a in arguments])
    return Scene.read(folder / name)


def test_a_travelling_camera_is_reconstructed(travelled):
    _, truth, scene = travelled
    assert scene.camera_model == "sfm" and not scene.metric
    assert turn_error_deg(scene, truth) < 0.3
    found, true = scene.cam2world[:, :3, 3].astype(float), truth[:, :3, 3]
    scale = (found * true).sum() / (found**2).sum()
    assert np.linalg.norm(scale * found - true, axis=1).max() < 0.02
    assert abs(scene.intrinsics[0, 0, 0] / room.FOCAL - 1) < 0.03
    assert np.allclose(scene.cam2world[0], np.eye(4))
    floor = scale * scene.points[scene.points[:, 1] * scale > 1.3]
    assert len(floor) > 30 and abs(np.median(floor[:, 1]) - 1.5) < 0.05


def test_the_result_repeats(travelled):
    folder, _, scene = travelled
    again = run(folder, "again.h5")
    assert np.array_equal(scene.cam2world, again.cam2world)
    assert (folder / "scene.h5").read_bytes() == (folder / "again.h5").read_bytes()


def test_a_users_focal_length_is_kept(travelled):
    folder, _, _ = travelled
    video = Video.read(folder / "video.json")
    video.focal_px = room.FOCAL * 1.01
    people = People.read(folder / "people.h5")
    scene = scenes.find_scene(video, people, sfm.Gate())
    assert scene.camera_model == "sfm"
    assert scene.intrinsics[0, 0, 0] == pytest.approx(room.FOCAL * 1.01)


def test_a_swaying_camera_does_not_pass_the_gate(tmp_path):
    truth = room.path("turn", 24)
    truth[:, 0, 3] = 0.03 * np.sin(np.linspace(0, 3, 24))
    scene = scenes.find_scene(*room.clip(tmp_path, truth), sfm.Gate(), model="sfm")
    assert scene.stats["sfm_refused"]
    assert scene.camera_model == "rotation"
    assert turn_error_deg(scene, truth) < 0.5


def test_the_gate_takes_a_good_model():
    assert sfm.Gate().judge(GOOD) == ""
    unseen = {k: v for k, v in GOOD.items() if not k.startswith("ground")}
    assert sfm.Gate().judge(unseen) == ""


@pytest.mark.parametrize(
    "change, word",
    [
        ({"sfm_triangulation_angle_deg": 2.6}, "parallax"),
        ({"sfm_triangulation_angle_deg": float("nan")}, "parallax"),
        ({"sfm_registered_fraction": 0.7}, "registered"),
        ({"sfm_points": 499}, "points"),
        ({"ground_roll_deg": 25.0}, "tilted"),
        ({"ground_tilt_deg": 64.0}, "tilted"),
    ],
)
def test_the_gate_refuses_plausible_models(change, word):
    assert word in sfm.Gate().judge({**GOOD, **change})


@pytest.mark.parametrize("roll", [0.0, 40.0])
def test_the_ground_is_held_against_upright_people(roll):
    rng = np.random.default_rng(0)
    size, focal, count = (640, 360), 512.0, 5
    floor = np.stack([rng.uniform(-2, 2, 800), np.full(800, 1.4), rng.uniform(2, 6, 800)], -1)
    tilt = Rotation.from_euler("z", roll, degrees=True).as_matrix()
    points = (floor - [0, 1.4, 4]) @ tilt.T + [0, 1.4, 4]
    intrinsics = camera.intrinsics_matrix(focal, *size)
    xy = camera.project(points, intrinsics)
    mask = np.zeros((360, 640), bool)
    mask[130:330, 290:350] = True
    people = _person(mask, count)
    model = sfm.Model(
        frames=np.arange(count),
        cam2world=np.tile(np.eye(4), (count, 1, 1)),
        focal=focal,
        points=points,
        colors=np.zeros((800, 3), np.uint8),
        angles=np.full(800, 0.2),
        observations=[(xy, np.arange(800))] * count,
        chosen=count,
    )
    stats = sfm.describe(model, people, size, 1.0)
    assert stats["ground_roll_deg"] == pytest.approx(roll, abs=3)
    assert (sfm.Gate().judge(stats) == "") == (roll == 0)


def _person(mask, count):
    from pantograph.contracts import PersonTrack, pack_mask

    y, x = np.nonzero(mask)
    box = np.float32([x.min(), y.min(), x.max() + 1, y.max() + 1])
    track = PersonTrack(
        visible=np.ones(count, bool),
        boxes=np.tile(box, (count, 1)),
        score=np.ones(count),
        masks=np.tile(pack_mask(mask), (count, 1, 1)),
    )
    return People(
        frame_count=count,
        mask_width=mask.shape[1],
        mask_height=mask.shape[0],
        ranking=[0],
        people={0: track},
    )


def test_the_axis_of_a_leaning_mask():
    y, x = np.mgrid[:200, :200]
    lean = np.radians(15)
    u, v = x - 100, y - 100
    across = u * np.cos(lean) + v * np.sin(lean)
    along = -u * np.sin(lean) + v * np.cos(lean)
    mask = (np.abs(across) < 8) & (np.abs(along) < 70)
    people = _person(mask, 1)
    top, bottom = ground.mask_axis(people, 0, 0, (400, 400))
    assert np.degrees(np.arctan2(top[0] - bottom[0], bottom[1] - top[1])) == pytest.approx(
        15, abs=1
    )
    assert ground.mask_axis(_person(mask.T, 1), 0, 0, (400, 400)) is None


def test_a_pose_is_refined_with_outliers():
    rng = np.random.default_rng(1)
    points = rng.uniform([-2, -1, 3], [2, 1, 8], (200, 3))
    intrinsics = camera.intrinsics_matrix(500, 640, 360)
    true = np.eye(4)
    true[:3, :3] = Rotation.from_rotvec([0.02, -0.05, 0.01]).as_matrix()
    true[:3, 3] = [0.1, -0.05, 0.2]
    pixels = camera.project(camera.to_camera(true, points), intrinsics)
    pixels += 0.2 * rng.normal(size=pixels.shape)
    pixels[:40] += rng.uniform(20, 60, (40, 2))
    start = true.copy()
    start[:3, 3] += 0.02
    start[:3, :3] = start[:3, :3] @ Rotation.from_rotvec([0.004, 0.003, -0.004]).as_matrix()
    found = sfm.refine_pose(start, points, pixels, intrinsics)
    assert np.linalg.norm(found[:3, 3] - true[:3, 3]) < 0.003


def test_a_rejected_input_is_passed_on(tmp_path):
    Video.rejection("no video").write(tmp_path / "video.json")
    People.rejection("no video").write(tmp_path / "people.h5")
    scene = run(tmp_path, "scene.h5")
    assert scene.rejected and scene.reason == "no video"
