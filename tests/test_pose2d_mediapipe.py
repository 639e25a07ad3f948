"""Landmarks come from a clean crop, keep their sides, and say how far they can be trusted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ingest
import pose2d_mediapipe
from pantograph import keypoints, landmarks, truth
from pantograph.contracts import Keypoints, People, PersonKeypoints, PersonTrack, Video, pack_mask
from pantograph.conventions import COCO_WHOLEBODY, MEDIAPIPE_LANDMARKS
from pantograph.keypoints import MIRROR, Reading, read_pose, smoothest
from pantograph.regions import smooth_regions

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "resources" / "demo"
COUNT = len(MEDIAPIPE_LANDMARKS)
INDEX = {name: i for i, name in enumerate(MEDIAPIPE_LANDMARKS)}
BODY = [
    INDEX[f"{side}_{name}"]
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]


def marked(spots, size=(80, 120)):
    """A picture where landmark i is one pixel of red value i + 1 at spots[i] (x, y)."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[:, : size[1] // 2, 1] = 200  # tells a mirrored picture from a direct one
    for i, (x, y) in enumerate(spots):
        rgb[y, x, 0] = i + 1
    return rgb


def perfect_model(rgb, region):
    """Reads `marked` pictures; takes a mirrored left hand for a right one, as a model must."""
    mirrored = rgb[:, 0, 1].max() == 0
    xy = np.zeros((COUNT, 2))
    for i in range(COUNT):
        (y,), (x,) = np.nonzero(rgb[..., 0] == i + 1)
        xy[MIRROR[i] if mirrored else i] = x + 0.5, y + 0.5
    world = np.zeros((COUNT, 3))
    world[:, 0] = (xy[:, 0] - rgb.shape[1] / 2) / 100
    visibility = np.ones(COUNT)
    return SimpleNamespace(xy=xy, visibility=visibility, presence=visibility, world=world)


