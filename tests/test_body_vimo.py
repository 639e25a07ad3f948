"""VIMO's driver: which frames go into which window, what the network is told, what comes out."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import body_vimo  # noqa: E402
import flow  # noqa: E402
import standins  # noqa: E402
import toyclip  # noqa: E402
from pantograph import crops, vimo  # noqa: E402
from pantograph.contracts import Body, PersonTrack  # noqa: E402
from pantograph.errors import PantographError  # noqa: E402

INPUTS = ("video", "people", "keypoints", "scene")


# ---------------------------------------------------------------------------------------------
# windows


@pytest.mark.parametrize("count", [16, 17, 24, 40])
def test_windows_are_those_of_upstream(count):
    """Upstream: 0..8 from the first window, 8..15 from the last, place 8 of each in between."""
    frames, window, place = vimo.windows(count)
    assert np.array_equal(frames, np.arange(count - 15)[:, None] + np.arange(16))
    expected = [(k, 0) if k < 8 else (8, k - 8) for k in range(count)]
    expected = [(k - min(w, count - 16), min(w, count - 16)) for k, (_, w) in enumerate(expected)]
    assert [tuple(pair) for pair in np.stack([place, window], 1).tolist()] == expected


@pytest.mark.parametrize("count", [16, 20, 33, 50])
@pytest.mark.parametrize("step", [1, 3, 8])
def test_every_frame_has_a_window_that_holds_it(count, step):
    frames, window, place = vimo.windows(count, step)
    assert np.array_equal(frames[window, place], np.arange(count))
    assert (np.diff(frames, axis=1) == 1).all()
    middle = slice(8, count - 8)
    assert np.abs(place[middle] - 8).max(initial=0) <= step


@pytest.mark.parametrize("count", [1, 7, 15])
def test_short_stretches_repeat_their_ends(count):
    frames, window, place = vimo.windows(count)
    assert frames.shape == (1, 16) and (window == 0).all()
    assert np.array_equal(frames[0, place], np.arange(count))
    assert set(np.diff(frames[0])) <= {0, 1}
    before, after = (frames[0] == 0).sum(), (frames[0] == count - 1).sum()
    assert abs(before - after) <= 1 or count == 1


def track(visible, boxes=None):
    visible = np.asarray(visible, bool)
    if boxes is None:
        boxes = np.zeros((len(visible), 4))
        boxes[:] = np.arange(len(visible))[:, None] + [0, 0, 20, 50]
        boxes[~visible] = 0
    return PersonTrack(visible=visible, boxes=boxes, score=visible * 1.0, masks=None)


def test_windows_do_not_span_long_gaps():
    visible = np.ones(60, bool)
    visible[20:23] = visible[40:50] = False
    found = vimo.plan({4: track(visible)}, max_gap=5)
    assert [(s.person, s.first, len(s.sides)) for s in found] == [(4, 0, 40), (4, 50, 10)]
    # the short gap has boxes between those around it
    assert np.allclose(found[0].centres[:, 0], np.arange(40) + 10)
    assert np.allclose(found[0].sides, 1.2 * 50)
    assert len(vimo.plan({4: track(visible)}, max_gap=2)) == 3


def test_the_guessed_camera():
    focal, centre = vimo.guessed_camera(1920, 1080)
    assert focal == pytest.approx(np.sqrt(1920**2 + 1080**2))
    assert centre.tolist() == [960, 540]


# ---------------------------------------------------------------------------------------------
# the network


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return standins.write_vimo(tmp_path_factory.mktemp("vimo"))


@pytest.fixture(scope="module")
def network(paths):
    return vimo.load(paths["repository"], paths["weights"], "cpu")


@pytest.mark.parametrize(
    ("crop_batch", "window_batch", "step"), [(5, 3, 1), (1, 1, 4), (64, 64, 4)]
)
def test_batches_give_what_single_windows_give(network, crop_batch, window_batch, step):
    visible = np.ones((2, 50), bool)
    visible[0, 30:45] = False
    visible[1, :12] = False
    stretches = vimo.plan({1: track(visible[0]), 2: track(visible[1])}, max_gap=4, step=step)
    assert [len(s.sides) for s in stretches] == [30, 5, 38]
    camera = lambda frame: (1000.0 + frame, np.array([frame, 7.0]))  # noqa: E731
    network.backbone.seen.clear()
    estimator = vimo.Estimator(network, stretches, camera, "cpu", crop_batch, window_batch)
    level = []
    for frame in range(50):
        picture = np.full((120, 120, 3), 4 * frame, np.uint8)
        estimator.add(frame, picture)
        level.append(crops.normalise(picture[None, :1, :1])[0, 0, 0, 0])
    estimator.finish()
    assert sum(network.backbone.seen) == 30 + 5 + 38
    assert max(network.backbone.seen) <= crop_batch and not estimator._features
    level = np.array(level)
    for s, betas, turned in zip(stretches, estimator.betas, estimator.rotations, strict=True):
        frames = s.first + np.arange(len(s.sides))
        colour, mean, place, focal, x, y, centre, side = betas.T[:8]
        inside = [
            crops.normalise(crops.cut(np.full((120, 120, 3), 4 * f, np.uint8), c, d, 256)[None])
            for f, c, d in zip(frames, s.centres, s.sides, strict=True)
        ]
        expected = np.array([c[0, 0, :, 32:-32].mean() for c in inside])
        assert np.allclose(colour, expected, atol=1e-4)
        assert np.allclose(mean, expected[s.windows].mean(1)[s.window], atol=1e-4)
        assert np.array_equal(place, s.place)
        assert np.allclose(focal, 1000 + frames) and np.allclose(x, frames) and (y == 7).all()
        assert np.allclose(centre, s.centres[:, 0]) and np.allclose(side, s.sides, rtol=1e-5)
        assert np.allclose(turned[:, 0], np.diag([1.0, -1, -1]))


def test_memory_stays_bounded(network):
    stretches = vimo.plan({1: track(np.ones(50, bool))}, step=2)
    estimator = vimo.Estimator(network, stretches, lambda _: (1.0, np.zeros(2)), "cpu", 4, 2)
    most = 0
    for frame in range(50):
        estimator.add(frame, np.zeros((30, 30, 3), np.uint8))
        most = max(most, len(estimator._features))
    assert most <= 16 + 2 * 2 + 4


def test_a_wrong_checkpoint_is_named(paths, tmp_path):
    state = torch.load(paths["weights"], weights_only=False)
    del state["model"]["smpl_head.init_cam"]
    torch.save(state, tmp_path / "lacking.pth.tar")
    with pytest.raises(PantographError, match="lacks 1 .* smpl_head.init_cam"):
        vimo.load(paths["repository"], str(tmp_path / "lacking.pth.tar"), "cpu")
    torch.save({"other": 1}, tmp_path / "other.pth.tar")
    with pytest.raises(PantographError, match="expected a dictionary with 'model'"):
        vimo.load(paths["repository"], str(tmp_path / "other.pth.tar"), "cpu")
    with pytest.raises(PantographError, match="doctor"):
        vimo.load(paths["repository"], str(tmp_path / "none.pth.tar"), "cpu")


# ---------------------------------------------------------------------------------------------
# the script and the rule


def clip(folder, count=20):
    products = toyclip.make(folder, count=count, step=(0.02, 0, 0))
    toyclip.write_video(folder / "toy.mp4", count)
    return products


def arguments(folder, paths):
    words = toyclip.options(folder, *INPUTS) + ["--out", str(folder / "body.h5")]
    return words + [word for name, path in paths.items() for word in (f"--{name}", path)]


def true_joints(products):
    scene, bodies = products["scene"], products["gravity"].people
    turn, centre = scene.cam2world[0, :3, :3], scene.cam2world[0, :3, 3]
    return {pid: (person.joints - centre) @ turn for pid, person in bodies.items()}


@pytest.mark.parametrize("count", [9, 20])
def test_the_script_places_the_people(tmp_path, paths, count):
    products = clip(tmp_path, count)
    body_vimo.main(arguments(tmp_path, paths))
    found = Body.read(tmp_path / "body.h5")
    for pid, joints in true_joints(products).items():
        person = found.people[pid]
        assert person.valid.all() and person.confidence.min() > 0.3
        # the toy's keypoints are joints: its hips lack the distance to the skin
        assert np.linalg.norm(person.joints - joints, axis=-1).max() < 0.1
        assert person.reprojection.max() < 3
    numbers = found.stats["person1"]
    assert numbers["stretches"] == 1 and numbers["stretches_under_16_frames"] == (count < 16)
    # told by the network: the focal length and the principal point of the scene
    assert numbers["network_betas"][3:6] == pytest.approx([260, 160, 120])
    assert "built-in body" in found.stats["note"] and found.body_model == "builtin"
    assert found.method == "vimo" and found.parameters["max_gap"] == 8


def test_the_guess_is_told_instead(tmp_path, paths):
    clip(tmp_path)
    body_vimo.main([*arguments(tmp_path, paths), "--focal", "guess"])
    found = Body.read(tmp_path / "body.h5")
    assert found.stats["person1"]["network_betas"][3] == pytest.approx(400)
    assert found.intrinsics[0, 0] == 260


def test_known_statures_and_shapes_are_kept(tmp_path, paths):
    products = clip(tmp_path)
    betas = [[0.0] * 10, [0.0, 1.0] + [0.0] * 8]
    video = dataclasses.replace(products["video"], person_height=[1.9], person_betas=betas)
    video.write(toyclip.path_of(tmp_path, "video"))
    body_vimo.main(arguments(tmp_path, paths))
    found = Body.read(tmp_path / "body.h5")
    assert found.stats["person1"]["stature_m"] == pytest.approx(1.9, abs=1e-3)
    assert np.allclose(found.people[2].betas, betas[1])


def test_the_same_input_gives_the_same_bytes(tmp_path, paths):
    clip(tmp_path)
    body_vimo.main(arguments(tmp_path, paths))
    first = (tmp_path / "body.h5").read_bytes()
    body_vimo.main(arguments(tmp_path, paths))
    assert (tmp_path / "body.h5").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--step", "9"], "--step: expected 1 to 8, found 9"),
        (["--max-gap", "-1"], "--max-gap: expected 0"),
        (["--window-batch", "0"], "--window-batch: expected at least 1"),
    ],
)
def test_wrong_options_are_named(tmp_path, paths, words, message):
    with pytest.raises(PantographError, match=message):
        body_vimo.main([*arguments(tmp_path, paths), *words])


def test_the_rule_makes_the_product(tmp_path, paths):
    place = tmp_path / "results" / "other" / "toy"
    place.mkdir(parents=True)
    clip(place)
    (place / "toy.mp4").rename(tmp_path / "toy.mp4")
    video = toyclip.path_of(place, "video")
    video.write_text(video.read_text().replace(str(place), str(tmp_path)))
    options = {"body_vimo": {**paths, "crop-batch": 7, "device": "cpu"}}
    flow.write(tmp_path, "other", {"body": "vimo"}, videos="toy.mp4", options=options)
    run = flow.run(tmp_path, "results/other/toy/body.h5", "body_vimo")
    assert run.returncode == 0, run.stdout + run.stderr
    found = Body.read(place / "body.h5")
    assert found.method == "vimo" and sorted(found.people) == [1, 2]
