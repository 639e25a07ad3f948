"""Align3R's driver: its packages get what they expect, and what they find becomes a scene."""

import numpy as np
import pytest

import filmed
import flow
import standins_scene
from pantograph import align3r
from pantograph.contracts import Scene

COUNT = 36


def make(folder, name, gpu_gb=48.0, **options):
    place = folder / "results" / "other" / name
    clip, products = filmed.stage(place, name, COUNT)
    (place / "scene.h5").unlink()
    size, _ = align3r.crop(clip.width, clip.height)
    found = filmed.dense(clip, products["scene"], size)
    paths = standins_scene.write_align3r(folder, found)
    settings = {"scene_align3r": {**paths, **options}}
    flow.write(folder, "other", {"scene": "align3r"}, videos=clip.path, options=settings)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in standins_scene.environment(folder, gpu_gb).items():
            patch.setenv(key, value)
        run = flow.run(folder, f"results/other/{name}/scene.h5", "scene_align3r")
    log = folder / f"logs/other/{name}/scene_align3r.log"
    return run, log.read_text() if log.exists() else "", products, found


@pytest.fixture(scope="module")
def travelling(tmp_path_factory):
    folder = tmp_path_factory.mktemp("align3r")
    run, log, products, found = make(folder, "walk_turn", points=4000)
    assert run.returncode == 0, run.stdout + run.stderr + log
    return folder, Scene.read(folder / "results/other/walk_turn/scene.h5"), products, found


def test_cameras_depth_and_confidence(travelling):
    _, scene, products, found = travelling
    true = products["scene"]
    assert scene.method == "align3r" and scene.camera_model == "sfm" and not scene.metric
    assert np.allclose(scene.intrinsics, true.intrinsics, rtol=2e-3)
    assert np.allclose(scene.cam2world[:, :3, :3], true.cam2world[:, :3, :3], atol=1e-5)
    centres = scene.cam2world[:, :3, 3] / filmed.SCALE
    assert np.allclose(centres, true.cam2world[:, :3, 3], atol=1e-4)
    assert np.allclose(scene.depth[:], found["depth"], rtol=2e-3)
    assert np.allclose(scene.depth_confidence[:], np.where(found["depth"] > 0, 0.75, 0))
    assert 500 < len(scene.points) <= 4000


def test_flow_masks_and_weights_reach_the_package(travelling):
    told = standins_scene.told(travelling[0])
    assert told["flow_loss_weight"] == 0.01 and told["batchify"] and not told["empty_cache"]
    assert told["temporal_smoothing_weight"] == 0.01 and told["num_total_iter"] == 300


def test_a_camera_that_stands_still_is_said_to(tmp_path):
    """The method lets it drift; the background says otherwise."""
    run, log, products, found = make(tmp_path, "sit_stand")
    assert run.returncode == 0, run.stdout + run.stderr + log
    scene = Scene.read(tmp_path / "results/other/sit_stand/scene.h5")
    assert scene.camera_model == "static" and not scene.metric
    assert np.allclose(scene.cam2world, np.eye(4)) and len(scene.points) == 0
    assert np.allclose(scene.depth[:], found["depth"], rtol=2e-3)


def test_the_limit_counts_pixels_and_frames(tmp_path):
    run, log, _, _ = make(tmp_path, "sit_stand", gpu_gb=10)
    assert run.returncode != 0
    assert "36 frames of 288 x 512 px need about 19.2 GB of GPU memory, found 10.0 GB" in log
    assert "set stride 2, or start_frame and end_frame for at most 18 frames" in log


def test_scene_graphs_have_upstreams_names():
    options = {"window": 5, "reference": 3}
    names = ("swin", "swin-cyclic", "swinstride", "swinstride-cyclic", "oneref", "complete")
    found = [align3r.graph({**options, "scene_graph": name}) for name in names]
    expected = ["swin-5-noncyclic", "swin-5", "swinstride-5-noncyclic", "swinstride-5"]
    assert found == [*expected, "oneref-3", "complete"]
