"""MegaSam's driver: its package gets what it expects, and what it finds becomes a scene."""

import numpy as np
import pytest
import trimesh

import filmed
import flow
import standins_scene
from pantograph import megasam
from pantograph.contracts import Scene
from pantograph.video import scaled_size

COUNT = 36
NAME = "walk_turn"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The product of the rule, its truth and the folder."""
    folder = tmp_path_factory.mktemp("mega sam")
    place = folder / "results" / "other" / NAME
    clip, products = filmed.stage(place, NAME, COUNT)
    (place / "scene.h5").unlink()
    size = megasam.picture_size(*scaled_size(clip.width, clip.height, megasam.GIVEN))
    found = filmed.dense(clip, products["scene"], size)
    paths = standins_scene.write_megasam(folder, found)
    options = {"scene_megasam": {**paths, "frontend-window": 17, "points": 4000}}
    flow.write(folder, "other", {"scene": "megasam"}, videos=clip.path, options=options)
    env = standins_scene.environment(folder)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in env.items():
            patch.setenv(key, value)
        run = flow.run(folder, f"results/other/{NAME}/scene.h5", "scene_megasam")
    log = folder / f"logs/other/{NAME}/scene_megasam.log"
    assert run.returncode == 0, run.stdout + run.stderr + (log.read_text() if log.exists() else "")
    return folder, clip, products, found, paths


def scene_of(made):
    return Scene.read(made[0] / f"results/other/{NAME}/scene.h5")


def test_cameras_and_depth_are_those_of_the_truth(made):
    _, clip, products, found, _ = made
    scene, true = scene_of(made), products["scene"]
    assert scene.method == "megasam" and scene.camera_model == "sfm" and not scene.metric
    assert np.allclose(scene.intrinsics, true.intrinsics, rtol=1e-4)
    assert np.allclose(scene.cam2world[:, :3, :3], true.cam2world[:, :3, :3], atol=1e-5)
    centres = scene.cam2world[:, :3, 3] / filmed.SCALE
    assert np.allclose(centres, true.cam2world[:, :3, 3], atol=1e-4)
    assert np.allclose(scene.depth[:], found["depth"], rtol=2e-3)
    assert scene.depth.shape[1:] == (512, 288) and scene.depth_confidence is None


def test_points_lie_on_the_room(made):
    _, _, products, _, _ = made
    scene, gravity, room = scene_of(made), products["gravity"], products["mesh"]
    assert 1000 < len(scene.points) <= 4000
    points = scene.points / filmed.SCALE @ gravity.rotation.T + gravity.translation
    surface = trimesh.Trimesh(room.vertices, room.faces, process=False)
    furniture = trimesh.proximity.closest_point_naive(surface, points[::7])[1]
    # the truth's mesh has no walls
    walls = np.abs(np.abs(points[::7, :2]) - 3.5).min(1)
    distance = np.minimum(furniture, walls)
    # a cell of the truth's depth is 5 px of the video
    assert np.median(distance) < 0.02 and np.percentile(distance, 95) < 0.1


def test_the_options_reach_the_package(made):
    folder = made[0]
    told = standins_scene.told(folder)
    assert told["frontend_window"] == 17 and told["buffer"] == 1024 and told["beta"] == 0.3
    parameters = scene_of(made).parameters
    assert parameters["frontend_window"] == 17 and parameters["w_normal"] == 5.0


def words(folder, paths, out):
    place = folder / "results" / "other" / NAME
    found = ["--video", str(place / "video.json"), "--people", str(place / "people.h5")]
    found += ["--out", str(out)]
    return found + [word for name, path in paths.items() for word in (f"--{name}", path)]


def test_a_clip_that_the_gpu_cannot_hold_is_refused_at_once(made, tmp_path):
    folder, _, _, _, paths = made
    env = standins_scene.environment(tmp_path, gpu_gb=1.5)
    run = standins_scene.run("scene_megasam", words(folder, paths, tmp_path / "s.h5"), env)
    assert run.returncode == 1 and not (tmp_path / "told.json").exists()
    assert run.stderr.strip().splitlines()[-1] == (
        "error: scene_megasam: 36 frames of 288 x 512 px need about 2.9 GB of GPU memory, found "
        "1.5 GB free; set stride 2, or start_frame and end_frame for at most 18 frames"
    )


def test_without_a_gpu_nothing_runs(made, tmp_path):
    folder, _, _, _, paths = made
    env = standins_scene.environment(tmp_path, gpu_gb=0)
    run = standins_scene.run("scene_megasam", words(folder, paths, tmp_path / "s.h5"), env)
    assert run.returncode == 1 and "expected a CUDA GPU, found none" in run.stderr
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("missing", ["repository", "dino", "depth-anything", "weights"])
def test_what_is_missing_is_named(made, tmp_path, missing):
    folder, _, _, _, paths = made
    wrong = {**paths, missing: str(tmp_path / "nowhere")}
    env = standins_scene.environment(tmp_path)
    run = standins_scene.run("scene_megasam", words(folder, wrong, tmp_path / "s.h5"), env)
    assert run.returncode == 1
    (line,) = run.stderr.strip().splitlines()
    assert "nowhere: expected" in line and "pantograph doctor --route videomimic" in line
