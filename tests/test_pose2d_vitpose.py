"""Crops of many frames and people go through the model together, and come back to their places."""

import dataclasses

import numpy as np
import pytest

import pose2d_vitpose
from pantograph import landmarks, vitpose
from pantograph.contracts import Keypoints, People, PersonTrack, Video
from pantograph.conventions import COCO_WHOLEBODY, MEDIAPIPE_LANDMARKS, mirrored
from pantograph.errors import PantographError, Rejected

COUNT = 23
WIDTH, HEIGHT = 320, 240


def video():
    times = [k / 30 for k in range(COUNT)]
    return Video(
        fps=30.0,
        width=WIDTH,
        height=HEIGHT,
        source_frames=list(range(COUNT)),
        source_times=times,
    )


def tracks():
    """Person 1 in all frames, person 2 in every other one, partly outside the picture."""
    people = {}
    for pid, x, every in ((1, 60.0, 1), (2, 280.0, 2)):
        visible = np.arange(COUNT) % every == 0
        boxes = np.tile(np.array([x, 40.0, x + 60, 200.0]), (COUNT, 1)) * visible[:, None]
        people[pid] = PersonTrack(
            visible=visible,
            boxes=boxes,
            score=visible.astype(float),
            masks=np.zeros((COUNT, HEIGHT, WIDTH // 8), np.uint8),
        )
    return People(
        frame_count=COUNT, mask_width=WIDTH, mask_height=HEIGHT, ranking=[1, 2], people=people
    )


class Fake:
    """Puts keypoint j at a place that depends on j within the box, and checks what it is given."""

    def __init__(self):
        self.sizes = []

    def __call__(self, crops, boxes):
        assert len(crops) == len(boxes)
        self.sizes.append(len(boxes))
        share = np.linspace(0, 1, len(COCO_WHOLEBODY))[None, :, None]
        xy = boxes[:, None, :2] * (1 - share) + boxes[:, None, 2:] * share
        scores = []
        for i, (picture, _) in enumerate(crops):
            # a crop shows the colour of its own place in the picture
            x, y = np.clip(boxes[i, :2].astype(int), 0, np.array(picture.shape[1::-1]) - 1)
            scores.append(np.full(len(COCO_WHOLEBODY), picture[y, x, 0] / 255))
        return xy + np.array([corner for _, corner in crops])[:, None], np.array(scores)


def pictures(video, long_side):
    scale = 1 if not long_side else long_side / WIDTH
    for k in range(video.frame_count):
        rgb = np.zeros((int(HEIGHT * scale), int(WIDTH * scale), 3), np.uint8)
        rgb[..., 0] = 128 + k
        yield k, rgb


@pytest.mark.parametrize(("batch", "side"), [(1, None), (8, None), (64, 160)])
def test_every_person_and_frame_is_read_once_in_full_batches(monkeypatch, batch, side):
    monkeypatch.setattr(vitpose, "frames", pictures)
    fake, people = Fake(), tracks()
    found = vitpose.find_keypoints(fake, video(), people, batch, long_side=side)
    crops = COUNT + (COUNT + 1) // 2
    assert sum(fake.sizes) == crops and set(fake.sizes[:-1]) <= {batch}
    assert fake.sizes[-1] == (crops - 1) % batch + 1
    for pid, person in found.people.items():
        box = people.people[pid].boxes[0]
        assert np.array_equal(person.visible, people.people[pid].visible)
        share = np.linspace(0, 1, len(COCO_WHOLEBODY))[:, None]
        expected = box[:2] * (1 - share) + box[2:] * share
        assert np.abs(person.xy[person.visible] - expected).max() < 1e-3
        inside = expected[:, 0] < WIDTH
        frames = np.flatnonzero(person.visible)
        assert np.allclose(person.score[frames][:, inside], (128 + frames[:, None]) / 255)
        assert not person.score[:, ~inside].any() and not person.score[~person.visible].any()


def test_a_weak_body_is_not_seen(monkeypatch):
    monkeypatch.setattr(vitpose, "frames", pictures)
    with pytest.raises(Rejected, match="no keypoints found in 23 frames"):
        vitpose.find_keypoints(Fake(), video(), tracks(), min_score=0.9)


def test_the_product_is_valid(monkeypatch, tmp_path):
    monkeypatch.setattr(vitpose, "frames", pictures)
    vitpose.find_keypoints(Fake(), video(), tracks()).write(tmp_path / "keypoints.h5")
    read = Keypoints.read(tmp_path / "keypoints.h5")
    assert tuple(read.keypoint_names) == COCO_WHOLEBODY
    assert read.people[1].landmarks3d is None


def test_boxes_do_not_shake():
    rng = np.random.default_rng(0)
    person = tracks().people[1]
    shaken = dataclasses.replace(person, boxes=person.boxes + rng.normal(0, 3, (COUNT, 4)))
    smooth = vitpose.person_boxes(shaken, 30.0)
    assert (
        np.abs(np.diff(smooth, axis=0)).mean() < 0.35 * np.abs(np.diff(shaken.boxes, axis=0)).mean()
    )
    assert np.allclose(vitpose.person_boxes(person, 30.0), person.boxes)


# ---------------------------------------------------------------------------------------------
# names


def test_the_names_are_in_the_order_of_coco_wholebody():
    # indices that other tools use: body, feet, face and hands
    expected = {
        0: "nose",
        5: "left_shoulder",
        10: "right_wrist",
        16: "right_ankle",
        17: "left_big_toe",
        19: "left_heel",
        20: "right_big_toe",
        91: "left_hand_root",
        95: "left_thumb4",
        112: "right_hand_root",
        132: "right_pinky_finger4",
    }
    assert len(COCO_WHOLEBODY) == len(set(COCO_WHOLEBODY)) == 133
    assert {i: COCO_WHOLEBODY[i] for i in expected} == expected
    # the face in iBUG's order: 17 of the jaw, 5 of each brow, 9 of the nose, 6 of each eye, 20
    assert COCO_WHOLEBODY[23 + 8] == "chin" and COCO_WHOLEBODY[23 + 33] == "nose_base"


def test_mirrored_names_are_the_flip_of_coco_wholebody():
    mirror = mirrored(COCO_WHOLEBODY)
    assert [mirror[i] for i in mirror] == list(range(133))
    face = {0: 16, 3: 13, 8: 8, 17: 26, 21: 22, 27: 27, 31: 35, 36: 45, 37: 44, 39: 42, 41: 46}
    face |= {48: 54, 50: 52, 51: 51, 55: 59, 57: 57, 60: 64, 61: 63, 65: 67, 66: 66}
    assert {a: mirror[23 + a] - 23 for a in face} == face
    assert mirror[91] == 112 and mirror[132] == 111 and mirror[17] == 20


@pytest.mark.parametrize("names", [COCO_WHOLEBODY, MEDIAPIPE_LANDMARKS])
def test_every_fitted_landmark_is_found(names):
    index, present = landmarks.select(list(names))
    assert present.all() and len(set(index)) == len(index)


def test_left_and_right_are_told_apart_by_name():
    rng = np.random.default_rng(0)
    still = rng.normal(size=(133, 3))
    xyz = np.repeat(still[None], 20, 0)
    xy, score = 100 * xyz[..., :2], np.ones((20, 133))
    mirror = np.array(mirrored(COCO_WHOLEBODY))
    arms = [
        i
        for i, name in enumerate(COCO_WHOLEBODY)
        if any(p in name for p in ("shoulder", "elbow", "wrist", "thumb", "finger", "hand_root"))
    ]
    for frame in (7, 8):
        for array in (xy, xyz):
            array[frame, arms] = array[frame, mirror[arms]]
    fixed = landmarks.repair_swaps(COCO_WHOLEBODY, xy, xyz, score, np.ones(20, bool), 100.0)
    assert np.allclose(fixed[1], still) and np.flatnonzero(fixed[3][:, 1]).tolist() == [7, 8]


# ---------------------------------------------------------------------------------------------
# weights


def test_the_authors_names_become_those_of_transformers():
    torch = pytest.importorskip("torch")
    state = {
        "backbone.pos_embed": torch.zeros(1, 193, 4),
        "backbone.blocks.11.attn.qkv.weight": torch.arange(48.0).reshape(12, 4),
        "backbone.blocks.11.attn.proj.bias": torch.zeros(4),
        "backbone.blocks.11.norm2.weight": torch.zeros(4),
        "keypoint_head.deconv_layers.4.running_var": torch.zeros(256),
        "associate_keypoint_heads.0.final_layer.bias": torch.zeros(17),
    }
    found = vitpose.renamed(state)
    layer = "backbone.encoder.layer.11"
    assert set(found) == {
        "backbone.embeddings.position_embeddings",
        *(f"{layer}.attention.attention.{part}.weight" for part in ("query", "key", "value")),
        f"{layer}.attention.output.dense.bias",
        f"{layer}.layernorm_after.weight",
        "head.batchnorm2.running_var",
    }
    assert found[f"{layer}.attention.attention.key.weight"].flatten().tolist() == list(
        range(16, 32)
    )


def test_missing_weights_are_named(tmp_path):
    video().write(tmp_path / "video.json")
    tracks().write(tmp_path / "people.h5")
    with pytest.raises(PantographError, match="expected ViTPose for 133 keypoints, found nothing"):
        pose2d_vitpose.main(
            [f"--{name}={tmp_path / file}" for name, file in _FILES.items()]
            + [f"--model={tmp_path / 'vitpose.pth'}"]
        )


_FILES = {"video": "video.json", "people": "people.h5", "out": "keypoints.h5"}