def test_the_mirrored_reading_lies_on_the_direct_one():
    rng = np.random.default_rng(1)
    cells = rng.permutation(60 * 40)[:COUNT]
    spots = np.stack([30 + cells % 60, 20 + cells // 60], 1)
    (reading,) = read_pose(perfect_model, marked(spots), np.array([60.0, 40, 70, 0.0]), True)
    assert np.allclose(reading.xy, spots + 0.5)
    assert np.allclose(reading.score, 1)
    assert np.allclose(reading.world[:, 0], (spots[:, 0] + 0.5 - 60) / 100)


def test_readings_that_contradict_are_both_kept_and_trusted_less():
    spots = np.stack([30 + 2 * np.arange(COUNT) % 60, 20 + np.arange(COUNT)], 1)

    def confused(rgb, region):
        pose = perfect_model(rgb, region)
        if rgb[:, 0, 1].max() == 0:
            pose.xy = pose.xy[MIRROR] + [25, 0]
        return pose

    readings = read_pose(confused, marked(spots), np.array([60.0, 40, 70, 0.0]), True)
    assert len(readings) == 2
    assert np.allclose(readings[0].xy, spots + 0.5)
    assert (readings[0].score < 0.8).all()


def test_the_smoothest_choice_keeps_the_sides():
    xy = np.random.default_rng(2).uniform(0, 100, (COUNT, 2))
    readings = {}
    for k in range(12):
        right = Reading(xy + k, np.ones(COUNT), np.zeros((COUNT, 3)))
        wrong = Reading(xy[MIRROR] + k, np.ones(COUNT), np.zeros((COUNT, 3)))
        both = [wrong, right] if k % 2 else [right, wrong]
        readings[k] = [right] if k in (0, 11) else both
    chosen = smoothest(readings, np.full((12, 4), 100.0))
    assert sorted(chosen) == list(range(12))
    for k, reading in chosen.items():
        assert np.allclose(reading.xy, xy + k)
    assert smoothest({}, np.zeros((0, 4))) == {}


def test_regions_are_smoothed_within_their_run():
    rng = np.random.default_rng(3)
    visible = np.ones(60, bool)
    visible[30:34] = False
    regions = np.tile([100.0, 50, 40, np.pi], (60, 1))
    regions[34:, :2] = 400, 300
    noisy = regions + rng.normal(0, [2, 2, 2, 0.05], regions.shape)
    noisy[:, 3] = (noisy[:, 3] + np.pi) % (2 * np.pi) - np.pi
    smooth = smooth_regions(noisy, visible, 30.0)
    error = (smooth - regions)[visible]
    error[:, 3] = (error[:, 3] + np.pi) % (2 * np.pi) - np.pi
    assert (error.std(0) < 0.75 * np.array([2, 2, 2, 0.05])).all()
    assert np.abs(error[:, :2]).max() < 8


def clip(count, shape, masks):
    """A video and its people; masks: {id: (count, H, W) bool}."""
    height, width = shape
    video = Video(
        fps=30.0,
        width=width,
        height=height,
        source_frames=list(range(count)),
        source_times=[k / 30 for k in range(count)],
    )
    people = People(frame_count=count, mask_width=width, mask_height=height, ranking=list(masks))
    for pid, stack in masks.items():
        boxes = np.zeros((count, 4), np.float32)
        for k, mask in enumerate(stack):
            ys, xs = np.nonzero(mask)
            boxes[k] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        people.people[pid] = PersonTrack(
            visible=np.ones(count, bool),
            boxes=boxes,
            score=np.ones(count, np.float32),
            masks=np.stack([pack_mask(mask) for mask in stack]),
        )
    return video, people


def run_with(monkeypatch, model, video, people, **options):
    grey = np.full((video.height, video.width, 3), 128, np.uint8)
    for pid in people.people:
        grey[people.mask(pid, 0)] = 40 * pid
    pictures = [(k, grey) for k in range(video.frame_count)]
    monkeypatch.setattr(keypoints, "PoseLandmarker", lambda **_: model)
    monkeypatch.setattr(keypoints, "frames", lambda *_: iter(pictures))
    return keypoints.find_keypoints(video, people, flip=False, long_side=0, **options)


def test_other_people_are_not_in_the_crop(monkeypatch):
    masks = {pid: np.zeros((3, 64, 96), bool) for pid in (1, 2)}
    masks[1][:, 10:60, 20:44] = True
    masks[2][:, 10:60, 44:70] = True
    seen = []

    def model(rgb, region):
        seen.append([int((rgb[..., 0] == value).sum()) for value in (40, 80)])
        pose = SimpleNamespace(xy=np.full((COUNT, 2), 20.0), world=np.zeros((COUNT, 3)))
        pose.visibility = pose.presence = np.ones(COUNT)
        return pose

    run_with(monkeypatch, model, *clip(3, (64, 96), masks))
    assert len(seen) == 6
    for k, areas in enumerate(seen):
        own, other = areas if k % 2 == 0 else areas[::-1]
        # a seam of the other one stays, so that nothing of the own body is lost
        assert own > 1150 and other < 250


def test_what_lies_outside_the_frame_has_no_score(monkeypatch):
    masks = {1: np.zeros((4, 64, 96), bool)}
    masks[1][:, 10:60, 2:30] = True
    feet = [INDEX[f"{side}_{name}"] for side in ("left", "right") for name in ("heel", "ankle")]
    calls = []

    def model(rgb, region):
        calls.append(region)
        xy = np.full((COUNT, 2), 20.0)
        xy[feet] = 20, 500
        visibility = np.full(COUNT, 0.1 if len(calls) == 3 else 0.9)
        world = np.zeros((COUNT, 3))
        return SimpleNamespace(xy=xy, visibility=visibility, presence=visibility, world=world)

    found = run_with(monkeypatch, model, *clip(4, (64, 96), masks)).people[1]
    assert found.visible.tolist() == [True, True, False, True]
    assert (found.score[0, feet] == 0).all()
    assert found.score[0, INDEX["nose"]] == pytest.approx(0.81)
    assert (found.score[2] == 0).all() and (found.xy[2] == 0).all()


def test_rejected_people_are_passed_on(tmp_path):
    video, _ = clip(3, (64, 96), {})
    video.write(tmp_path / "video.json")
    People.rejection("nobody").write(tmp_path / "people.h5")
    arguments = [
        f"--{n}={tmp_path / f}" for n, f in (("video", "video.json"), ("people", "people.h5"))
    ]
    pose2d_mediapipe.main([*arguments, f"--out={tmp_path / 'keypoints.h5'}"])
    assert Keypoints.read(tmp_path / "keypoints.h5").reason == "nobody"


@pytest.mark.parametrize("name", ["sit_stand", "walk_turn"])
def test_landmarks_of_a_rendered_clip(tmp_path, name):
    path, truth = DEMO / f"{name}.mp4", DEMO / f"{name}.truth"
    if not path.is_file():
        pytest.skip("needs resources/demo")
    ingest.main(
        ["--path", str(path), "--name", name, "--out", str(tmp_path / "video.json"), "--end=30"]
    )
    people = People.read(truth / "people.h5")
    for person in people.people.values():
        for field in ("visible", "boxes", "score", "masks"):
            setattr(person, field, getattr(person, field)[:30])
    people.frame_count = 30
    people.write(tmp_path / "people.h5")
    arguments = [
        f"--{n}={tmp_path / f}" for n, f in (("video", "video.json"), ("people", "people.h5"))
    ]
    pose2d_mediapipe.main([*arguments, f"--out={tmp_path / 'keypoints.h5'}"])
    found = Keypoints.read(tmp_path / "keypoints.h5")
    expected = Keypoints.read(truth / "keypoints.h5")
    names = [
        found.keypoint_names[i] for i in BODY if found.keypoint_names[i] in expected.keypoint_names
    ]
    columns = [expected.keypoint_names.index(n) for n in names]
    (pid,) = found.people
    person = found.people[pid]
    assert person.visible.all()
    boxes = people.people[pid].boxes
    tall = (boxes[:, 3] - boxes[:, 1]).max()
    error = np.linalg.norm(
        person.xy[:, [INDEX[n] for n in names]] - expected.people[pid].xy[:30, columns], axis=2
    )
    assert np.median(error) < 0.03 * tall and error.mean() < 0.05 * tall
    # metres from hip to hip and along the thigh, as a body has them
    world = person.landmarks3d
    thigh = np.linalg.norm(world[:, INDEX["left_hip"]] - world[:, INDEX["left_knee"]], axis=1)
    assert 0.3 < np.median(thigh) < 0.5
    middle = (world[:, INDEX["left_hip"]] + world[:, INDEX["right_hip"]]) / 2
    assert np.abs(middle).max() < 0.05


def test_keypoints_of_another_detector_get_3d_landmarks(tmp_path):
    count = 12
    words = ["--path", str(DEMO / "sit_stand.mp4"), "--name", "clip", "--end", str(count)]
    ingest.main([*words, "--min-frames", "2", "--out", str(tmp_path / "video.json")])
    video = Video.read(tmp_path / "video.json")
    exact = truth.inputs(truth.read(DEMO / "sit_stand.truth", video), video)
    seen = exact["keypoints"].people[1]
    named = [landmarks.find(COCO_WHOLEBODY, name) for name in landmarks.NAMES]
    own = [INDEX[name] for name in landmarks.NAMES]
    flat = PersonKeypoints(
        visible=seen.visible,
        xy=np.zeros((count, len(COCO_WHOLEBODY), 2)),
        score=np.zeros((count, len(COCO_WHOLEBODY))),
    )
    flat.xy[:, named], flat.score[:, named] = seen.xy[:, own], seen.score[:, own]
    found = keypoints.add_landmarks3d(
        video, exact["people"], Keypoints(keypoint_names=list(COCO_WHOLEBODY), people={1: flat})
    ).people[1]
    assert np.array_equal(found.xy, flat.xy) and found.visible.all()
    away = np.linalg.norm(found.landmarks3d[:, named] - seen.landmarks3d[:, own], axis=-1)
    assert np.median(away) < 0.12
    assert not found.landmarks3d[:, COCO_WHOLEBODY.index("chin")].any()
