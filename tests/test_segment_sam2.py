"""People found anew every few frames keep their identity, whatever the models miss."""

import subprocess
import sys

import numpy as np
import pytest

import ingest
import segment_sam2
from conftest import ROOT
from pantograph import gpu, masks, maskvideo
from pantograph.contracts import People, Video
from pantograph.errors import PantographError, Rejected
from pantograph.identities import Identities, Sighting, colours_of

FPS = 30.0
SHAPE = (90, 160)
COLOURS = np.array([(220, 30, 30), (30, 30, 220), (30, 200, 30)], np.uint8)


def box_mask(x, width=20, top=20, height=50):
    mask = np.zeros(SHAPE, bool)
    mask[top : top + height, max(0, int(x)) : max(0, int(x + width))] = True
    return mask


class World:
    """People as coloured boxes: where(frame) gives x, or None where nobody is to be seen."""

    def __init__(self, people, count=100, missed=()):
        self.people, self.count, self.missed = people, count, missed
        self.calls, self.longest = [], 0

    def video(self):
        times = [k / FPS for k in range(self.count)]
        return Video(
            fps=FPS,
            width=2 * SHAPE[1],
            height=2 * SHAPE[0],
            source_frames=list(range(self.count)),
            source_times=times,
        )

    def masks(self, frame):
        """Masks by person; the first one stands in front."""
        found, taken = {}, np.zeros(SHAPE, bool)
        for who, where in enumerate(self.people):
            x = where(frame)
            if x is not None:
                mask = box_mask(x) & ~taken
                taken |= mask
                if mask.any():
                    found[who] = mask
        return found

    def pictures(self, video, size):
        for k in range(self.count):
            picture = np.full((*SHAPE, 3), 128, np.uint8)
            for who, mask in self.masks(k).items():
                picture[mask] = COLOURS[who]
            # the number of the frame, for the models
            picture[0, 0] = (k // 256, k % 256, 77)
            yield k, picture

    @staticmethod
    def frame(picture):
        return int(picture[0, 0, 0]) * 256 + int(picture[0, 0, 1])

    # the models

    def detect(self, picture):
        frame = self.frame(picture)
        self.calls.append(frame)
        found = [
            masks.box(mask)
            for who, mask in self.masks(frame).items()
            if (frame, who) not in self.missed
        ]
        return np.array(found).reshape(-1, 4), np.full(len(found), 0.9)

    def segment(self, picture, boxes):
        shown = self.masks(self.frame(picture))
        best = [
            max(shown.values(), key=lambda m: masks.iou(m, box_mask(b[0], b[2] - b[0])))
            for b in boxes
        ]
        return np.where(np.stack(best), 5.0, -5.0)

    def follow(self, pictures, prompts):
        self.longest = max(self.longest, len(pictures))
        first = self.masks(self.frame(pictures[0]))
        who = [max(first, key=lambda w, m=m: masks.iou(first[w], m)) for m in prompts]
        for k, picture in enumerate(pictures):
            shown = self.masks(self.frame(picture))
            empty = np.zeros(SHAPE, bool)
            yield k, np.stack([np.where(shown.get(w, empty), 5.0, -5.0) for w in who])

    def track(self, pictures):
        self.longest = max(self.longest, len(pictures))
        ids, last, following = {}, {}, 7
        for k, picture in enumerate(pictures):
            shown = self.masks(self.frame(picture))
            for who in shown:
                # a track that was lost gets another number
                if last.get(who) != k - 1:
                    ids[who], following = following, following + 1
                last[who] = k
            yield k, {ids[w]: m for w, m in shown.items()}, {ids[w]: 0.8 for w in shown}


@pytest.fixture
def follow(monkeypatch):
    def run(world, **settings):
        monkeypatch.setattr(maskvideo, "frames", world.pictures)
        monkeypatch.setattr(maskvideo, "stored_shape", lambda video: SHAPE)
        return maskvideo.follow_detections(world, world.video(), 960, **settings)

    return run


def agree(world, record, skip=0):
    """The id of each true person; every mask of a frame must be this person's own."""
    names = {}
    for frame in range(world.count):
        for who, mask in world.masks(frame).items():
            ids = [p for p in record.present(frame) if masks.iou(record.mask(p, frame), mask) > 0.9]
            if ids:
                assert names.setdefault(who, ids[0]) == ids[0], (frame, who)
            else:
                assert np.count_nonzero(mask) < 200 or frame < skip, (frame, who)
    assert len(set(names.values())) == len(names)
    return names


def test_people_keep_their_ids_through_a_crossing(follow):
    world = World([lambda k: 10 + k, lambda k: 120 - k])
    record = follow(world, step=10)
    names = agree(world, record)
    assert sorted(names.values()) == sorted(record.people)
    assert world.calls == list(range(0, 99, 10)) and world.longest == 11


def test_somebody_missed_by_the_detector_is_followed_on(follow):
    missed = {(k, 1) for k in (20, 30, 40)}
    world = World([lambda k: 20, lambda k: 90 + 0.2 * k], missed=missed)
    assert agree(world, follow(world, step=10, carry=3)) == {0: 1, 1: 2}
    # given up at 40, known again at 50 and followed back
    assert agree(world, follow(world, step=10, carry=2)) == {0: 1, 1: 2}


def test_somebody_the_detector_no_longer_finds_is_given_up(follow):
    world = World([lambda k: 20, lambda k: 90], missed={(k, 1) for k in range(20, 100)})
    record = follow(world, step=10, carry=2)
    assert [k for k in range(100) if record.has(2, k)] == list(range(40))


def test_no_detection_at_all_keeps_the_masks(follow):
    world = World([lambda k: 20 + 0.5 * k], missed={(k, 0) for k in range(20, 60)})
    assert agree(world, follow(world, step=20)) == {0: 1}


def test_somebody_lost_and_found_again_keeps_the_id(follow):
    def away(k):
        return None if 33 <= k < 71 else 60 + 0.3 * k

    world = World([lambda k: 10, away])
    record = follow(world, step=20)
    assert agree(world, record) == {0: 1, 1: 2}
    # found at 80, and followed back to where the gap ends
    assert record.has(2, 71) and not record.has(2, 70) and not record.has(2, 33)


def test_colours_tell_who_comes_back_elsewhere(follow):
    # both go; the other one comes back at the place of the first one, and much later
    first = World([lambda k: 10 if k < 40 else None, lambda k: 120 if k < 40 or k > 85 else None])
    first.people[1] = lambda k: 120 if k < 40 else 12 if k > 85 else None
    assert agree(first, follow(first, step=10)) == {0: 1, 1: 2}


def test_somebody_who_comes_late_is_followed_back(follow):
    world = World([lambda k: 10, lambda k: 100 if k >= 25 else None])
    record = follow(world, step=20)
    assert [k for k in range(100) if record.has(2, k)] == list(range(25, 100))


def test_two_boxes_of_one_person_are_one(follow):
    class Twice(World):
        def detect(self, picture):
            boxes, scores = super().detect(picture)
            return np.concatenate([boxes, boxes]), np.concatenate([scores, scores / 2])

    record = follow(Twice([lambda k: 20, lambda k: 100]))
    assert len(record.people) == 2


def test_a_pixel_belongs_to_the_highest_logit():
    logits = np.full((2, 4, 6), -3.0)
    logits[0, :, :4], logits[1, :, 2:] = 2.0, 1.0
    first, second = maskvideo.own(logits)
    assert first[:, :4].all() and not first[:, 4:].any()
    assert second[:, 4:].all() and not second[:, :4].any()


@pytest.mark.parametrize("count", [1, 20, 21, 22, 45])
def test_windows_share_one_frame_and_cover_all(count):
    seen = [[k for k, _ in w] for w in maskvideo.windows(((k, None) for k in range(count)), 20)]
    assert all(len(w) <= 21 for w in seen)
    assert all(a[-1] == b[0] for a, b in zip(seen, seen[1:], strict=False))
    assert sorted({k for w in seen for k in w}) == list(range(count))


def test_the_product_is_ranked_limited_and_says_who_was_left_out(follow, tmp_path):
    world = World(
        [lambda k: 140 if k < 8 else None, lambda k: 10, lambda k: 60 if k >= 50 else None]
    )
    record = follow(world, step=10)
    people = record.product(world.video(), 0.5, 0)
    people.write(tmp_path / "people.h5")
    read = People.read(tmp_path / "people.h5")
    assert read.ranking == [1, 2] and read.people[1].visible.sum() == 100
    assert "seen in 8 frames, expected 15" in read.dropped["3"]
    # px of the video, twice those of the masks
    assert read.people[1].boxes[3].tolist() == [20, 40, 60, 140]
    assert np.array_equal(read.mask(2, 70), world.masks(70)[2])
    assert not read.people[2].visible[:50].any() and not read.people[2].boxes[:50].any()
    limited = record.product(world.video(), 0.5, 1)
    assert limited.ranking == [1] and "only the 1 largest" in limited.dropped["2"]


def test_nobody_is_a_rejection(follow):
    with pytest.raises(Rejected, match="nobody found in 30 frames"):
        empty = World([lambda k: None], count=30)
        follow(empty).product(empty.video(), 0.5, 0)
    with pytest.raises(Rejected, match="seen in 5 frames, expected 15"):
        brief = World([lambda k: 20 if k < 5 else None], count=30)
        follow(brief).product(brief.video(), 0.5, 0)


def test_identities_follow_the_motion_of_those_dressed_alike():
    known = Identities(FPS)
    for k in range(31):
        for pid, x in ((1, 10 + k), (2, 130 - k)):
            known.see(pid, Sighting(k, box_mask(x)))
    # both hidden for ten frames while they pass
    later = [Sighting(40, box_mask(130 - 40)), Sighting(40, box_mask(10 + 40))]
    assert known.assign(later) == [2, 1]
    assert known.assign([Sighting(40, box_mask(50))], but=[1, 2]) == [3]


def test_strangers_are_new():
    picture = np.full((*SHAPE, 3), 128, np.uint8)
    known = Identities(FPS)
    picture[box_mask(20)], picture[box_mask(100)] = COLOURS[0], COLOURS[1]
    known.see(1, Sighting(0, box_mask(20), colours_of(picture, box_mask(20))))
    stranger = Sighting(200, box_mask(100), colours_of(picture, box_mask(100)))
    assert known.assign([stranger]) == [2]
    same = Sighting(200, box_mask(100), known.people[1].colours)
    assert known.assign([same]) == [1]


# ---------------------------------------------------------------------------------------------
# the script


@pytest.fixture
def clip(tmp_path):
    path = ROOT / "resources" / "demo" / "walk_turn.mp4"
    out = tmp_path / "video.json"
    ingest.main(["--path", str(path), "--name", "clip", "--end", "40", "--out", str(out)])
    return out


def test_missing_weights_are_one_line(clip, tmp_path):
    words = ["--video", clip, "--out", tmp_path / "people.h5"]
    words += ["--detector", tmp_path / "dino", "--model", tmp_path / "sam2"]
    script = ROOT / "scripts" / "segment_sam2.py"
    run = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'dino'}: expected the folder of GroundingDINO")
    assert "pantograph doctor --route videomimic" in line
    assert not (tmp_path / "people.h5").exists()


def test_a_rejected_video_needs_no_model(tmp_path):
    Video.rejection("one frame").write(tmp_path / "video.json")
    segment_sam2.main(
        ["--video", str(tmp_path / "video.json"), "--out", str(tmp_path / "people.h5")]
        + ["--detector", "none", "--model", "none"]
    )
    assert People.read(tmp_path / "people.h5").reason == "one frame"


def test_prompts_are_lower_case_phrases():
    assert [maskvideo.prompt(t) for t in ("Person.", "a Man ", "")] == ["person", "a man", "person"]


def test_a_gpu_that_is_not_there_is_one_line():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PantographError, match="--device cuda: expected a GPU, found none"):
        gpu.device("cuda")
    assert gpu.device().type == "cpu"
