"""Up as GeoCalib sees it: its angles, several frames in one world, and the rule."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

import filmed  # noqa: E402
import flow  # noqa: E402
import ground_geocalib  # noqa: E402
import staged  # noqa: E402
from pantograph import geocalib, ground  # noqa: E402
from pantograph.body import load_body  # noqa: E402
from pantograph.contracts import Contacts, Gravity, Keypoints, World  # noqa: E402
from pantograph.errors import PantographError, Rejected  # noqa: E402
from standins import write_package  # noqa: E402

NAME = "walk_turn"
COUNT = 40

PACKAGE = '''
import json
from pathlib import Path

import torch


class Gravity:
    """As geocalib.gravity.Gravity: the angles of a unit vector in the camera."""

    def __init__(self, data):
        self._data = torch.nn.functional.normalize(data, dim=-1)

    @property
    def rp(self):
        x, y, z = self._data.unbind(-1)
        roll = torch.asin(-x / (torch.sqrt(1 - z**2) + 1e-4))
        roll = torch.where(y < 0, roll, -roll - torch.pi * torch.sign(x))
        return torch.stack([roll, torch.asin(z)], dim=-1)


class Camera:
    def __init__(self, f):
        self.f = torch.tensor([[f, f]])


class GeoCalib(torch.nn.Module):
    def __init__(self, weights="pinhole"):
        super().__init__()
        assert Path(weights).exists()
        self.answers = json.loads(Path(weights).read_text())
        self.seen = []

    @torch.no_grad()
    def calibrate(self, img, camera_model="pinhole", priors=None, shared_intrinsics=False):
        assert img.ndim == 3 and img.shape[0] == 3 and img.dtype == torch.float32
        assert 0 <= img.min() and img.max() <= 1 and 0.2 < img.mean() < 0.8
        answer = self.answers[len(self.seen) % len(self.answers)]
        self.seen.append(img)
        focal = answer["focal"]
        if priors:
            focal = float(priors["focal"])
        return {
            "camera": Camera(focal),
            "gravity": Gravity(torch.tensor([answer["up"]])),
            "covariance": torch.zeros(1, 3, 3),
            "roll_uncertainty": torch.tensor([answer["sigma"]]),
            "pitch_uncertainty": torch.tensor([answer["sigma"]]),
            "gravity_uncertainty": torch.tensor([answer["sigma"]]),
        }
'''


def ups_in_cameras(world_up, cam2world, frames):
    return [cam2world[t, :3, :3].T @ world_up for t in frames]


def estimates(ups, frames, sigma=0.02):
    """What GeoCalib says of up directions in cameras: roll and pitch from their components."""
    return [
        geocalib.Estimate(
            frame=int(t),
            roll=float(np.arctan2(-up[0], -up[1])),
            pitch=float(np.arcsin(up[2])),
            sigma=sigma,
            focal=400.0,
        )
        for t, up in zip(frames, ups, strict=True)
    ]


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


# ---------------------------------------------------------------------------------------------
# angles


@pytest.mark.parametrize("roll", [-60, -10, 0, 25, 80])
@pytest.mark.parametrize("pitch", [-50, 0, 30])
def test_roll_and_pitch_are_those_of_a_camera_turned_so(roll, pitch):
    """A level camera that looks along +Y is tilted up by the pitch, then turned clockwise about
    its own axis by the roll: what is up for it, is up in the world."""
    level = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    tilted = Rotation.from_euler("x", pitch, degrees=True).as_matrix() @ level
    cam2world = tilted @ Rotation.from_euler("z", roll, degrees=True).as_matrix()
    up = geocalib.up_in_camera(np.radians(roll), np.radians(pitch))
    assert np.allclose(cam2world @ up, [0, 0, 1], atol=1e-12)


def test_a_camera_that_looks_up_has_up_ahead_of_it():
    assert np.allclose(geocalib.up_in_camera(0, 0), [0, -1, 0])
    assert geocalib.up_in_camera(0, 0.3)[2] > 0
    # turned clockwise, up leans to the left of the picture
    assert geocalib.up_in_camera(0.3, 0)[0] < 0


# ---------------------------------------------------------------------------------------------
# several frames


def turning(count=30):
    angles = np.stack([np.linspace(-20, 25, count), np.linspace(0, 120, count)], -1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("xy", angles, degrees=True).as_matrix()
    return poses


UP = np.array([0.1, -0.95, -0.2]) / np.linalg.norm([0.1, -0.95, -0.2])


def test_frames_of_a_turning_camera_agree():
    poses, frames = turning(), geocalib.choose_frames(30, 8)
    assert frames[0] == 0 and frames[-1] == 29 and len(frames) == 8
    up, stats = geocalib.average(estimates(ups_in_cameras(UP, poses, frames), frames), poses)
    assert angle_deg(up, UP) < 1e-4
    assert stats["geocalib_frames"] == 8 and stats["up_spread_deg"] == 0
    assert stats["up_sigma_deg"] == pytest.approx(np.degrees(0.02), abs=0.01)


def test_wrong_frames_are_left_out():
    poses, frames = turning(), geocalib.choose_frames(30, 8)
    rng = np.random.default_rng(1)
    ups = np.array(ups_in_cameras(UP, poses, frames)) + 0.01 * rng.normal(size=(8, 3))
    ups /= np.linalg.norm(ups, axis=1, keepdims=True)
    ups[2], ups[5] = [1, 0, 0], [0, 0, 1]
    up, stats = geocalib.average(estimates(ups, frames), poses)
    assert angle_deg(up, UP) < 1 and stats["geocalib_outliers"] == 2
    assert 0.3 < stats["up_spread_deg"] < 2


def test_uncertain_frames_count_less():
    poses, frames = turning(), np.arange(0, 30, 3)
    ups = np.array(ups_in_cameras(UP, poses, frames))
    leaning = Rotation.from_euler("z", 10, degrees=True).as_matrix()
    found = estimates([leaning @ up for up in ups[:4]], frames[:4], sigma=0.2)
    found += estimates(ups[4:], frames[4:], sigma=0.01)
    up, _ = geocalib.average(found, poses)
    assert angle_deg(up, UP) < 0.3


def test_one_frame_and_none():
    poses = turning()
    up, stats = geocalib.average(estimates(ups_in_cameras(UP, poses, [7]), [7]), poses)
    assert angle_deg(up, UP) < 1e-4 and stats["geocalib_frames"] == 1
    lost = geocalib.Estimate(0, np.nan, 0.0, 0.1, 400.0)
    with pytest.raises(Rejected, match="no up direction in any of 1 frames"):
        geocalib.average([lost], poses)


# ---------------------------------------------------------------------------------------------
# the method


def stage(folder, sigma=0.03, focal=500.0):
    """The stage's inputs in `folder`; returns the truth's gravity and the options."""
    folder.mkdir(parents=True)
    clip, products = filmed.stage(folder, NAME, COUNT)
    world = filmed.first(staged.world(NAME), COUNT)
    world.write(folder / "world.h5")
    (folder / "gravity.h5").unlink()
    model = load_body()
    staged.see_feet(products["scene"], products["body"], model).write(folder / "keypoints.h5")
    frames = geocalib.choose_frames(COUNT, 8)
    up = np.float64(products["gravity"].rotation[2])
    answers = [
        {"up": item.tolist(), "sigma": sigma, "focal": focal * 640 / clip.height}
        for item in ups_in_cameras(up, np.float64(world.cam2world), frames)
    ]
    answers[3]["up"] = [0.8, -0.6, 0.0]
    return products, answers


def write_method(folder, answers):
    write_package(folder / "clone", {"geocalib/extractor.py": PACKAGE})
    (folder / "clone/geocalib/__init__.py").write_text("from .extractor import GeoCalib\n")
    (folder / "pinhole.tar").write_text(json.dumps(answers))
    return {"repository": str(folder / "clone"), "weights": str(folder / "pinhole.tar")}


def words(folder, paths):
    names = ("video", "world", "contacts", "keypoints")
    found = [w for n in names for w in (f"--{n}", str(folder / f"{n}.h5"))]
    found[1] = str(folder / "video.json")
    found += ["--out", str(folder / "gravity.h5"), "--device", "cpu"]
    return found + [word for name, path in paths.items() for word in (f"--{name}", path)]


def check(found, products):
    truth = products["gravity"]
    assert found.method == "geocalib"
    assert angle_deg(found.rotation[2].astype(float), truth.rotation[2].astype(float)) < 0.1
    person, true = found.people[1], truth.people[1]
    valid = person.valid
    assert np.abs(person.joints[valid][..., 2] - true.joints[valid][..., 2]).max() < 0.03
    # the camera looks along +Y from above the origin, the floor is at 0
    assert np.allclose(found.cam2world[0, :2, 3], 0, atol=1e-5)
    assert found.stats["geocalib_frames"] == 7 and found.stats["geocalib_outliers"] == 1
    assert found.stats["geocalib_focal_px"] == pytest.approx(500, abs=0.1)
    assert found.stats["body_to_up_deg"] < 8


def test_the_rule_turns_the_world(tmp_path):
    place = tmp_path / "results" / "other" / NAME
    products, answers = stage(place)
    paths = write_method(tmp_path, answers)
    video = filmed.video(NAME, COUNT).path
    options = {"ground_geocalib": {**paths, "device": "cpu", "frames": 8}}
    flow.write(tmp_path, "other", {"ground": "geocalib"}, videos=video, options=options)
    run = flow.run(tmp_path, f"results/other/{NAME}/gravity.h5", "ground_geocalib")
    log = tmp_path / f"logs/other/{NAME}/ground_geocalib.log"
    assert run.returncode == 0, run.stdout + run.stderr + log.read_text()
    check(Gravity.read(place / "gravity.h5"), products)


def test_the_script_with_the_focal_length_of_the_scene(tmp_path, monkeypatch):
    place = tmp_path / "run"
    products, answers = stage(place, focal=123.0)
    paths = write_method(tmp_path, answers)
    monkeypatch.setattr("sys.path", list(sys.path))
    ground_geocalib.main([*words(place, paths), "--focal", "scene"])
    found = Gravity.read(place / "gravity.h5")
    true = products["scene"].intrinsics[0, 1, 1]
    assert found.stats["geocalib_focal_px"] == pytest.approx(true, rel=1e-3)
    assert found.parameters == {"frames": 8, "focal": "scene"}


def test_missing_weights_are_named(tmp_path):
    place = tmp_path / "run"
    stage(place)
    with pytest.raises(PantographError, match="nowhere.tar: expected the weights of GeoCalib"):
        ground_geocalib.main(words(place, {"weights": str(tmp_path / "nowhere.tar")}))


def test_nobody_in_the_world(tmp_path):
    place = tmp_path / "run"
    stage(place)
    world = World.read(place / "world.h5")
    world.people[1] = dataclasses.replace(
        world.people[1], valid=np.zeros_like(world.people[1].valid)
    )
    world.write(place / "world.h5")
    ground_geocalib.main(words(place, {"weights": ""}))
    assert "no person has a valid frame" in Gravity.read(place / "gravity.h5").reason


def test_a_given_up_direction_is_taken(tmp_path):
    place = tmp_path / "run"
    products, _ = stage(place)
    world = World.read(place / "world.h5")
    contacts = Contacts.read(place / "contacts.h5")
    keypoints = Keypoints.read(place / "keypoints.h5")
    up = products["gravity"].rotation[2].astype(float)
    found = ground.to_gravity(world, contacts, keypoints, load_body(), up)
    assert np.allclose(found.rotation[2], up, atol=1e-6)
